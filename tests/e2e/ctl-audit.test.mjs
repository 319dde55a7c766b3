// e2eectl audit against a real daemon: the newest entries, pages, following; verifying with the daemon and without it.
import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cells, ctl, failed, failedJson, following, succeeded } from './lib/ctl.mjs';
import { removeFolder, startDaemon, temporaryFolder } from './lib/daemon.mjs';

const lines = (file) => readFileSync(file, 'utf8').split('\n').slice(0, -1);

describe('the audit trail', { timeout: 120_000 }, () => {
	let daemon, admin, key, temporary, trail;
	const run = (...args) => ctl(['--socket', admin, ...args]);
	const tail = (...args) => run('audit', 'tail', ...args);

	before(async () => {
		temporary = temporaryFolder();
		trail = join(temporary, 'audit.log');
		daemon = await startDaemon({ config: { log: { audit: trail } } });
		admin = daemon.config.listen.admin_socket;
		key = daemon.config.keystore.key_file;
		for (let i = 0; i < 12; i++) succeeded(await run('app', 'create', `app${i}`));
		// What an app does with its keys is summed up when the keystore is locked.
		const client = await daemon.app('user', JSON.parse(succeeded(await run('app', 'create', 'user', '--room', 'r=create,write', '--json'))).token);
		await client.call('createRoomKey', { roomId: 'r' });
		await client.call('encrypt', { roomId: 'r', payload: { msg: 'x' } });
		for (const command of ['lock', 'unlock']) succeeded(await run(command));
	});
	after(async () => {
		await daemon?.stop();
		removeFolder(temporary);
	});

	test('tail: the newest ten, as a table', async () => {
		const [header, ...rows] = cells(succeeded(await tail()));
		assert.deepEqual(header, ['N', 'TIME', 'WHO', 'ACTION', 'TARGET', 'RESULT']);
		assert.equal(rows.length, 10);
		const written = lines(trail).map((line) => JSON.parse(line));
		assert.deepEqual(rows.map(([n]) => Number(n)), written.slice(-10).map(({ n }) => n));
		const created = rows.find((row) => row[3] === 'createApp');
		assert.match(created[2], new RegExp(`^uid ${process.getuid()}, pid \\d+$`));
		assert.match(created[4], /^app\d+$/);
		assert.equal(created[5], 'ok');
		assert.ok(rows.some((row) => row[2] === 'app user'), JSON.stringify(rows));
	});

	test('tail: from a number on, and as the lines of the file', async () => {
		assert.equal(succeeded(await tail('--since', '0', '--json')), `${lines(trail).join('\n')}\n`);
		assert.equal(succeeded(await tail('--since', '4', '--json')), `${lines(trail).slice(4).join('\n')}\n`);
		assert.equal(cells(succeeded(await tail('--since', '4')))[1][0], '5');
		assert.match(cells(succeeded(await tail('--since', '0')))[1][2], /^e2eed$/); // it began the trail
		assert.equal(succeeded(await tail('--since', '1000000')), 'No entries behind that number.\n');
		assert.equal(succeeded(await tail('--since', '1000000', '--json')), '');
		assert.equal(succeeded(await tail('--json')), `${lines(trail).slice(-10).join('\n')}\n`);
	});

	test('tail --follow: until interrupted, or nobody listens', async () => {
		const child = following(['--socket', admin, 'audit', 'tail', '--follow']);
		await child.shows(/^ *N +TIME/);
		succeeded(await run('app', 'token', 'app3'));
		await child.shows(/resetToken +app3 +ok\n/);
		child.proc.kill('SIGINT');
		const { signal, stdout, stderr } = await child.ended;
		assert.deepEqual([signal, stderr], ['SIGINT', '']);
		assert.equal(stdout.match(/TIME/g).length, 1);

		const json = following(['--socket', admin, 'audit', 'tail', '--follow', '--json']);
		await json.shows(/\n/);
		json.proc.stdout.destroy();
		assert.equal((await json.ended).signal, null);
	});

	test('tail --follow ends with the daemon', async () => {
		const child = following(['--socket', admin, 'audit', 'tail', '--follow']);
		await child.shows(/^ *N +TIME/);
		await daemon.kill();
		const { code, stderr } = await child.ended;
		assert.equal(code, 2);
		assert.match(stderr, /closed the connection without an answer/);
		await daemon.start();
	});

	test('verify, with the daemon', async () => {
		const written = lines(trail);
		const { n, mac } = JSON.parse(written.at(-1));
		const text = succeeded(await run('audit', 'verify'));
		assert.ok(text.startsWith(`Whole: ${n} entries, none missing between them, and each authenticates.\nThe last one has the MAC ${mac};\n`), text);
		assert.deepEqual(JSON.parse(succeeded(await run('audit', 'verify', '--json'))), { ok: true, entries: n, mac });
		// A line changed under the daemon.
		const before = readFileSync(trail);
		const changed = Buffer.from(before);
		changed[changed.indexOf('app5') + 3] = 0x36;
		writeFileSync(trail, changed);
		try {
			failed(await run('audit', 'verify'), 1, /audit log .*line \d+.*\(STORAGE_ERROR\)/);
			failedJson(await run('audit', 'verify', '--json'), 'STORAGE_ERROR');
		} finally {
			writeFileSync(trail, before);
		}
		succeeded(await run('audit', 'verify'));
	});

	test('verify: what the daemon gives must have no gap', async () => {
		const socket = join(temporary, 'gap.sock');
		const entry = (n) => ({ n, time: 't', actor: {}, action: 'start', result: 'ok', generation: 1, seq: 0, mac: '0'.repeat(64) });
		let entries;
		const server = createServer((connection) => connection.on('error', () => {}).setEncoding('utf8').on('data', (text) => {
			const { id, params } = JSON.parse(text);
			connection.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: { entries: entries.filter(({ n }) => !(n <= params.since)), next: 0 } })}\n`);
		}));
		await new Promise((resolve) => server.listen(socket, resolve));
		entries = [entry(1), entry(3)];
		failed(await ctl(['--socket', socket, 'audit', 'verify']), 1, /has a gap: entry 1 is followed by number 3/);
		entries = [entry(1), entry('2')];
		failed(await ctl(['--socket', socket, 'audit', 'verify']), 1, /has a gap: entry 1 is followed by number 0/);
		entries = [entry(1), entry(2)];
		assert.match(succeeded(await ctl(['--socket', socket, 'audit', 'verify'])), /^Whole: 2 entries/);
		await new Promise((resolve) => server.close(resolve));
	});

	test('verify FILE, without the daemon', async () => {
		const backup = join(temporary, 'backup'), file = join(temporary, 'archived.log');
		succeeded(await run('keystore', 'backup', backup));
		copyFileSync(trail, file);
		const { n, mac } = JSON.parse(lines(file).at(-1));
		const verify = (path, ...args) => ctl(['audit', 'verify', path, '--keystore', backup, '--key-file', key, ...args]);
		assert.match(succeeded(await verify(file)), new RegExp(`^Whole: ${n} entries, .*\nThe last one has the MAC ${mac};\n.*\n$`));
		assert.deepEqual(JSON.parse(succeeded(await verify(file, '--json'))), { ok: true, path: file, entries: n, mac });
		succeeded(await verify(trail));

		succeeded(await run('app', 'create', 'later'));
		assert.match(succeeded(await verify(trail)), /The keystore given is older than its last entry/);

		appendFileSync(file, '{"n":');
		assert.match(succeeded(await verify(file)), /Its last 5 bytes are an entry that a crash/);
		writeFileSync(file, readFileSync(file, 'latin1').replace('"target":"app7"', '"target":"app8"'), 'latin1');
		failed(await verify(file), 1, /archived\.log.* line \d+/);
		failed(await verify(join(temporary, 'none')), 1, /none/);
		failed(await ctl(['audit', 'verify', file, '--keystore', join(temporary, 'none'), '--key-file', key]), 1, /there is no keystore at/);
	});

	test('no trail is kept', async () => {
		await daemon.restart({ config: { log: { audit: null } } });
		assert.equal(succeeded(await tail()), 'No entries; log.audit in e2eed.conf says whether a trail is kept.\n');
		assert.equal(succeeded(await run('audit', 'verify')), 'No entries; log.audit in e2eed.conf says whether a trail is kept.\n');
	});
});
