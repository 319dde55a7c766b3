// What the daemon must know after a crash. Every mutation says what it makes of the state of one object; an answer makes that the
// state, STORAGE_ERROR leaves the state as it was, and when the connection ends without an answer, the next look at the daemon has
// to show one or the other, whole. Each object has one mutation under way at a time, so two states are all there can be.
import assert from 'node:assert/strict';
import { ALL } from '../e2e/lib/actors.mjs';
import { ConnectionClosed, RpcError } from '../e2e/lib/client.mjs';
import * as rc from '../e2e/lib/rc.mjs';

const TS = '2026-01-02T03:04:05.678Z';
const KEYS_AT_MOST = 10; // in a room, before it is purged

// Made once, since RSA and wrapping take long: room keys with a message each, and identities with the keys wrapped for them.
export async function makeMaterial() {
	const pairs = await Promise.all(Array.from({ length: 2 }, () => rc.makeIdentity()));
	const keys = [];
	for (let i = 0; i < 40; i++) {
		const { alg, kid, jwkText } = await rc.makeRoomKey(i % 8 === 0 ? 'A128CBC' : 'A256GCM');
		const msg = `message ${i}`;
		keys.push({ kid, algorithm: alg, jwkText, msg, content: await rc.encryptV2(jwkText, kid, { msg }) });
	}
	return { pairs, keys, wrapped: new Map() };
}

async function wrapped(material, publicText, key) {
	const id = `${key.kid} ${publicText}`;
	if (!material.wrapped.has(id)) material.wrapped.set(id, await rc.wrapRoomKey(publicText, key.kid, key.jwkText));
	return material.wrapped.get(id);
}

// state: what was answered last; doubt: what was asked and not answered, as a function of what is seen
export class Thing {
	constructor(state) {
		this.state = state;
		this.doubt = null;
	}

	// @seen is what the daemon says now; @fits compares it to a state.
	settle(seen, fits, what) {
		if (!this.doubt) {
			fits(seen, this.state, what);
			return;
		}
		const after = this.doubt(seen);
		this.doubt = null;
		try {
			fits(seen, this.state, what);
		} catch (before) {
			try {
				fits(seen, after, what);
			} catch (error) {
				error.message = `${what}: neither as before (${before.message}) nor as after what was under way (${error.message})`;
				throw error;
			}
			this.state = after;
		}
	}
}

// { perms: [...] or null, keys: Map(kid -> key), current: kid or null }; a key is one of the material's, or { kid, algorithm }
class Room extends Thing {
	constructor(roomId, perms) {
		super({ perms, keys: new Map(), current: null });
		this.roomId = roomId;
	}
}

function roomFits(seen, state, what) {
	assert.deepEqual(seen.perms && [...seen.perms].sort(), state.perms && [...state.perms].sort(), `${what}: permissions`);
	if (!seen.perms) return;
	assert.deepEqual([...seen.keys.keys()].sort(), [...state.keys.keys()].sort(), `${what}: keys`);
	assert.equal(seen.current, state.current, `${what}: current key`);
	for (const [kid, key] of state.keys) {
		assert.equal(seen.keys.get(kid).algorithm, key.algorithm, `${what}: ${kid}`);
		if (key.ts) assert.deepEqual(seen.keys.get(kid).ts, key.ts, `${what}: ts of ${kid}`);
		assert.equal(seen.keys.get(kid).state, kid === state.current ? 'current' : 'old', `${what}: ${kid}`);
	}
}

// state: { token, identities: [{ keyId, publicText, expires }], revoked: [the same], escrow }, the current one and the one that was revoked
// last first; expires: a grace so short that the key may or may not be there still; escrow: a passphrase, undefined where none was
// ever set; alive: false once the app was revoked
class App extends Thing {
	constructor(appId, { token, keyId, publicKey }, rooms) {
		super({ token, identities: [{ keyId, publicText: publicKey }], revoked: [], alive: true });
		this.appId = appId;
		this.rooms = rooms;
	}

	get publicText() {
		return this.state.identities[0].publicText;
	}
}

function appFits(seen, state, what) {
	assert.equal(seen.alive, state.alive, `${what}: state`);
	if (!seen.alive) return;
	assert.equal(seen.publicText, state.identities[0].publicText, `${what}: public key`);
	const fleeting = state.identities.filter((i) => i.expires).map((i) => i.keyId);
	const lasting = (keyIds) => keyIds.filter((keyId) => !fleeting.includes(keyId));
	assert.deepEqual(lasting(seen.keyIds), lasting(state.identities.map((i) => i.keyId)), `${what}: identities`);
	assert.deepEqual(seen.revokedIds, state.revoked.map((i) => i.keyId), `${what}: revoked identities`);
	if (state.escrow) assert.equal(seen.escrow, state.escrow, `${what}: escrow`);
}

export class Model {
	apps = new Map();
	figures;

	constructor({ rng, material, figures }) {
		Object.assign(this, { rng, material, figures });
	}

	// A copy to go on with from the same keystore.
	copy() {
		const other = new Model(this);
		for (const app of this.apps.values()) {
			const rooms = app.rooms.map((room) => Object.assign(new Room(room.roomId, null), { state: structuredClone(room.state), probe: room.probe }));
			const same = new App(app.appId, {}, rooms);
			same.state = structuredClone(app.state);
			other.apps.set(app.appId, same);
		}
		return other;
	}

	// One mutation of @thing. @next gives the state after it, from the answer or from what is seen later.
	async mutate(thing, call, next) {
		let result;
		assert.equal(thing.doubt, null);
		try {
			result = await call();
		} catch (error) {
			if (error instanceof RpcError && error.reason === 'STORAGE_ERROR') {
				this.figures.refused++;
				return { refused: true };
			}
			if (error instanceof ConnectionClosed) {
				this.figures.unanswered++;
				thing.doubt = (seen) => next(seen, thing.state);
			}
			throw error;
		}
		thing.state = next(result, thing.state);
		this.figures.acknowledged++;
		return { result };
	}

	async createApp({ admin }, appId, roomIds) {
		const app = new App(appId, {}, roomIds.map((roomId) => new Room(roomId, ALL)));
		const rooms = roomIds.map((roomId) => ({ roomId, permissions: ALL }));
		app.state = null;
		this.apps.set(appId, app);
		const done = await this.mutate(app, () => admin.call('createApp', { appId, rooms }), (answer) => ({
			token: answer.token ?? null,
			identities: [{ keyId: answer.keyId ?? answer.keyIds?.[0], publicText: answer.publicKey ?? answer.publicText }],
			revoked: [],
			alive: true,
		}));
		if (done.refused) this.apps.delete(appId);
		return done;
	}

	authorizeRoom({ admin, app }, room, permissions = this.#somePermissions()) {
		return this.mutate(room, () => admin.call('authorizeRoom', { appId: app.appId, roomId: room.roomId, permissions }),
			(_, state) => ({ ...state, perms: permissions }));
	}

	#somePermissions() {
		return this.rng.chance(0.6) ? ALL : ['read', ...ALL.slice(1).filter(() => this.rng.chance(0.5))];
	}

	deauthorizeRoom({ admin, app }, room, purgeKeys = this.rng.chance(0.5)) {
		return this.mutate(room, () => admin.call('deauthorizeRoom', { appId: app.appId, roomId: room.roomId, purgeKeys }),
			(_, state) => (purgeKeys ? { perms: null, keys: new Map(), current: null } : { ...state, perms: null }));
	}

	async createRoomKey({ client }, room) {
		const known = room.state.keys;
		const done = await this.mutate(room, () => client.call('createRoomKey', { roomId: room.roomId }), (answer, state) => {
			const kid = answer.kid ?? answer.current; // what is seen later has the key as the current one
			assert.ok(answer.kid || !known.has(kid) || kid === state.current);
			return { ...state, keys: new Map([...state.keys, [kid, { kid, algorithm: 'A256GCM' }]]), current: kid };
		});
		// what it encrypts now must be read after the crash
		if (done.result && room.state.perms.includes('write')) {
			const key = room.state.keys.get(done.result.kid), msg = `made by the daemon for ${key.kid}`;
			const { content } = await client.call('encrypt', { roomId: room.roomId, payload: { msg } });
			Object.assign(key, { msg, content });
		}
		return done;
	}

	async importRoomKey({ client, app }, room) {
		const key = this.rng.pick(this.material.keys), makeCurrent = this.rng.chance(0.5);
		const e2eKey = await wrapped(this.material, app.publicText, key);
		return this.mutate(room, () => client.call('importRoomKey', { roomId: room.roomId, key: e2eKey, makeCurrent, ts: TS }),
			(_, state) => ({ ...state, keys: new Map([[key.kid, { ...key, ts: TS }], ...state.keys]), current: makeCurrent ? key.kid : state.current }));
	}

	// One transaction: all keys of it or none.
	async importRoomKeys({ client, app }, room) {
		const keys = this.rng.times(this.rng.between(2, 6), () => this.rng.pick(this.material.keys));
		const list = await Promise.all(keys.map(async (key) => ({ e2eKeyId: key.kid, E2EKey: await wrapped(this.material, app.publicText, key), ts: TS })));
		return this.mutate(room, () => client.call('importRoomKeys', { roomId: room.roomId, keys: list }), (answer, state) => {
			assert.deepEqual(answer.failed ?? [], []);
			return { ...state, keys: new Map([...keys.map((key) => [key.kid, { ...key, ts: TS }]), ...state.keys]) };
		});
	}

	resetToken({ admin, app }) {
		return this.mutate(app, () => admin.call('resetToken', { appId: app.appId }),
			(answer, state) => ({ ...state, token: answer.token ?? null }));
	}

	// Back and forth between two key pairs, so that a retired one comes back, too.
	async importIdentity({ admin, app }) {
		const pair = this.material.pairs.find((p) => p.publicText !== app.publicText);
		const private_key = await rc.sealPrivateKey(pair.privateText, { passphrase: 'p', userId: 'u' });
		const params = { appId: app.appId, userId: 'u', public_key: pair.publicText, private_key, passphrase: 'p' };
		return this.mutate(app, () => admin.call('importIdentity', params), (answer, state) => ({
			...state,
			identities: [{ keyId: answer.keyId ?? answer.keyIds?.[0], publicText: pair.publicText },
				...state.identities.filter((i) => i.publicText !== pair.publicText)],
		}));
	}

	// @end: what becomes of the former key
	async #rotate({ admin, app }, params, end) {
		return this.mutate(app, () => admin.call('rotate', { appId: app.appId, ...params }), (answer, state) => ({
			...state,
			identities: [{ keyId: answer.keyId ?? answer.keyIds?.[0], publicText: answer.publicKey ?? answer.publicText },
				...end(state.identities[0]), ...state.identities.slice(1)],
		}));
	}

	rotate(at) {
		return this.#rotate(at, {}, (former) => [former]);
	}

	rotateAtOnce(at) {
		return this.#rotate(at, { graceSeconds: 0 }, () => []);
	}

	rotateBriefly(at) {
		return this.#rotate(at, { graceSeconds: 1 }, (former) => [{ ...former, expires: true }]);
	}

	revokeKey({ admin, app }) {
		const retired = this.rng.pick(app.state.identities.slice(1));
		return this.mutate(app, () => admin.call('revokeKey', { appId: app.appId, keyId: retired.keyId }), (_, state) => ({
			...state,
			identities: state.identities.filter((i) => i !== retired),
			revoked: [retired, ...state.revoked],
		}));
	}

	setEscrow({ admin, app }, passphrase) {
		return this.mutate(app, () => admin.call('setEscrow', { appId: app.appId, passphrase }), (_, state) => ({ ...state, escrow: passphrase }));
	}

	// Any change of an app's identities.
	mutateIdentities(at) {
		const roll = this.rng.next();
		if (roll < 0.5) return this.importIdentity(at);
		if (roll < 0.75 || at.app.state.identities.length < 2) return roll < 0.9 ? this.rotate(at) : this.rotateAtOnce(at);
		return this.revokeKey(at);
	}

	// A key that the app has in a room, by which its identities are tried.
	async plantProbe({ client, app }, room) {
		const [key] = this.material.keys;
		const e2eKey = await wrapped(this.material, app.publicText, key);
		room.probe = key;
		return this.mutate(room, () => client.call('importRoomKey', { roomId: room.roomId, key: e2eKey, ts: TS }),
			(_, state) => ({ ...state, keys: new Map([...state.keys, [key.kid, { ...key, ts: TS }]]) }));
	}

	revokeApp({ admin, app }) {
		return this.mutate(app, () => admin.call('revokeApp', { appId: app.appId }), (_, state) => ({ ...state, alive: false }));
	}

	// Any mutation that the room's state allows.
	mutateRoom(at, room) {
		const { perms, keys } = room.state;
		if (!perms) return this.authorizeRoom(at, room);
		if (keys.size > KEYS_AT_MOST) return this.deauthorizeRoom(at, room, true);
		const roll = this.rng.next();
		if (roll < 0.15) return this.authorizeRoom(at, room);
		if (roll < 0.3) return this.deauthorizeRoom(at, room);
		if (roll < 0.5 && perms.includes('create')) return this.createRoomKey(at, room);
		return roll < 0.75 ? this.importRoomKey(at, room) : this.importRoomKeys(at, room);
	}

	// All that can be asked, against all that is known. A token in doubt is settled by trying it.
	async check(daemon, admin) {
		const listed = new Set((await admin.call('listApps')).apps.map((a) => a.appId));
		for (const app of this.apps.values()) {
			if (!app.state && !listed.has(app.appId)) this.apps.delete(app.appId); // was never made
		}
		assert.deepEqual([...listed].sort(), [...this.apps.keys()].sort(), 'apps');
		for (const app of this.apps.values()) await this.#checkApp(daemon, admin, app);
	}

	async #checkApp(daemon, admin, app) {
		const got = await admin.call('getApp', { appId: app.appId });
		const idsOf = (revoked) => got.identities.filter((i) => (i.state === 'revoked') === revoked).map((i) => i.keyId);
		const seen = { alive: got.state === 'active', keyIds: idsOf(false), revokedIds: idsOf(true) };
		let client = null;
		if (seen.alive) {
			client = await this.#connect(daemon, admin, app);
			seen.publicText = (await client.call('getIdentity')).publicKey;
			seen.escrow = await this.#findEscrow(client, app);
		}
		if (!app.state) [app.state, app.doubt] = [app.doubt(seen), null]; // made, whole or not is what follows
		app.settle(seen, appFits, app.appId);
		if (!client) {
			assert.deepEqual(got.rooms, [], `${app.appId} is revoked`);
			return;
		}
		await this.#checkIdentities(client, admin, app);
		const rooms = new Map((await admin.call('listRooms', { appId: app.appId })).rooms.map((r) => [r.roomId, r]));
		const known = new Set(app.rooms.map((room) => room.roomId));
		for (const roomId of rooms.keys()) assert.ok(known.has(roomId), `${app.appId}: ${roomId} comes from nowhere`);
		await Promise.all(app.rooms.map((room) => this.#checkRoom(client, app, room, rooms.get(room.roomId))));
		await client.close();
	}

	// Which of the passphrases it may be.
	async #findEscrow(client, app) {
		const could = [app.state?.escrow, app.state && app.doubt?.({}).escrow].filter(Boolean);
		if (!could.length) return undefined;
		const { private_key } = await client.call('getKeyPublication', { userId: 'u' });
		for (const passphrase of could) {
			if (await rc.openPrivateKey(private_key, { passphrase, userId: 'u' }).catch(() => null)) return passphrase;
		}
		return null;
	}

	// By what only the keys can do: those that are there unwrap, those that were destroyed do not.
	async #checkIdentities(client, admin, app) {
		const room = app.rooms.find(({ probe }) => probe);
		if (!room) return;
		const opens = async ({ publicText }) => {
			const key = await wrapped(this.material, publicText, room.probe);
			const error = await client.call('importRoomKey', { roomId: room.roomId, key }).then(() => null, (e) => e);
			if (error) assert.equal(error.reason, 'KEY_UNWRAP_FAILED', error.stack);
			return !error;
		};
		const fleeting = app.state.identities.filter((i) => i.expires);
		for (const { keyId } of fleeting) { // it ends, whatever has happened
			while ((await admin.call('getApp', { appId: app.appId })).identities.some((i) => i.keyId === keyId)) continue;
		}
		app.state.identities = app.state.identities.filter((i) => !i.expires);
		for (const identity of app.state.identities.slice(0, 4)) assert.ok(await opens(identity), `${app.appId}: ${identity.keyId} does not unwrap`);
		const gone = [...fleeting, ...app.state.revoked].filter(({ publicText }) => !app.state.identities.some((i) => i.publicText === publicText));
		for (const identity of gone.slice(0, 3)) assert.ok(!await opens(identity), `${app.appId}: ${identity.keyId} still unwraps`);
	}

	async #connect(daemon, admin, app) {
		if (!app.doubt) return daemon.app(app.appId, app.state.token);
		try {
			if (app.state) return await daemon.app(app.appId, app.state.token);
		} catch (error) {
			if (!(error instanceof RpcError) || error.reason !== 'AUTHENTICATION_FAILED' || app.doubt({}).token !== null) throw error;
		}
		// there is a token that nobody has been told
		const { token } = await admin.call('resetToken', { appId: app.appId });
		const known = app.state, doubt = app.doubt;
		app.doubt = known ? null : (seen) => ({ ...doubt(seen), token });
		if (known) app.state = { ...known, token };
		return daemon.app(app.appId, token);
	}

	async #checkRoom(client, app, room, listed) {
		const what = `${app.appId} ${room.roomId}`, seen = { perms: listed?.permissions ?? null, current: listed?.currentKid ?? null };
		if (seen.perms) {
			const { keys } = await client.call('listRoomKeys', { roomId: room.roomId });
			assert.equal(keys.length, listed.keys, what);
			seen.keys = new Map(keys.map((key) => [key.kid, key]));
		}
		room.settle(seen, roomFits, what);
		if (!seen.perms) return;
		await Promise.all([...room.state.keys.values()].filter((key) => key.content).map(async (key) => {
			const { kid, payload } = await client.call('decrypt', { roomId: room.roomId, content: key.content });
			assert.equal(kid, key.kid, what);
			assert.equal(payload.msg, key.msg, what);
			this.figures.decrypted++;
		}));
	}
}
