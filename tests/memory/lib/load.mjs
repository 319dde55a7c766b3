// What a daemon goes through before its memory is searched: every method that touches a secret, in both kinds of room, and the
// ways in which requests go wrong. Each secret is noted as it is made or seen.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ALL, refused } from '../../e2e/lib/actors.mjs';
import { ROOT } from '../../e2e/lib/daemon.mjs';
import * as rc from '../../e2e/lib/rc.mjs';

const random = (n = 24) => Buffer.from(rc.randomBytes(n)).toString('base64url');

// A text that can be told from any other by any piece of it, and is noted as a plaintext.
const plaintext = (secrets, app, length = 48) => {
	const text = random();
	secrets.text(app, 'plaintext', text + text);
	return text.repeat(Math.ceil(length / text.length));
};

const passphrase = (secrets, app, text = random()) => {
	secrets.passphrase(app, text);
	return text;
};

// What the file of the keystore and its key hold: the daemon's own secrets and the keys that it made itself.
export function noteKeystore(daemon, secrets) {
	const { path, key_file } = daemon.config.keystore;
	const digits = readFileSync(key_file, 'latin1').trim();
	const reader = join(ROOT, 'tests/keystore/reader.mjs');
	const { header, records } = JSON.parse(execFileSync(process.execPath, [reader, '--secrets', path, key_file],
		{ maxBuffer: 1 << 30, encoding: 'utf8' }));
	secrets.text('keystore', 'key file', digits);
	secrets.add('keystore', 'key of the key file', Buffer.from(digits, 'hex'));
	secrets.add('keystore', 'data key', Buffer.from(header.dek, 'hex'));
	for (const [name, hex] of Object.entries(header.derived)) secrets.add('keystore', `${name} key`, Buffer.from(hex, 'hex'));
	for (const r of records) {
		for (const { jwk } of r.keys ?? []) secrets.roomKey(r.appId, jwk); // of changes and of snapshots
		if (r.token) secrets.token(r.appId, `e2eed1_${Buffer.from(r.token, 'base64').toString('base64url')}`);
	}
}

async function exported(admin, secrets, appId) {
	const pass = passphrase(secrets, appId);
	const { private_key } = await admin.call('exportIdentity', { appId, userId: 'export', passphrase: pass });
	secrets.privateKey(appId, await rc.openPrivateKey(private_key, { passphrase: pass, userId: 'export' }));
	await secrets.envelope(appId, private_key, pass);
}

async function importIdentities(admin, secrets, appId) {
	const { publicText, privateText } = await rc.makeIdentity();
	const call = async (pass, given, form) => {
		const envelope = await rc.sealPrivateKey(privateText, { passphrase: pass, userId: 'u', ...form });
		if ((form.form ?? 'v2') === 'v2') await secrets.envelope(appId, envelope, pass);
		return admin.call('importIdentity', { appId, userId: 'u', public_key: publicText, private_key: envelope, passphrase: given });
	};
	secrets.privateKey(appId, privateText);
	const [v2, v1, umlauts, wrong] = [0, 1, 2, 3].map((i) => passphrase(secrets, appId, i === 2 ? `äöüßé${random()}ÿø` : random()));
	await refused(call(v2, wrong, {}), 'DECRYPT_FAILED');
	await call(v2, v2, {});
	await call(v1, v1, { form: 'v1' });
	await call(umlauts, umlauts, { form: 'v1', encoding: 'latin1' });
	return publicText;
}

// A key of its own for each; the last one imported stays the current one.
async function importKeys(client, secrets, { appId, roomId, publicText, alg }) {
	const keys = [];
	for (let i = 0; i < 6; i++) {
		const key = await rc.makeRoomKey(alg, { order: i % 2 ? 'mobile' : 'web' });
		secrets.roomKey(appId, key.jwkText);
		keys.push({ ...key, e2eKey: await rc.wrapRoomKey(publicText, key.kid, key.jwkText) });
	}
	const [current, ...old] = keys.reverse();
	await client.call('importRoomKey', { roomId, key: current.e2eKey, makeCurrent: true });
	const history = old.map(({ kid, e2eKey }) => ({ e2eKeyId: kid, E2EKey: e2eKey, ts: '2026-01-01T00:00:00.000Z' }));
	const { imported } = await client.call('importRoomKeys', { roomId, keys: history });
	assert.equal(imported.length, old.length);
	// a JWK that is a key but no room key, and a text that is none
	const odd = { ...JSON.parse(current.jwkText), alg: 'A192GCM', k: random(32) };
	secrets.text(appId, 'key that was refused', odd.k);
	for (const text of [JSON.stringify(odd), JSON.stringify(odd).slice(0, -1)])
		await refused(client.call('importRoomKey', { roomId, key: await rc.wrapRoomKey(publicText, 'odd-kid-0000', text) }), 'KEY_UNWRAP_FAILED');
	return keys;
}

async function exchange(client, secrets, { appId, roomId, keys }) {
	const { jwkText, kid } = keys[0];
	const sizes = [16, 48, 3000, 60_000, 400_000]; // the last goes to the pool
	for (const size of sizes) {
		const msg = plaintext(secrets, appId, size);
		const sealed = await rc.encryptV2(jwkText, kid, { msg });
		assert.equal((await client.call('decrypt', { roomId, content: sealed })).payload.msg, msg);
		const message = { _id: rc.uuid(), rid: roomId, t: 'e2e', e2e: 'pending', content: sealed };
		assert.equal((await client.call('decryptMessage', { message })).message.msg, msg);
		const { content } = await client.call('encrypt', { roomId, payload: { msg: plaintext(secrets, appId, size) } });
		await client.call('decrypt', { roomId, content });
		await client.call('encryptMessage', { message: { _id: rc.uuid(), rid: roomId, msg: plaintext(secrets, appId, size),
			attachments: [{ description: plaintext(secrets, appId) }] } });
	}
	for (const key of keys) { // by the right kid, and by none that is known: every key is tried
		const payload = { msg: plaintext(secrets, appId) };
		await client.call('decrypt', { roomId, content: await rc.encryptV2(key.jwkText, key.kid, payload) });
		await client.call('decrypt', { roomId, content: await rc.encryptV2(key.jwkText, 'no-such-kid0', payload) });
	}
	const content = await rc.encryptV2(jwkText, kid, { msg: plaintext(secrets, appId) });
	const broken = { ...content, ciphertext: `AAAA${content.ciphertext.slice(4)}` };
	await client.request({ method: 'decrypt', params: { roomId, content: broken } });
	// in a batch: fast ones alone, and with a slow one, which takes all of it to the pool
	const fast = await Promise.all([1, 2, 3].map(async () => ({ method: 'decrypt', params: { roomId,
		content: await rc.encryptV2(jwkText, kid, { msg: plaintext(secrets, appId) }) } })));
	await client.batch(fast);
	await client.batch([...fast, { method: 'getEncryptedRoomKey', params: { roomId } }]);
	return content;
}

const distribute = async (client, roomId) => {
	const { publicText } = await rc.makeIdentity();
	const recipients = [{ _id: 'a', public_key: publicText }, { _id: 'b', public_key: JSON.stringify(publicText) }, { _id: 'c', public_key: '{}' }];
	const { users, failed } = await client.call('wrapRoomKey', { roomId, recipients });
	assert.deepEqual([users.length, failed.length], [2, 1]);
};

// Frames that arrive in pieces, and peers that go away in the middle of one: those leave plaintext half read.
async function inPieces(daemon, secrets, { appId, token, roomId, keys }) {
	const client = await daemon.app(appId, token);
	const payload = { msg: plaintext(secrets, appId, 600) };
	const request = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'encrypt', params: { roomId, payload } });
	const answer = client.answerTo(1);
	for (let i = 0; i < request.length; i += 97) {
		client.send(request.slice(i, i + 97));
		await new Promise((resolve) => setImmediate(resolve)); // so that it does not leave as one
	}
	client.send('\n');
	assert.ok((await answer).result);
	// in so many pieces, and with such an answer, that the connection has had its share of the turn
	for (let i = 0; i < 4; i++) await client.call('encrypt', { roomId, payload: { msg: plaintext(secrets, appId, 190_000) } });
	for (const method of ['encrypt', 'decrypt']) {
		const leaver = await daemon.app(appId, token);
		const params = method === 'encrypt' ? { roomId, payload: { msg: plaintext(secrets, appId, 100_000) } }
			: { roomId, content: await rc.encryptV2(keys[0].jwkText, keys[0].kid, { msg: plaintext(secrets, appId, 200_000) }) };
		const frame = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
		leaver.send(method === 'encrypt' ? frame.slice(0, frame.length / 2) : `${frame}\n`);
		await new Promise((resolve) => leaver.socket.write('', resolve));
		await leaver.close();
	}
	return client;
}

// One app with its rooms: { appId, clients } with the connections still open.
async function oneApp(daemon, admin, secrets, appId) {
	const rooms = ['A256GCM', 'A128CBC'].map((alg) => ({ alg, roomId: `${appId}-${alg}` }));
	const made = await admin.call('createApp', { appId, rooms: rooms.map(({ roomId }) => ({ roomId, permissions: ALL })) });
	secrets.token(appId, made.token);
	await exported(admin, secrets, appId);
	await (await daemon.app(appId, made.token)).close();
	const { token } = await admin.call('resetToken', { appId });
	secrets.token(appId, token);
	const publicText = await importIdentities(admin, secrets, appId);
	const clients = [];
	for (let i = 0; i < 4; i++) clients.push(await daemon.app(appId, token));
	const wrong = await daemon.stranger();
	await refused(wrong.authenticate(appId, made.token), 'AUTHENTICATION_FAILED');
	clients.push(wrong);
	for (const { alg, roomId } of rooms) {
		const keys = await importKeys(clients[0], secrets, { appId, roomId, publicText, alg });
		await exchange(clients[1], secrets, { appId, roomId, keys });
		clients.push(await inPieces(daemon, secrets, { appId, token, roomId, keys }));
		await distribute(clients[2], roomId);
		await clients[2].call('getKeyPublication', { userId: 'u' });
		await clients[2].call('getEncryptedRoomKey', { roomId, kid: keys.at(-1).kid });
		await clients[3].call('createRoomKey', { roomId });
		await clients[3].call('encrypt', { roomId, payload: { msg: plaintext(secrets, appId) } });
	}
	await exported(admin, secrets, appId);
	return { appId, token, clients };
}

// Two apps, one after the other; then everything is answered and what was closed is gone.
export async function load(daemon, admin, secrets) {
	const apps = [];
	for (const appId of ['custody-a', 'custody-b']) apps.push(await oneApp(daemon, admin, secrets, appId));
	noteKeystore(daemon, secrets);
	const open = apps.reduce((n, { clients }) => n + clients.length, 1);
	await atRest(admin, open);
	return apps;
}

// The daemon has noticed that connections are gone, and has finished the turn in which it answered last.
export async function atRest(admin, connections) {
	while ((await admin.call('getStatus')).connections !== connections) continue;
	await admin.call('ping');
}
