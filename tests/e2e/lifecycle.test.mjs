// protocol.md, section 6: starting, being told to stop or reload, what is refused at start, and who else holds what.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { newApp, random, refused, usable } from './lib/actors.mjs';
import { Client } from './lib/client.mjs';
import { E2EED, cases, removeFolder, run, startDaemon, temporaryFolder } from './lib/daemon.mjs';

const ROOT_ONLY = { skip: process.getuid() !== 0 && 'needs root' };
const has = (program) => {
	try {
		execFileSync(program, ['--version'], { stdio: 'ignore' });
		return true;
	} catch {
		return false;
	}
};
const mode = (path) => (statSync(path).mode & 0o7777).toString(8);

async function withDaemon(options, work) {
	const daemon = await startDaemon(options);
	try {
		await work(daemon);
	} finally {
		await daemon.stop();
	}
}

async function inFolder(work) {
	const dir = temporaryFolder();
	try {
		await work(dir);
	} finally {
		removeFolder(dir);
	}
}

describe('arguments', { timeout: 300_000 }, () => {
	test('--version', async () => {
		const { code, stdout, stderr } = await run(['--version']);
		assert.deepEqual([code, stderr], [0, '']);
		assert.match(stdout, /^e2eed \d+\.\d+\.\d+\n$/);
	});

	test('--help', async () => {
		const { code, stdout } = await run(['--help']);
		assert.equal(code, 0);
		for (const option of ['--config', '--check-config', '--version']) assert.ok(stdout.includes(option));
	});

	for (const args of [['--frobnicate'], ['extra'], ['--config']])
		test(`${args} is bad usage`, async () => {
			const { code, stderr } = await run(args);
			assert.equal(code, 64);
			assert.match(stderr, /usage/);
		});
});

describe('configuration', { timeout: 300_000 }, () => {
	const good = (dir) => `[listen]\napp_socket = ${dir}/app.sock\nadmin_socket = ${dir}/admin.sock\n[keystore]\npath = ${dir}/keystore\nkey_file = ${dir}/key\n`;

	test('--check-config takes a good one, and makes nothing', () => inFolder(async (dir) => {
		writeFileSync(join(dir, 'c'), good(dir));
		const { code, stderr } = await run(['--config', join(dir, 'c'), '--check-config']);
		assert.equal(code, 0, stderr);
		for (const name of ['app.sock', 'admin.sock', 'keystore', 'key']) assert.ok(!existsSync(join(dir, name)));
	}));

	test('the one in the tree is good', async () => {
		const { code, stderr } = await run(['--config', new URL('../../conf/e2eed.conf', import.meta.url).pathname, '--check-config']);
		assert.equal(code, 0, stderr);
	});

	const bad = {
		'an unknown key': ['[listen]\nfrobnicate = 1\n', 2, 'frobnicate'],
		'an unknown section': ['[listen]\n\n[frobnicate]\nkey = 1\n', 4, 'frobnicate'],
		'a key before any section': ['loops = 1\n', 1, 'loops'],
		'a bad number': ['[workers]\nloops = many\n', 2, 'loops'],
		'a number out of range': ['[workers]\n; so many\nloops = 65\n', 3, 'loops'],
		'a bad mode': ['[listen]\napp_socket_mode = 0999\n', 2, 'app_socket_mode'],
		'a relative path': ['[listen]\napp_socket = app.sock\n', 2, 'app_socket'],
		'a path that is too long for a socket': [`[listen]\nadmin_socket = /${'x'.repeat(110)}\n`, 2, 'admin_socket'],
		'TCP for everybody': ['[listen]\ntcp = 0.0.0.0:7438\n', 2, 'tcp'],
		'a key given twice': ['[limits]\nmax_in_flight = 5\nmax_in_flight = 6\n', 3, 'max_in_flight'],
		'a bad boolean': ['[keystore]\ncreate = perhaps\n', 2, 'create'],
		'an unknown seal': ['[keystore]\nseal = wax\n', 2, 'seal'],
		'an unknown level': ['[log]\nlevel = loud\n', 2, 'level'],
		'no key and value': ['[log]\njust text\n', 2, ''],
	};
	for (const [name, [text, line, key]] of Object.entries(bad)) {
		test(`${name}: exit 78, and the line is named`, () => inFolder(async (dir) => {
			const path = join(dir, 'c');
			writeFileSync(path, text);
			for (const args of [['--check-config'], []]) {
				const { code, stderr } = await run(['--config', path, ...args]);
				assert.equal(code, 78, stderr);
				assert.ok(stderr.includes(`${path}:${line}:`), stderr);
				assert.ok(stderr.includes(key), stderr);
			}
		}));
	}

	test('a file that is not there: exit 78', async () => {
		const { code, stderr } = await run(['--config', '/nonexistent/e2eed.conf']);
		assert.equal(code, 78);
		assert.match(stderr, /\/nonexistent\/e2eed\.conf/);
	});
});

describe('sockets', { timeout: 300_000 }, () => {
	test('their modes are as configured, and they are gone after a clean end', async () => {
		for (const app_socket_mode of ['0660', '0600', '0666']) {
			const daemon = await startDaemon({ config: { listen: { app_socket_mode } } });
			assert.equal(`0${mode(daemon.appSocket)}`, app_socket_mode);
			assert.ok(statSync(daemon.adminSocket).isSocket());
			assert.equal(mode(daemon.keystorePath), '600');
			assert.equal(mode(join(daemon.dir, 'keystore.key')), '600');
			await daemon.terminate();
			for (const path of [daemon.appSocket, daemon.adminSocket]) assert.ok(!existsSync(path));
			await daemon.stop();
		}
	});

	test('a socket file of a dead daemon is replaced', () => withDaemon({}, async (daemon) => {
		await daemon.kill();
		for (const path of [daemon.appSocket, daemon.adminSocket]) assert.ok(existsSync(path));
		await daemon.start();
		await usable(await daemon.admin());
		await usable(await daemon.stranger());
	}));

	for (const which of ['app_socket', 'admin_socket']) {
		test(`a live ${which} is an error that names its holder, who is left alone`, () => withDaemon({}, async (first) => {
			const second = await startDaemon({ config: { listen: { [which]: first.config.listen[which] } }, expectExit: true });
			assert.notEqual(second.code, 0);
			assert.notEqual(second.code, null);
			assert.ok(second.stderr.includes(first.config.listen[which]), second.stderr);
			assert.match(second.stderr, new RegExp(`\\b${first.pid}\\b`));
			await usable(await first.admin());
			await usable(await first.stranger());
		}));
	}

	test('a live abstract socket is such an error, too', async () => {
		const app_socket = `@e2eed-live-${process.pid}`;
		await withDaemon({ config: { listen: { app_socket } } }, async (first) => {
			const second = await startDaemon({ config: { listen: { app_socket } }, expectExit: true });
			assert.ok(second.code > 0);
			assert.match(second.stderr, new RegExp(`\\b${first.pid}\\b`));
			await usable(await first.admin());
		});
	});

	test('what is no socket is not removed', () => inFolder(async (dir) => {
		const file = join(dir, 'precious'), link = join(dir, 'link'), folder = join(dir, 'folder');
		writeFileSync(file, 'text');
		symlinkSync(file, link);
		mkdirSync(folder);
		for (const app_socket of [file, link, folder]) {
			const { code, stderr } = await startDaemon({ config: { listen: { app_socket } }, expectExit: true });
			assert.ok(code > 0);
			assert.ok(stderr.includes(app_socket), stderr);
		}
		assert.equal(readFileSync(file, 'utf8'), 'text');
		assert.ok(statSync(folder).isDirectory());
	}));

	test('a folder that is not there is an error that says so', async () => {
		const { code, stderr } = await startDaemon({ config: { listen: { app_socket: '/nonexistent/app.sock' } }, expectExit: true });
		assert.ok(code > 0);
		assert.match(stderr, /\/nonexistent\/app\.sock/);
	});

	test('the admin socket shows a foreign uid out at once, and admin_uids let it in', ROOT_ONLY, async () => {
		const knock = (daemon, method = 'listApps') => new Promise((resolve, reject) => {
			const script = `const s=require('net').connect(${JSON.stringify(daemon.adminSocket)});let t='';
				s.on('data',d=>{t+=d;if(t.includes('\\n'))s.end()}).on('error',e=>t+=e.code).on('close',()=>process.stdout.write(JSON.stringify(t)));
				s.write('{"jsonrpc":"2.0","id":1,"method":"${method}"}\\n');`;
			const child = spawn('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, '-e', script],
				{ stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' });
			let out = '';
			child.stdout.on('data', (d) => (out += d));
			child.on('error', reject).on('close', () => resolve(JSON.parse(out)));
		});
		await withDaemon({}, async (daemon) => {
			chmodSync(daemon.dir, 0o711);
			assert.doesNotMatch(await knock(daemon), /jsonrpc/);
			assert.match(daemon.stderr(), /65534/);
			const admin = await daemon.admin();
			await usable(admin);
			daemon.configure({ security: { admin_uids: '65534' } });
			daemon.signal('SIGHUP');
			await daemon.logged(/reloaded/);
			assert.match(await knock(daemon), /"apps":\[\]/);
			await usable(admin);
		});
	});

	test('sockets handed over by the service manager', { skip: !has('systemd-socket-activate') && 'no systemd-socket-activate' }, () => inFolder(async (dir) => {
		const paths = { app: join(dir, 'a.sock'), admin: join(dir, 'b.sock') };
		const config = { listen: { app_socket: join(dir, 'unused-app.sock'), admin_socket: join(dir, 'unused-admin.sock') } };
		const wrap = ['systemd-socket-activate', `--listen=${paths.app}`, `--listen=${paths.admin}`, '--fdname=app:admin',
			...Object.keys(process.env).filter((k) => /SAN_OPTIONS$/.test(k)).map((k) => `--setenv=${k}`)];
		const daemon = await startDaemon({ config, wrap, wait: false });
		try {
			await daemon.logged(/Listening on .*b\.sock/);
			const admin = await Client.connect(paths.admin); // starts it
			await daemon.logged(/\bready\b/);
			await usable(admin);
			assert.deepEqual((await admin.call('listApps')).apps, []);
			const { token } = await admin.call('createApp', { appId: 'app' });
			const client = await Client.connect(paths.app);
			await client.authenticate('app', token);
			assert.equal((await client.call('getIdentity')).appId, 'app');
			for (const path of Object.values(config.listen)) assert.ok(!existsSync(path));
			await daemon.terminate();
			for (const path of Object.values(paths)) assert.ok(existsSync(path), 'they are the service manager\'s');
		} finally {
			await daemon.stop();
		}
	}));
});

describe('the process', { timeout: 300_000 }, () => {
	for (const LD_BIND_NOW of ['', '1'])
		test(`has its name, and all functions bound, with LD_BIND_NOW=${LD_BIND_NOW} before`, async () => {
			const daemon = await startDaemon({ env: { LD_BIND_NOW } });
			try {
				if (!process.env.E2EED_WRAP) assert.equal(readFileSync(`/proc/${daemon.pid}/comm`, 'utf8'), 'e2eed\n');
				assert.match(readFileSync(`/proc/${daemon.pid}/environ`, 'utf8'), /(^|\0)LD_BIND_NOW=1\0/);
			} finally {
				await daemon.stop();
			}
		});
});

describe('signals', { timeout: 300_000 }, () => {
	for (const signal of ['SIGTERM', 'SIGINT']) {
		test(`${signal}: what is under way is answered, then exit 0`, async () => {
			const daemon = await startDaemon();
			try {
				const admin = await daemon.admin();
				const app = await newApp(daemon, admin);
				await daemon.stranger(); // one who says nothing must not hold it up
				(await daemon.stranger()).send('{"half":');
				const slow = Array.from({ length: Math.max(2, cases(6)) }, () => app.client.call('getKeyPublication', { userId: 'u' }));
				await usable(app.client);
				const [exit, ...answers] = await Promise.all([daemon.terminate(signal), ...slow]);
				assert.equal(exit.code, 0);
				for (const answer of answers) assert.ok(answer.private_key);
				for (const path of [daemon.appSocket, daemon.adminSocket]) assert.ok(!existsSync(path));
			} finally {
				await daemon.stop();
			}
		});
	}

	test('again and again until it has ended, they change nothing', async () => {
		for (let round = 0; round < Math.max(4, cases(10)); round++) {
			const daemon = await startDaemon();
			let over = false;
			daemon.exited().then(() => (over = true));
			for (let i = 0; !over; i++) {
				daemon.signal(i % 2 ? 'SIGINT' : 'SIGTERM');
				await new Promise(setImmediate);
			}
			const { code, signal, stderr } = await daemon.exited();
			await daemon.stop();
			assert.deepEqual([code, signal], [0, null], stderr);
		}
	});

	test('SIGHUP takes what may change from a good configuration', () => withDaemon({}, async (daemon) => {
		const limits = async () => {
			const c = await daemon.stranger();
			return (await c.call('hello', { protocol: [1], client: 'x/1' })).limits;
		};
		assert.deepEqual(await limits(), { maxFrameBytes: 1 << 20, maxBatch: 256, maxInFlight: 1024 });
		const old = await daemon.stranger();
		daemon.configure({ limits: { max_frame_bytes: 4096, max_in_flight: 7 }, log: { level: 'debug' }, workers: { loops: 2 } });
		daemon.signal('SIGHUP');
		await daemon.logged(/reloaded/);
		assert.deepEqual(await limits(), { maxFrameBytes: 4096, maxBatch: 256, maxInFlight: 7 });
		assert.match(daemon.stderr(), /loops/, 'what needs a restart is named');
		await usable(old);
		const c = await daemon.stranger();
		c.send(`${'x'.repeat(4097)}\n`);
		assert.equal((await c.nextFrame()).error.data.limit, 4096);
		await c.close();
		await daemon.logged(/closing/); // a debug line
	}));

	test('SIGHUP with a bad one keeps the old and says why', () => withDaemon({ config: { limits: { max_in_flight: 9 } } }, async (daemon) => {
		const good = { ...daemon.config };
		for (const config of [{ limits: { max_in_flight: 'many', max_frame_bytes: 2048 } }, { limits: { max_in_flight: 11 }, frob: { nicate: 1 } }]) {
			daemon.config = good;
			daemon.configure(config);
			const seen = daemon.stderr().length;
			daemon.signal('SIGHUP');
			await daemon.logged(new RegExp(`^[^]{${seen}}[^]*not reloaded`));
			assert.match(daemon.stderr().slice(seen), /e2eed\.conf:\d+: .*/);
			const c = await daemon.stranger();
			assert.deepEqual((await c.call('hello', { protocol: [1], client: 'x/1' })).limits, { maxFrameBytes: 1 << 20, maxBatch: 256, maxInFlight: 9 });
		}
		daemon.config = good;
		daemon.configure({ limits: { max_in_flight: 12 } });
		daemon.signal('SIGHUP');
		await daemon.logged(/configuration reloaded/);
		const c = await daemon.stranger();
		assert.equal((await c.call('hello', { protocol: [1], client: 'x/1' })).limits.maxInFlight, 12);
	}));

	test('a client that is gone before its answer does no harm', () => withDaemon({}, async (daemon) => {
		const admin = await daemon.admin();
		const app = await newApp(daemon, admin);
		for (let i = 0; i < Math.max(10, cases(100)); i++) {
			const c = await daemon.app(app.appId, app.token);
			c.send('{"jsonrpc":"2.0","id":1,"method":"getKeyPublication","params":{"userId":"u"}}\n'.repeat(i % 3) + '{"jsonrpc":"2.0","id":2,"method":"ping"}\n'.repeat(i));
			await c.close();
		}
		await usable(admin);
		while ((await admin.call('getStatus')).connections > 2);
	}));
});

describe('keystore', { timeout: 600_000 }, () => {
	test('a second daemon on the same one is refused, the first is left alone', () => withDaemon({}, async (first) => {
		const { code, stderr } = await startDaemon({ config: { keystore: first.config.keystore }, expectExit: true });
		assert.ok(code > 0 && code !== 74 && code !== 78, `${code}`);
		assert.ok(stderr.includes(first.keystorePath), stderr);
		await newApp(first, await first.admin());
	}));

	test('create = no does not make one', () => inFolder(async (dir) => {
		const { code, stderr } = await startDaemon({ config: { keystore: { path: join(dir, 'k'), key_file: join(dir, 'f'), create: 'no' } }, expectExit: true });
		assert.ok(code > 0);
		assert.ok(stderr.includes(join(dir, 'k')), stderr);
		for (const name of ['k', 'f']) assert.ok(!existsSync(join(dir, name)));
	}));

	test('a damaged one is refused with 74, at every place that is tried', async (t) => {
		const rng = random();
		t.diagnostic(`seed ${rng.seed}`);
		const daemon = await startDaemon();
		try {
			const app = await newApp(daemon, await daemon.admin());
			for (let i = 0; i < 5; i++) await app.client.call('createRoomKey', { roomId: app.roomId });
			await daemon.terminate();
			const bytes = readFileSync(daemon.keystorePath);
			// not in the last record: there it could be the tail that a crash left
			const places = [0, 9, 40, bytes.length >> 1, ...Array.from({ length: cases(20) }, () => rng.below(bytes.length * 0.8))];
			for (const at of places) {
				const damaged = Buffer.from(bytes);
				damaged[at] ^= 1 << rng.below(8);
				writeFileSync(daemon.keystorePath, damaged);
				const { code, stderr } = await startDaemon({ config: daemon.config, expectExit: true });
				assert.equal(code, 74, `seed ${rng.seed}, byte ${at} of ${bytes.length}: ${stderr}`);
				assert.ok(stderr.includes(daemon.keystorePath), stderr);
				assert.ok(readFileSync(daemon.keystorePath).equals(damaged), 'it must be left as it was found');
			}
			writeFileSync(daemon.keystorePath, bytes);
			await daemon.start();
			const again = await daemon.app(app.appId, app.token);
			assert.equal((await again.call('listRoomKeys', { roomId: app.roomId })).keys.length, 6);
		} finally {
			await daemon.stop();
		}
	});

	test('cut short in the middle of its last record, it opens without that one', async () => {
		const daemon = await startDaemon();
		try {
			const app = await newApp(daemon, await daemon.admin());
			const before = statSync(daemon.keystorePath).size;
			await app.client.call('createRoomKey', { roomId: app.roomId });
			await daemon.terminate();
			const bytes = readFileSync(daemon.keystorePath);
			for (const n of [bytes.length - 1, before + 1, Math.floor((before + bytes.length) / 2)]) {
				writeFileSync(daemon.keystorePath, bytes.subarray(0, n));
				await daemon.start();
				const again = await daemon.app(app.appId, app.token);
				assert.deepEqual((await again.call('listRoomKeys', { roomId: app.roomId })).keys.map((k) => k.kid), [app.key.kid]);
				await daemon.terminate();
			}
		} finally {
			await daemon.stop();
		}
	});

	test('with another key file it does not open', async () => {
		const daemon = await startDaemon();
		try {
			const app = await newApp(daemon, await daemon.admin());
			await daemon.terminate();
			const keyFile = daemon.config.keystore.key_file, key = readFileSync(keyFile);
			const other = Buffer.from(key);
			other[other.length >> 1] ^= 1;
			writeFileSync(keyFile, other);
			const { code } = await startDaemon({ config: daemon.config, expectExit: true });
			assert.ok(code > 0);
			writeFileSync(keyFile, key);
			await daemon.start();
			await daemon.app(app.appId, app.token);
		} finally {
			await daemon.stop();
		}
	});

	test('nothing secret is in the file, the log or the arguments', async () => {
		const daemon = await startDaemon({ config: { log: { level: 'debug' } } });
		try {
			const admin = await daemon.admin();
			const app = await newApp(daemon, admin);
			const { content } = await app.client.call('encrypt', { roomId: app.roomId, payload: { msg: 'plaintext-of-a-message' } });
			assert.equal((await app.client.call('decrypt', { roomId: app.roomId, content })).payload.msg, 'plaintext-of-a-message');
			await admin.call('exportIdentity', { appId: app.appId, userId: 'u', passphrase: 'passphrase-of-an-admin' });
			await refused(admin.call('exportIdentity', { appId: 'nobody', userId: 'u', passphrase: 'passphrase-of-an-admin' }), 'NOT_FOUND');
			await daemon.terminate();
			const stored = readFileSync(daemon.keystorePath, 'latin1');
			const { k } = JSON.parse(app.key.jwkText);
			const { n } = JSON.parse(app.publicKey);
			for (const secret of [k, Buffer.from(k, 'base64url').toString('latin1'), app.token.slice(7), Buffer.from(app.token.slice(7), 'base64url').toString('latin1'),
				'plaintext-of-a-message', 'passphrase-of-an-admin', n, app.appId, app.roomId]) {
				assert.ok(!stored.includes(secret), secret);
				if (secret !== app.appId && secret !== app.roomId) assert.ok(!daemon.stderr().includes(secret), secret);
			}
		} finally {
			await daemon.stop();
		}
	});
});

test('the program that is tested is there', () => assert.ok(existsSync(E2EED), E2EED));
