// Hostile traffic: frames of every method, mutated at random, on an app's, an admin's and a stranger's connection. Whatever
// comes, each answer is one JSON-RPC response with a code of the table, the daemon lives, and others are served as ever.
// E2EED_SEED repeats a run.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ALL, REASONS, encryptFor, giveKey, newApp, random, usable } from './lib/actors.mjs';
import { cases, startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const b64 = (n) => Buffer.from(rc.randomBytes(n)).toString('base64');

// Text the grammar of JSON trips over, and what may be too much for whoever takes it.
const NUGGETS = ['1e400', '-1e-400', '9'.repeat(400), '1e', '-', '18446744073709551616', '-9223372036854775809', '0x10', '00',
	'"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\u12"', '"\\x"', '"', '""', 'null', 'true', '{}', '[]', '[[', ']]', '}}', '{"a":', ',',
	':', '\\', '\n', '\r', '\r\n', '\t', '\0', '\u007f', '\ufeff', '\u2028', '{"a":1,"a":2}', '"jsonrpc":"2.0",', '"id":null,', '"method":"ping",',
	'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', '//', "'", ' '.repeat(50), '['.repeat(70), '{"x":'.repeat(70), '"__proto__":{},',
	'[' + '1,'.repeat(300) + '1]', '"' + 'A'.repeat(2000) + '"', '"$date"', '{"$date":1e99}', '"payload":"\\u0000",', '"message":{"x":1e999},'];
const BYTES = [[0x80], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0xff, 0xfe], [0x00], [0x1b, 0x5b], [0xef, 0xbb, 0xbf]];

// Any value but @old, for the place of @old within a request.
function otherValue(rng, old) {
	return rng.pick([
		() => null, () => true, () => rng.below(3) - 1, () => 2 ** rng.below(70) - rng.below(2), () => 1.5e-300, () => '', () => [], () => ({}),
		() => [old], () => ({ '': old }), () => String(old), () => `${old} `, () => 'x'.repeat(rng.below(300)), () => '\u0000', () => '\ud83d',
		() => '\u0007', () => 'ü€𝄞', () => (typeof old === 'string' ? old.slice(0, rng.below(old.length + 1)) : -old),
		() => (typeof old === 'string' ? old.split('').reverse().join('') : `${old}e9`), () => b64(rng.below(40)), () => `${b64(12)}!`,
		() => Array.from({ length: rng.below(300) }, () => old), () => ({ $date: rng.below(2 ** 31) }), () => '2026-02-30T00:00:00.000Z',
	])();
}

// One change to the values of a request, which stays JSON.
function changeValue(rng, frame) {
	let request;
	try {
		request = JSON.parse(frame);
	} catch {
		return frame;
	}
	const places = [];
	const walk = (node) => {
		if (typeof node !== 'object' || node === null) return;
		for (const key of Object.keys(node)) {
			places.push([node, key]);
			walk(node[key]);
		}
	};
	walk(request);
	const chosen = places.filter(([, name]) => !['jsonrpc', 'method'].includes(name) || rng.chance(0.1));
	if (!chosen.length) return frame;
	const [node, key] = rng.pick(chosen);
	const change = rng.pick(['value', 'value', 'value', 'remove', 'rename', 'add', 'move']);
	if (change === 'value') node[key] = otherValue(rng, node[key]);
	else if (change === 'add') node[rng.pick(['x', '__proto__', 'kid', 'roomId', 'content', 'payload', 'message', ''])] = otherValue(rng, node[key]);
	else if (change === 'move') node[key] = rng.pick(places)[0];
	if (change === 'rename') node[`${key}${rng.pick(['s', ' ', '\u0000', 'é'])}`] = node[key];
	if (change === 'remove' || change === 'rename') delete node[key];
	try {
		return Buffer.from(JSON.stringify(request));
	} catch { // 'move' made a circle
		return frame;
	}
}

function mutations(rng, seeds) {
	const below = (n) => rng.below(n), pick = (list) => rng.pick(list), chance = (p) => rng.chance(p);
	const at = (b) => below(b.length + 1);
	const cut = (b) => { const i = at(b); return [i, i + below(Math.min(64, b.length - i) + 1)]; };
	const insert = (b, more) => { const i = at(b); return Buffer.concat([b.subarray(0, i), Buffer.from(more), b.subarray(i)]); };
	const all = [
		(b) => b.subarray(0, at(b)),
		(b) => b.subarray(at(b)),
		(b) => { const c = Buffer.from(b); if (c.length) c[below(c.length)] = below(256); return c; },
		(b) => { const c = Buffer.from(b); if (c.length) c[below(c.length)] ^= 1 << below(8); return c; },
		(b) => { const [i, j] = cut(b); return Buffer.concat([b.subarray(0, i), b.subarray(j)]); },
		(b) => { const [i, j] = cut(b); return Buffer.concat([b.subarray(0, j), b.subarray(i)]); },
		(b) => insert(b, pick(NUGGETS)),
		(b) => insert(b, pick(BYTES)),
		(b) => insert(b, rc.randomBytes(1 + below(16))),
		(b) => { const other = pick(seeds); return Buffer.concat([b.subarray(0, at(b)), other.subarray(at(other))]); },
		(b) => Buffer.from(b.toString().replace(/[0-9]+/g, (n) => (chance(0.3) ? pick(['-1', '1e400', '99999999999999999999', '0.1', '-0']) : n))),
		(b) => Buffer.from(b.toString().replace(/[a-zA-Z]/g, (c) => (chance(0.05) ? `\\u00${c.charCodeAt(0).toString(16)}` : c))),
		(b) => { // a value of another type in the place of one
			const values = [...b.toString().matchAll(/(?<=":)("[^"]*"|-?\d+|true|false|null)/g)];
			if (!values.length) return b;
			const m = pick(values), text = b.toString();
			return Buffer.from(text.slice(0, m.index) + pick(NUGGETS) + text.slice(m.index + m[0].length));
		},
		(b) => { // a bomb of nesting in the place of a value
			const text = b.toString(), i = text.lastIndexOf(':') + 1, depth = 1 + below(3000);
			return Buffer.from(text.slice(0, i) + (chance(0.5) ? '['.repeat(depth) + ']'.repeat(depth) : '{"a":'.repeat(depth)) + text.slice(i));
		},
		(b) => Buffer.concat([Buffer.from('['), ...Array.from({ length: 1 + below(4) }, () => Buffer.concat([b, Buffer.from(chance(0.9) ? ',' : '')])), b, Buffer.from(']')]),
		(b) => Buffer.from(b.toString().replace(/"(\w+)":/, '"$1":null,"$1":')),
		(b) => Buffer.concat([b, Buffer.from(chance(0.5) ? '\r' : ' '), b]),
		(b) => b,
	];
	return (frame) => {
		let out = chance(0.6) ? changeValue(rng, frame) : pick(all)(frame);
		if (chance(0.4)) out = changeValue(rng, out);
		else while (chance(0.4)) out = pick(all)(out);
		return out;
	};
}

function isSane(answer) {
	assert.equal(answer.jsonrpc, '2.0');
	assert.ok('id' in answer);
	assert.ok(answer.id === null || ['number', 'string'].includes(typeof answer.id));
	if (typeof answer.id === 'string') assert.ok(Buffer.byteLength(answer.id) <= 128);
	assert.equal(Object.keys(answer).length, 3);
	if ('result' in answer) {
		assert.equal(typeof answer.result, 'object');
		return;
	}
	const { code, message, data } = answer.error;
	assert.equal(REASONS.get(code), data.reason, JSON.stringify(answer));
	assert.notEqual(data.reason, 'INTERNAL');
	assert.equal(typeof message, 'string');
}

describe('malformed', { timeout: 3_600_000 }, () => {
	let daemon, admin, app, quiet, fixed, seeds;
	const rng = random();

	before(async () => {
		daemon = await startDaemon({ config: { limits: { auth_timeout_ms: 600_000 }, listen: { tcp: '127.0.0.1:0' } } });
		admin = await daemon.admin();
		app = await newApp(daemon, admin, { appId: 'app', roomId: 'room' });
		quiet = await newApp(daemon, admin, { appId: 'quiet', roomId: 'other' });
		fixed = await encryptFor(quiet, { msg: 'still here' });
		await admin.call('createApp', { appId: 'victim', rooms: [{ roomId: 'v', permissions: ['read'] }] });
		await admin.call('authorizeRoom', { appId: 'app', roomId: 'legacy', permissions: ALL });
		const old = await giveKey(app.client, app.publicKey, 'legacy', { alg: 'A128CBC' });
		const { content } = await encryptFor(app, { msg: 'hällo 𝄞', attachments: [{ title: 'a', n: [1.5, null] }] });
		const legacy = await rc.encryptV1(old.jwkText, old.kid, { msg: 'alt' });
		const pair = await rc.makeIdentity();
		const sealed = await rc.sealPrivateKey(pair.privateText, { passphrase: 'p', userId: 'u' });
		const texts = (rows) => rows.map(([method, params], i) => Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: i % 2 ? i : `id-${i}`, method, params })));
		seeds = {
			app: texts([
				['ping', {}], ['hello', { protocol: [1], client: 'x/1' }], ['authenticate', { appId: 'app', nonce: b64(32), proof: '0'.repeat(64) }],
				['getIdentity', {}], ['getStatus', {}], ['rpc.discover', {}],
				['decrypt', { roomId: 'room', content }], ['decrypt', { roomId: 'legacy', content: legacy }],
				['decrypt', { roomId: 'legacy', content: legacy.ciphertext }],
				['encrypt', { roomId: 'room', payload: { msg: 'x \u0000 \ud834', n: 1e300, deep: [[[{}]]] } }],
				['encrypt', { roomId: 'legacy', payload: { msg: 'x' } }],
				['decryptMessage', { message: { _id: 'm', rid: 'room', t: 'e2e', e2e: 'pending', msg: '', content, ts: { $date: 1 } } }],
				['decryptMessage', { message: { _id: 'm', rid: 'legacy', t: 'e2e', msg: legacy.ciphertext } }],
				['encryptMessage', { message: { _id: 'm', rid: 'room', msg: 'hi', attachments: [{ a: 1 }], mentions: [] } }],
				['importRoomKey', { roomId: 'room', key: app.key.e2eKey, kid: app.key.kid, ts: '2026-01-02T03:04:05.678Z' }],
				['importRoomKeys', { roomId: 'room', keys: [{ e2eKeyId: app.key.kid, E2EKey: app.key.e2eKey, ts: { $date: 1767323045678 } }] }],
				['getEncryptedRoomKey', { roomId: 'room', kid: app.key.kid }], ['listRoomKeys', { roomId: 'room' }],
				['wrapRoomKey', { roomId: 'room', recipients: [{ _id: 'u', public_key: pair.publicText }], history: false }],
			]),
			admin: texts([
				['ping', {}], ['getStatus', {}], ['listApps', {}], ['getApp', { appId: 'victim' }], ['listRooms', { appId: 'victim' }], ['rpc.discover', {}],
				['authorizeRoom', { appId: 'victim', roomId: 'v', permissions: ['read', 'write', 'create', 'distribute'] }],
				['deauthorizeRoom', { appId: 'victim', roomId: 'nowhere', purgeKeys: false }],
				['createApp', { appId: 'victim', name: 'exists', rooms: [{ roomId: 'r', permissions: ['read'] }] }],
				['resetToken', { appId: 'nobody' }],
				['importIdentity', { appId: 'nobody', userId: 'u', public_key: pair.publicText, private_key: sealed, passphrase: 'p' }],
				['exportIdentity', { appId: 'nobody', userId: 'u', passphrase: 'p' }],
			]),
		};
		seeds.stranger = [...seeds.app.slice(0, 9), ...seeds.admin.slice(0, 4)];
	});
	after(() => daemon.stop());

	// Mutated admin frames may rightly change what they name, so they name an app that nobody uses. Strangers fail to
	// authenticate and are counted by origin: theirs is the TCP address, the others' the uid.
	const connect = {
		app: () => daemon.app('app', app.token),
		admin: () => daemon.admin(),
		stranger: () => daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort }),
	};

	// @tally counts what the answers were: a storm that only ever meets the parser would show here.
	async function storm(role, total, tally = new Map()) {
		const mutate = mutations(rng, seeds[role]);
		const each = 250;
		let client = await connect[role](), sent = 0, answers = 0;
		while (sent < total) {
			const parts = [];
			for (let i = 0; i < each && sent < total; i++, sent++) parts.push(mutate(rng.pick(seeds[role])), Buffer.from(rng.chance(0.9) ? '\n' : '\r\n'));
			const bytes = Buffer.concat(parts);
			for (let from = 0; from < bytes.length;) { // in writes of any size
				const to = rng.chance(0.2) ? from + 1 + rng.below(40) : from + 1 + rng.below(60_000);
				client.send(bytes.subarray(from, to));
				from = to;
			}
			client.send('\n');
			const sentinel = `sentinel-${sent}`;
			client.send(`${JSON.stringify({ jsonrpc: '2.0', id: sentinel, method: 'ping' })}\n`);
			for (let seen = false; !seen;) {
				const frame = await client.nextFrame();
				for (const answer of Array.isArray(frame) ? frame : [frame]) {
					isSane(answer);
					answers++;
					const what = answer.error?.data.reason ?? 'result';
					tally.set(what, (tally.get(what) ?? 0) + 1);
					if (answer.id === sentinel) seen = true;
				}
			}
			if (sent % 5000 < each) assert.equal((await quiet.client.call('decrypt', fixed)).payload.msg, 'still here');
			if (rng.chance(0.01)) { // leave in the middle of something
				client.send(rng.pick(seeds[role]).subarray(0, 20));
				await client.close();
				client = await connect[role]();
			}
		}
		assert.ok(answers > total / 10, `${answers} answers to ${total} frames`);
		await usable(client);
		await client.close();
	}

	const frames = Number(process.env.E2EED_FRAMES || cases(100_000));
	for (const [role, share] of [['app', 0.6], ['admin', 0.2], ['stranger', 0.2]]) {
		test(`mutated frames of ${role === 'stranger' ? 'a' : 'an'} ${role}`, async (t) => {
			t.diagnostic(`seed ${rng.seed}`);
			const tally = new Map();
			await storm(role, Math.round(frames * share), tally).catch((error) => {
				error.message = `seed ${rng.seed}: ${error.message}`;
				throw error;
			});
			t.diagnostic(`answers: ${[...tally].sort(([, a], [, b]) => b - a).map(([what, n]) => `${what} ${n}`).join(', ')}`);
			for (const what of ['result', 'PARSE_ERROR', 'INVALID_REQUEST', role === 'stranger' ? 'UNAUTHENTICATED' : 'INVALID_PARAMS'])
				if (Math.round(frames * share) >= 1000) assert.ok(tally.get(what) > 0, what); // a few dozen frames need not meet each
			assert.equal((await quiet.client.call('decrypt', fixed)).payload.msg, 'still here');
		});
	}

	test('all at once, on many connections that come and go', async (t) => {
		t.diagnostic(`seed ${rng.seed}`);
		await Promise.all([storm('app', cases(5000)), storm('app', cases(5000)), storm('admin', cases(5000)), storm('stranger', cases(5000)),
			...Array.from({ length: 20 }, async () => {
				for (let i = 0; i < Math.ceil(cases(20)); i++) {
					const c = await daemon.stranger();
					c.send(rng.pick(seeds.app).subarray(0, rng.below(100)));
					await c.close();
				}
			})]);
		assert.equal((await quiet.client.call('decrypt', fixed)).payload.msg, 'still here');
	});

	test('an endless line, and one of endless frames that are no JSON', async () => {
		const c = await daemon.stranger();
		const chunk = Buffer.alloc(1 << 20, 'x');
		for (let i = 0; i < 20; i++) c.send(chunk);
		c.send('\n');
		const answer = await c.nextFrame();
		assert.equal(answer.error.data.reason, 'TOO_LARGE');
		await usable(c);
		const n = 50_000;
		c.send('x\n'.repeat(n));
		for (let i = 0; i < n; i++) assert.equal((await c.nextFrame()).error.data.reason, 'PARSE_ERROR');
		await usable(c);
	});

	test('every prefix and every changed byte of a frame', async () => {
		const c = await connect.app();
		const frame = seeds.app[6];
		const frames = [];
		for (let i = 1; i < frame.length; i++) {
			frames.push(frame.subarray(0, i));
			const changed = Buffer.from(frame);
			changed[i] = rng.below(256) || 1;
			if (!changed.includes(10)) frames.push(changed);
		}
		for (const f of frames) {
			c.send(f);
			c.send('\n');
		}
		const done = usable(c);
		let got = 0;
		await done;
		for (const raw of c.rawFrames()) {
			isSane(JSON.parse(raw));
			got++;
		}
		assert.ok(got >= frame.length - 1 && got <= frames.length);
	});

	test('the daemon still is what it was', async () => {
		const { apps } = await admin.call('listApps');
		assert.ok(apps.some((a) => a.appId === 'app') && apps.some((a) => a.appId === 'quiet'));
		const status = await admin.call('getStatus');
		assert.deepEqual([status.state, status.workers.queued], ['ready', 0]);
		daemon.noReports();
	});
});
