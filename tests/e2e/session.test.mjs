// protocol.md, section 2: hello, mutual authentication, roles, the listeners, and what a session may no longer do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isError, newApp, refused, usable } from './lib/actors.mjs';
import { Client, RpcError, proofOf } from './lib/client.mjs';
import { E2EED, startDaemon } from './lib/daemon.mjs';

const nonce = () => randomBytes(32).toString('base64');
const hello = (client) => client.call('hello', { protocol: [1], client: 'e2e/1' });

// One attempt; @change may spoil its params.
async function attempt(client, appId, token, change = {}) {
	const { challenge } = await hello(client);
	const n = nonce();
	return client.call('authenticate', { appId, nonce: n, proof: proofOf('client', token, appId, challenge, n), ...change });
}

const spoilt = (proof) => (proof[0] === '0' ? '1' : '0') + proof.slice(1);
const WRONG = `e2eed1_${randomBytes(32).toString('base64url')}`;

describe('session', { timeout: 900_000 }, () => {
	let daemon, admin, app;
	before(async () => {
		daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } });
		admin = await daemon.admin();
		app = await newApp(daemon, admin);
	});
	after(() => daemon.stop());

	describe('hello', () => {
		test('has the shape of the contract', async () => {
			const c = await daemon.stranger();
			const { challenge, capabilities, server, ...rest } = await hello(c);
			assert.match(server, /^e2eed\/\d+\.\d+\.\d+$/);
			assert.match(challenge, /^[A-Za-z0-9+/]{43}=$/);
			assert.equal(Buffer.from(challenge, 'base64').length, 32);
			for (const capability of ['messages.v1', 'messages.v2', 'events', 'distribution']) assert.ok(capabilities.includes(capability));
			assert.deepEqual(rest, { protocol: 1, limits: { maxFrameBytes: 1 << 20, maxBatch: 256, maxInFlight: 1024 } });
		});

		test('gives a new challenge each time', async () => {
			const c = await daemon.stranger();
			const seen = new Set();
			for (let i = 0; i < 100; i++) seen.add((await hello(c)).challenge);
			assert.equal(seen.size, 100);
		});

		test('takes a version out of several', async () => {
			const c = await daemon.stranger();
			assert.equal((await c.call('hello', { protocol: [3, 2, 1], client: 'x/1' })).protocol, 1);
		});

		test('without a version in common is UNSUPPORTED_PROTOCOL, and may be tried again', async () => {
			const c = await daemon.stranger();
			for (const protocol of [[], [2], [0, 2, 100]])
				assert.deepEqual((await refused(c.call('hello', { protocol, client: 'x/1' }), 'UNSUPPORTED_PROTOCOL')).supported, [1]);
			assert.equal((await hello(c)).protocol, 1);
		});
	});

	describe('authenticate', () => {
		test('proves both sides', async () => {
			const c = await daemon.stranger();
			const { challenge } = await hello(c);
			const n = nonce();
			const proof = proofOf('client', app.token, app.appId, challenge, n);
			const answer = await c.call('authenticate', { appId: app.appId, nonce: n, proof });
			assert.deepEqual(answer, { appId: app.appId, serverProof: proofOf('server', app.token, app.appId, challenge, n) });
			assert.notEqual(answer.serverProof, proof);
			assert.equal((await c.call('getIdentity')).appId, app.appId);
		});

		test('takes a nonce without padding, as it crossed the wire', async () => {
			const c = await daemon.stranger();
			const { challenge } = await hello(c);
			const n = nonce().replace(/=+$/, '');
			const answer = await c.call('authenticate', { appId: app.appId, nonce: n, proof: proofOf('client', app.token, app.appId, challenge, n) });
			assert.equal(answer.serverProof, proofOf('server', app.token, app.appId, challenge, n));
		});

		test('refuses params that cannot be right before it looks at the proof, and keeps the challenge', async () => {
			const c = await daemon.stranger();
			const { challenge } = await hello(c);
			const n = nonce();
			const good = { appId: app.appId, nonce: n, proof: proofOf('client', app.token, app.appId, challenge, n) };
			const rows = [['appId', 7], ['appId', ''], ['appId', 'a'.repeat(129)], ['appId', 'a\nb'], ['nonce', 1],
				['nonce', randomBytes(31).toString('base64')], ['nonce', randomBytes(33).toString('base64')], ['nonce', '!'.repeat(44)],
				['proof', 'ab'], ['proof', 'x'.repeat(64)], ['proof', `${good.proof}00`], ['proof', null]];
			for (const [param, value] of rows)
				assert.equal((await refused(c.call('authenticate', { ...good, [param]: value }), 'INVALID_PARAMS')).param, param);
			for (const param of ['appId', 'nonce', 'proof']) {
				const { [param]: _, ...rest } = good;
				assert.equal((await refused(c.call('authenticate', rest), 'INVALID_PARAMS')).param, param);
			}
			assert.equal((await c.call('authenticate', good)).appId, app.appId);
		});

		test('twice is FORBIDDEN, and the session goes on', async () => {
			const c = await daemon.app(app.appId, app.token);
			await refused(attempt(c, app.appId, app.token), 'FORBIDDEN');
			await refused(attempt(c, app.appId, WRONG), 'FORBIDDEN');
			assert.equal((await c.call('getIdentity')).appId, app.appId);
		});

		test('hello and authenticate may go out together', async () => {
			const c = await daemon.stranger();
			const first = hello(c), early = c.call('authenticate', { appId: app.appId, nonce: nonce(), proof: '0'.repeat(64) });
			assert.ok((await first).challenge);
			await refused(early, 'AUTHENTICATION_FAILED');
		});
	});

	describe('roles', () => {
		test('before authenticate there is hello, ping, and UNAUTHENTICATED for all else', async () => {
			const c = await daemon.stranger();
			await usable(c);
			for (const method of ['getIdentity', 'decrypt', 'encrypt', 'createRoomKey', 'getStatus', 'rpc.discover', 'createApp', 'listApps', 'nope'])
				await refused(c.call(method, method === 'nope' ? undefined : {}), 'UNAUTHENTICATED');
			await hello(c);
			await refused(c.call('getIdentity'), 'UNAUTHENTICATED');
		});

		test('admin methods do not exist for an app', async () => {
			for (const method of ['createApp', 'listApps', 'getApp', 'resetToken', 'authorizeRoom', 'deauthorizeRoom', 'listRooms',
				'importIdentity', 'exportIdentity', 'nope', '', 'rpc.nope', 'decrypt ', 'Decrypt'])
				await refused(app.client.call(method, {}), 'METHOD_NOT_FOUND');
		});

		test('app methods do not exist for an admin', async () => {
			for (const method of ['decrypt', 'encrypt', 'decryptMessage', 'encryptMessage', 'getIdentity', 'getKeyPublication',
				'importRoomKey', 'importRoomKeys', 'createRoomKey', 'getEncryptedRoomKey', 'listRoomKeys', 'wrapRoomKey', 'nope'])
				await refused(admin.call(method, {}), 'METHOD_NOT_FOUND');
		});

		test('getStatus is another method for each', async () => {
			assert.equal((await app.client.call('getStatus')).appId, app.appId);
			assert.equal((await admin.call('getStatus')).state, 'ready');
		});

		test('an app sees its own rooms only', async () => {
			const other = await newApp(daemon, admin, { key: false });
			for (const method of ['listRoomKeys', 'getEncryptedRoomKey', 'createRoomKey'])
				await refused(other.client.call(method, { roomId: app.roomId }), 'ROOM_NOT_AUTHORIZED');
			const status = await other.client.call('getStatus');
			assert.deepEqual([status.rooms, status.roomKeys], [1, 0]);
		});
	});

	describe('loopback TCP', () => {
		const tcp = () => daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort });

		test('serves apps like the Unix socket', async () => {
			const c = await tcp();
			await refused(c.call('getIdentity'), 'UNAUTHENTICATED');
			await c.authenticate(app.appId, app.token);
			assert.equal((await c.call('getIdentity')).keyId, app.keyId);
			await refused(c.call('listApps'), 'METHOD_NOT_FOUND');
		});

		test('carries many requests', async () => {
			const c = await tcp();
			await c.authenticate(app.appId, app.token);
			const { roomId } = app;
			await Promise.all(Array.from({ length: 500 }, async (_, i) => {
				const { content } = await c.call('encrypt', { roomId, payload: { msg: `${i}` } });
				assert.equal((await c.call('decrypt', { roomId, content })).payload.msg, `${i}`);
			}));
		});

		for (const tcp of ['0.0.0.0:0', '[::]:0', '192.0.2.1:7438', '128.0.0.1:0', 'localhost:0', '127.0.0.1', '127.0.0.1:65536', '[::2]:0', '*:1'])
			test(`${tcp} is an error at start`, async () => {
				const { code, stderr } = await startDaemon({ config: { listen: { tcp } }, expectExit: true });
				assert.equal(code, 78, stderr);
				assert.match(stderr, /tcp/);
			});
	});

	// By e2eectl: Node pads abstract names with zeros (libuv before 1.47) and so never meets one of another length.
	test('an abstract socket serves apps', async () => {
		const app_socket = `@e2eed-test-${process.pid}-${randomBytes(4).toString('hex')}`;
		const d = await startDaemon({ config: { listen: { app_socket } } });
		try {
			const made = await (await d.admin()).call('createApp', { appId: 'app' });
			const tokenFile = join(d.dir, 'token');
			writeFileSync(tokenFile, `${made.token}\n`, { mode: 0o600 });
			const out = execFileSync(process.env.E2EECTL_BIN ?? join(dirname(E2EED), 'e2eectl'),
				['call', '--app', 'app', '--token-file', tokenFile, '--app-socket', app_socket, 'getIdentity'], { encoding: 'utf8' });
			assert.equal(JSON.parse(out).keyId, made.keyId);
		} finally {
			await d.stop();
		}
	});

	test('either socket can be switched off', async () => {
		const d = await startDaemon({ config: { listen: { app_socket: '' } } });
		try {
			await usable(await d.admin());
			await assert.rejects(Client.connect(`${d.dir}/app.sock`), { code: 'ENOENT' });
		} finally {
			await d.stop();
		}
	});

	describe('resetToken', () => {
		test('ends the sessions made with the old token, and nobody else\'s', async () => {
			const mine = await newApp(daemon, admin);
			const second = await daemon.app(mine.appId, mine.token);
			const overTcp = await daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort });
			await overTcp.authenticate(mine.appId, mine.token);
			const { token } = await admin.call('resetToken', { appId: mine.appId });
			assert.match(token, /^e2eed1_[A-Za-z0-9_-]{43}$/);
			assert.notEqual(token, mine.token);
			await Promise.all([mine.client.closed, second.closed, overTcp.closed]);
			const c = await daemon.stranger();
			await refused(attempt(c, mine.appId, mine.token), 'AUTHENTICATION_FAILED');
			await attempt(c, mine.appId, token);
			assert.equal((await c.call('listRoomKeys', { roomId: mine.roomId })).keys.length, 1);
			await usable(app.client);
			assert.equal((await app.client.call('getIdentity')).appId, app.appId);
		});

		test('after its answer no request of an old session succeeds', async () => {
			const mine = await newApp(daemon, admin);
			await admin.call('resetToken', { appId: mine.appId });
			await assert.rejects(mine.client.call('getIdentity'), (e) =>
				(e instanceof RpcError ? e.reason === 'UNAUTHENTICATED' : e.name === 'ConnectionClosed'));
		});
	});
});

describe('who fails to authenticate', { timeout: 900_000 }, () => {
	let daemon, admin, app;
	before(async () => {
		daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } });
		admin = await daemon.admin();
		app = await newApp(daemon, admin);
	});
	after(() => daemon.stop());

	// The order matters: these tests share one count of failures, which is the peer's uid's.
	test('learns nothing of why, and after more than 10 failures has to wait', async () => {
		const c = await daemon.stranger();
		const n = nonce();
		const { challenge } = await hello(c);
		const proof = proofOf('client', app.token, app.appId, challenge, n);
		const right = { appId: app.appId, nonce: n, proof };
		const errors = [];
		const fails = async (promise) => {
			errors.push((await promise.then(() => assert.fail('succeeded'), (e) => e)).error);
		};

		await fails(c.call('authenticate', { ...right, proof: spoilt(proof) })); // a wrong proof
		await fails(c.call('authenticate', right)); // the challenge is used up
		await fails((await daemon.stranger()).call('authenticate', right)); // no hello at all
		await fails(attempt(c, app.appId, WRONG));
		await fails(attempt(c, 'nobody', app.token));
		await fails(attempt(c, `${app.appId} `, app.token));
		await fails(attempt(c, app.appId, app.token, { nonce: nonce() }));
		const second = await daemon.stranger(); // another connection's challenge
		const theirs = (await hello(second)).challenge;
		await fails(attempt(c, app.appId, app.token, { nonce: n, proof: proofOf('client', app.token, app.appId, theirs, n) }));
		await hello(c);
		await fails(c.call('authenticate', right)); // an older challenge of this connection
		await fails(attempt(c, app.appId, app.token, { nonce: n, proof: proofOf('server', app.token, app.appId, challenge, n) }));
		assert.equal(errors.length, 10);
		for (const error of errors) assert.deepEqual(error, errors[0]);
		assert.equal(errors[0].data.reason, 'AUTHENTICATION_FAILED');
		assert.equal(errors[0].code, -32002);

		await attempt(second, app.appId, app.token); // ten are not more than ten
		await fails(attempt(c, app.appId, WRONG));
		assert.deepEqual(errors.pop(), errors[0]);

		for (const client of [c, await daemon.stranger()]) {
			const data = await refused(attempt(client, app.appId, app.token), 'RATE_LIMITED');
			assert.ok(Number.isInteger(data.retryAfterMs) && data.retryAfterMs > 0 && data.retryAfterMs <= 60_000, `${data.retryAfterMs}`);
			await usable(client);
		}
		for (const client of [second, app.client]) assert.equal((await client.call('getIdentity')).appId, app.appId);
		await usable(admin);
	});

	test('is counted by source address over TCP', async () => {
		const tcp = () => daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort });
		const c = await tcp();
		for (let i = 0; i < 11; i++) await refused(attempt(c, app.appId, WRONG), 'AUTHENTICATION_FAILED');
		await refused(attempt(c, app.appId, app.token), 'RATE_LIMITED');
		await refused(attempt(await tcp(), app.appId, app.token), 'RATE_LIMITED');
		await usable(c);
	});
});

describe('limits of a session', { timeout: 900_000 }, () => {
	test('who does not authenticate in time is shown out; who did stays', async () => {
		const daemon = await startDaemon({ config: { limits: { auth_timeout_ms: 300 }, listen: { tcp: '127.0.0.1:0' } } });
		try {
			const admin = await daemon.admin();
			const app = await newApp(daemon, admin, { key: false });
			const silent = await daemon.stranger();
			const half = await daemon.stranger();
			const overTcp = await daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort });
			half.send('{"jsonrpc":"2.0",');
			await Promise.all([silent.closed, half.closed, overTcp.closed]);
			const greeting = await daemon.stranger();
			await assert.rejects((async () => {
				for (;;) await hello(greeting);
			})(), { name: 'ConnectionClosed' });
			assert.equal((await app.client.call('getIdentity')).appId, app.appId);
			await usable(admin);
		} finally {
			await daemon.stop();
		}
	});

	test('many strangers at once are all shown out', async () => {
		const daemon = await startDaemon({ config: { limits: { auth_timeout_ms: 300 } } });
		try {
			const strangers = await Promise.all(Array.from({ length: 200 }, () => daemon.stranger()));
			await Promise.all(strangers.map((c) => c.closed));
			await usable(await daemon.admin());
		} finally {
			await daemon.stop();
		}
	});

	test('at maxInFlight the daemon stops reading, and every request is answered', async () => {
		const daemon = await startDaemon({ config: { limits: { max_in_flight: 4 } } });
		try {
			const admin = await daemon.admin();
			const { client, roomId, key } = await newApp(daemon, admin);
			assert.equal((await client.call('hello', { protocol: [1], client: 'x/1' })).limits.maxInFlight, 4);
			const answers = await Promise.all(Array.from({ length: 1000 }, (_, i) =>
				client.call(i % 7 ? 'getEncryptedRoomKey' : 'listRoomKeys', { roomId })));
			answers.forEach((a, i) => assert.equal(i % 7 ? a.kid : a.keys[0].kid, key.kid));
			const batch = await client.batch(Array.from({ length: 256 }, () => ({ method: 'getEncryptedRoomKey', params: { roomId } })));
			for (const answer of batch) assert.equal(answer.result.kid, key.kid);
			const one = await daemon.stranger(); // before authenticate, too
			const pings = await Promise.all(Array.from({ length: 1000 }, () => one.call('ping')));
			assert.equal(pings.length, 1000);
		} finally {
			await daemon.stop();
		}
	});

	test('limits.max_connections turns newcomers away, and a place that is left is free again', async () => {
		const daemon = await startDaemon({ config: { limits: { max_connections: 4 } } });
		try {
			const first = [];
			for (let i = 0; i < 4; i++) {
				first.push(await daemon.stranger());
				await usable(first[i]);
			}
			const fifth = await daemon.stranger();
			const answer = await fifth.nextFrame().catch(() => null);
			if (answer) isError(answer, 'OVERLOADED', null);
			await fifth.closed;
			const admin = await daemon.admin(); // admins get in
			await usable(admin);
			for (const c of first) await usable(c);
			await first[0].close();
			while ((await admin.call('getStatus')).connections > 4);
			await first[1].close();
			while ((await admin.call('getStatus')).connections > 3);
			await usable(await daemon.stranger());
		} finally {
			await daemon.stop();
		}
	});
});
