// e2eectl for the keystore against a real daemon: locking, slots, copies, files without the daemon, recovery; each command's
// words, JSON and errors, and its questions on a terminal.
import assert from 'node:assert/strict';
import { appendFileSync, chownSync, copyFileSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cells, ctl, failed, failedJson, succeeded, terminal } from './lib/ctl.mjs';
import { removeFolder, startDaemon, temporaryFolder } from './lib/daemon.mjs';

const RECOVERY = /\b[cbdefghijklnrtuv]{6}(?:-[cbdefghijklnrtuv]{6}){7}\b/;
const CHEAP = { passphrase_memory_kib: 8192, passphrase_passes: 1 };
const BACKUPS = /Backups and copies of the keystore that were made before still hold them.*Destroy those copies/s;

const flip = (file, at) => {
	const bytes = readFileSync(file);
	bytes[at < 0 ? bytes.length + at : at] ^= 1;
	writeFileSync(file, bytes);
};

describe('with a daemon that has a key file', { timeout: 120_000 }, () => {
	let daemon, admin, key, temporary, passphraseSlot, recoveryKey;
	const run = (...args) => ctl(['--socket', admin, ...args]);
	const copy = async (name) => {
		const path = join(temporary, name);
		succeeded(await run('keystore', 'backup', path));
		return path;
	};

	before(async () => {
		temporary = temporaryFolder();
		daemon = await startDaemon({ config: { keystore: CHEAP } });
		admin = daemon.config.listen.admin_socket;
		key = daemon.config.keystore.key_file;
		for (const app of ['bot', 'other', 'third']) succeeded(await run('app', 'create', app, '--room', 'r=read,create'));
	});
	after(async () => {
		await daemon?.stop();
		removeFolder(temporary);
	});

	test('verify, compact, rekey', async () => {
		assert.match(succeeded(await run('keystore', 'verify')), /^Whole: all 5 records of generation 1 authenticate\.\n$/);
		assert.deepEqual(JSON.parse(succeeded(await run('keystore', 'verify', '--json'))), { ok: true, records: 5, generation: 1 });
		assert.match(succeeded(await run('keystore', 'compact')), /^Compacted: \d.*(?:KiB|bytes) before, \d.*(?:KiB|bytes) now\.\n$/);
		const sizes = JSON.parse(succeeded(await run('keystore', 'compact', '--json')));
		assert.equal(sizes.after, statSync(daemon.keystorePath).size);
		assert.match(succeeded(await run('keystore', 'rekey')), /new data key, in generation 4\.\nBackups stay/);
		assert.deepEqual(JSON.parse(succeeded(await run('keystore', 'rekey', '--json'))), { generation: 5 });
	});

	test('damage is found under a running daemon', async () => {
		flip(daemon.keystorePath, -1);
		try {
			failed(await run('keystore', 'verify'), 1, /keystore .* record \d+ at offset \d+ .*; restore the file from a backup/);
			const { code, stdout } = await run('keystore', 'verify', '--json');
			assert.equal(code, 1);
			assert.equal(JSON.parse(stdout).ok, false);
		} finally {
			flip(daemon.keystorePath, -1);
		}
		succeeded(await run('keystore', 'verify'));
	});

	test('backup', async () => {
		const path = join(temporary, 'backup');
		assert.match(succeeded(await run('keystore', 'backup', path)), /^Copied up to change 3, .*, read back and whole\.\nThe copy is sealed/);
		failed(await run('keystore', 'backup', path), 1, /there is a file of that name already/);
		failedJson(await run('keystore', 'backup', path, '--json'), 'ALREADY_EXISTS');
		failed(await run('keystore', 'backup', join(temporary, 'none', 'x')), 1, /No such file or directory \(STORAGE_ERROR\)/);
		const json = JSON.parse(succeeded(await run('keystore', 'backup', join(temporary, 'b2'), '--json')));
		assert.deepEqual(json, { path: join(temporary, 'b2'), bytes: statSync(path).size, seq: 3 });
	});

	test('slots: add, list, remove', async () => {
		assert.match(succeeded(await run('keystore', 'slot', 'add', 'keyfile', '--key-file', join(temporary, 'second.key'))), /^Slot 1 opens the keystore by keyfile\.\n$/);
		assert.ok(existsSync(join(temporary, 'second.key')));
		assert.equal(succeeded(await ctl(['--socket', admin, 'keystore', 'slot', 'add', 'passphrase', '--passphrase-fd', '3'], { secret: 'grüße und küsse\n' })), 'Slot 2 opens the keystore by passphrase.\n');
		passphraseSlot = 2;
		const text = succeeded(await run('keystore', 'slot', 'add', 'recovery'));
		assert.match(text, /^Slot 3 opens the keystore by recovery\.\n\nRecovery key {2}\S+\n\nIt is shown this once/);
		[recoveryKey] = text.match(RECOVERY);
		const other = JSON.parse(succeeded(await run('keystore', 'slot', 'add', 'recovery', '--json')));
		assert.equal(other.slot, 4);
		assert.match(other.recoveryKey, RECOVERY);

		const rows = cells(succeeded(await run('keystore', 'slot', 'list')));
		assert.deepEqual(rows.map(([slot, seal]) => [slot, seal]), [['SLOT', 'SEAL'], ['0', 'keyfile'], ['1', 'keyfile'], ['2', 'passphrase'], ['3', 'recovery'], ['4', 'recovery']]);
		assert.match(rows[1][2], /^\d{4}-.*Z$/);
		const { slots } = JSON.parse(succeeded(await run('keystore', 'slot', 'list', '--json')));
		assert.equal(slots.length, 5);

		// Without the daemon, and without a secret.
		const file = await copy('slots');
		const offline = succeeded(await ctl(['keystore', 'slot', 'list', file]));
		assert.deepEqual(cells(offline.split('\n\n')[0]), rows);
		assert.match(offline, /nothing of this is authenticated/);
		assert.deepEqual(JSON.parse(succeeded(await ctl(['keystore', 'slot', 'list', file, '--json']))).slots, slots);
		failed(await ctl(['keystore', 'slot', 'list', join(temporary, 'none')]), 1, /there is no keystore at .*none/);
		failed(await ctl(['keystore', 'slot', 'list', key]), 1, /is not a keystore/);

		assert.match(succeeded(await run('keystore', 'slot', 'remove', '4', '--yes')), /^Removed: .*\nBackups made before still open with it/);
		failed(await run('keystore', 'slot', 'remove', '4', '--yes'), 1, /there is no such slot/);
		failedJson(await run('keystore', 'slot', 'remove', '4', '--yes', '--json'), 'NOT_FOUND');
		failed(await run('keystore', 'slot', 'add', 'command'), 1, /set keystore\.command_wrap/);
		failed(await run('keystore', 'slot', 'add', 'pkcs11'), 1, /set keystore\.pkcs11_uri/);
		failed(await run('keystore', 'slot', 'add', 'credential', '--credential', 'none'), 1, /credential none cannot be had/);
	});

	test('secrets that are none', async () => {
		const add = (secret) => ctl(['--socket', admin, 'keystore', 'slot', 'add', 'passphrase', '--passphrase-fd', '3'], { secret });
		for (const secret of ['', '\n']) failed(await add(secret), 1, /what --passphrase-fd gave is empty/);
		for (const secret of ['x'.repeat(1025), 'x'.repeat(100_000)]) failed(await add(secret), 1, /longer than 1024 bytes/);
		for (const secret of [Buffer.from([0xff, 0xfe]), 'a\0b']) failed(await add(secret), 1, /must be UTF-8 text without NUL/);
		assert.equal(JSON.parse(succeeded(await run('keystore', 'slot', 'list', '--json'))).slots.length, 4);
	});

	test('verify FILE, by each kind of secret', async () => {
		const file = await copy('whole');
		const words = /^Whole: all \d+ records of generation \d+ authenticate, up to change 3; apps: 3, room keys: 0\.\n$/;
		assert.match(succeeded(await ctl(['keystore', 'verify', file, '--key-file', key])), words);
		assert.match(succeeded(await ctl(['keystore', 'verify', file, '--passphrase-fd', '3'], { secret: 'grüße und küsse' })), words);
		assert.match(succeeded(await ctl(['keystore', 'verify', file, '--passphrase-fd=0'], { input: `${recoveryKey.toUpperCase().replaceAll('-', ' ')}\n` })), words);
		const json = JSON.parse(succeeded(await ctl(['keystore', 'verify', file, '--key-file', key, '--json'])));
		assert.deepEqual({ ...json, records: 0, generation: 0 }, { ok: true, path: file, records: 0, generation: 0, seq: 3, apps: 3, roomKeys: 0, tornBytes: 0 });
		// The one in use, too: nothing is locked.
		assert.match(succeeded(await ctl(['keystore', 'verify', daemon.keystorePath, '--key-file', key])), words);

		failed(await ctl(['keystore', 'verify', file, '--passphrase-fd', '3'], { secret: 'wrong' }), 1, /the secret of seal "passphrase" does not open/);
		failed(await ctl(['keystore', 'verify', file, '--key-file', join(temporary, 'none')]), 1, /none/);
		failed(await ctl(['keystore', 'verify', join(temporary, 'none'), '--key-file', key]), 1, /there is no keystore at/);
		failed(await ctl(['keystore', 'verify', file]), 64, /no terminal to ask .*; give --passphrase-fd/);
	});

	test('verify FILE: a torn tail is left where it is', async () => {
		const file = await copy('torn');
		appendFileSync(file, Buffer.alloc(7, 1));
		const before = readFileSync(file);
		assert.match(succeeded(await ctl(['keystore', 'verify', file, '--key-file', key])), /\nThe last 7 bytes are a change that a crash had cut short/);
		assert.equal(JSON.parse(succeeded(await ctl(['keystore', 'verify', file, '--key-file', key, '--json']))).tornBytes, 7);
		assert.deepEqual(readFileSync(file), before);
	});

	test('verify FILE: damage, in the words of the daemon', async () => {
		const file = await copy('damaged');
		flip(file, -1);
		const said = failed(await ctl(['keystore', 'verify', file, '--key-file', key]), 1, /record \d+ at offset \d+/).replace(/^e2eectl: /, '').trimEnd();
		const exit = await startDaemon({ config: { keystore: { path: file, key_file: key } }, expectExit: true });
		assert.equal(exit.code, 74);
		assert.ok(exit.stderr.includes(said), `${exit.stderr}\n${said}`);
		const { code, stdout } = await ctl(['keystore', 'verify', file, '--key-file', key, '--json']);
		assert.equal(code, 1);
		assert.deepEqual(JSON.parse(stdout), { ok: false, path: file, why: said });
	});

	test('questions on a terminal: what is typed does not show', async () => {
		const file = await copy('asked');
		const verify = ['keystore', 'verify', file];
		const asks = /Passphrase or recovery key of .*asked: $/;
		const whole = await terminal(verify, [[asks, 'grüße und küsse\n']]);
		assert.deepEqual([whole.code, whole.echo], [0, true]);
		assert.match(whole.text, /asked: \nWhole: all/);
		assert.ok(!whole.text.includes('sse'), whole.text);
		assert.equal((await terminal(verify, [[asks, `${recoveryKey}\n`]])).code, 0);
		for (const [typed, pattern] of [['no\n', /does not open/], ['\n', /what was typed is empty/], ['\x04', /what was typed is empty/], [`${'x'.repeat(1100)}\n`, /longer than 1024 bytes/]]) {
			const { code, text, echo } = await terminal(verify, [[asks, typed]]);
			assert.deepEqual([code, echo], [1, true], text);
			assert.match(text, pattern);
		}
		// Interrupted: it ends by the signal, and the terminal is as it was.
		const { code, echo, text } = await terminal(verify, [[asks, '\x03']]);
		assert.deepEqual([code, echo], [130, true], text);
	});

	test('questions on a terminal: a new passphrase is typed twice', async () => {
		const add = ['--socket', admin, 'keystore', 'slot', 'add', 'passphrase'];
		const first = /New passphrase of the keystore: $/, second = /The same once more: $/;
		const done = await terminal(add, [[first, 'typed\n'], [second, 'typed\n']]);
		assert.equal(done.code, 0, done.text);
		const [, slot] = done.text.match(/Slot (\d+) opens the keystore by passphrase\./);
		assert.ok(!done.text.includes('typed'));
		const { code, text } = await terminal(add, [[first, 'one\n'], [second, 'another\n']]);
		assert.equal(code, 1);
		assert.match(text, /the two differ; nothing was changed/);
		const remove = ['--socket', admin, 'keystore', 'slot', 'remove', slot];
		const question = new RegExp(`Remove slot ${slot}\\? .*\\[y/N\\] $`);
		for (const answer of ['\n', 'n\n', 'yeah\n', '\x04', `${'y'.repeat(40)}\n`]) {
			const no = await terminal(remove, [[question, answer]]);
			assert.equal(no.code, 1, no.text);
			assert.match(no.text, /nothing was changed/);
		}
		assert.equal((await terminal(remove, [[question, 'Yes\n']])).code, 0);
		assert.deepEqual(JSON.parse(succeeded(await run('keystore', 'slot', 'list', '--json'))).slots.map(({ slot: n }) => n), [0, 1, passphraseSlot, 3]);
	});

	test('work that takes long shows', async () => {
		daemon.signal('SIGSTOP');
		const { code, text } = await terminal(['--socket', admin, 'keystore', 'verify'], [[/e2eectl: waiting for e2eed, 1 s/, () => daemon.signal('SIGCONT')]]);
		assert.equal(code, 0);
		assert.match(text, /Whole: all/);
	});

	test('revoking', async () => {
		const question = /Revoke app bot for good\? .*\[y\/N\] $/s;
		assert.match((await terminal(['--socket', admin, 'app', 'revoke', 'bot'], [[question, 'n\n']])).text, /nothing was changed/);
		const { code, text } = await terminal(['--socket', admin, 'app', 'revoke', 'bot'], [[question, 'y\n']]);
		assert.equal(code, 0);
		assert.match(text, /Revoked: its sessions are closed/);
		assert.match(text, BACKUPS);
		assert.deepEqual(JSON.parse(succeeded(await run('app', 'revoke', 'other', '--yes', '--json'))), {});
		failed(await run('app', 'revoke', 'bot', '--yes'), 1, /a revoked app cannot be changed/);
		failed(await run('app', 'revoke', 'nobody', '--yes'), 1, /there is no such app/);
		failedJson(await run('app', 'revoke', 'nobody', '--yes', '--json'), 'NOT_FOUND');
		failed(await run('app', 'create', 'bot'), 1, /there was one that has been revoked/);
		assert.match(succeeded(await run('app', 'list')), /^bot .* revoked /m);

		const room = ['--socket', admin, 'room', 'revoke', 'third', 'r', '--purge-keys'];
		const purge = await terminal(room, [[/Destroy all keys that app third has of room r\? .*\[y\/N\] $/, 'y\n']]);
		assert.equal(purge.code, 0, purge.text);
		assert.match(purge.text, BACKUPS);
	});

	test('lock, status, unlock', async () => {
		assert.match(succeeded(await run('lock')), /^Locked: .*'e2eectl unlock'\.\n$/);
		assert.deepEqual(JSON.parse(succeeded(await run('lock', '--json'))), {});
		const status = succeeded(await run('status'));
		assert.match(status, /^State +locked\n +no secret is in memory, .*'e2eectl unlock' opens/);
		assert.doesNotMatch(status, /generation/);
		for (const args of [['app', 'list'], ['keystore', 'verify'], ['keystore', 'slot', 'list'], ['audit', 'tail']])
			failed(await run(...args), 1, /the keystore is locked \(LOCKED\); 'e2eectl unlock' opens it/);
		failedJson(await run('app', 'list', '--json'), 'LOCKED');
		const unlock = (secret, ...args) => ctl(['--socket', admin, 'unlock', '--passphrase-fd', '3', ...args], { secret });
		failed(await unlock('wrong'), 1, /does not open .*\(AUTHENTICATION_FAILED\)/);
		failedJson(await unlock('wrong', '--json'), 'AUTHENTICATION_FAILED');
		assert.equal(succeeded(await unlock('grüße und küsse')), 'Unlocked: e2eed serves its apps.\n');
		succeeded(await run('lock'));
		assert.deepEqual(JSON.parse(succeeded(await run('unlock', '--json'))), {}); // the key file does it
		succeeded(await run('app', 'list'));
	});

	test('recover', async () => {
		const made = join(temporary, 'recovered.key');
		const recover = ['keystore', 'recover', daemon.keystorePath, '--key-file', made];
		failed(await ctl([...recover, '--passphrase-fd', '3'], { secret: recoveryKey }), 1, /is in use by another process \(pid \d+\); stop e2eed first/);
		failed(await ctl(recover), 64, /no terminal/);
		await daemon.terminate();
		failed(await ctl([...recover, '--passphrase-fd', '3'], { secret: recoveryKey.replace(/^./, (c) => (c === 'c' ? 'b' : 'c')) }), 1, /checksum does not fit: look for a typing error/);
		assert.ok(!existsSync(made));
		const { code, text, echo } = await terminal(recover, [[/Recovery key of .*keystore: $/, `${recoveryKey}\n`]]);
		assert.deepEqual([code, echo], [0, true], text);
		assert.match(text, /Slot \d+ of .*keystore opens with the key file .*recovered\.key\./);
		assert.ok(text.includes(`\n  seal = keyfile\n  key_file = ${made}\n`), text);
		assert.ok(!text.includes(recoveryKey));
		assert.equal(statSync(made).mode & 0o7777, 0o600);
		await daemon.restart({ config: { keystore: { key_file: made } } });
		assert.match(succeeded(await run('app', 'show', 'third')), /active/);
	});

	test('recover: with an anchor, and an older copy is refused', async () => {
		const file = await copy('older'), anchor = join(temporary, 'anchor'), made = join(temporary, 'older.key');
		const recover = (path, ...args) => ctl(['keystore', 'recover', path, '--key-file', made, '--passphrase-fd', '3', '--anchor', anchor, ...args], { secret: recoveryKey });
		await daemon.restart({ config: { keystore: { anchor } } });
		succeeded(await run('app', 'create', 'later'));
		await daemon.terminate();
		failed(await recover(file), 1, /is older than it was/);
		assert.deepEqual(Object.keys(JSON.parse(succeeded(await recover(daemon.keystorePath, '--json')))), ['slot', 'keyFile']);
		await daemon.start();
		succeeded(await run('app', 'show', 'later'));
	});

	test('recover: what root writes belongs to the owner', { skip: process.getuid() !== 0 && 'needs root' }, async () => {
		const folder = temporaryFolder(), file = join(folder, 'keystore'), made = join(folder, 'key');
		copyFileSync(await copy('owned'), file);
		for (const path of [folder, file]) chownSync(path, 65534, 65534);
		succeeded(await ctl(['keystore', 'recover', file, '--key-file', made, '--passphrase-fd', '3'], { secret: recoveryKey }));
		for (const path of [file, made]) assert.deepEqual([statSync(path).uid, statSync(path).gid], [65534, 65534], path);
		removeFolder(folder);
	});
});

describe('with a daemon whose keystore needs a passphrase', { timeout: 60_000 }, () => {
	let daemon, admin;
	before(async () => {
		daemon = await startDaemon({ config: { keystore: { ...CHEAP, seal: 'passphrase' } } });
		admin = daemon.config.listen.admin_socket;
	});
	after(() => daemon?.stop());

	test('it is asked for, and is not needed again', async () => {
		failed(await ctl(['--socket', admin, 'unlock']), 64, /no terminal to ask .*; give --passphrase-fd/);
		const asks = /Passphrase of the keystore: $/;
		const made = await terminal(['--socket', admin, 'unlock'], [[asks, 'first one\n']]);
		assert.deepEqual([made.code, made.echo], [0, true], made.text);
		assert.match(made.text, /Unlocked: e2eed serves its apps\./);
		assert.ok(!made.text.includes('first one'));
		succeeded(await ctl(['--socket', admin, 'app', 'create', 'bot']));
		await daemon.restart();
		assert.match(succeeded(await ctl(['--socket', admin, 'status'])), /^State +locked/);
		const wrong = await terminal(['--socket', admin, 'unlock'], [[asks, 'second\n']]);
		assert.equal(wrong.code, 1);
		assert.match(wrong.text, /does not open/);
		assert.equal((await terminal(['--socket', admin, 'unlock'], [[asks, 'first one\n']])).code, 0);
		assert.match(succeeded(await ctl(['--socket', admin, 'app', 'list'])), /^bot /m);
		assert.equal(succeeded(await ctl(['--socket', admin, 'unlock'])), 'Unlocked: e2eed serves its apps.\n'); // it is
	});
});
