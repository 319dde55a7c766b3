// A room's life with an app in it, told by its members: Alice and Bob are WebCrypto clients that do what Rocket.Chat's web client
// does, the server is an object that keeps what Rocket.Chat's server keeps, and the app is whoever speaks to the daemon.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ALL, refused } from './actors.mjs';
import { ConnectionClosed } from './client.mjs';
import { ROOT } from './daemon.mjs';
import * as rc from './rc.mjs';

const READER = join(ROOT, 'tests/keystore/reader.mjs');

// What the server keeps of one room and its members: ciphertexts, wrapped keys, public keys.
class Server {
	room = { _id: 'GENERAL', encrypted: true, e2eKeyId: undefined };
	users = new Map(); // id -> { public_key, private_key }
	subscriptions = new Map(); // id -> { E2EKey, E2ESuggestedKey, oldRoomKeys, suggestedOldRoomKeys }
	messages = [];

	publish(id, keys) {
		this.users.set(id, keys);
		if (!this.subscriptions.has(id)) this.subscriptions.set(id, {});
	}

	post(u, fields) {
		const message = { _id: rc.uuid(), rid: this.room._id, t: 'e2e', e2e: 'pending', msg: '', ts: new Date().toISOString(), u: { _id: u }, ...fields };
		this.messages.push(message);
		return message;
	}
}

// A member with a web client.
class Member {
	ring = []; // { kid, jwkText, ts }, the current one first
	said = [];

	constructor(server, id, pair) {
		Object.assign(this, { server, id, pair });
	}

	static async join(server, id, { encodeTwice = false } = {}) {
		const member = new Member(server, id, await rc.makeIdentity());
		const { publicText, privateText } = member.pair;
		const private_key = await rc.sealPrivateKey(privateText, { passphrase: `${id}'s words`, userId: id });
		server.publish(id, { public_key: encodeTwice ? JSON.stringify(publicText) : publicText, private_key });
		return member;
	}

	// Makes the room's (next) key: the ones before go into the history.
	async resetRoomKey(alg) {
		const key = await rc.makeRoomKey(alg);
		this.ring.unshift({ ...key, ts: new Date().toISOString() });
		this.server.room.e2eKeyId = key.kid;
		this.server.subscriptions.get(this.id).E2EKey = await rc.wrapRoomKey(this.pair.publicText, key.kid, key.jwkText);
		return key;
	}

	// Suggests the keys to another member, who has published a public key.
	async suggestTo(id) {
		const { public_key } = this.server.users.get(id);
		const [current, ...old] = this.ring;
		const wrap = ({ kid, jwkText }) => rc.wrapRoomKey(public_key, kid, jwkText);
		Object.assign(this.server.subscriptions.get(id), {
			E2ESuggestedKey: await wrap(current),
			suggestedOldRoomKeys: await Promise.all(old.map(async (key) => ({ e2eKeyId: key.kid, ts: key.ts, E2EKey: await wrap(key) }))),
		});
	}

	// Takes the keys suggested to it, all of them.
	async acceptKeys() {
		const { E2ESuggestedKey, suggestedOldRoomKeys = [] } = this.server.subscriptions.get(this.id);
		const take = async ({ E2EKey, ts }) => ({ ...(await rc.unwrapE2EKey(this.pair.privateText, E2EKey)), ts });
		this.ring = await Promise.all([{ E2EKey: E2ESuggestedKey }, ...suggestedOldRoomKeys].map(take));
	}

	async say(msg, { era = 'v2', ...more } = {}) {
		const [{ kid, jwkText }] = this.ring;
		const payload = { msg, ...more };
		this.said.push(payload);
		if (era === 'v2') return this.server.post(this.id, { content: await rc.encryptV2(jwkText, kid, payload) });
		const content = await rc.encryptV1(jwkText, kid, payload);
		return this.server.post(this.id, era === 'legacy' ? { msg: content.ciphertext } : { content });
	}

	// Everything in the room, as its screen shows it.
	async read() {
		return Promise.all(this.server.messages.map(async ({ content, msg }) => {
			const { kid } = rc.splitContent(content ?? msg);
			const key = this.ring.find((k) => k.kid === kid);
			assert.ok(key, `${this.id} has no key ${kid}`);
			return JSON.parse(await rc.decryptContent(key.jwkText, content ?? msg));
		}));
	}
}

// What the app's own secrets are, by the reader that shares no code with the daemon.
async function secretsOf(daemon, appId) {
	const { stdout } = await promisify(execFile)(process.execPath, [READER, '--secrets', daemon.keystorePath, daemon.config.keystore.key_file],
		{ maxBuffer: 1 << 28 });
	const { records } = JSON.parse(stdout);
	const text = JSON.stringify(records.filter((record) => record.appId === appId));
	return { shown: stdout, secrets: text.match(/(?<="(?:token|appKey|pkcs8|jwk|escrow)":)"(?:[^"\\]|\\.)*"/g) ?? [] };
}

// @connect(appId, token): an authenticated connection of the app; @step(text): what has happened. @memory, if given, is told what to
// search the daemon's memory for while it is there, know(), and asked to when it must be gone, search().
export async function play({ daemon, admin, connect, step, memory = null }) {
	const server = new Server();
	const alice = await Member.join(server, 'alice');
	const rid = server.room._id;

	// ---- before there was an app
	await alice.resetRoomKey('A128CBC');
	await alice.say('In the old days a message was its own ciphertext.', { era: 'legacy' });
	await alice.say('Then it had an envelope.', { era: 'v1' });
	await alice.resetRoomKey('A256GCM');
	await alice.say('And now it has a nonce of its own ☃.', { attachments: [{ title: 'plan.pdf', description: 'not for everyone' }] });
	step(`Alice wrote ${server.messages.length} messages under 2 room keys`);

	// ---- the app joins by a suggested key
	const made = await admin.call('createApp', { appId: 'archive', rooms: [{ roomId: rid, permissions: ALL }] });
	const app = await connect('archive', made.token);
	const everything = async () => {
		const read = [];
		for (const message of server.messages) {
			const shown = await app.call('decryptMessage', { message });
			assert.equal(shown.message.e2e, 'done');
			read.push(shown.message);
		}
		return read;
	};
	const joinBySuggestion = async () => {
		const { E2ESuggestedKey, suggestedOldRoomKeys } = server.subscriptions.get('archive');
		const kept = await app.call('importRoomKey', { roomId: rid, key: E2ESuggestedKey, kid: server.room.e2eKeyId, makeCurrent: true });
		assert.equal(kept.state, 'current');
		const { failed } = await app.call('importRoomKeys', { roomId: rid, keys: suggestedOldRoomKeys });
		assert.deepEqual(failed, []);
		server.subscriptions.get('archive').E2EKey = (await app.call('getEncryptedRoomKey', { roomId: rid })).key;
	};
	server.publish('archive', await app.call('getKeyPublication', { userId: 'archive' }));
	await alice.suggestTo('archive');
	await joinBySuggestion();
	const same = (shown, payloads) => assert.deepEqual(shown.map(({ msg, attachments }) => ({ msg, ...(attachments && { attachments }) })), payloads);
	same(await everything(), alice.said);
	await alice.say('Welcome, archive.');
	same(await everything(), alice.said);
	step('the app joined by a suggested key and reads old and new');

	// ---- it writes, and is read
	const { message: own } = await app.call('encryptMessage', { message: { _id: rc.uuid(), rid, msg: 'I keep what was said.' } });
	server.post('archive', { content: own.content });
	assert.equal((await alice.read()).at(-1).msg, 'I keep what was said.');
	alice.said.push({ msg: 'I keep what was said.' });

	// ---- a member resets the room key
	await alice.resetRoomKey('A256GCM');
	await alice.say('Someone left; from here on another key.');
	await refused(app.call('decryptMessage', { message: server.messages.at(-1) }), 'NO_ROOM_KEY');
	await alice.suggestTo('archive');
	await joinBySuggestion();
	same(await everything(), alice.said);
	assert.equal((await app.call('listRoomKeys', { roomId: rid })).keys.length, 3);
	step('the room key was reset; the app has the new one and its history still decrypts');

	// ---- the app's identity is rotated
	await admin.call('setEscrow', { appId: 'archive', passphrase: 'jacaranda pith oxbow' });
	const wraps = []; // the same room key, wrapped for each identity the app has had
	const wrapFor = async (publicText) => {
		const key = await rc.makeRoomKey();
		wraps.push(await rc.wrapRoomKey(publicText, key.kid, key.jwkText));
		return wraps.at(-1);
	};
	const opens = (key) => app.call('importRoomKey', { roomId: rid, key });
	const old = await wrapFor(made.publicKey);
	const first = await admin.call('rotate', { appId: 'archive' });
	assert.equal(first.previousKeyId, made.keyId);
	server.publish('archive', await app.call('getKeyPublication', { userId: 'archive' }));
	const published = server.users.get('archive');
	assert.equal(published.public_key, first.publicKey);
	const privateText = await rc.openPrivateKey(published.private_key, { passphrase: 'jacaranda pith oxbow', userId: 'archive' });
	assert.equal(rc.publicOf(privateText), first.publicKey);
	await opens(old);
	await alice.suggestTo('archive');
	await joinBySuggestion();
	same(await everything(), alice.said);
	step('the identity was rotated and published; a wrap for the former key still unwraps in its grace');

	const brief = await wrapFor(first.publicKey);
	const second = await admin.call('rotate', { appId: 'archive', graceSeconds: 1 });
	assert.equal(second.previousKeyId, first.keyId);
	for (let retired = [null]; retired.some((id) => id === null || id.keyId === first.keyId);)
		({ retired } = await app.call('getIdentity'));
	await refused(opens(brief), 'KEY_UNWRAP_FAILED');
	await opens(await wrapFor(made.publicKey)); // that one's grace is another
	await admin.call('revokeKey', { appId: 'archive', keyId: made.keyId });
	await refused(opens(old), 'KEY_UNWRAP_FAILED');
	await opens(await wrapFor(second.publicKey));
	same(await everything(), alice.said);
	step('a grace ended and a key was revoked; wraps for both are refused, and what was read before still is');

	// ---- it hands keys to a new member
	const bob = await Member.join(server, 'bob', { encodeTwice: true });
	const recipients = [{ _id: 'bob', public_key: server.users.get('bob').public_key }, { _id: 'mallory', public_key: '{"kty":"RSA"}' }];
	const handed = await app.call('wrapRoomKey', { roomId: rid, recipients });
	assert.deepEqual(handed.failed, [{ _id: 'mallory', reason: 'INVALID_KEY' }]);
	assert.deepEqual(handed.users.map(({ _id }) => _id), ['bob']);
	Object.assign(server.subscriptions.get('bob'), { E2ESuggestedKey: handed.users[0].key, suggestedOldRoomKeys: handed.users[0].oldKeys });
	await bob.acceptKeys();
	same(await bob.read(), alice.said);
	await bob.say('Thank you, archive.');
	alice.said.push(bob.said[0]);
	same(await everything(), alice.said);
	same(await alice.read(), alice.said);
	step('the app handed its keys to Bob, who reads everything');

	// ---- it is revoked
	const before = await secretsOf(daemon, 'archive');
	assert.ok(before.secrets.length > 6);
	await memory?.know({ token: made.token, rooms: alice.ring, privateText, passphrase: 'jacaranda pith oxbow' });
	const idle = await connect('archive', made.token);
	await admin.call('revokeApp', { appId: 'archive' });
	for (const session of [app, idle]) {
		await assert.rejects(session.call('decrypt', { roomId: rid, content: server.messages.at(-1).content }),
			(error) => error instanceof ConnectionClosed || error.reason === 'UNAUTHENTICATED');
		await session.closed;
	}
	await refused(connect('archive', made.token), 'AUTHENTICATION_FAILED');
	await refused(admin.call('createApp', { appId: 'archive' }), 'ALREADY_EXISTS');
	for (const [method, params] of [['rotate', {}], ['resetToken', {}], ['setEscrow', { passphrase: null }], ['authorizeRoom', { roomId: rid, permissions: ALL }],
		['revokeKey', { keyId: second.keyId }], ['exportIdentity', { userId: 'archive', passphrase: 'x' }]])
		await refused(admin.call(method, { appId: 'archive', ...params }), 'FORBIDDEN');
	const after = await secretsOf(daemon, 'archive');
	assert.deepEqual(after.secrets, []);
	for (const secret of before.secrets) assert.ok(!after.shown.includes(secret), 'a secret of the revoked app is still in the keystore');
	await memory?.search();
	same(await bob.read(), alice.said); // the others go on
	step(`the app was revoked: its sessions are closed, and of ${before.secrets.length} secrets none can be used or found`);
}
