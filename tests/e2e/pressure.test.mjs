// Clients that do not read, that never say who they are, or that are in the middle of something when the daemon ends; and limits
// that change while connections are open.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { isError, newApp, refused, usable } from './lib/actors.mjs';
import { cases, startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const withDaemon = (config, fn) => async (t) => {
	const daemon = await startDaemon({ config });
	try {
		await fn(daemon, await daemon.admin(), t);
	} finally {
		await daemon.stop();
	}
};

const peakKib = ({ pid }) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmHWM:\s*(\d+)/)[1]);

describe('pressure', { timeout: 900_000 }, () => {
	// The sizes are asked of the plain build only: checkers and valgrind have memory of their own.
	const plain = !process.env.E2EED_WRAP && !/(asan|tsan|valgrind)/.test(process.env.E2EED_BIN ?? '');

	test('strangers who do not read their answers get few of them', withDaemon({}, async (daemon, admin) => {
		await admin.call('getStatus');
		const before = peakKib(daemon);
		// 200 KB each; a frame of 513 bytes makes some 30 KB of answers
		const load = `[${Array(256).fill(1).join(',')}]\n`.repeat(400);
		const strangers = await Promise.all(Array.from({ length: 20 }, async () => {
			const socket = connect(daemon.appSocket);
			await once(socket, 'connect');
			socket.on('error', () => {});
			socket.pause();
			socket.write(load);
			return socket;
		}));
		for (let i = 0; i < 50; i++) await usable(admin);
		if (plain) assert.ok(peakKib(daemon) - before < 64 * 1024, `${peakKib(daemon) - before} KiB for 20 strangers`);
		for (const socket of strangers) socket.destroy();
		await usable(admin);
	}));

	// 100 bytes ask for some 40 KB, and a thousand of them have been taken in before the first answer is there
	test('an app that does not read its long answers gets few of them, and all when it reads', withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { key: false });
		await Promise.all(Array.from({ length: 400 }, () => app.client.call('createRoomKey', { roomId: app.roomId })));
		const { keys } = await app.client.call('listRoomKeys', { roomId: app.roomId });
		const before = peakKib(daemon);
		const asked = Math.max(250, cases(1000));
		const load = `${JSON.stringify({ jsonrpc: '2.0', id: 'l', method: 'listRoomKeys', params: { roomId: app.roomId } })}\n`.repeat(asked);
		const clients = await Promise.all(Array.from({ length: 4 }, () => daemon.app(app.appId, app.token)));
		for (const { socket } of clients) {
			socket.pause();
			socket.write(load);
		}
		for (let i = 0; i < 50; i++) await usable(app.client);
		while ((await admin.call('getStatus')).workers.queued);
		if (plain) assert.ok(peakKib(daemon) - before < 80 * 1024, `${peakKib(daemon) - before} KiB for 4 connections`);
		const [first, ...others] = clients;
		for (const { socket } of others) socket.resume();
		for (const client of others)
			for (let i = 0; i < asked; i++) assert.deepEqual((await client.nextFrame()).result.keys, keys);
		daemon.signal('SIGTERM'); // in a drain, too, what was asked is answered
		await daemon.logged(/finishing what is under way/);
		first.socket.resume();
		for (let i = 0; i < asked; i++) assert.deepEqual((await first.nextFrame()).result.keys, keys);
		assert.equal((await daemon.exited()).code, 0);
	}));

	test('an app that floods the workers can still be looked at, and revoked', withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { key: false });
		const clients = await Promise.all(Array.from({ length: 9 }, () => daemon.app(app.appId, app.token)));
		let served = 0;
		const full = Promise.any(clients.map((client) => new Promise((resolve) => {
			for (let i = 0; i < 1000; i++)
				client.request({ method: 'getKeyPublication', params: { userId: 'u' } }).then(({ error }) => (error?.data.reason === 'OVERLOADED' ? resolve() : served++), () => {});
		})));
		await full; // more wait than there is room for
		const before = served;
		assert.ok((await admin.call('getStatus')).workers.queued > 8000);
		await admin.call('revokeApp', { appId: app.appId });
		assert.ok(served - before < 1000, `${served - before} requests of the app went first`);
		await Promise.all(clients.map(({ closed }) => closed));
	}));

	for (const who of ['an admin', 'a stranger'])
		test(`${who} who reads gets every one of many long answers`, withDaemon({ limits: { auth_timeout_ms: 600000 } }, async (daemon, admin) => {
			const client = who === 'an admin' ? admin : await daemon.stranger();
			const frames = Math.max(50, cases(500));
			client.send(`[${Array(256).fill(1).join(',')}]\n`.repeat(frames));
			for (let i = 0; i < frames; i++) assert.equal((await client.nextFrame()).length, 256);
			await usable(client);
		}));

	for (const kind of ['Unix', 'TCP'])
		test(`an end over ${kind} takes no answer back that was due`, async () => {
			const daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' }, limits: { max_in_flight: 1 } } });
			try {
				const app = await newApp(daemon, await daemon.admin(), { appId: 'app', roomId: 'room', key: false });
				const client = kind === 'TCP' ? await daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort }) : await daemon.stranger();
				await client.authenticate('app', app.token);
				const kids = [];
				let others = 0;
				const calls = Array.from({ length: 2000 }, () => client.call('createRoomKey', { roomId: 'room' }).then(
					({ kid }) => {
						if (kids.push(kid) === 50) daemon.signal('SIGTERM');
					},
					() => others++));
				await Promise.all(calls);
				assert.equal((await daemon.exited()).code, 0);
				await daemon.start();
				const held = (await (await daemon.app('app', app.token)).call('listRoomKeys', { roomId: 'room' })).keys.map((key) => key.kid);
				assert.deepEqual(held.sort(), kids.sort(), 'what is kept is what was answered');
				assert.equal(kids.length + others, 2000);
			} finally {
				await daemon.stop();
			}
		});

	test('one connection too many is told so, and when to try again', withDaemon({ limits: { max_connections: 2 } }, async (daemon) => {
		const first = await daemon.stranger();
		await usable(first);
		const second = await daemon.stranger();
		assert.ok(isError(await second.nextFrame(), 'OVERLOADED', null).retryAfterMs > 0);
		await second.closed;
		await usable(first);
	}));

	test('a shorter time to authenticate holds from the reload on', withDaemon({ limits: { auth_timeout_ms: 600_000 } }, async (daemon, admin) => {
		const old = await daemon.stranger();
		await usable(old);
		daemon.configure({ limits: { auth_timeout_ms: 200 } });
		daemon.signal('SIGHUP');
		await daemon.logged(/reloaded/);
		const late = await daemon.stranger();
		await Promise.all([old.closed, late.closed]);
		await usable(admin);
	}));

	test('a new frame limit holds on connections that are open', withDaemon({}, async (daemon, admin) => {
		daemon.configure({ limits: { max_frame_bytes: 2000 } });
		daemon.signal('SIGHUP');
		await daemon.logged(/reloaded/);
		const { limits } = await admin.call('hello', { protocol: [1], client: 'x/1' });
		assert.equal(limits.maxFrameBytes, 2000);
		admin.send(`{"jsonrpc":"2.0","id":1,"method":"ping"${' '.repeat(3000)}}\n`);
		assert.equal(isError(await admin.nextFrame(), 'TOO_LARGE', null).limit, 2000);
		await usable(admin);
	}));

	test('a socket of another kind at our path is left alone', async () => {
		const daemon = await startDaemon();
		const path = `${daemon.dir}/other.sock`;
		const other = spawn('socat', ['-u', `UNIX-RECV:${path}`, 'STDOUT'], { stdio: 'ignore' }); // a datagram socket
		try {
			await once(other, 'spawn');
			while (!existsSync(path)) await new Promise(setImmediate);
			const { code, stderr } = await startDaemon({ config: { listen: { app_socket: path } }, expectExit: true });
			assert.notEqual(code, 0);
			assert.match(stderr, /cannot listen on .*other\.sock: it is in use by another program/);
			assert.ok(existsSync(path));
		} finally {
			other.kill();
			await daemon.stop();
		}
	});

	test('what succeeds, and what a client did wrong, is no error of ours in the log', withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin);
		const { content } = await app.client.call('encrypt', { roomId: app.roomId, payload: { msg: 'x' } });
		await app.client.call('decrypt', { roomId: app.roomId, content });
		await refused(app.client.call('decrypt', { roomId: 'elsewhere', content }), 'ROOM_NOT_AUTHORIZED');
		await refused(admin.call('getApp', { appId: 'nobody' }), 'NOT_FOUND');
		assert.doesNotMatch(daemon.stderr(), /error:|warning:/);
	}));

	test('a method\'s name may be written with escapes', withDaemon({}, async (daemon, admin) => {
		admin.send('{"jsonrpc":"2.0","id":7,"method":"\\u0070in\\u0067"}\n');
		assert.ok((await admin.nextFrame()).result.time);
	}));

	test('numbers of any size in nested values, and a date of 1970', withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { appId: 'app', roomId: 'room', key: false });
		const entry = async (ts) => {
			const key = await rc.makeRoomKey();
			return { kid: key.kid, text: JSON.stringify({ e2eKeyId: key.kid, E2EKey: await rc.wrapRoomKey(app.publicKey, key.kid, key.jwkText), ts }) };
		};
		const epoch = await entry('1970-01-01T00:00:00.000Z'), later = await entry('2024-01-01T00:00:00.000Z');
		const keys = `[${epoch.text.replace(/}$/, ',"x":123456789012345678901234567890}')},${later.text}]`;
		const { result } = JSON.parse(await app.client.callText('importRoomKeys', `{"roomId":"room","keys":${keys}}`));
		assert.deepEqual(result, { imported: [epoch.kid, later.kid], failed: [] });
		const held = (await app.client.call('listRoomKeys', { roomId: 'room' })).keys.map((key) => key.kid);
		assert.deepEqual(held, [later.kid, epoch.kid]);
		// a date too long to be one is refused like any other bad parameter, and before the grant is asked for
		const long = `{"roomId":"elsewhere","kid":"k","key":"${'A'.repeat(344)}","ts":{"$date":${' '.repeat(70000)}1}}`;
		assert.equal(isError(JSON.parse(await app.client.callText('importRoomKey', long)), 'INVALID_PARAMS').param, 'ts');
		await refused(app.client.call('importRoomKey', { roomId: 'elsewhere', key: '!'.repeat(344) }), 'INVALID_PARAMS');
	}));
});
