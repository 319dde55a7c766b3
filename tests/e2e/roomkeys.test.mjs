// Room keys: docs/protocol.md, section 3, method by method. WebCrypto wraps what comes in and opens what goes out.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import * as rc from './lib/rc.mjs';
import { ALL, openScene, refused } from './lib/scene.mjs';

let scene, app, ada;

const list = async (roomId) => (await app.call('listRoomKeys', { roomId })).keys;
const kids = async (roomId) => (await list(roomId)).map((key) => key.kid);
const states = async (roomId) => (await list(roomId)).map((key) => key.state);
const currentKid = async (roomId) => (await app.call('encrypt', { roomId, payload: {} })).content.kid;
const entry = async (key, ts, publicKey) =>
	({ e2eKeyId: key.kid, E2EKey: await app.wrap(key, publicKey), ...(ts === undefined ? {} : { ts }) });

describe('room keys', () => {
	before(async () => {
		scene = await openScene();
		[app, ada] = await Promise.all([scene.newApp({ identity: await scene.identity() }), scene.identity(1)]);
	});
	after(() => scene.close());

	// ---- importRoomKey ----

	test('importRoomKey: a new key joins the history, makeCurrent makes it current', async () => {
		const roomId = await app.newRoom();
		const [first, second, third] = await Promise.all([0, 1, 2].map(() => rc.makeRoomKey()));
		assert.deepEqual(await app.giveKey(roomId, first), { kid: first.kid, algorithm: 'A256GCM', state: 'old' });
		await refused(app.call('encrypt', { roomId, payload: {} }), 'NO_ROOM_KEY');
		assert.equal((await app.giveKey(roomId, second, { makeCurrent: true })).state, 'current');
		assert.equal(await currentKid(roomId), second.kid);
		assert.equal((await app.giveKey(roomId, third, { makeCurrent: false })).state, 'old');
		assert.equal(await currentKid(roomId), second.kid);
		assert.deepEqual(await states(roomId), ['current', 'old', 'old']);
		assert.equal((await app.giveKey(roomId, third, { makeCurrent: true })).state, 'current');
		assert.equal(await currentKid(roomId), third.kid);
		assert.deepEqual(await states(roomId), ['current', 'old', 'old']);
	});

	test('importRoomKey: algorithm is the key\'s', async () => {
		const roomId = await app.newRoom();
		for (const alg of ['A256GCM', 'A128CBC'])
			assert.equal((await app.giveKey(roomId, await rc.makeRoomKey(alg))).algorithm, alg);
		assert.deepEqual((await list(roomId)).map((key) => key.algorithm).sort(), ['A128CBC', 'A256GCM']);
	});

	test('importRoomKey: a known key is no error, and keeps its state without makeCurrent', async () => {
		const { roomId, ...key } = await app.roomWithKey();
		assert.equal((await app.giveKey(roomId, key)).state, 'current');
		const other = await rc.makeRoomKey();
		assert.equal((await app.giveKey(roomId, other)).state, 'old');
		assert.equal((await app.giveKey(roomId, other)).state, 'old');
		assert.deepEqual(await kids(roomId), [key.kid, other.kid]);
	});

	test('importRoomKey: one kid with two keys keeps both; one key under two kids is two entries', async () => {
		const roomId = await app.newRoom();
		const [one, two] = await Promise.all([0, 1].map(() => rc.makeRoomKey('A256GCM', { kid: 'same' })));
		await app.giveKey(roomId, one);
		await app.giveKey(roomId, two, { makeCurrent: true });
		assert.deepEqual(await kids(roomId), ['same', 'same']);
		await app.giveKey(roomId, { ...one, kid: 'another' });
		assert.equal((await list(roomId)).length, 3);
		const current = await app.call('getEncryptedRoomKey', { roomId, kid: 'same' });
		assert.equal((await rc.unwrapE2EKey(app.privateText, current.key)).jwkText, two.jwkText, 'the newest of that kid');
	});

	test('importRoomKey: what was wrapped for a retired identity still opens, and leaves for the new one', async () => {
		const it = await scene.newApp();
		const former = it.publicKey;
		const roomId = await it.newRoom();
		const key = await rc.makeRoomKey();
		await it.adopt(await scene.identity());
		assert.notEqual(it.publicKey, former);
		const imported = await it.call('importRoomKey', { roomId, key: await it.wrap(key, former), makeCurrent: true });
		assert.equal(imported.kid, key.kid);
		const own = await it.call('getEncryptedRoomKey', { roomId });
		assert.deepEqual(await rc.unwrapE2EKey(it.privateText, own.key), { kid: key.kid, jwkText: key.jwkText });
	});

	test('importRoomKey: what it refuses, and that nothing changes then', async () => {
		const { roomId } = await app.roomWithKey();
		const before = await list(roomId);
		const fresh = await rc.makeRoomKey();
		const good = await app.wrap(fresh);
		const bad = [
			[{ key: '' }, 'MALFORMED_ENVELOPE'],
			[{ key: good.slice(-343) }, 'MALFORMED_ENVELOPE'],
			[{ key: `${good.slice(0, -1)}!` }, 'MALFORMED_ENVELOPE'],
			[{ key: `${'k'.repeat(65)}${good.slice(-344)}` }, 'MALFORMED_ENVELOPE'],
			[{ key: `\u00e9${good.slice(-344)}` }, 'MALFORMED_ENVELOPE'],
			[{ key: good.slice(-344) }, 'INVALID_PARAMS', { param: 'kid' }],
			[{ key: `${fresh.kid}${rc.toBase64(rc.randomBytes(256))}` }, 'KEY_UNWRAP_FAILED'],
			[{ key: `${fresh.kid}${rc.toBase64(new Uint8Array(256))}` }, 'KEY_UNWRAP_FAILED'],
			[{ key: `${fresh.kid}${rc.toBase64(new Uint8Array(256).fill(255))}` }, 'KEY_UNWRAP_FAILED'],
			[{ key: await app.wrap(fresh, ada.publicText) }, 'KEY_UNWRAP_FAILED'],
			[{}, 'INVALID_PARAMS', { param: 'key' }],
			[{ key: 5 }, 'INVALID_PARAMS', { param: 'key' }],
			[{ key: good, kid: 'k'.repeat(65) }, 'INVALID_PARAMS', { param: 'kid' }],
			[{ key: good, kid: 'k\u0001' }, 'INVALID_PARAMS', { param: 'kid' }],
			[{ key: good, makeCurrent: 'yes' }, 'INVALID_PARAMS', { param: 'makeCurrent' }],
			[{ key: good, ts: 5 }, 'INVALID_PARAMS', { param: 'ts' }],
			[{ key: good, ts: {} }, 'INVALID_PARAMS', { param: 'ts' }],
			[{ key: good, ts: 'yesterday' }, 'INVALID_PARAMS', { param: 'ts' }],
			[{ key: good, makecurrent: true }, 'INVALID_PARAMS', { param: 'makecurrent' }],
		];
		for (const [params, reason, data] of bad)
			await refused(app.call('importRoomKey', { roomId, makeCurrent: true, ...params }), reason, data);
		assert.deepEqual(await list(roomId), before);
	});

	// ---- importRoomKeys ----

	test('importRoomKeys: history that never changes the current key; known keys count as imported', async () => {
		const { roomId, ...current } = await app.roomWithKey();
		const old = await Promise.all([0, 1, 2].map(() => rc.makeRoomKey()));
		const keys = await Promise.all([...old, current, old[0]].map((key) => entry(key)));
		const { imported, failed } = await app.call('importRoomKeys', { roomId, keys });
		assert.deepEqual(imported, [...old, current, old[0]].map((key) => key.kid));
		assert.deepEqual(failed, []);
		assert.deepEqual((await kids(roomId)).sort(), [...old, current].map((key) => key.kid).sort());
		assert.equal(await currentKid(roomId), current.kid);
		const again = await app.call('importRoomKeys', { roomId, keys });
		assert.equal(again.imported.length, 5);
		assert.equal((await list(roomId)).length, 4);

		const empty = await app.newRoom();
		await app.call('importRoomKeys', { roomId: empty, keys });
		assert.ok((await states(empty)).every((state) => state === 'old'));
		await refused(app.call('encrypt', { roomId: empty, payload: {} }), 'NO_ROOM_KEY');
		assert.deepEqual(await app.call('importRoomKeys', { roomId: empty, keys: [] }), { imported: [], failed: [] });
	});

	test('importRoomKeys: e2eKeyId is the kid, whatever the prefix', async () => {
		const roomId = await app.newRoom();
		const [a, b] = await Promise.all([0, 1].map(() => rc.makeRoomKey()));
		const keys = [{ e2eKeyId: 'room-a', E2EKey: await app.wrap({ ...a, kid: 'prefix' }) },
			{ e2eKeyId: 'room-b', E2EKey: await app.wrap({ ...b, kid: '' }) }];
		assert.deepEqual((await app.call('importRoomKeys', { roomId, keys })).imported, ['room-a', 'room-b']);
		assert.deepEqual((await kids(roomId)).sort(), ['room-a', 'room-b']);
	});

	test('importRoomKeys: entries that fail are named with their reason, the others are kept', async () => {
		const roomId = await app.newRoom();
		const [good, foreign, wrong, late] = await Promise.all([0, 1, 2, 3].map(() => rc.makeRoomKey()));
		const unfit = { kid: 'unfit', jwkText: wrong.jwkText.replace('A256GCM', 'A128GCM') };
		const keys = [
			await entry(foreign, undefined, ada.publicText),
			await entry(good, '2025-01-01T00:00:00.000Z'),
			{ e2eKeyId: 'short', E2EKey: 'too-short' },
			{ e2eKeyId: 'base64', E2EKey: `base64${'!'.repeat(344)}` },
			await entry(unfit),
			await entry(late),
		];
		const { imported, failed } = await app.call('importRoomKeys', { roomId, keys });
		assert.deepEqual(imported, [good.kid, late.kid]);
		assert.deepEqual(failed, [
			{ kid: foreign.kid, reason: 'KEY_UNWRAP_FAILED' }, { kid: 'short', reason: 'MALFORMED_ENVELOPE' },
			{ kid: 'base64', reason: 'MALFORMED_ENVELOPE' }, { kid: 'unfit', reason: 'KEY_UNWRAP_FAILED' },
		]);
		assert.deepEqual((await kids(roomId)).sort(), [good.kid, late.kid].sort());
	});

	// ---- order, and the time given back ----

	test('listRoomKeys: the current key first, then by ts, or by the time of import', async () => {
		const { roomId, kid } = await app.roomWithKey();
		const now = Date.now();
		const hour = 3_600_000;
		const stamped = [
			['2021-06-01T00:00:00.000Z', 4], [{ $date: Date.parse('2023-01-01T00:00:00Z') }, 2],
			['2022-01-01T00:00:00Z', 3], [new Date(now + hour).toISOString(), 0], [undefined, 1],
		];
		const keys = [];
		const expected = [];
		for (const [ts, place] of stamped) {
			const key = await rc.makeRoomKey();
			keys.push(await entry(key, ts));
			expected[place] = { kid: key.kid, algorithm: 'A256GCM', state: 'old', ...(ts === undefined ? {} : { ts }) };
		}
		await app.call('importRoomKeys', { roomId, keys });
		const all = await list(roomId);
		assert.equal(all[0].kid, kid);
		assert.deepEqual(all.slice(1), expected);
	});

	test('ts comes back as it came, from every method that shows it', async () => {
		const roomId = await app.newRoom();
		for (const ts of ['2024-10-01T00:00:00.000Z', '2024-10-01T00:00:00Z', { $date: 1727740800000 }]) {
			const key = await rc.makeRoomKey();
			await app.giveKey(roomId, key, { ts });
			assert.deepEqual((await app.call('getEncryptedRoomKey', { roomId, kid: key.kid })).ts, ts);
			assert.deepEqual((await list(roomId)).find((one) => one.kid === key.kid).ts, ts);
		}
		const plain = await rc.makeRoomKey();
		await app.giveKey(roomId, plain);
		assert.ok(!('ts' in await app.call('getEncryptedRoomKey', { roomId, kid: plain.kid })));
	});

	// ---- createRoomKey, getEncryptedRoomKey ----

	test('createRoomKey: a fresh key under a UUID; the former one becomes old', async () => {
		const roomId = await app.newRoom();
		const made = [];
		for (let i = 0; i < 3; i++) {
			const { kid, key, ...rest } = await app.call('createRoomKey', { roomId });
			assert.deepEqual(rest, {});
			assert.match(kid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
			assert.equal(key.length, 36 + 344);
			const opened = await rc.unwrapE2EKey(app.privateText, key);
			assert.equal(opened.kid, kid);
			assert.equal(await currentKid(roomId), kid);
			made.push(opened);
		}
		assert.equal(new Set(made.map((key) => key.jwkText)).size, 3);
		assert.deepEqual(await states(roomId), ['current', 'old', 'old']);
		assert.deepEqual(await kids(roomId), made.map((key) => key.kid).reverse());
	});

	test('getEncryptedRoomKey: the current key, or the newest with the kid, as it stands', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey('A128CBC');
		const old = await rc.makeRoomKey();
		await app.giveKey(roomId, old, { ts: '2024-01-01T00:00:00.000Z' });
		const { key, ...current } = await app.call('getEncryptedRoomKey', { roomId });
		assert.deepEqual(current, { roomId, kid, algorithm: 'A128CBC', state: 'current' });
		assert.deepEqual(await rc.unwrapE2EKey(app.privateText, key), { kid, jwkText });
		const { key: oldKey, ...rest } = await app.call('getEncryptedRoomKey', { roomId, kid: old.kid });
		assert.deepEqual(rest,
			{ roomId, kid: old.kid, algorithm: 'A256GCM', state: 'old', ts: '2024-01-01T00:00:00.000Z' });
		assert.deepEqual(await rc.unwrapE2EKey(app.privateText, oldKey), { kid: old.kid, jwkText: old.jwkText });
		await refused(app.call('getEncryptedRoomKey', { roomId, kid: 'unknown' }), 'NO_ROOM_KEY', { kid: 'unknown' });
		await refused(app.call('getEncryptedRoomKey', { roomId: await app.newRoom() }), 'NO_ROOM_KEY');
	});

	test('a room with history alone has no current key to give, wrap or write with', async () => {
		const roomId = await app.newRoom();
		const key = await rc.makeRoomKey();
		await app.giveKey(roomId, key);
		await refused(app.call('getEncryptedRoomKey', { roomId }), 'NO_ROOM_KEY');
		assert.equal((await app.call('getEncryptedRoomKey', { roomId, kid: key.kid })).state, 'old');
		const recipients = [{ _id: 'ada', public_key: ada.publicText }];
		await refused(app.call('wrapRoomKey', { roomId, recipients }), 'NO_ROOM_KEY');
		await refused(app.call('encrypt', { roomId, payload: {} }), 'NO_ROOM_KEY');
	});

	// ---- wrapRoomKey ----

	test('wrapRoomKey: current key and history for each recipient, as the server takes it', async () => {
		const { roomId, ...current } = await app.roomWithKey();
		const old = await Promise.all(['A128CBC', 'A256GCM'].map((alg) => rc.makeRoomKey(alg)));
		await app.giveKey(roomId, old[0], { ts: '2024-01-01T00:00:00.000Z' });
		await app.giveKey(roomId, old[1], { ts: { $date: 1735689600000 } });
		const members = await Promise.all([1, 2].map(scene.identity));
		const recipients = members.map(({ publicText }, i) => ({ _id: `user ${i} é`, public_key: publicText }));
		const result = await app.call('wrapRoomKey', { roomId, recipients });
		assert.deepEqual(Object.keys(result).sort(), ['failed', 'roomId', 'users']);
		assert.equal(result.roomId, roomId);
		assert.deepEqual(result.failed, []);
		assert.deepEqual(result.users.map((user) => user._id), recipients.map(({ _id }) => _id));
		for (const [i, user] of result.users.entries()) {
			const open = (key) => rc.unwrapE2EKey(members[i].privateText, key);
			assert.deepEqual(await open(user.key), { kid: current.kid, jwkText: current.jwkText });
			assert.deepEqual(user.oldKeys.map(({ e2eKeyId, ts }) => ({ e2eKeyId, ts })), [
				{ e2eKeyId: old[1].kid, ts: { $date: 1735689600000 } },
				{ e2eKeyId: old[0].kid, ts: '2024-01-01T00:00:00.000Z' },
			]);
			for (const [j, { E2EKey }] of user.oldKeys.entries())
				assert.deepEqual(await open(E2EKey), { kid: old[1 - j].kid, jwkText: old[1 - j].jwkText });
		}
	});

	test('wrapRoomKey: history: false leaves oldKeys out', async () => {
		const { roomId } = await app.roomWithKey();
		await app.giveKey(roomId, await rc.makeRoomKey());
		const recipients = [{ _id: 'ada', public_key: ada.publicText }];
		const wrap = async (params) => (await app.call('wrapRoomKey', { roomId, recipients, ...params })).users[0];
		assert.deepEqual(Object.keys(await wrap({ history: false })).sort(), ['_id', 'key']);
		assert.equal((await wrap({ history: true })).oldKeys.length, 1);
		assert.equal((await wrap({})).oldKeys.length, 1);
	});

	test('wrapRoomKey: 100 recipients are served, 101 are too many', async () => {
		const { roomId, jwkText } = await app.roomWithKey();
		const recipients = Array.from({ length: 101 }, (_, i) => ({ _id: `u${i}`, public_key: i % 10 ? ada.publicText : '{}' }));
		const { users, failed } = await app.call('wrapRoomKey', { roomId, recipients: recipients.slice(0, 100) });
		assert.equal(users.length, 90);
		assert.deepEqual(failed, Array.from({ length: 10 }, (_, i) => ({ _id: `u${i * 10}`, reason: 'INVALID_KEY' })));
		assert.equal(new Set(users.map((user) => user.key)).size, 90, 'OAEP is randomised');
		assert.equal((await rc.unwrapE2EKey(ada.privateText, users[89].key)).jwkText, jwkText);
		await refused(app.call('wrapRoomKey', { roomId, recipients }), 'INVALID_PARAMS', { param: 'recipients' });
		for (const bad of [{}, 'ada', null, [null], [5], ['ada'], [{ public_key: ada.publicText }]])
			await refused(app.call('wrapRoomKey', { roomId, recipients: bad }), 'INVALID_PARAMS', { param: 'recipients' });
	});

	// ---- permissions ----

	test('each method needs its own permission, and its lack hides whether the room exists', async () => {
		const key = await app.wrap(await rc.makeRoomKey());
		const content = { algorithm: 'rc.v2.aes-sha2', kid: 'x', iv: 'AAAAAAAAAAAAAAAA', ciphertext: 'AAAAAAAAAAAAAAAAAAAAAA==' };
		const methods = [
			['importRoomKey', 'read', { key }], ['importRoomKeys', 'read', { keys: [] }],
			['getEncryptedRoomKey', 'read', {}], ['listRoomKeys', 'read', {}], ['decrypt', 'read', { content }],
			['decryptMessage', 'read', 'message'], ['createRoomKey', 'create', {}], ['encrypt', 'write', { payload: {} }],
			['encryptMessage', 'write', 'message'],
			['wrapRoomKey', 'distribute', { recipients: [{ _id: 'a', public_key: ada.publicText }] }],
		];
		const rooms = {};
		for (const permission of ALL) rooms[permission] = await app.newRoom([permission]);
		const stranger = await scene.newApp();
		const theirs = await stranger.newRoom();
		const withdrawn = await app.newRoom();
		await scene.admin.call('deauthorizeRoom', { appId: app.appId, roomId: withdrawn });
		for (const [method, needed, params] of methods) {
			const ask = (roomId) => app.call(method, params === 'message'
				? { message: { rid: roomId, t: 'e2e', e2e: 'pending', msg: '', content } } : { roomId, ...params });
			for (const permission of ALL) {
				if (permission !== needed) {
					await refused(ask(rooms[permission]), 'ROOM_NOT_AUTHORIZED', { permission: needed });
					continue;
				}
				const reason = await ask(rooms[permission]).then(() => 'done', (error) => error.reason);
				assert.ok(['done', 'NO_ROOM_KEY'].includes(reason), `${method}: ${reason}`);
			}
			const refusals = [];
			for (const roomId of ['no such room', theirs, withdrawn]) {
				const error = await refused(ask(roomId), 'ROOM_NOT_AUTHORIZED', { permission: needed });
				refusals.push(JSON.stringify([error.code, error.data, error.error.message]));
			}
			assert.equal(new Set(refusals).size, 1, `${method} answers them alike`);
		}
	});

	test('INVALID_PARAMS comes before ROOM_NOT_AUTHORIZED, everything else after it', async () => {
		const roomId = 'not mine';
		const invalid = [['importRoomKey', { roomId }], ['importRoomKeys', { roomId, keys: {} }], ['createRoomKey', {}],
			['createRoomKey', { roomId: '' }], ['createRoomKey', { roomId: 'x'.repeat(129) }],
			['createRoomKey', { roomId: 'a\u0007b' }], ['createRoomKey', { roomId, extra: 1 }],
			['getEncryptedRoomKey', { roomId, kid: '' }], ['listRoomKeys', { roomId: 5 }],
			['wrapRoomKey', { roomId, recipients: 5 }], ['decrypt', { roomId }], ['encrypt', { roomId, payload: [] }]];
		for (const [method, params] of invalid) await refused(app.call(method, params), 'INVALID_PARAMS');
		const later = [['importRoomKey', { roomId, key: 'too-short' }], ['decrypt', { roomId, content: '' }],
			['decrypt', { roomId, content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
			['importRoomKeys', { roomId, keys: [{ e2eKeyId: 'a', E2EKey: '' }] }]];
		for (const [method, params] of later) await refused(app.call(method, params), 'ROOM_NOT_AUTHORIZED');
	});

	test('a grant taken back and given again finds the keys, unless they were purged', async () => {
		const { roomId, kid } = await app.roomWithKey();
		const grant = { appId: app.appId, roomId };
		await scene.admin.call('deauthorizeRoom', grant);
		await refused(app.call('listRoomKeys', { roomId }), 'ROOM_NOT_AUTHORIZED');
		await scene.admin.call('authorizeRoom', { ...grant, permissions: ALL });
		assert.deepEqual(await kids(roomId), [kid]);
		await scene.admin.call('deauthorizeRoom', { ...grant, purgeKeys: true });
		await scene.admin.call('authorizeRoom', { ...grant, permissions: ALL });
		assert.deepEqual(await kids(roomId), []);
	});

	test('rooms and apps keep their keys apart', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const content = await rc.encryptV2(jwkText, kid, { msg: 'x' });
		await refused(app.call('decrypt', { roomId: await app.newRoom(), content }), 'NO_ROOM_KEY', { kid });
		const neighbour = await scene.newApp({ rooms: [{ roomId, permissions: ALL }] });
		assert.deepEqual((await neighbour.call('listRoomKeys', { roomId })).keys, []);
		await refused(neighbour.call('decrypt', { roomId, content }), 'NO_ROOM_KEY', { kid });
	});
});
