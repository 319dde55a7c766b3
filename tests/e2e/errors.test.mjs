// protocol.md, section 5: each error this version can give, provoked over the socket. After each one the same connection
// serves on, and another client notices nothing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ALL, encryptFor, giveKey, isError, newApp, random, refused, usable } from './lib/actors.mjs';
import { startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const b64 = (n, byte = 7) => Buffer.alloc(n, byte).toString('base64');
const fileKey = { kty: 'oct', k: Buffer.alloc(32, 7).toString('base64url') };
const v2 = (kid, iv, ciphertext) => ({ algorithm: 'rc.v2.aes-sha2', kid, iv, ciphertext });
const v1 = (ciphertext) => ({ algorithm: 'rc.v1.aes-sha2', ciphertext });

describe('errors', { timeout: 900_000 }, () => {
	let daemon, admin, app, quiet, fixed, pair;
	before(async () => {
		daemon = await startDaemon();
		admin = await daemon.admin();
		app = await newApp(daemon, admin, { appId: 'app', roomId: 'room' });
		quiet = await newApp(daemon, admin, { appId: 'quiet', roomId: 'other' });
		await admin.call('authorizeRoom', { appId: 'app', roomId: 'empty', permissions: ALL });
		await admin.call('authorizeRoom', { appId: 'app', roomId: 'reader', permissions: ['read'] });
		await admin.call('authorizeRoom', { appId: 'app', roomId: 'writer', permissions: ['write'] });
		await giveKey(app.client, app.publicKey, 'reader');
		fixed = await encryptFor(quiet, { msg: 'still here' });
		pair = await rc.makeIdentity();
	});
	after(() => daemon.stop());

	const nobodyNoticed = async (client) => {
		await usable(client);
		assert.deepEqual(client.rawFrames(), []);
		assert.equal((await quiet.client.call('decrypt', fixed)).payload.msg, 'still here');
		assert.deepEqual(quiet.client.rawFrames(), []);
	};

	// name, who calls, method, params (or a function that gives them), the error's data beside its reason
	const rows = [
		['METHOD_NOT_FOUND', 'app', 'frobnicate', {}],
		['METHOD_NOT_FOUND', 'admin', 'frobnicate', {}],
		['METHOD_NOT_FOUND', 'app', 'createApp', { appId: 'x' }],
		['METHOD_NOT_FOUND', 'admin', 'encrypt', { roomId: 'room', payload: {} }],

		['INVALID_PARAMS', 'app', 'decrypt', {}, { param: 'roomId' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'room' }, { param: 'content' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 7, content: '' }, { param: 'roomId' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: '', content: '' }, { param: 'roomId' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'r'.repeat(129), content: '' }, { param: 'roomId' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'a\u0007b', content: '' }, { param: 'roomId' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'room', content: 7 }, { param: 'content' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'room', content: [] }, { param: 'content' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'room', content: '', more: 1 }, { param: 'more' }],
		['INVALID_PARAMS', 'app', 'decrypt', { roomId: 'nowhere', content: '', more: 1 }, { param: 'more' }],
		['INVALID_PARAMS', 'app', 'encrypt', { roomId: 'room' }, { param: 'payload' }],
		['INVALID_PARAMS', 'app', 'encrypt', { roomId: 'room', payload: 'text' }, { param: 'payload' }],
		['INVALID_PARAMS', 'app', 'encrypt', { roomId: 'room', payload: [] }, { param: 'payload' }],
		['INVALID_PARAMS', 'app', 'encrypt', { roomId: 'room', payload: null }, { param: 'payload' }],
		['INVALID_PARAMS', 'app', 'decryptMessage', {}, { param: 'message' }],
		['INVALID_PARAMS', 'app', 'decryptMessage', { message: [] }, { param: 'message' }],
		['INVALID_PARAMS', 'app', 'encryptMessage', { message: { msg: 'no rid' } }, { param: 'message' }],
		['INVALID_PARAMS', 'app', 'importRoomKey', { roomId: 'room' }, { param: 'key' }],
		['INVALID_PARAMS', 'app', 'importRoomKey', { roomId: 'room', key: 'x', makeCurrent: 'yes' }, { param: 'makeCurrent' }],
		['INVALID_PARAMS', 'app', 'importRoomKey', { roomId: 'room', key: 'x', kid: 'k'.repeat(65) }, { param: 'kid' }],
		['INVALID_PARAMS', 'app', 'importRoomKey', { roomId: 'room', key: 'x', kid: 'ü' }, { param: 'kid' }],
		['INVALID_PARAMS', 'app', 'importRoomKey', { roomId: 'room', key: 'x', ts: 'yesterday' }, { param: 'ts' }],
		['INVALID_PARAMS', 'app', 'importRoomKey', { roomId: 'room', key: b64(256) }, { param: 'kid' }],
		['INVALID_PARAMS', 'app', 'importRoomKeys', { roomId: 'room', keys: {} }, { param: 'keys' }],
		['INVALID_PARAMS', 'app', 'wrapRoomKey', { roomId: 'room' }, { param: 'recipients' }],
		['INVALID_PARAMS', 'app', 'wrapRoomKey', { roomId: 'room', recipients: [{}] }, { param: 'recipients' }],
		['INVALID_PARAMS', 'app', 'wrapRoomKey',
			{ roomId: 'room', recipients: Array.from({ length: 101 }, (_, i) => ({ _id: `u${i}`, public_key: '' })) }, { param: 'recipients' }],
		['INVALID_PARAMS', 'app', 'getKeyPublication', {}, { param: 'userId' }],
		['INVALID_PARAMS', 'admin', 'createApp', {}, { param: 'appId' }],
		['INVALID_PARAMS', 'admin', 'createApp', { appId: '' }, { param: 'appId' }],
		['INVALID_PARAMS', 'admin', 'createApp', { appId: 'new', name: 7 }, { param: 'name' }],
		['INVALID_PARAMS', 'admin', 'createApp', { appId: 'new', rooms: [{ roomId: 'r' }] }, { param: 'rooms' }],
		['INVALID_PARAMS', 'admin', 'createApp', { appId: 'new', rooms: [{ roomId: 'r', permissions: ['fly'] }] }, { param: 'rooms' }],
		['INVALID_PARAMS', 'admin', 'authorizeRoom', { appId: 'app', roomId: 'r' }, { param: 'permissions' }],
		['INVALID_PARAMS', 'admin', 'authorizeRoom', { appId: 'app', roomId: 'r', permissions: ['fly'] }, { param: 'permissions' }],
		['INVALID_PARAMS', 'admin', 'authorizeRoom', { appId: 'app', roomId: 'r', permissions: 'read' }, { param: 'permissions' }],
		['INVALID_PARAMS', 'admin', 'deauthorizeRoom', { appId: 'app', roomId: 'r', purgeKeys: 1 }, { param: 'purgeKeys' }],
		['INVALID_PARAMS', 'admin', 'exportIdentity', { appId: 'app', userId: 'u', passphrase: 'pässword' }, { param: 'passphrase' }],
		['INVALID_PARAMS', 'admin', 'exportIdentity', { appId: 'app', userId: 'u', passphrase: 'tab\there' }, { param: 'passphrase' }],
		['INVALID_PARAMS', 'admin', 'exportIdentity', { appId: 'app', userId: 'u' }, { param: 'passphrase' }],

		['ROOM_NOT_AUTHORIZED', 'app', 'decrypt', { roomId: 'nowhere', content: '' }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'decrypt', { roomId: 'other', content: '' }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'decrypt', { roomId: 'writer', content: v2('k', '', '') }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'encrypt', { roomId: 'reader', payload: {} }, { permission: 'write' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'decryptMessage', { message: { rid: 'other', t: 'e2e' } }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'encryptMessage', { message: { rid: 'reader', msg: 'x' } }, { permission: 'write' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'createRoomKey', { roomId: 'reader' }, { permission: 'create' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'wrapRoomKey', { roomId: 'reader', recipients: [] }, { permission: 'distribute' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'listRoomKeys', { roomId: 'writer' }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'getEncryptedRoomKey', { roomId: 'writer', kid: 'x' }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'importRoomKey', { roomId: 'nowhere', key: `k${b64(256)}` }, { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'importRoomKeys', { roomId: 'nowhere', keys: [] }, { permission: 'read' }],

		['NO_ROOM_KEY', 'app', 'getEncryptedRoomKey', { roomId: 'empty' }],
		['NO_ROOM_KEY', 'app', 'getEncryptedRoomKey', { roomId: 'room', kid: 'unknown' }, { kid: 'unknown' }],
		['NO_ROOM_KEY', 'app', 'encrypt', { roomId: 'empty', payload: { msg: 'x' } }],
		['NO_ROOM_KEY', 'app', 'encryptMessage', { message: { rid: 'empty', msg: 'x' } }],
		['NO_ROOM_KEY', 'app', 'wrapRoomKey', { roomId: 'empty', recipients: [] }],
		['NO_ROOM_KEY', 'app', 'decrypt', { roomId: 'empty', content: v2('some-kid', b64(12), b64(32)) }, { kid: 'some-kid' }],
		['NO_ROOM_KEY', 'app', 'decrypt', { roomId: 'room', content: v2('some-kid', b64(12), b64(32)) }, { kid: 'some-kid' }],
		['NO_ROOM_KEY', 'app', 'decrypt', { roomId: 'empty', content: v1(`abcdefghijkl${b64(48)}`) }, { kid: 'abcdefghijkl' }],

		['DECRYPT_FAILED', 'app', 'decrypt', async () => {
			const { content } = await encryptFor(app, { msg: 'x' });
			const bytes = Buffer.from(content.ciphertext, 'base64');
			bytes[0] ^= 1;
			return { roomId: 'room', content: { ...content, ciphertext: bytes.toString('base64') } };
		}],
		['DECRYPT_FAILED', 'app', 'decrypt', async () => encryptFor(app, 'no JSON')],
		['DECRYPT_FAILED', 'app', 'decrypt', async () => encryptFor(app, '["an array"]')],
		['DECRYPT_FAILED', 'app', 'decrypt', async () => encryptFor(app, Uint8Array.of(0x7b, 0xff, 0x7d))],
		['DECRYPT_FAILED', 'app', 'decrypt', () => ({ roomId: 'room', content: v2(app.key.kid, b64(16), b64(32)) })],
		['DECRYPT_FAILED', 'app', 'decryptMessage',
			() => ({ message: { _id: 'm', rid: 'room', t: 'e2e', e2e: 'pending', content: v2(app.key.kid, b64(12), b64(32)) } })],

		['UNSUPPORTED_ALGORITHM', 'app', 'decrypt', { roomId: 'room', content: { algorithm: 'rc.v9.rot13', ciphertext: 'x' } }, { algorithm: 'rc.v9.rot13' }],
		['UNSUPPORTED_ALGORITHM', 'app', 'decrypt', { roomId: 'room', content: { algorithm: '' } }, { algorithm: '' }],

		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: {} }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: { algorithm: 7 } }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: '' }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: 'tooshort' }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v1('abcdefghijkl!!!!') }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v1(`abcdefghijkl${b64(16)}`) }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v1(7) }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: { algorithm: 'rc.v2.aes-sha2', kid: 'k', iv: b64(12) } }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v2('k', b64(11), b64(32)) }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v2('k', b64(12), b64(15)) }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v2('k', b64(16), b64(17)) }],
		['MALFORMED_ENVELOPE', 'app', 'decrypt', { roomId: 'room', content: v2('k', b64(12), '*'.repeat(40)) }],
		['MALFORMED_ENVELOPE', 'app', 'decryptMessage', { message: { rid: 'room', t: 'e2e', content: { algorithm: 'rc.v2.aes-sha2' } } }],
		['MALFORMED_ENVELOPE', 'admin', 'importIdentity',
			() => ({ appId: 'app', userId: 'u', public_key: pair.publicText, private_key: '{}', passphrase: 'p' })],
		['MALFORMED_ENVELOPE', 'admin', 'importIdentity', async () => ({ appId: 'app', userId: 'u', public_key: pair.publicText, passphrase: 'p',
			private_key: JSON.stringify({ ...JSON.parse(await seal()), iterations: 999 }) })],
		['MALFORMED_ENVELOPE', 'admin', 'importIdentity', async () => ({ appId: 'app', userId: 'u', public_key: pair.publicText, passphrase: 'p',
			private_key: JSON.stringify({ ...JSON.parse(await seal()), iterations: 2_000_001 }) })],

		['KEY_UNWRAP_FAILED', 'app', 'importRoomKey', { roomId: 'room', key: `kid${b64(256)}` }],
		['KEY_UNWRAP_FAILED', 'app', 'importRoomKey', async () => ({ roomId: 'room', key: await rc.wrapRoomKey(pair.publicText, 'kid', app.key.jwkText) })],
		['KEY_UNWRAP_FAILED', 'app', 'importRoomKey', async () => ({ roomId: 'room', key: await rc.wrapRoomKey(app.publicKey, 'kid', 'no JWK') })],
		['KEY_UNWRAP_FAILED', 'app', 'importRoomKey', async () => ({ roomId: 'room', key: await rc.wrapRoomKey(app.publicKey, 'kid', '{"kty":"oct"}') })],

		['INVALID_KEY', 'admin', 'importIdentity', async () => ({ appId: 'app', userId: 'u', public_key: '{}', private_key: await seal(), passphrase: 'p' })],
		['INVALID_KEY', 'admin', 'importIdentity', async () => ({ appId: 'app', userId: 'u', public_key: app.publicKey, private_key: await seal(), passphrase: 'p' })],
		['DECRYPT_FAILED', 'admin', 'importIdentity', async () => ({ appId: 'app', userId: 'u', public_key: pair.publicText, private_key: await seal(), passphrase: 'wrong' })],

		['METHOD_NOT_FOUND', 'admin', 'fileOpen', { roomId: 'room', mode: 'encrypt', name: 'x' }],
		['UNAUTHENTICATED', 'stranger', 'fileOpen', { roomId: 'room', mode: 'encrypt', name: 'x' }],
		['INVALID_PARAMS', 'app', 'fileOpen', { roomId: 'nowhere', mode: 'sign' }, { param: 'mode' }],
		['INVALID_PARAMS', 'app', 'fileOpen', { roomId: 'nowhere', mode: 'encrypt', name: '' }, { param: 'name' }],
		['INVALID_PARAMS', 'app', 'fileOpen', { roomId: 'nowhere', mode: 'encrypt', name: 'x', iv: b64(16) }, { param: 'iv' }],
		['INVALID_PARAMS', 'app', 'fileOpen', { roomId: 'nowhere', mode: 'decrypt', key: {} }, { param: 'iv' }],
		['INVALID_PARAMS', 'app', 'fileOpen', { roomId: 'nowhere', mode: 'decrypt', key: {}, iv: '', sha256: 'x' }, { param: 'sha256' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'fileOpen', { roomId: 'reader', mode: 'encrypt', name: 'x' }, { permission: 'write' }],
		['ROOM_NOT_AUTHORIZED', 'app', 'fileOpen', { roomId: 'writer', mode: 'decrypt', key: {}, iv: '' }, { permission: 'read' }],
		['INVALID_KEY', 'app', 'fileOpen', { roomId: 'reader', mode: 'decrypt', key: {}, iv: '' }],
		['MALFORMED_ENVELOPE', 'app', 'fileOpen', { roomId: 'reader', mode: 'decrypt', key: fileKey, iv: b64(12) }],
		['INVALID_PARAMS', 'app', 'fileUpdate', { fileId: 'x' }, { param: 'data' }],
		['NOT_FOUND', 'app', 'fileUpdate', { fileId: 'x', data: '!' }],
		['MALFORMED_ENVELOPE', 'app', 'fileUpdate', async () => ({ fileId: await openFile(), data: '!' })],
		['TOO_LARGE', 'app', 'fileUpdate', async () => ({ fileId: await openFile(), data: b64((512 << 10) + 1) }), { limit: 512 << 10 }],
		['NOT_FOUND', 'app', 'fileClose', { fileId: 'x' }],
		['HASH_MISMATCH', 'app', 'fileClose', async () => ({ fileId: await openFile({ mode: 'decrypt', key: fileKey, iv: b64(16), sha256: '0'.repeat(64) }) })],
		['OVERLOADED', 'app', 'fileOpen', async () => {
			while (!(await app.client.request({ method: 'fileOpen', params: { roomId: 'room', mode: 'encrypt', name: 'x' } })).error);
			return { roomId: 'room', mode: 'encrypt', name: 'x' };
		}, { retryAfterMs: 1000 }],
		['SEQ_TOO_OLD', 'app', 'subscribe', { since: 2 ** 53 - 1 }, { oldest: 0 }],
		['SEQ_TOO_OLD', 'admin', 'subscribe', { since: 2 ** 53 - 1 }, { oldest: 0 }],
		['INVALID_PARAMS', 'app', 'subscribe', { since: -1 }, { param: 'since' }],
		['INVALID_PARAMS', 'app', 'subscribe', { since: 'newest' }, { param: 'since' }],
		['METHOD_NOT_FOUND', 'app', 'subscribeAll', {}],

		['NOT_FOUND', 'admin', 'getApp', { appId: 'nobody' }],
		['NOT_FOUND', 'admin', 'resetToken', { appId: 'nobody' }],
		['NOT_FOUND', 'admin', 'listRooms', { appId: 'nobody' }],
		['NOT_FOUND', 'admin', 'authorizeRoom', { appId: 'nobody', roomId: 'r', permissions: ['read'] }],
		['NOT_FOUND', 'admin', 'deauthorizeRoom', { appId: 'nobody', roomId: 'r' }],
		['NOT_FOUND', 'admin', 'deauthorizeRoom', { appId: 'app', roomId: 'nowhere' }],
		['NOT_FOUND', 'admin', 'exportIdentity', { appId: 'nobody', userId: 'u', passphrase: 'p' }],
		['NOT_FOUND', 'admin', 'importIdentity', async () => ({ appId: 'nobody', userId: 'u', public_key: pair.publicText, private_key: await seal(), passphrase: 'p' })],

		['ALREADY_EXISTS', 'admin', 'createApp', { appId: 'app' }],
		['FORBIDDEN', 'app', 'authenticate', { appId: 'app', nonce: b64(32), proof: '0'.repeat(64) }],
		['UNAUTHENTICATED', 'stranger', 'getIdentity', {}],
		['UNSUPPORTED_PROTOCOL', 'stranger', 'hello', { protocol: [2], client: 'x/1' }, { supported: [1] }],
		['AUTHENTICATION_FAILED', 'stranger', 'authenticate', { appId: 'app', nonce: b64(32), proof: '0'.repeat(64) }],
	];
	const openFile = async (params = { mode: 'encrypt', name: 'x' }) => (await app.client.call('fileOpen', { roomId: 'room', ...params })).fileId;
	const seal = () => rc.sealPrivateKey(pair.privateText, { passphrase: 'p', userId: 'u' });

	rows.forEach(([reason, who, method, params, data = {}], i) => {
		const text = typeof params === 'function' ? '…' : JSON.stringify(params);
		test(`${reason}: ${who} ${method} ${text.slice(0, 70)} [${i}]`, async () => {
			const client = who === 'stranger' ? await daemon.stranger() : who === 'admin' ? admin : app.client;
			const before = await admin.call('listApps');
			const answer = await client.request({ method, params: typeof params === 'function' ? await params() : params });
			assert.deepEqual(isError(answer, reason), { reason, ...data });
			await nobodyNoticed(client);
			assert.deepEqual(await admin.call('listApps'), before);
		});
	});

	test('PARSE_ERROR and INVALID_REQUEST', async () => {
		for (const client of [app.client, admin, await daemon.stranger()]) {
			client.send('{"jsonrpc":\n');
			isError(await client.nextFrame(), 'PARSE_ERROR', null);
			client.send('{"jsonrpc":"2.0","id":9}\n');
			isError(await client.nextFrame(), 'INVALID_REQUEST');
			await nobodyNoticed(client);
		}
	});

	test('TOO_LARGE', async () => {
		for (const client of [app.client, admin, await daemon.stranger()]) {
			client.send(`${' '.repeat((1 << 20) + 1)}\n`);
			assert.deepEqual(isError(await client.nextFrame(), 'TOO_LARGE', null), { reason: 'TOO_LARGE', limit: 1 << 20 });
			await nobodyNoticed(client);
		}
	});

	test('importRoomKeys and wrapRoomKey name the reason for each that failed, and serve the others', async () => {
		const key = await rc.makeRoomKey();
		const good = { e2eKeyId: key.kid, E2EKey: await rc.wrapRoomKey(app.publicKey, key.kid, key.jwkText), ts: '2026-01-02T03:04:05.678Z' };
		const { imported, failed } = await app.client.call('importRoomKeys', { roomId: 'room',
			keys: [{ ...good, e2eKeyId: 'bad', E2EKey: `bad${b64(256)}` }, good] });
		assert.deepEqual([imported, failed], [[key.kid], [{ kid: 'bad', reason: 'KEY_UNWRAP_FAILED' }]]);
		const small = await rc.makeIdentity({ modulusLength: 1024 });
		const wrapped = await app.client.call('wrapRoomKey', { roomId: 'room', history: false, recipients: [
			{ _id: 'good', public_key: pair.publicText }, { _id: 'twice', public_key: JSON.stringify(pair.publicText) },
			{ _id: 'none', public_key: 'x' }, { _id: 'small', public_key: small.publicText }] });
		assert.deepEqual(wrapped.users.map((u) => u._id), ['good', 'twice']);
		assert.deepEqual(wrapped.failed, [{ _id: 'none', reason: 'INVALID_KEY' }, { _id: 'small', reason: 'INVALID_KEY' }]);
		for (const user of wrapped.users) {
			assert.deepEqual(Object.keys(user), ['_id', 'key']);
			assert.equal((await rc.unwrapE2EKey(pair.privateText, user.key)).jwkText, app.key.jwkText);
		}
		await nobodyNoticed(app.client);
	});

	test('no error text repeats what the caller sent', async () => {
		const secret = 'hunter2hunter2';
		for (const [client, method, params] of [
			[admin, 'exportIdentity', { appId: 'nobody', userId: 'u', passphrase: secret }],
			[admin, 'exportIdentity', { appId: 'app', userId: 'u', passphrase: `${secret}ü` }],
			[app.client, 'encrypt', { roomId: 'empty', payload: { msg: secret } }],
			[app.client, 'encrypt', { roomId: 'reader', payload: { msg: secret } }],
			[app.client, 'importRoomKey', { roomId: 'room', key: secret }],
			[app.client, 'encryptMessage', { message: { rid: 'nowhere', msg: secret } }],
		]) {
			const answer = await client.request({ method, params });
			assert.ok(answer.error);
			assert.ok(!JSON.stringify(answer).includes('hunter2'), JSON.stringify(answer));
		}
		assert.ok(!daemon.stderr().includes('hunter2'));
	});
});

describe('errors of a daemon in trouble', { timeout: 900_000 }, () => {
	const limitFiles = (daemon, bytes) => execFileSync('prlimit', [`--pid=${daemon.pid}`, `--fsize=${bytes}:unlimited`]);

	test('STORAGE_ERROR: a full disk changes nothing, in memory or on disk', async () => {
		const daemon = await startDaemon();
		try {
			const admin = await daemon.admin();
			const app = await newApp(daemon, admin, { appId: 'app', roomId: 'room' });
			const pair = await rc.makeIdentity();
			const sealed = await rc.sealPrivateKey(pair.privateText, { passphrase: 'p', userId: 'u' });
			const wrapped = async () => {
				const key = await rc.makeRoomKey();
				return { e2eKeyId: key.kid, E2EKey: await rc.wrapRoomKey(app.publicKey, key.kid, key.jwkText), ts: '2026-01-02T03:04:05.678Z' };
			};
			const picture = async (client, adminClient) => JSON.stringify([
				await adminClient.call('listApps'), await adminClient.call('listRooms', { appId: 'app' }),
				await client.call('getIdentity'), await client.call('listRoomKeys', { roomId: 'room' })]);
			const before = await picture(app.client, admin);
			const bytes = readFileSync(daemon.keystorePath);

			const rng = random();
			for (const room of [0, 1, 10, rng.below(200)]) {
				limitFiles(daemon, bytes.length + room);
				const key = await wrapped();
				for (const [client, method, params] of [
					[admin, 'createApp', { appId: 'second', rooms: [{ roomId: 'r', permissions: ['read'] }] }],
					[admin, 'authorizeRoom', { appId: 'app', roomId: `second-${'x'.repeat(100)}`, permissions: ['read'] }],
					[admin, 'deauthorizeRoom', { appId: 'app', roomId: 'room', purgeKeys: true }],
					[admin, 'resetToken', { appId: 'app' }],
					[admin, 'importIdentity', { appId: 'app', userId: 'u', public_key: pair.publicText, private_key: sealed, passphrase: 'p' }],
					[app.client, 'createRoomKey', { roomId: 'room' }],
					[app.client, 'importRoomKey', { roomId: 'room', key: key.E2EKey, makeCurrent: true }],
				]) {
					if (room > 10 && ['authorizeRoom', 'deauthorizeRoom', 'resetToken'].includes(method)) continue; // may fit
					assert.deepEqual(await refused(client.call(method, params), 'STORAGE_ERROR').catch((e) => assert.fail(`${method}: ${e.message}`)),
						{ reason: 'STORAGE_ERROR' });
					assert.equal(await picture(app.client, admin), before, method);
					await daemon.logged(new RegExp(`${method} failed: the keystore .* cannot be written: File too large`));
				}
				const { imported, failed } = await app.client.call('importRoomKeys', { roomId: 'room', keys: [key] })
					.catch((error) => ({ imported: [], failed: [{ kid: key.e2eKeyId, reason: error.reason }] }));
				assert.deepEqual([imported, failed], [[], [{ kid: key.e2eKeyId, reason: 'STORAGE_ERROR' }]]);
				assert.equal(await picture(app.client, admin), before);
			}
			assert.ok(readFileSync(daemon.keystorePath).equals(bytes), 'the keystore file changed');
			assert.equal((await app.client.call('decrypt', await encryptFor(app, { msg: 'read on' }))).payload.msg, 'read on');

			// room again: it goes on without a restart
			limitFiles(daemon, 'unlimited');
			await admin.call('authorizeRoom', { appId: 'app', roomId: 'later', permissions: ['read'] });
			await admin.call('deauthorizeRoom', { appId: 'app', roomId: 'later' });
			assert.ok(statSync(daemon.keystorePath).size > bytes.length);

			await daemon.kill();
			await daemon.restart();
			assert.equal(await picture(await daemon.app('app', app.token), await daemon.admin()), before);
		} finally {
			await daemon.stop();
		}
	});

	test('OVERLOADED: more slow work than the queue holds is refused at once, fast work goes on', async () => {
		const daemon = await startDaemon({ config: { workers: { threads: 1 }, limits: { max_in_flight: 65536 } } });
		try {
			const admin = await daemon.admin();
			const app = await newApp(daemon, admin);
			const quiet = await newApp(daemon, admin);
			const fixed = await encryptFor(quiet, { msg: 'still here' });
			const slow = (id) => `{"jsonrpc":"2.0","id":"s${id}","method":"getKeyPublication","params":{"userId":"u"}}\n`;
			app.client.send(Array.from({ length: 12_000 }, (_, i) => slow(i)).join(''));
			let refusal;
			while ((refusal = await app.client.nextFrame()).result);
			const data = isError(refusal, 'OVERLOADED');
			assert.ok(Number.isInteger(data.retryAfterMs) && data.retryAfterMs > 0);
			await usable(app.client);
			assert.equal((await quiet.client.call('decrypt', fixed)).payload.msg, 'still here');
		} finally {
			await daemon.kill(); // the queue would take minutes
			await daemon.stop();
		}
	});

	test('SHUTTING_DOWN: what was accepted is finished, what comes later is refused', async () => {
		const daemon = await startDaemon({ config: { workers: { threads: 1 } } });
		try {
			const admin = await daemon.admin();
			const app = await newApp(daemon, admin);
			const slow = Array.from({ length: 6 }, () => app.client.call('getKeyPublication', { userId: 'u' }));
			const created = app.client.call('createRoomKey', { roomId: app.roomId });
			await usable(app.client); // all of it has been read
			daemon.signal('SIGTERM');
			let answer;
			while ((answer = await app.client.request({ method: 'ping' })).result);
			isError(answer, 'SHUTTING_DOWN');
			for (const [client, method] of [[admin, 'listApps'], [app.client, 'getIdentity'], [app.client, 'getKeyPublication']])
				isError(await client.request({ method, params: {} }), 'SHUTTING_DOWN');
			await assert.rejects(daemon.stranger()); // nobody new is let in
			for (const result of await Promise.all(slow)) assert.ok(result.private_key);
			const { kid } = await created;
			await Promise.all([app.client.closed, admin.closed]);
			const { code, stderr } = await daemon.exited();
			assert.equal(code, 0, stderr);
			await daemon.restart();
			const again = await daemon.app(app.appId, app.token);
			assert.equal((await again.call('listRoomKeys', { roomId: app.roomId })).keys[0].kid, kid);
		} finally {
			await daemon.stop();
		}
	});
});
