// fileOpen, fileUpdate, fileClose, with WebCrypto as the other side (protocol.md, section 3, Files).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { ALL, isError, newApp, random, refused, usable } from './lib/actors.mjs';
import { cases, startDaemon, withDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const CHUNK = 512 * 1024;
const OPEN_AT_MOST = 16;
const plainBuild = !process.env.E2EED_WRAP && !/(asan|tsan|valgrind)/.test(process.env.E2EED_BIN ?? '');
const rnd = random();
console.log(`# E2EED_SEED=${rnd.seed}`);

const bytesOf = (n) => {
	const bytes = new Uint8Array(n);
	for (let i = 0; i < n; i += 65536) crypto.getRandomValues(bytes.subarray(i, i + 65536));
	return bytes;
};
const same = (got, want, what) => assert.ok(Buffer.from(got).equals(want), what);

// Cut at @cuts, or at random: pieces of no byte up to a whole chunk.
function pieces(bytes, cuts) {
	if (!cuts) {
		cuts = rnd.times(rnd.below(6), () => rnd.below(bytes.length + 1)).sort((a, b) => a - b);
		for (let at = CHUNK; at < bytes.length; at += CHUNK) cuts.push(at);
		cuts.sort((a, b) => a - b);
	}
	return [...cuts, bytes.length].map((to, i) => bytes.subarray(i ? cuts[i - 1] : 0, to));
}

const update = (client, fileId, bytes) => client.call('fileUpdate', { fileId, data: rc.toBase64(bytes) });

// All pieces at once, and the end behind them: they are answered in the order sent.
async function through(client, fileId, parts) {
	const answered = [];
	const updates = parts.map((part, i) => update(client, fileId, part).then(({ data }) => {
		answered.push(i);
		return rc.fromBase64(data);
	}));
	const [end, ...out] = await Promise.all([client.call('fileClose', { fileId }), ...updates]);
	assert.deepEqual(answered, parts.map((_, i) => i));
	return { end, bytes: Buffer.concat(out) };
}

const encrypting = ({ client, roomId }, name = 'a.txt') => client.call('fileOpen', { roomId, mode: 'encrypt', name });
const decrypting = ({ client, roomId }, { key, iv, sha256 }) =>
	client.call('fileOpen', { roomId, mode: 'decrypt', key, iv, ...(sha256 === undefined ? {} : { sha256 }) });

// The app reads what a member has uploaded.
async function reads(app, file, plain, cuts) {
	const { fileId, ...rest } = await decrypting(app, file);
	assert.deepEqual(rest, {});
	const { end, bytes } = await through(app.client, fileId, pieces(file.cipher, cuts));
	same(bytes, plain, 'the plaintext');
	assert.deepEqual(end, { sha256: await rc.sha256Hex(plain), size: plain.length });
}

// A member reads what the app has uploaded.
async function isRead(app, plain, cuts, name = 'résumé 🔒.txt') {
	const { fileId, key, iv, hashedName } = await encrypting(app, name);
	const { end, bytes } = await through(app.client, fileId, pieces(plain, cuts));
	assert.equal(hashedName, await rc.sha256Hex(name));
	assert.deepEqual(end, { sha256: await rc.sha256Hex(plain), size: plain.length });
	same(await rc.decryptFile({ key, iv }, bytes), plain, 'the plaintext');
	return { key, iv };
}

describe('files', { timeout: 900_000 }, () => {
	let daemon, admin, app, other;
	before(async () => {
		daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' }, workers: { threads: 4 } } });
		admin = await daemon.admin();
		app = await newApp(daemon, admin, { appId: 'app', roomId: 'room' });
		other = { ...app, client: await daemon.app('app', app.token) };
	});
	after(() => daemon.stop());

	const closeAll = (client, ids) => Promise.all(ids.map((fileId) => client.call('fileClose', { fileId })));

	for (const n of [0, 1, 15, 16, 17, 4096, CHUNK - 1, CHUNK])
		test(`${n} bytes, both ways, as one chunk`, async () => {
			const plain = bytesOf(n);
			await reads(app, await rc.encryptFile('x', plain), plain, []);
			await isRead(app, plain, []);
		});

	test('files of any size in chunks of any size, both ways', async () => {
		for (let i = 0; i < cases(60); i++) {
			const plain = bytesOf(rnd.below(rnd.chance(0.2) ? 3 * CHUNK : 5000));
			await reads(app, await rc.encryptFile('x', plain), plain);
			await isRead(app, plain);
		}
	});

	test('key, IV and name are as a client makes them', async () => {
		const seen = new Set();
		for (const name of ['a', ' ', '../\u007f', 'résumé.txt', '"\\/\b\n\u{10ffff}', 'x'.repeat(1024)]) {
			const { fileId, key, iv, hashedName } = await encrypting(app, name);
			assert.match(fileId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
			const { k, ...rest } = key;
			assert.equal(JSON.stringify(key), JSON.stringify({ alg: 'A256CTR', ext: true, k, key_ops: ['encrypt', 'decrypt'], kty: 'oct' }));
			assert.equal(Buffer.from(k, 'base64url').length, 32);
			assert.deepEqual(rest.key_ops, ['encrypt', 'decrypt']);
			assert.equal(rc.fromBase64(iv).length, 16);
			assert.ok(rc.fromBase64(iv)[8] < 128, 'so far from the wrap, all clients count alike');
			assert.equal(hashedName, await rc.sha256Hex(name));
			for (const fresh of [fileId, k, iv]) {
				assert.ok(!seen.has(fresh));
				seen.add(fresh);
			}
			await app.client.call('fileClose', { fileId });
		}
	});

	test('the low 64 bits of the counter wrap as in WebCrypto: at a chunk\'s border, within a chunk, within a block', async () => {
		const plain = bytesOf(200);
		for (let blocks = 0; blocks <= 5; blocks++) {
			const iv = bytesOf(16).fill(0xff, 8);
			iv[15] = (256 - blocks) & 0xff;
			if (blocks === 0) iv.fill(0, 8);
			if (blocks % 2) iv.fill(0xff, 0, 8); // a carry would run through all of it
			const file = await rc.encryptFile('x', plain, { iv });
			const wrap = 16 * blocks;
			for (const cuts of [[], [wrap], [wrap, wrap], [Math.max(0, wrap - 1), wrap + 1], [wrap + 8], [Math.max(0, wrap - 8)], undefined])
				await reads(app, file, plain, cuts);
		}
	});

	test('a wrap in the middle of a large chunk', async () => {
		const plain = bytesOf(CHUNK);
		for (const low of [[0xc0, 0x00], [0x80, 0x01], [0xff, 0xfe]]) { // of its 32768 blocks, behind 16384, 32767, 2
			const iv = bytesOf(16).fill(0xff, 8);
			iv.set(low, 14);
			await reads(app, await rc.encryptFile('x', plain, { iv }), plain, []);
		}
	});

	test('chunks sent without waiting are executed and answered in their order, among other requests', async () => {
		const plain = bytesOf(40 * 1000);
		const [a, b] = [await rc.encryptFile('a', plain), await rc.encryptFile('b', plain)];
		for (const connect of [() => daemon.stranger(), () => daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort })]) {
			const client = await connect();
			await client.authenticate('app', app.token);
			const it = { ...app, client };
			const slow = rnd.times(5, () => client.call('getKeyPublication', { userId: 'u' }));
			await Promise.all([
				...[a, b, a, b].map((file) => decrypting(it, file).then(async ({ fileId }) => {
					const cuts = rnd.times(100, () => rnd.below(plain.length)).sort((x, y) => x - y);
					const { bytes } = await through(client, fileId, pieces(file.cipher, cuts));
					same(bytes, plain);
				})),
				...slow,
			]);
			await client.close();
		}
	});

	// Above 256 KiB a frame is not looked at before it goes to a worker, but for its place.
	test('large and small frames keep their order, however they are written', async () => {
		const plain = bytesOf(cases(12) * 300_000);
		const file = await rc.encryptFile('x', plain);
		const { fileId } = await decrypting(app, file);
		const cuts = [];
		for (let at = 0; at < plain.length; at += rnd.chance(0.5) ? 1000 : 299_000) cuts.push(at);
		const { client } = app;
		const answers = [];
		const out = pieces(file.cipher, cuts).map((part, i) => {
			const id = client.nextId();
			const answer = client.answerTo(id).then(({ result }) => {
				answers.push(i);
				return rc.fromBase64(result.data);
			});
			const params = `"params":{"data":${JSON.stringify(rc.toBase64(part))},"fileId":"${fileId}"}`;
			const method = `"method":${rnd.chance(0.5) ? '"fileUpdate"' : '"\\u0066ileUpdate"'}`;
			const members = rnd.chance(0.5) ? [params, method] : [method, params];
			const request = `{ "jsonrpc":"2.0","id":${id},${members.join(rnd.pick([',', ' ,\t']))}}`;
			client.send(rnd.chance(0.3) ? ` [${request}]\n` : `${request}\n`);
			return answer;
		});
		same(Buffer.concat(await Promise.all(out)), plain);
		assert.deepEqual(answers, cuts.map((_, i) => i).concat(cuts.length));
		assert.equal((await client.call('fileClose', { fileId })).sha256, file.sha256);
	});

	test('a batch is executed from its first to its last, among what is sent before and behind', async () => {
		const plain = bytesOf(6000);
		const file = await rc.encryptFile('x', plain);
		const { fileId } = await decrypting(app, file);
		const chunk = (from) => ({ method: 'fileUpdate', params: { fileId, data: rc.toBase64(file.cipher.subarray(from, from + 1000)) } });
		const first = app.client.request(chunk(0));
		const batch = app.client.batch([chunk(1000), { method: 'ping' }, chunk(2000), chunk(3000)]);
		const last = [app.client.request(chunk(4000)), app.client.request(chunk(5000))];
		const all = [await first, ...await batch, ...await Promise.all(last)].map(({ result }) => result.data).filter(Boolean);
		same(Buffer.concat(all.map(rc.fromBase64)), plain);
		assert.deepEqual(await app.client.call('fileClose', { fileId }), { sha256: file.sha256, size: 6000 });
	});

	test('the hash is compared, in either case, where it was given', async () => {
		const plain = bytesOf(1000);
		const file = await rc.encryptFile('x', plain);
		const flipped = file.sha256.replace(/.$/, (c) => (c === '0' ? '1' : '0'));
		for (const sha256 of [undefined, file.sha256, file.sha256.toUpperCase()]) await reads(app, { ...file, sha256 }, plain);
		for (const sha256 of [flipped, file.sha256.replace(/^./, (c) => (c === '0' ? '1' : '0')), '0'.repeat(64)]) {
			const { fileId } = await decrypting(app, { ...file, sha256 });
			same(rc.fromBase64((await update(app.client, fileId, file.cipher)).data), plain);
			await refused(app.client.call('fileClose', { fileId }), 'HASH_MISMATCH');
			await refused(app.client.call('fileClose', { fileId }), 'NOT_FOUND');
		}
		const { fileId } = await decrypting(app, file); // cut short
		await update(app.client, fileId, file.cipher.subarray(1));
		await refused(app.client.call('fileClose', { fileId }), 'HASH_MISMATCH');
	});

	// A key that a member's client would not take is not taken here, and the other way round.
	test('a key is taken if WebCrypto takes it', async () => {
		const { key, iv } = await rc.encryptFile('x', new Uint8Array());
		const changes = [{}, { alg: undefined }, { alg: 'A128CTR' }, { alg: 'A256GCM' }, { alg: 'A256CBC' }, { alg: '' }, { kty: undefined }, { kty: 'RSA' },
			{ ext: undefined }, { ext: false }, { key_ops: undefined }, { key_ops: ['decrypt'] }, { key_ops: ['encrypt'] }, { key_ops: [] },
			{ key_ops: ['decrypt', 'encrypt', 'wrapKey'] }, { key_ops: ['decrypt', 'decrypt'] }, { use: 'enc' }, { use: 'sig' }, { kid: 'x', x5t: 'y' },
			{ k: undefined }, { k: '' }, { k: key.k.slice(0, 22) }, { k: key.k.slice(1) }, { k: `${key.k}AAAA` }, { k: '!'.repeat(43) }];
		let taken = 0;
		for (const change of changes) {
			const changed = JSON.parse(JSON.stringify({ ...key, ...change }));
			const web = await rc.importFileKey(changed).then(({ algorithm }) => algorithm.length === 256, () => false);
			const answer = await app.client.request({ method: 'fileOpen', params: { roomId: 'room', mode: 'decrypt', key: changed, iv } });
			assert.equal(web, 'result' in answer, JSON.stringify(change));
			if (!web) isError(answer, 'INVALID_KEY');
			else await app.client.call('fileClose', { fileId: answer.result.fileId });
			taken += web;
		}
		assert.ok(taken > 5 && taken < changes.length - 5);
		// mobile's order of members
		const plain = bytesOf(100);
		const file = await rc.encryptFile('x', plain);
		const { kty, alg, k, ext, key_ops } = file.key;
		await reads(app, { ...file, key: { kty, alg, k, ext, key_ops } }, plain);
	});

	test('16 files at once; the 17th is refused, until one is closed', async () => {
		const ids = [];
		for (let i = 0; i < OPEN_AT_MOST; i++) ids.push((await encrypting(other)).fileId);
		const file = await rc.encryptFile('x', new Uint8Array());
		for (const open of [() => encrypting(other), () => decrypting(other, file)]) {
			const { retryAfterMs } = await refused(open(), 'OVERLOADED');
			assert.ok(retryAfterMs > 0);
		}
		await reads(app, file, new Uint8Array()); // another connection has its own
		await other.client.call('fileClose', { fileId: ids[7] });
		ids[7] = (await encrypting(other)).fileId;
		await refused(encrypting(other), 'OVERLOADED');
		await closeAll(other.client, ids);
		await isRead(other, bytesOf(10));
	});

	test('a file is its connection\'s', async () => {
		const { fileId } = await encrypting(app);
		for (const id of [fileId, fileId.toUpperCase(), rc.uuid(), 'x']) {
			if (id !== fileId) await refused(update(app.client, id, bytesOf(1)), 'NOT_FOUND');
			await refused(update(other.client, id, bytesOf(1)), 'NOT_FOUND');
			await refused(other.client.call('fileClose', { fileId: id }), 'NOT_FOUND');
		}
		assert.deepEqual(await app.client.call('fileClose', { fileId }), { sha256: await rc.sha256Hex(''), size: 0 });
		await refused(app.client.call('fileClose', { fileId }), 'NOT_FOUND');
	});

	test('with its connection it ends', async () => {
		const it = { ...app, client: await daemon.app('app', app.token) };
		const ids = [];
		for (let i = 0; i < OPEN_AT_MOST; i++) ids.push((await encrypting(it)).fileId);
		for (let i = 0; i < 100; i++) void update(it.client, ids[i % OPEN_AT_MOST], bytesOf(20_000)).catch(() => {}); // in the middle of it
		await it.client.close();
		const again = { ...app, client: await daemon.app('app', app.token) };
		for (const fileId of ids) await refused(again.client.call('fileClose', { fileId }), 'NOT_FOUND');
		await isRead(again, bytesOf(1000));
		await again.client.close();
	});

	test('a chunk that is refused has moved nothing', async () => {
		const plain = bytesOf(3000);
		const file = await rc.encryptFile('x', plain);
		const { fileId } = await decrypting(app, file);
		const call = (data) => app.client.call('fileUpdate', { fileId, data });
		const out = [await update(app.client, fileId, file.cipher.subarray(0, 1001))];
		for (const n of [CHUNK + 1, CHUNK + 3, 600_000])
			assert.deepEqual(await refused(update(app.client, fileId, bytesOf(n)), 'TOO_LARGE'), { reason: 'TOO_LARGE', limit: CHUNK });
		for (const data of ['a', '=', 'ab=', 'abc!', 'ab\u0020c', '____', 'aGk=\n', 'aGl=', '\u007f']) await refused(call(data), 'MALFORMED_ENVELOPE');
		assert.deepEqual(await refused(call(7), 'INVALID_PARAMS'), { reason: 'INVALID_PARAMS', param: 'data' });
		assert.equal((await call('')).data, '');
		out.push(await call(rc.toBase64(file.cipher.subarray(1001)).replace(/=+$/, ''))); // without padding, too
		same(Buffer.concat(out.map(({ data }) => rc.fromBase64(data))), plain);
		assert.deepEqual(await app.client.call('fileClose', { fileId }), { sha256: file.sha256, size: 3000 });
	});

	test('slashes that are escaped, as some encoders write them', async () => {
		const plain = bytesOf(3000);
		const file = await rc.encryptFile('x', plain);
		const { fileId } = await decrypting(app, file);
		const text = await app.client.callText('fileUpdate', `{"fileId":"${fileId}","data":"${rc.toBase64(file.cipher).replaceAll('/', '\\/')}"}`);
		same(rc.fromBase64(JSON.parse(text).result.data), plain);
		await app.client.call('fileClose', { fileId });
	});

	test('the mode says which permission it takes', async () => {
		const file = await rc.encryptFile('x', bytesOf(10));
		for (const [mode, permission, lacking] of [['encrypt', 'write', 'read'], ['decrypt', 'read', 'write']]) {
			const roomId = `only-${permission}`;
			await admin.call('authorizeRoom', { appId: 'app', roomId, permissions: [permission] });
			const open = { encrypt: encrypting, decrypt: decrypting };
			const it = { ...app, roomId };
			const { fileId } = await open[mode](it, mode === 'encrypt' ? 'x' : file);
			await update(app.client, fileId, bytesOf(10));
			const not = mode === 'encrypt' ? decrypting(it, file) : encrypting(it);
			assert.deepEqual(await refused(not, 'ROOM_NOT_AUTHORIZED'), { reason: 'ROOM_NOT_AUTHORIZED', permission: lacking });

			// taken away in the middle
			await admin.call('authorizeRoom', { appId: 'app', roomId, permissions: ALL.filter((p) => p !== permission) });
			for (const call of [() => update(app.client, fileId, bytesOf(10)), () => update(app.client, fileId, bytesOf(CHUNK + 1)),
				() => app.client.call('fileClose', { fileId })])
				assert.deepEqual(await refused(call(), 'ROOM_NOT_AUTHORIZED'), { reason: 'ROOM_NOT_AUTHORIZED', permission });
			await refused(app.client.call('fileClose', { fileId }), 'NOT_FOUND'); // the close did close it
		}
	});

	test('a room that is deauthorized in the middle: not one chunk more', async () => {
		await admin.call('authorizeRoom', { appId: 'app', roomId: 'brief', permissions: ALL });
		const { fileId } = await encrypting({ ...app, roomId: 'brief' });
		let revoked = false, served = 0;
		const sender = (async () => {
			for (;;) {
				const late = revoked;
				const answer = await app.client.request({ method: 'fileUpdate', params: { fileId, data: rc.toBase64(bytesOf(2000)) } });
				if (answer.error) return isError(answer, 'ROOM_NOT_AUTHORIZED');
				assert.ok(!late, 'a chunk sent after the change was acknowledged');
				served++;
			}
		})();
		await update(app.client, fileId, bytesOf(1));
		await admin.call('deauthorizeRoom', { appId: 'app', roomId: 'brief' });
		revoked = true;
		await sender;
		await refused(app.client.call('fileClose', { fileId }), 'ROOM_NOT_AUTHORIZED');
		await refused(app.client.call('fileClose', { fileId }), 'NOT_FOUND');
		await usable(app.client);
	});

	test('an unknown room and one without a grant are told apart by nobody, and after INVALID_PARAMS', async () => {
		const { key, iv } = await rc.encryptFile('x', new Uint8Array());
		const decrypt = { mode: 'decrypt', key, iv };
		for (const params of [{ mode: 'encrypt', name: 'x' }, decrypt, { ...decrypt, key: {} }, { ...decrypt, iv: '!' }])
			await refused(app.client.call('fileOpen', { roomId: 'nowhere', ...params }), 'ROOM_NOT_AUTHORIZED');
		for (const [param, params] of [['mode', { mode: 'x' }], ['mode', { mode: '' }], ['name', { mode: 'encrypt' }], ['name', { mode: 'encrypt', name: '' }],
			['name', { mode: 'encrypt', name: 'é'.repeat(513) }], ['key', { mode: 'encrypt', name: 'x', key }], ['iv', { mode: 'encrypt', name: 'x', iv }],
			['iv', { mode: 'encrypt', name: 'x', iv: '' }], ['sha256', { mode: 'encrypt', name: 'x', sha256: '0'.repeat(64) }], ['name', { ...decrypt, name: 'x' }],
			['name', { ...decrypt, name: '' }], ['key', { ...decrypt, key: undefined }], ['key', { ...decrypt, key: JSON.stringify(key) }], ['iv', { ...decrypt, iv: undefined }],
			['iv', { ...decrypt, iv: 7 }], ...['', '0'.repeat(63), '0'.repeat(65), 'g'.repeat(64), null].map((sha256) => ['sha256', { ...decrypt, sha256 }])])
			assert.deepEqual(await refused(app.client.call('fileOpen', { roomId: 'nowhere', ...params }), 'INVALID_PARAMS'), { reason: 'INVALID_PARAMS', param },
				JSON.stringify(params));
		for (const bad of ['', '!', 'AAAA', rc.toBase64(bytesOf(15)), rc.toBase64(bytesOf(17)), rc.toBase64(bytesOf(12)), 'A'.repeat(10_000)])
			await refused(app.client.call('fileOpen', { roomId: 'room', ...decrypt, iv: bad }), 'MALFORMED_ENVELOPE');
		const { fileId } = await app.client.call('fileOpen', { roomId: 'room', ...decrypt, iv: iv.replace(/=+$/, '') });
		await app.client.call('fileClose', { fileId });
	});

	test('capabilities name them', async () => {
		const { capabilities } = await (await daemon.stranger()).call('hello', { protocol: [1] });
		assert.deepEqual(capabilities.filter((name) => name === 'files' || name.startsWith('messages')), ['messages.v1', 'messages.v2', 'files']);
	});
});

describe('files and the end of things', { timeout: 900_000 }, () => {
	test('lock destroys them, whoever has them open', () => withDaemon({ config: { workers: { loops: 2, threads: 3 } } }, async (daemon, admin) => {
		const apps = [await newApp(daemon, admin), await newApp(daemon, admin)];
		const files = await Promise.all(apps.map((app) => encrypting(app)));
		let locked = 0, served = 0;
		const sending = apps.map(async ({ client }, i) => {
			for (;;) {
				const answers = await Promise.all(rnd.times(8, () => client.request({ method: 'fileUpdate', params: { fileId: files[i].fileId, data: rc.toBase64(bytesOf(5000)) } })));
				for (const answer of answers) {
					if (!answer.error) served++;
					else isError(answer, 'LOCKED');
				}
				if (answers.at(-1).error) return locked++;
			}
		});
		await Promise.all(apps.map(({ client }, i) => update(client, files[i].fileId, bytesOf(10))));
		await admin.call('lock');
		await Promise.all(sending);
		for (const [i, { client }] of apps.entries()) await refused(client.call('fileClose', { fileId: files[i].fileId }), 'LOCKED');
		await refused(encrypting(apps[0]), 'LOCKED');
		await admin.call('unlock');
		for (const [i, app] of apps.entries()) {
			await refused(update(app.client, files[i].fileId, bytesOf(10)), 'NOT_FOUND');
			await refused(app.client.call('fileClose', { fileId: files[i].fileId }), 'NOT_FOUND');
			for (let n = 0; n < OPEN_AT_MOST; n++) await encrypting(app); // none of the old ones counts
		}
		assert.ok(served > 0 && locked === apps.length);
	}));

	test('a new token ends the session and its files', () => withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin);
		const { fileId } = await encrypting(app);
		const calls = rnd.times(200, () => update(app.client, fileId, bytesOf(10_000)).catch(() => {}));
		const { token } = await admin.call('resetToken', { appId: app.appId });
		await Promise.all([app.client.closed, ...calls]);
		const client = await daemon.app(app.appId, token);
		await refused(client.call('fileClose', { fileId }), 'NOT_FOUND');
	}));

	test('a drain finishes the chunks that were taken, in order, and refuses later ones', () => withDaemon({ config: { workers: { threads: 1 } } }, async (daemon, admin) => {
		const app = await newApp(daemon, admin);
		const plain = bytesOf(64 * 1000);
		const { fileId, key, iv } = await encrypting(app);
		const outcomes = [];
		const calls = [];
		for (let i = 0; i < 64; i++) {
			calls.push(app.client.request({ method: 'fileUpdate', params: { fileId, data: rc.toBase64(plain.subarray(1000 * i, 1000 * (i + 1))) } }).then((answer) => {
				if (answer.result) outcomes.push(rc.fromBase64(answer.result.data));
				else isError(answer, 'SHUTTING_DOWN');
			}));
		}
		await usable(app.client); // all of it was read
		daemon.signal('SIGTERM');
		await Promise.all(calls);
		assert.equal(outcomes.length, 64);
		same(await rc.decryptFile({ key, iv }, Buffer.concat(outcomes)), plain);
		await app.client.closed;
		assert.equal((await daemon.exited()).code, 0);
	}));

	// The queue of 8192 is full of RSA; a chunk takes its turn all the same, since a hole would spoil the file.
	test('a full queue refuses no chunk', async () => {
		const daemon = await startDaemon({ config: { workers: { threads: 1 }, limits: { max_in_flight: 65536 } } });
		try {
			const admin = await daemon.admin();
			const app = await newApp(daemon, admin, { key: false });
			const flood = await daemon.app(app.appId, app.token);
			const slow = `{"jsonrpc":"2.0","id":"s","method":"getKeyPublication","params":{"userId":"u"}}\n`;
			const { fileId } = await encrypting(app);
			flood.send(slow.repeat(9_000));
			while ((await flood.nextFrame()).result);
			const calls = rnd.times(5, () => update(app.client, fileId, bytesOf(1000)));
			let settled = 0;
			for (const call of calls) call.then(() => settled++, () => settled++);
			for (let i = 0; i < 5; i++) await usable(app.client);
			await flood.close();
			assert.equal(settled, 0, 'nothing was refused at once');
		} finally {
			await daemon.kill(); // the queue would take minutes
			await daemon.stop();
		}
	});
});

describe('files of any length take the same memory', { timeout: 900_000 }, () => {
	const status = (daemon, name) => 1024 * Number(readFileSync(`/proc/${daemon.pid}/status`, 'latin1').match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))[1]);
	const MIB = 2 ** 20;

	// The sizes are asked of the plain build only: checkers and valgrind have memory of their own.
	test('64 MiB, both ways, with 8 chunks under way', () => withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { key: false });
		const chunk = bytesOf(CHUNK);
		const chunks = Math.max(4, cases(128));
		const stream = async (fileId, at) => {
			const under = [];
			for (let i = 0; i < chunks; i++) {
				if (under.length === 8) await under.shift();
				under.push(update(app.client, fileId, chunk).then(({ data }) => at(data)));
			}
			await Promise.all(under);
			return app.client.call('fileClose', { fileId });
		};
		const size = chunks * CHUNK;
		const { subtle } = crypto;
		const { fileId, key, iv } = await encrypting(app);
		await update(app.client, fileId, chunk); // what a first chunk takes it may have
		await app.client.call('fileClose', { fileId });
		const before = status(daemon, 'VmRSS');

		const file = await encrypting(app);
		const cipher = [];
		const end = await stream(file.fileId, (data) => cipher.push(Buffer.from(data, 'base64')));
		assert.equal(end.size, size);
		const plain = await rc.decryptFile(file, Buffer.concat(cipher));
		assert.equal(end.sha256, Buffer.from(await subtle.digest('SHA-256', plain)).toString('hex'));
		assert.ok(Buffer.from(plain.subarray(-CHUNK)).equals(chunk));

		const { fileId: back } = await decrypting(app, { key, iv });
		assert.equal((await stream(back, () => {})).size, size);
		const grown = status(daemon, 'VmHWM') - before;
		console.log(`# figures: ${size / MIB} MiB through the file methods, both ways: peak of resident memory ${(grown / MIB).toFixed(1)} MiB above the start`);
		if (plainBuild) assert.ok(grown < 32 * MIB, `${grown} bytes`);
	}));

	test('a peer that sends and does not read is not read from', () => withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { key: false });
		const client = await daemon.app(app.appId, app.token);
		const { fileId } = await encrypting({ ...app, client });
		const before = status(daemon, 'VmRSS');
		client.socket.pause();
		const frame = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'fileUpdate', params: { fileId, data: rc.toBase64(bytesOf(CHUNK)) } });
		const frames = Math.max(50, cases(200));
		let drained = false;
		for (let i = 0; i < frames; i++) client.send(`${frame}\n`);
		once(client.socket, 'drain').then(() => (drained = true), () => {});
		for (let i = 0; i < 200; i++) await usable(app.client);
		const grown = status(daemon, 'VmHWM') - before;
		assert.ok(!drained, 'all of it was taken in');
		if (plainBuild) assert.ok(grown < 48 * MIB, `${grown} bytes`);
		client.socket.resume(); // and then all is answered
		for (let i = 0; i < frames; i++) assert.ok((await client.nextFrame()).result);
		assert.equal((await client.call('fileClose', { fileId })).size, frames * CHUNK);
	}));
});
