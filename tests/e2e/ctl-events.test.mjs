// e2eectl events tail: against a real daemon, over its restarts and lockings; and against a peer that ends subscriptions as
// docs/protocol.md lets it, which a daemon does only to those who are slow.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cells, ctl, failed, failedJson, following, succeeded } from './lib/ctl.mjs';
import { removeFolder, startDaemon, temporaryFolder } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const HEADER = ['SEQ', 'TIME', 'APP', 'EVENT', 'ROOM', 'KEY OR PERMISSIONS'];
const lines = (text) => text.split('\n').slice(0, -1).map((line) => JSON.parse(line));

describe('usage', () => {
	for (const [args, pattern] of [
		[['events'], /'events' needs another word/],
		[['events', 'tail', '5'], /'5' is too much; expected nothing more/],
		[['events', 'tail', '--since', '-1'], /--since takes the number of an event, not '-1'/],
		[['events', 'tail', '--since', ''], /--since takes the number of an event/],
		[['events', 'tail', '--since', '9007199254740992'], /--since takes the number of an event/],
		[['events', 'tail', '--follow'], /--follow does not go with this command/],
	]) {
		test(JSON.stringify(args), async () => {
			assert.match(failed(await ctl(args), 64, pattern), /^e2eectl: .*\nTry 'e2eectl .*'\.\n$/s);
		});
	}

	test('no daemon: the first time it does not wait for one', async () => {
		const dir = temporaryFolder();
		failed(await ctl(['--socket', join(dir, 'none.sock'), 'events', 'tail']), 2, /there is no such socket; is e2eed running/);
		removeFolder(dir);
	});
});

describe('with a daemon', { timeout: 120_000 }, () => {
	let daemon, admin, bot, publicKey;
	const run = (...args) => ctl(['--socket', admin, ...args]);
	const tail = (...args) => following(['--socket', admin, 'events', 'tail', ...args]);
	const interrupted = async (child, signal = 'SIGINT') => {
		child.proc.kill(signal);
		const { code, signal: by, stdout, stderr } = await child.ended;
		assert.deepEqual([code, by], [0, null], stderr);
		return { stdout, stderr };
	};

	before(async () => {
		daemon = await startDaemon();
		admin = daemon.config.listen.admin_socket;
		const made = JSON.parse(succeeded(await run('app', 'create', 'bot', '--json')));
		({ publicKey } = made);
		bot = await daemon.app('bot', made.token);
	});
	after(() => daemon?.stop());

	test('a line an event, aligned, until interrupted', async () => {
		const child = tail();
		await child.shows(/ROOM +KEY OR PERMISSIONS\n/);
		succeeded(await run('room', 'grant', 'bot', 'r', 'read,write,create'));
		const key = await rc.makeRoomKey();
		await bot.call('importRoomKey', { roomId: 'r', key: await rc.wrapRoomKey(publicKey, key.kid, key.jwkText) });
		const { kid } = await bot.call('createRoomKey', { roomId: 'r' });
		const { keyId, previousKeyId } = JSON.parse(succeeded(await run('app', 'rotate', 'bot', '--json')));
		succeeded(await run('key', 'revoke', 'bot', previousKeyId, '--yes'));
		succeeded(await run('app', 'create', 'other', '--room', 'GENERAL=read'));
		succeeded(await run('room', 'revoke', 'other', 'GENERAL'));
		succeeded(await run('app', 'token', 'other'));
		await child.shows(/token\.reset.*\n/);
		const { stdout, stderr } = await interrupted(child);
		assert.equal(stderr, '');
		const [header, ...rows] = cells(stdout);
		assert.deepEqual(header, HEADER);
		assert.deepEqual(rows.map(([, , ...rest]) => rest), [
			['bot', 'room.authorized', 'r', 'read,write,create'],
			['bot', 'roomKey.imported', 'r', key.kid],
			['bot', 'roomKey.rotated', 'r', kid],
			['bot', 'identity.rotated', '-', keyId],
			['bot', 'identity.keyRevoked', '-', previousKeyId],
			['other', 'room.authorized', 'GENERAL', 'read'],
			['other', 'room.deauthorized', 'GENERAL', '-'],
			['other', 'token.reset', '-', '-'],
		]);
		assert.equal(new Set(stdout.trimEnd().split('\n').map((line) => line.search(/EVENT|room|identity|token/))).size, 1, stdout);
		for (const [seq, time] of rows) assert.match(`${seq} ${time}`, /^\d+ \d{4}-\d\d-\d\dT[\d:.]{12}Z$/);
	});

	test('--json: params as they came; --since, --app', async () => {
		const { keystore: { seq: newest } } = await (await daemon.admin()).call('getStatus');
		const since = newest - 3;
		const all = tail('--since', String(since), '--json'), only = tail('--since', String(since), '--json', '--app', 'bot');
		const seen = lines(await all.shows(/(?:.*\n){3}/));
		assert.deepEqual(seen.map(({ seq }) => seq), [newest - 2, newest - 1, newest]);
		assert.ok(seen.every(({ appId }) => appId === 'other'));
		succeeded(await run('room', 'grant', 'other', 'x', 'read'));
		succeeded(await run('room', 'grant', 'bot', 'y', 'read'));
		await all.shows(/"y"/);
		await only.shows(/"y"/);
		const frames = (await interrupted(all, 'SIGTERM')).stdout.split('\n').slice(0, -1);
		assert.equal(frames.length, 5);
		for (const frame of frames) assert.match(frame, /^\{"appId":"(?:bot|other)","seq":\d+,"time":"[^"]+","type":"[A-Za-z.]+".*\}$/);
		const own = lines((await interrupted(only)).stdout);
		assert.deepEqual(own, [JSON.parse(frames.at(-1))]);
		assert.deepEqual(own[0].permissions, ['read']);
		failed(await run('events', 'tail', '--app', 'nobody'), 1, /there is no such app/);
		failedJson(await run('events', 'tail', '--app', 'nobody', '--json'), 'NOT_FOUND');
	});

	test('numbers that are not served', async () => {
		failed(await run('events', 'tail', '--since', '1000000'), 1, /no events from that number on \(SEQ_TOO_OLD\); --since \d+ is the first that it serves/);
		const { data } = failedJson(await run('events', 'tail', '--since', '1000000', '--json'), 'SEQ_TOO_OLD');
		const child = tail('--json', '--since', String(data.oldest));
		await child.shows(/"seq":/);
		await interrupted(child);
	});

	test('over locking, kill and restart: every event once', async () => {
		const { keystore } = await (await daemon.admin()).call('getStatus');
		const child = tail('--json', '--since', String(keystore.seq)), table = tail();
		await table.shows(/KEY OR PERMISSIONS\n/);
		const known = async (room) => {
			succeeded(await run('room', 'grant', 'bot', room, 'read'));
			await table.shows(new RegExp(` ${room} `));
		};
		await known('first');
		await child.shows(/"first"/);
		succeeded(await run('lock'));
		succeeded(await run('unlock'));
		await known('unlocked');
		await daemon.kill();
		for (const it of [child, table]) await it.says(/(?:cannot connect to|closed the connection).*; trying again each second, until interrupted\n/);
		await daemon.start();
		succeeded(await run('room', 'grant', 'bot', 'killed', 'read'));
		await child.shows(/"killed"/);
		await known('restarted');
		await child.shows(/"restarted"/);
		await child.says(/e2eed is there again\n/);
		const { stdout } = await interrupted(child);
		assert.deepEqual(lines(stdout).map(({ roomId }) => roomId), ['first', 'unlocked', 'killed', 'restarted']);
		const rows = cells((await interrupted(table)).stdout).slice(1).map((row) => row[4]);
		assert.deepEqual(rows, ['first', 'unlocked', 'killed', 'restarted']);

		const waiting = tail();
		await waiting.shows(/KEY OR PERMISSIONS\n/);
		await daemon.terminate();
		await waiting.says(/trying again each second/);
		await interrupted(waiting);
		await daemon.start();
	});

	test('it ends when nobody reads what it shows', async () => {
		const child = tail();
		await child.shows(/KEY OR PERMISSIONS\n/);
		child.proc.stdout.destroy();
		assert.deepEqual((await child.ended).signal, null);
	});
});

describe('with a peer that ends subscriptions', () => {
	let dir, socket, server, behave, asked;
	const reply = (id, result) => `${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`;
	const event = (seq) => `${JSON.stringify({ jsonrpc: '2.0', method: 'event', params: { appId: 'a', seq, time: 't', type: 'token.reset' } })}\n`;
	const end = (reason, data = {}) => `${JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -1, message: 'over', data: { reason, ...data } } })}\n`;
	const tail = (...args) => following(['--socket', socket, 'events', 'tail', ...args]);

	before(async () => {
		dir = temporaryFolder();
		socket = join(dir, 'peer.sock');
		server = createServer((connection) => connection.on('error', () => {}).setEncoding('utf8').on('data', (text) => {
			const { id, params } = JSON.parse(text);
			asked.push(params);
			behave[asked.length - 1]?.(connection, id);
		}));
		await new Promise((resolve) => server.listen(socket, resolve));
	});
	after(async () => {
		await new Promise((resolve) => server.close(resolve));
		removeFolder(dir);
	});

	test('too slow: it goes on behind the last event, at once, and says nothing', async () => {
		asked = [];
		behave = [
			(connection, id) => connection.end(`${reply(id, { seq: 4 })}${event(6)}${event(9)}${end('OVERLOADED', { why: 'slow' })}`),
			(connection, id) => connection.end(`${reply(id, { seq: 9 })}${event(10)}${event(11).slice(0, 20)}`), // closed hard
			(connection, id) => connection.write(`${reply(id, { seq: 11 })}${event(11)}`),
		];
		const child = tail('--json');
		await child.shows(/"seq":11/);
		child.proc.kill('SIGINT');
		const { code, stdout, stderr } = await child.ended;
		assert.deepEqual([code, stderr], [0, '']);
		assert.deepEqual(lines(stdout).map(({ seq }) => seq), [6, 9, 10, 11]);
		assert.deepEqual(asked, [{}, { since: 9 }, { since: 10 }]);
	});

	test('nothing seen yet: it goes on behind the number of the answer, after a while', async () => {
		asked = [];
		behave = [
			(connection, id) => connection.end(reply(id, { seq: 4 })),
			(connection) => connection.end(end('OVERLOADED')), // as to a connection too many
			(connection, id) => connection.end(`${JSON.stringify({ jsonrpc: '2.0', id, error: { code: -1, message: 'm', data: { reason: 'LOCKED' } } })}\n`),
			(connection, id) => connection.write(`${reply(id, { seq: 5 })}${event(5)}`),
		];
		const child = tail();
		await child.shows(/^ +5 .*token\.reset/m);
		child.proc.kill('SIGTERM');
		const { code, stderr } = await child.ended;
		assert.equal(code, 0);
		assert.equal(stderr, 'e2eectl: e2eed closed the connection; trying again each second, until interrupted\ne2eectl: e2eed is there again\n');
		assert.deepEqual(asked, [{}, { since: 4 }, { since: 4 }, { since: 4 }]);
	});

	test('too old in mid-course, or no storage: it ends and says so', async () => {
		asked = [];
		behave = [(connection, id) => connection.end(`${reply(id, { seq: 4 })}${event(5)}${end('SEQ_TOO_OLD', { oldest: 77 })}`)];
		const { code, stderr } = await tail().ended;
		assert.equal(code, 1);
		assert.match(stderr, /no events from that number on \(SEQ_TOO_OLD\); --since 77 is the first/);
		asked = [];
		behave = [(connection, id) => connection.end(`${reply(id, { seq: 4 })}${end('STORAGE_ERROR', { why: 'the log cannot be read' })}`)];
		const json = await tail('--json').ended;
		assert.equal(json.code, 1);
		assert.equal(JSON.parse(json.stderr).data.reason, 'STORAGE_ERROR');
	});

	test('what is no event', async () => {
		for (const [text, status, pattern] of [
			['{"jsonrpc":"2.0","method":"event","params":[]}\n', 2, /does not speak e2eed's protocol/],
			['{"jsonrpc":"2.0","method":"event"}\n', 2, /does not speak e2eed's protocol/],
			['no JSON\n', 2, /does not speak e2eed's protocol/],
			['{"jsonrpc":"2.0","method":"event","params":{"seq":"5"}}\n', 1, /an event cannot be read; compare the --version/],
			['{"jsonrpc":"2.0","method":"event","params":{}}\n', 1, /an event cannot be read/],
		]) {
			asked = [];
			behave = [(connection, id) => connection.write(`${reply(id, { seq: 4 })}{"jsonrpc":"2.0","method":"other"}\n${text}`)];
			const { code, stderr } = await tail('--json').ended;
			assert.equal(code, status, `${text}: ${stderr}`);
			assert.match(stderr, pattern);
		}
		asked = [];
		behave = [(connection, id) => connection.write(reply(id, {}))];
		const { code, stderr } = await tail().ended;
		assert.equal(code, 1);
		assert.match(stderr, /answer cannot be read; compare the --version/);
	});
});
