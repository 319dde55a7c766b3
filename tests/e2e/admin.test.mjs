// protocol.md, section 4: what an admin asks and changes, and the shapes of the answers, both roles' status included.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ALL, giveKey, newApp, refused } from './lib/actors.mjs';
import { startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TOKEN = /^e2eed1_[A-Za-z0-9_-]{43}$/;
const WEEK_MS = 604_800_000;

describe('admin', { timeout: 900_000 }, () => {
	let daemon, admin, serial = 0;
	const fresh = (options) => newApp(daemon, admin, { appId: `app-${++serial}`, key: false, ...options });
	const entry = async (appId) => (await admin.call('listApps')).apps.find((a) => a.appId === appId);

	before(async () => {
		daemon = await startDaemon();
		admin = await daemon.admin();
	});
	after(() => daemon.stop());

	describe('createApp', () => {
		test('gives a token, a key and its public half as Rocket.Chat stores it', async () => {
			const before = Date.now();
			const made = await admin.call('createApp', { appId: 'made', name: 'Ein Näme',
				rooms: [{ roomId: 'r2', permissions: ['write', 'read'] }, { roomId: 'r1', permissions: ALL }] });
			assert.deepEqual(Object.keys(made).sort(), ['appId', 'keyId', 'publicKey', 'token']);
			assert.match(made.token, TOKEN);
			assert.match(made.keyId, UUID);
			const jwk = JSON.parse(made.publicKey);
			assert.deepEqual(Object.entries(jwk).filter(([k]) => k !== 'n'),
				[['alg', 'RSA-OAEP-256'], ['e', 'AQAB'], ['ext', true], ['key_ops', ['encrypt']], ['kty', 'RSA']]);
			assert.equal(JSON.stringify(jwk), made.publicKey);
			assert.equal(Buffer.from(jwk.n, 'base64url').length, 256);

			const listed = await entry('made');
			assert.match(listed.createdAt, TIME);
			assert.ok(Date.parse(listed.createdAt) >= before - 1 && Date.parse(listed.createdAt) <= Date.now());
			assert.deepEqual(listed, { appId: 'made', name: 'Ein Näme', state: 'active', keyId: made.keyId, createdAt: listed.createdAt, rooms: 2 });
			const { identities, rooms, ...rest } = await admin.call('getApp', { appId: 'made' });
			assert.deepEqual(rest, { appId: 'made', name: 'Ein Näme', state: 'active', createdAt: listed.createdAt, lastUsedAt: null });
			assert.deepEqual(identities.map(({ createdAt, ...i }) => i), [{ keyId: made.keyId, state: 'current', expiresAt: null }]);
			assert.deepEqual(rooms.map((r) => [r.roomId, [...r.permissions].sort(), r.keys, r.currentKid]).sort(),
				[['r1', [...ALL].sort(), 0, null], ['r2', ['read', 'write'], 0, null]]);
			assert.deepEqual((await admin.call('listRooms', { appId: 'made' })).rooms, rooms);
		});

		test('takes any id of 1 to 128 bytes without control characters', async () => {
			for (const appId of ['x', 'ä'.repeat(64), 'a b/c\\d"e\'f:𝄞', '__proto__', '0']) {
				const { token } = await admin.call('createApp', { appId });
				const client = await daemon.app(appId, token);
				assert.equal((await client.call('getIdentity')).appId, appId);
				assert.equal((await entry(appId)).appId, appId);
				await refused(admin.call('createApp', { appId }), 'ALREADY_EXISTS');
			}
			for (const appId of ['', 'a\nb', 'a\u007fb', 'a\u0085b', `${'ä'.repeat(64)}x`, 7, null, {}])
				assert.equal((await refused(admin.call('createApp', { appId }), 'INVALID_PARAMS')).param, 'appId');
		});

		test('for one id only one of many at once succeeds', async () => {
			const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => admin.call('createApp', { appId: 'raced' })));
			const won = outcomes.filter((o) => o.status === 'fulfilled');
			assert.equal(won.length, 1);
			for (const o of outcomes) if (o.status === 'rejected') assert.equal(o.reason.reason, 'ALREADY_EXISTS');
			assert.equal((await entry('raced')).keyId, won[0].value.keyId);
			await daemon.app('raced', won[0].value.token);
		});
	});

	test('lastUsedAt tells of the last session', async () => {
		const before = Date.now();
		const app = await fresh();
		const { lastUsedAt } = await admin.call('getApp', { appId: app.appId });
		assert.match(lastUsedAt, TIME);
		assert.ok(Date.parse(lastUsedAt) >= before - 1 && Date.parse(lastUsedAt) <= Date.now());
	});

	describe('rooms', () => {
		test('a grant replaces the earlier one, with effect on sessions that are open', async () => {
			const app = await fresh();
			await giveKey(app.client, app.publicKey, app.roomId);
			const answer = await admin.call('authorizeRoom', { appId: app.appId, roomId: app.roomId, permissions: ['read'] });
			assert.deepEqual(answer, { roomId: app.roomId, permissions: ['read'] });
			assert.equal((await refused(app.client.call('encrypt', { roomId: app.roomId, payload: {} }), 'ROOM_NOT_AUTHORIZED')).permission, 'write');
			await app.client.call('listRoomKeys', { roomId: app.roomId });
			await admin.call('authorizeRoom', { appId: app.appId, roomId: app.roomId, permissions: ['write'] });
			await app.client.call('encrypt', { roomId: app.roomId, payload: {} });
			assert.equal((await refused(app.client.call('listRoomKeys', { roomId: app.roomId }), 'ROOM_NOT_AUTHORIZED')).permission, 'read');
			assert.deepEqual((await admin.call('listRooms', { appId: app.appId })).rooms.map((r) => [r.roomId, r.permissions]), [[app.roomId, ['write']]]);
		});

		test('each permission stands alone', async () => {
			const app = await fresh();
			await giveKey(app.client, app.publicKey, app.roomId);
			const { roomId } = app;
			const { content } = await app.client.call('encrypt', { roomId, payload: {} });
			const calls = [['read', 'listRoomKeys', { roomId }], ['read', 'getEncryptedRoomKey', { roomId }], ['read', 'decrypt', { roomId, content }],
				['read', 'importRoomKeys', { roomId, keys: [] }], ['read', 'decryptMessage', { message: { rid: roomId } }],
				['write', 'encrypt', { roomId, payload: {} }], ['write', 'encryptMessage', { message: { rid: roomId, msg: 'x' } }],
				['distribute', 'wrapRoomKey', { roomId, recipients: [] }], ['create', 'createRoomKey', { roomId }]];
			for (const granted of ALL) {
				await admin.call('authorizeRoom', { appId: app.appId, roomId, permissions: [granted] });
				for (const [permission, method, params] of calls) {
					if (permission === granted) await app.client.call(method, params);
					else assert.equal((await refused(app.client.call(method, params), 'ROOM_NOT_AUTHORIZED')).permission, permission);
				}
			}
		});

		test('deauthorizeRoom keeps the keys for a later grant, unless they are purged', async () => {
			const app = await fresh();
			const key = await giveKey(app.client, app.publicKey, app.roomId);
			const params = { appId: app.appId, roomId: app.roomId };
			assert.deepEqual(await admin.call('deauthorizeRoom', params), {});
			await refused(app.client.call('listRoomKeys', { roomId: app.roomId }), 'ROOM_NOT_AUTHORIZED');
			assert.deepEqual((await admin.call('listRooms', { appId: app.appId })).rooms, []);
			await refused(admin.call('deauthorizeRoom', params), 'NOT_FOUND');
			await admin.call('authorizeRoom', { ...params, permissions: ALL });
			assert.deepEqual((await admin.call('listRooms', { appId: app.appId })).rooms,
				[{ roomId: app.roomId, permissions: (await admin.call('authorizeRoom', { ...params, permissions: ALL })).permissions, keys: 1, currentKid: key.kid }]);
			await admin.call('deauthorizeRoom', { ...params, purgeKeys: true });
			await admin.call('authorizeRoom', { ...params, permissions: ALL });
			assert.deepEqual((await app.client.call('listRoomKeys', { roomId: app.roomId })).keys, []);
			await refused(app.client.call('getEncryptedRoomKey', { roomId: app.roomId }), 'NO_ROOM_KEY');
		});

		test('one app\'s grants and keys are not another\'s', async () => {
			const [a, b] = [await fresh({ roomId: 'shared' }), await fresh({ roomId: 'shared' })];
			await giveKey(a.client, a.publicKey, 'shared');
			assert.equal((await a.client.call('listRoomKeys', { roomId: 'shared' })).keys.length, 1);
			assert.equal((await b.client.call('listRoomKeys', { roomId: 'shared' })).keys.length, 0);
			await admin.call('deauthorizeRoom', { appId: b.appId, roomId: 'shared' });
			assert.equal((await a.client.call('listRoomKeys', { roomId: 'shared' })).keys.length, 1);
		});

		test('many rooms', async () => {
			const app = await fresh();
			const ids = Array.from({ length: 300 }, (_, i) => `many-${String(i).padStart(4, '0')}`);
			await Promise.all(ids.map((roomId) => admin.call('authorizeRoom', { appId: app.appId, roomId, permissions: ['read'] })));
			assert.deepEqual((await admin.call('listRooms', { appId: app.appId })).rooms.map((r) => r.roomId).sort(), [...ids, app.roomId].sort());
			assert.equal((await app.client.call('getStatus')).rooms, 301);
		});
	});

	describe('identities', () => {
		test('importIdentity adopts a pair, and the former key retires for a week', async () => {
			const app = await fresh();
			const under = await rc.makeRoomKey();
			const wrappedForOld = await rc.wrapRoomKey(app.publicKey, under.kid, under.jwkText);
			const pair = await rc.makeIdentity();
			const private_key = await rc.sealPrivateKey(pair.privateText, { passphrase: 'korrekt', userId: 'bot' });
			const { keyId, ...rest } = await admin.call('importIdentity',
				{ appId: app.appId, userId: 'bot', public_key: JSON.stringify(pair.publicText), private_key, passphrase: 'korrekt' });
			assert.deepEqual(rest, {});
			assert.match(keyId, UUID);
			const identity = await app.client.call('getIdentity');
			assert.deepEqual([identity.keyId, identity.publicKey], [keyId, pair.publicText]);
			const { e, n } = JSON.parse(pair.publicText);
			assert.equal(identity.fingerprint, await rc.sha256Hex(JSON.stringify({ e, kty: 'RSA', n })));
			const [{ retiredAt, expiresAt, ...old }, ...more] = identity.retired;
			assert.deepEqual([old, more], [{ keyId: app.keyId }, []]);
			assert.equal(Date.parse(expiresAt) - Date.parse(retiredAt), WEEK_MS);
			assert.equal((await entry(app.appId)).keyId, keyId);
			const { identities } = await admin.call('getApp', { appId: app.appId });
			assert.deepEqual(identities.map((i) => [i.keyId, i.state, i.expiresAt]), [[keyId, 'current', null], [app.keyId, 'retired', expiresAt]]);

			// in grace, what was wrapped for the old key can still be taken in; what the daemon wraps is for the new one
			await app.client.call('importRoomKey', { roomId: app.roomId, key: wrappedForOld, makeCurrent: true });
			const own = await app.client.call('getEncryptedRoomKey', { roomId: app.roomId });
			assert.deepEqual(await rc.unwrapE2EKey(pair.privateText, own.key), { kid: under.kid, jwkText: under.jwkText });
		});

		test('exportIdentity gives what a client can open, and what can be imported elsewhere', async () => {
			const app = await fresh();
			const passphrase = ' !"#$%&\'()*+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~';
			const exported = await admin.call('exportIdentity', { appId: app.appId, userId: 'bot', passphrase });
			assert.deepEqual(Object.keys(exported).sort(), ['private_key', 'public_key']);
			assert.equal(exported.public_key, app.publicKey);
			const envelope = JSON.parse(exported.private_key);
			assert.deepEqual(Object.keys(envelope).sort(), ['ciphertext', 'iterations', 'iv', 'salt']);
			assert.equal(envelope.iterations, 100_000);
			assert.match(envelope.salt, /^v2:bot:[0-9a-f-]{36}$/);
			const privateText = await rc.openPrivateKey(exported.private_key, { passphrase, userId: 'bot' });
			assert.equal(rc.publicOf(privateText), app.publicKey);
			await assert.rejects(rc.openPrivateKey(exported.private_key, { passphrase: `${passphrase}x`, userId: 'bot' }));

			const other = await fresh();
			await admin.call('importIdentity', { appId: other.appId, userId: 'bot', passphrase, ...exported });
			assert.equal((await other.client.call('getIdentity')).publicKey, app.publicKey);
		});

		test('getKeyPublication seals for nobody', async () => {
			const app = await fresh();
			const [first, second] = [await app.client.call('getKeyPublication', { userId: 'bot' }), await app.client.call('getKeyPublication', { userId: 'bot' })];
			for (const { public_key, private_key, ...rest } of [first, second]) {
				assert.deepEqual(rest, {});
				assert.equal(public_key, app.publicKey);
				assert.deepEqual(Object.keys(JSON.parse(private_key)).sort(), ['ciphertext', 'iterations', 'iv', 'salt']);
			}
			assert.notEqual(first.private_key, second.private_key);
		});
	});

	describe('status', () => {
		test('of the daemon', async () => {
			const { keystore, memory, workers, ...status } = await admin.call('getStatus');
			assert.match(status.version, /^\d+\.\d+\.\d+$/);
			if (!process.env.E2EED_WRAP) assert.equal(status.pid, daemon.pid);
			assert.match(status.startedAt, TIME);
			assert.equal(status.state, 'ready');
			assert.deepEqual(status.problems, []);
			assert.ok(status.connections >= 1);
			assert.equal(status.apps, (await admin.call('listApps')).apps.length);
			assert.deepEqual([keystore.path, keystore.seal], [daemon.keystorePath, 'keyfile']);
			assert.equal(keystore.bytes, readFileSync(daemon.keystorePath).length);
			for (const name of ['generation', 'records', 'seq']) assert.ok(Number.isInteger(keystore[name]) && keystore[name] >= 0, name);
			assert.ok(['all', 'arena', 'none'].includes(memory.mlock));
			assert.ok(Number.isInteger(memory.lockedBytes));
			assert.equal(workers.loops, 1);
			assert.ok(workers.threads >= 1 && Number.isInteger(workers.queued));
		});

		test('counts what changes', async () => {
			const before = await admin.call('getStatus');
			const app = await fresh();
			await giveKey(app.client, app.publicKey, app.roomId);
			const after = await admin.call('getStatus');
			assert.equal(after.apps, before.apps + 1);
			assert.equal(after.roomKeys, before.roomKeys + 1);
			assert.equal(after.connections, before.connections + 1);
			assert.ok(after.keystore.seq > before.keystore.seq && after.keystore.records > before.keystore.records && after.keystore.bytes > before.keystore.bytes);
			const own = await app.client.call('getStatus');
			assert.deepEqual(own, { appId: app.appId, server: own.server, protocol: 1, rooms: 1, roomKeys: 1, seq: own.seq });
			assert.match(own.server, /^e2eed\/\d+\.\d+\.\d+$/);
		});
	});

	// What it tells has to agree with what is answered.
	test('rpc.discover describes exactly the methods of the caller\'s role', async () => {
		const app = await fresh();
		const expected = {
			admin: ['authorizeRoom', 'createApp', 'deauthorizeRoom', 'exportIdentity', 'getApp', 'getStatus', 'importIdentity', 'listAppRoomKeys', 'listApps', 'listRooms',
				'resetToken', 'revokeApp', 'revokeKey', 'rotate', 'setEscrow'],
			app: ['createRoomKey', 'decrypt', 'decryptMessage', 'encrypt', 'encryptMessage', 'getEncryptedRoomKey', 'getIdentity', 'getKeyPublication',
				'getStatus', 'importRoomKey', 'importRoomKeys', 'listRoomKeys', 'wrapRoomKey'],
		};
		for (const [role, client] of [['admin', admin], ['app', app.client]]) {
			const document = await client.call('rpc.discover');
			assert.match(document.openrpc, /^1\.\d+\.\d+$/);
			assert.equal(document.info.title, 'e2eed');
			const names = document.methods.map((m) => m.name);
			assert.equal(new Set(names).size, names.length);
			for (const name of [...expected[role], 'ping', 'hello', 'rpc.discover']) assert.ok(names.includes(name), `${role}: ${name}`);
			const others = expected[role === 'app' ? 'admin' : 'app'].filter((name) => !expected[role].includes(name));
			for (const name of others) assert.ok(!names.includes(name), `${role}: ${name}`);
			for (const method of document.methods) {
				assert.equal(typeof method.result, 'object');
				const required = method.params.filter((p) => p.required);
				if (!required.length || ['hello', 'authenticate'].includes(method.name)) continue;
				assert.equal((await refused(client.call(method.name, {}), 'INVALID_PARAMS')).param, required[0].name);
				const unknown = await refused(client.call(method.name, { 'no such parameter': 1 }), 'INVALID_PARAMS');
				assert.equal(unknown.param, 'no such parameter');
			}
		}
	});
});
