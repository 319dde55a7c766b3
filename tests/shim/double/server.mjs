// A stock Rocket.Chat server, as far as encrypted rooms go: its collections, and the rules by which they change. No HTTP (rest.mjs) and no
// apps (../engine) here; both act through this class.
//
// What it does, and with which checks and errors, is what Rocket.Chat's source shows. Tests of encryption are worth what this is worth, so a rule that is
// not known is not made up: it throws.
//
// Emits: messageSaved(message, room, { as }), messageUpdated(message, room), userJoined(room, user), userLeft(room, user), keyRequest(roomId),
// accountKeys(userId), keysOffered(roomId, userId), keysAccepted(roomId, userId), loggedOut(userId)
import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { Watch } from './watch.mjs';

export class MeteorError extends Error {
	constructor(error, { status = 400, details } = {}) {
		super(`${error} [${error}]`);
		this.error = error;
		this.status = status;
		this.details = details;
	}
}

const LETTERS = '23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz';
export const randomId = (n = 17) => Array.from(randomBytes(n), (byte) => LETTERS[byte % LETTERS.length]).join('');
const hashed = (token) => createHash('sha256').update(token).digest('base64');

const QUEUE = 50; // usersWaitingForE2EKeys of a room
const OLD_KEYS = 10; // oldRoomKeys of a subscription

const SETTINGS = { E2E_Enable: true, E2E_Allow_Unencrypted_Messages: false, E2E_Enable_Encrypt_Files: true, FileUpload_MaxFileSize: 104857600 };

// Roles that hold a permission, as a new server has it.
const PERMISSIONS = {
	'toggle-room-e2e-encryption': ['owner', 'admin'],
	'api-bypass-rate-limit': ['admin', 'bot', 'app'],
	'edit-message': ['admin', 'owner', 'moderator'],
};

export class RocketChat extends EventEmitter {
	users = new Map();
	rooms = new Map();
	subscriptions = new Map(); // `${rid}/${uid}`
	messages = new Map();
	uploads = new Map();
	removed = { rooms: [], subscriptions: [] }; // { _id, uid, _deletedAt }
	watch = new Watch();

	constructor({ version = '7.13.0', settings = {} } = {}) {
		super();
		this.setMaxListeners(0);
		this.version = version;
		this.settings = { ...SETTINGS, ...settings };
	}

	atLeast(major, minor) {
		const [theirMajor, theirMinor] = this.version.split('.').map(Number);
		return theirMajor > major || (theirMajor === major && theirMinor >= minor);
	}

	// The next event @name that @matches; waiting begins with the call.
	next(name, matches = () => true) {
		return new Promise((resolve) => {
			const look = (...args) => {
				if (!matches(...args)) return;
				this.off(name, look);
				resolve(args);
			};
			this.on(name, look);
		});
	}

	// ---- users -------------------------------------------------------------------------------------------------------

	createUser(username, { type = 'user', roles = [type === 'bot' ? 'bot' : type === 'app' ? 'app' : 'user'] } = {}) {
		const user = { _id: randomId(), username, name: username, type, roles, active: true, tokens: [], _updatedAt: new Date() };
		this.users.set(user._id, user);
		return user;
	}

	// A personal access token; it is shown once, and kept as its hash.
	createToken(user, name = 'token') {
		const token = randomBytes(32).toString('base64url');
		user.tokens.push({ hashed: hashed(token), name });
		return token;
	}

	userOfToken(userId, token) {
		const user = this.users.get(userId);
		return user?.tokens.some((each) => each.hashed === hashed(token)) ? user : undefined;
	}

	may(user, permission, room) {
		const roles = [...user.roles, ...(room ? this.subscription(room._id, user._id)?.roles ?? [] : [])];
		return PERMISSIONS[permission].some((role) => roles.includes(role));
	}

	// resetUserE2EKey: all tokens go with the keys.
	resetAccountKeys(user) {
		delete user.e2e;
		for (const subscription of this.subscriptions.values())
			if (subscription.u._id === user._id) {
				delete subscription.E2EKey;
				delete subscription.E2ESuggestedKey;
				this.#touch(subscription);
			}
		for (const room of this.rooms.values()) this.#leaveQueue(room, user._id);
		user.tokens = [];
		this.emit('loggedOut', user._id);
	}

	// ---- rooms -------------------------------------------------------------------------------------------------------

	#touch(document) {
		document._updatedAt = new Date();
	}

	createRoom(t, name, owner, members = [], { encrypted = false } = {}) {
		const room = { _id: randomId(), t, ...(t !== 'd' && { name, fname: name }), u: { _id: owner._id, username: owner.username }, ts: new Date(), msgs: 0, _updatedAt: new Date() };
		if (t === 'd') room.uids = [owner, ...members].map(({ _id }) => _id);
		if (encrypted) room.encrypted = true;
		this.rooms.set(room._id, room);
		this.#subscribe(room, owner, ['owner']);
		for (const user of members) this.addUserToRoom(room, user);
		return room;
	}

	#subscribe(room, user, roles = []) {
		const subscription = { _id: randomId(), rid: room._id, t: room.t, name: room.name, u: { _id: user._id, username: user.username }, roles, ts: new Date(), ls: new Date(), open: true, _updatedAt: new Date() };
		this.subscriptions.set(`${room._id}/${user._id}`, subscription);
		return subscription;
	}

	subscription(roomId, userId) {
		return this.subscriptions.get(`${roomId}/${userId}`);
	}

	subscriptionsOf(roomId) {
		return [...this.subscriptions.values()].filter(({ rid }) => rid === roomId);
	}

	canAccess(roomId, user) {
		return this.subscriptions.has(`${roomId}/${user._id}`);
	}

	addUserToRoom(room, user) {
		if (this.canAccess(room._id, user)) return;
		this.#subscribe(room, user);
		this.#enqueue(room, user);
		this.#touch(room);
		this.emit('userJoined', room, user);
		if (room.encrypted) this.emit('keyRequest', room._id);
		this.#systemMessage(room, 'au', user.username, user);
	}

	removeUserFromRoom(room, user) {
		const subscription = this.subscription(room._id, user._id);
		if (!subscription) return;
		this.subscriptions.delete(`${room._id}/${user._id}`);
		this.removed.subscriptions.push({ _id: subscription._id, uid: user._id, _deletedAt: new Date() });
		this.removed.rooms.push({ _id: room._id, uid: user._id, _deletedAt: new Date() });
		this.#leaveQueue(room, user._id);
		this.#touch(room);
		this.#systemMessage(room, 'ru', user.username, user);
		this.emit('userLeft', room, user);
	}

	setEncrypted(room, user, encrypted) {
		if (room.t !== 'p' && room.t !== 'd') throw new MeteorError('error-action-not-allowed');
		if (!this.settings.E2E_Enable) throw new MeteorError('error-action-not-allowed');
		if (room.t !== 'd' && !this.may(user, 'toggle-room-e2e-encryption', room)) throw new MeteorError('error-action-not-allowed');
		if ((room.encrypted ?? false) === encrypted) return;
		room.encrypted = encrypted;
		this.#touch(room);
		this.#systemMessage(room, encrypted ? 'room_e2e_enabled' : 'room_e2e_disabled', user.username, user);
	}

	// ---- key exchange ------------------------------------------------------------------------------------------------

	#enqueue(room, user) {
		if (!room.encrypted || !this.settings.E2E_Enable || !user.e2e?.public_key) return;
		if (this.subscription(room._id, user._id)?.E2EKey) return;
		const others = (room.usersWaitingForE2EKeys ?? []).filter(({ userId }) => userId !== user._id);
		room.usersWaitingForE2EKeys = [...others, { userId: user._id, ts: new Date() }].slice(-QUEUE);
		this.#touch(room);
	}

	#leaveQueue(room, userId) {
		if (!room.usersWaitingForE2EKeys) return;
		room.usersWaitingForE2EKeys = room.usersWaitingForE2EKeys.filter((each) => each.userId !== userId);
		this.#touch(room);
	}

	// The unique sparse index over all subscriptions.
	#storeKey(subscription, field, key) {
		if (field === 'E2EKey') for (const other of this.subscriptions.values()) if (other !== subscription && other.E2EKey === key) throw new MeteorError('E11000 duplicate key');
		subscription[field] = key;
		this.#touch(subscription);
	}

	setAccountKeys(user, { public_key, private_key, force = false }) {
		if (user.e2e?.public_key && !force) throw new MeteorError('error-keys-already-set');
		user.e2e = { public_key, private_key };
		this.emit('accountKeys', user._id);
		for (const subscription of this.subscriptions.values()) {
			const room = this.rooms.get(subscription.rid);
			if (subscription.u._id === user._id && room.encrypted && !subscription.E2EKey) this.#enqueue(room, user);
		}
	}

	setRoomKeyId(roomId, user, keyId) {
		if (!this.canAccess(roomId, user)) throw new MeteorError('error-invalid-room');
		const room = this.rooms.get(roomId);
		if (room.e2eKeyId) throw new MeteorError('error-room-e2e-key-already-exists');
		room.e2eKeyId = keyId;
		this.#touch(room);
	}

	updateGroupKey(roomId, caller, userId, key) {
		if (!this.canAccess(roomId, caller)) return; // silently
		const subscription = this.subscription(roomId, userId);
		if (!subscription) return;
		this.#storeKey(subscription, userId === caller._id ? 'E2EKey' : 'E2ESuggestedKey', key);
		this.#leaveQueue(this.rooms.get(roomId), userId);
		if (userId !== caller._id) this.emit('keysOffered', roomId, userId);
	}

	acceptSuggestedKey(roomId, user) {
		const subscription = this.#offered(roomId, user);
		this.#storeKey(subscription, 'E2EKey', subscription.E2ESuggestedKey);
		if (subscription.suggestedOldRoomKeys && !subscription.oldRoomKeys) subscription.oldRoomKeys = subscription.suggestedOldRoomKeys;
		this.#clearOffer(subscription);
		this.#leaveQueue(this.rooms.get(roomId), user._id);
		this.emit('keysAccepted', roomId, user._id);
	}

	rejectSuggestedKey(roomId, user) {
		this.#clearOffer(this.#offered(roomId, user));
		const room = this.rooms.get(roomId);
		const others = (room.usersWaitingForE2EKeys ?? []).filter(({ userId }) => userId !== user._id);
		room.usersWaitingForE2EKeys = [...others, { userId: user._id, ts: new Date() }].slice(-QUEUE);
		this.#touch(room);
	}

	#offered(roomId, user) {
		const subscription = this.subscription(roomId, user._id);
		if (!subscription) throw new MeteorError('error-subscription-not-found');
		if (!subscription.E2ESuggestedKey) throw new MeteorError('error-no-suggested-key-available');
		return subscription;
	}

	#clearOffer(subscription) {
		delete subscription.E2ESuggestedKey;
		delete subscription.suggestedOldRoomKeys;
		this.#touch(subscription);
	}

	usersWithoutKey(roomId) {
		return this.subscriptionsOf(roomId)
			.filter(({ E2EKey, E2ESuggestedKey, u }) => !E2EKey && !E2ESuggestedKey && this.users.get(u._id).e2e?.public_key)
			.map(({ u }) => ({ _id: u._id, public_key: this.users.get(u._id).e2e.public_key }));
	}

	provideKeys(caller, byRoom) {
		for (const [roomId, users] of Object.entries(byRoom)) {
			if (!this.canAccess(roomId, caller)) continue; // silently
			for (const { _id, key, oldKeys } of users) {
				const subscription = this.subscription(roomId, _id);
				if (!subscription) continue;
				this.#storeKey(subscription, 'E2ESuggestedKey', key);
				if (oldKeys) subscription.suggestedOldRoomKeys = oldKeys;
				this.#leaveQueue(this.rooms.get(roomId), _id);
				this.emit('keysOffered', roomId, _id);
			}
		}
	}

	resetRoomKey(roomId, caller, e2eKey, e2eKeyId) {
		const room = this.rooms.get(roomId);
		if (!this.canAccess(roomId, caller)) throw new MeteorError('error-not-allowed');
		if (!this.may(caller, 'toggle-room-e2e-encryption', room)) throw new MeteorError('unauthorized', { status: 403 });
		if (!caller.e2e?.public_key || !room.e2eKeyId) throw new MeteorError('error-e2e-key-reset-failed');
		const waiting = [];
		for (const subscription of this.subscriptionsOf(roomId)) {
			if (!subscription.E2EKey && !subscription.E2ESuggestedKey) continue;
			if (subscription.E2EKey)
				subscription.oldRoomKeys = [{ e2eKeyId: room.e2eKeyId, ts: new Date(), E2EKey: subscription.E2EKey }, ...(subscription.oldRoomKeys ?? [])].slice(0, OLD_KEYS);
			delete subscription.E2EKey;
			this.#clearOffer(subscription);
			if (subscription.u._id !== caller._id) waiting.push({ userId: subscription.u._id, ts: new Date() });
		}
		room.e2eKeyId = e2eKeyId;
		room.usersWaitingForE2EKeys = waiting.slice(0, QUEUE);
		this.#touch(room);
		this.#storeKey(this.subscription(roomId, caller._id), 'E2EKey', e2eKey);
		this.emit('keyRequest', roomId);
	}

	requestKeys(user) {
		for (const subscription of this.subscriptions.values())
			if (subscription.u._id === user._id && !subscription.E2EKey && this.rooms.get(subscription.rid).encrypted) this.emit('keyRequest', subscription.rid);
	}

	// ---- messages ----------------------------------------------------------------------------------------------------

	#insert(room, message, options = {}) {
		this.messages.set(message._id, message);
		room.msgs++;
		room.lastMessage = message;
		this.#touch(room);
		this.emit('messageSaved', message, room, options);
		return message;
	}

	// Written without the checks of sendMessage, and without an event for apps.
	#systemMessage(room, t, msg, user) {
		const message = { _id: randomId(), rid: room._id, t, msg, ts: new Date(), u: { _id: user._id, username: user.username }, groupable: false, _updatedAt: new Date() };
		this.messages.set(message._id, message);
		room.msgs++;
	}

	// @as: 'user', or 'app' for what an app hands in. Gives undefined for an _id that is there already.
	sendMessage(user, message, { as = 'user' } = {}) {
		const room = this.rooms.get(message.rid);
		if (!room) throw new MeteorError('error-invalid-room');
		if (!this.canAccess(room._id, user) && user.type !== 'app') throw new MeteorError('error-not-allowed');
		for (const [name, type] of [['_id', 'string'], ['msg', 'string'], ['tmid', 'string'], ['alias', 'string'], ['emoji', 'string'], ['tshow', 'boolean']])
			if (message[name] !== undefined && typeof message[name] !== type) throw new MeteorError('invalid-params');
		if (room.encrypted && this.settings.E2E_Enable && !this.settings.E2E_Allow_Unencrypted_Messages && message.t !== 'e2e') throw new MeteorError('error-not-allowed');
		if (message.t !== undefined && message.t !== 'e2e') throw new MeteorError('error-action-not-allowed'); // a system message
		if (message._id !== undefined && this.messages.has(message._id)) return undefined;
		if (message.tmid !== undefined && this.messages.get(message.tmid)?.rid !== room._id) throw new MeteorError('error-invalid-message');
		const ts = message.ts instanceof Date ? message.ts : new Date();
		const saved = {
			...message, _id: message._id ?? randomId(), msg: message.msg ?? '', ts, u: { _id: user._id, username: user.username, name: user.name }, _updatedAt: new Date(), urls: [],
			mentions: this.#mentioned(message.e2eMentions?.e2eUserMentions ?? []), channels: [],
		};
		return this.#insert(room, saved, { as });
	}

	#mentioned(names) {
		return names
			.map((name) => [...this.users.values()].find(({ username }) => `@${username}` === name))
			.filter(Boolean)
			.map(({ _id, username, name }) => ({ _id, username, name, type: 'user' }));
	}

	updateMessage(user, message, changes) {
		const room = this.rooms.get(message.rid);
		if (message.u._id !== user._id && !this.may(user, 'edit-message', room)) throw new MeteorError('error-action-not-allowed');
		Object.assign(message, changes, { editedAt: new Date(), editedBy: { _id: user._id, username: user.username }, _updatedAt: new Date() });
		this.emit('messageUpdated', message, room);
		return message;
	}

	messagesOf(roomId) {
		return [...this.messages.values()].filter(({ rid }) => rid === roomId);
	}
}
