// e2eectl against a real daemon: every command's table, JSON, error sentences and exit codes (protocol.md, section 6).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CTL, cells, ctl, failed, failedJson, succeeded } from './lib/ctl.mjs';
import { removeFolder, startDaemon, temporaryFolder } from './lib/daemon.mjs';

const TOKEN = /^e2eed1_[A-Za-z0-9_-]{43}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

describe('help and usage, which need no daemon', () => {
	const commands = [
		'status', 'lock', 'unlock', 'app create', 'app list', 'app show', 'app token', 'app revoke', 'app rotate', 'app escrow',
		'app import', 'app export', 'key list', 'key revoke', 'room grant', 'room revoke', 'room list', 'room keys',
		'keystore verify', 'keystore compact', 'keystore rekey', 'keystore backup', 'keystore recover',
		'keystore slot list', 'keystore slot add', 'keystore slot remove', 'events tail', 'audit tail', 'audit verify', 'rpc', 'call',
	];

	test('--version', async () => {
		assert.match(succeeded(await ctl(['--version'])), /^e2eectl \d+\.\d+\.\d+\n$/);
	});

	test('help of the program names every command and option', async () => {
		const text = succeeded(await ctl(['--help']));
		for (const command of commands) assert.match(text, new RegExp(`^  ${command}\\b`, 'm'));
		for (const option of ['--socket PATH', '--json', '--help', '--version']) assert.ok(text.includes(option), option);
		assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 80, text);
		assert.equal(succeeded(await ctl(['help'])), text);
		assert.equal(succeeded(await ctl(['-h'])), text);
	});

	for (const group of ['app', 'key', 'room', 'keystore', 'keystore slot', 'events', 'audit']) {
		test(`help of the group ${group}`, async () => {
			const words = group.split(' ');
			const text = succeeded(await ctl(['help', ...words]));
			for (const command of commands) assert.equal(text.includes(`  ${command} `), command.startsWith(`${group} `), command);
			assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 80, text);
			assert.equal(succeeded(await ctl([...words, '--help'])), text);
			assert.equal(succeeded(await ctl([...words, 'help'])), text);
		});
	}

	for (const command of commands) {
		test(`help of ${command}`, async () => {
			const words = command.split(' ');
			const text = succeeded(await ctl(['help', ...words]));
			assert.ok(text.startsWith(`Usage: e2eectl ${command}`), text);
			assert.ok(text.includes('--socket PATH'));
			assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 80, text);
			assert.equal(succeeded(await ctl([...words, '--help'])), text);
			assert.equal(succeeded(await ctl(['--help', ...words, 'operand'])), text);
			if (words.length > 1) assert.equal(succeeded(await ctl([...words.slice(0, -1), 'help', words.at(-1)])), text);
		});
	}

	const bad = [
		[[], /a command is missing/],
		[['nothing'], /no command 'nothing'/],
		[['help', 'nothing'], /no command 'nothing'/],
		[['app'], /'app' needs another word/],
		[['app', 'lst'], /no command 'app lst'/],
		[['help', 'app', 'lst'], /no command 'app lst'/],
		[['status', 'now'], /'now' is too much; expected nothing more/],
		[['--colour', 'status'], /--colour is not an option/],
		[['-s', 'status'], /-s is not an option/],
		[['status', '--socket'], /--socket takes a value/],
		[['status', '--json=yes'], /--json takes no value/],
		[['status', '--socket', 'a', '--socket', 'b'], /--socket is given twice/],
		[['status', '--purge-keys'], /--purge-keys does not go with this command/],
		[['app', 'create'], /something is missing; expected: APPID/],
		[['app', 'create', 'a', 'b'], /'b' is too much/],
		[['app', 'create', 'a', '--room', 'r'], /--room takes ROOMID=PERMISSION/],
		[['app', 'create', 'a', '--room', '=read'], /--room takes ROOMID=PERMISSION/],
		[['app', 'create', 'a', '--room', 'r=reed'], /'reed' is not a permission/],
		[['app', 'show'], /something is missing/],
		[['app', 'token'], /something is missing/],
		[['room', 'grant', 'a', 'r'], /something is missing/],
		[['room', 'grant', 'a', 'r', 'read,'], /'' is not a permission/],
		[['room', 'grant', 'a', 'r', 'read', 'write'], /'write' is too much/],
		[['room', 'revoke', 'a'], /something is missing/],
		[['room', 'list'], /something is missing/],
		[['keystore'], /'keystore' needs another word/],
		[['keystore', 'slot'], /'keystore slot' needs another word/],
		[['keystore', 'slots'], /no command 'keystore slots'/],
		[['keystore', 'slot', 'lst'], /no command 'keystore slot lst'/],
		[['help', 'keystore', 'slot', 'lst'], /no command 'keystore slot lst'/],
		[['keystore', 'backup', 'here'], /PATH must be absolute/],
		[['keystore', 'recover', 'f'], /--key-file is missing/],
		[['keystore', 'recover', 'f', '--key-file', 'k'], /--key-file must be absolute/],
		[['keystore', 'recover', 'f', '--key-file', '/k', '--socket', 's'], /--socket does not go with this command/],
		[['keystore', 'verify', 'f', '--socket', 's'], /--socket does not go with FILE/],
		[['keystore', 'verify', '--key-file', 'k'], /--key-file goes with FILE only/],
		[['keystore', 'verify', 'f', '--key-file', 'k', '--passphrase-fd', '3'], /exclude each other/],
		[['keystore', 'slot', 'list', 'f', '--socket', 's'], /--socket does not go with FILE/],
		[['keystore', 'slot', 'add', 'stone'], /'stone' is no seal; there are keyfile/],
		[['keystore', 'slot', 'add', 'keyfile'], /--key-file is missing/],
		[['keystore', 'slot', 'add', 'keyfile', '--key-file', 'k'], /--key-file must be absolute/],
		[['keystore', 'slot', 'add', 'recovery', '--key-file', '/k'], /--key-file does not go with the seal recovery/],
		[['keystore', 'slot', 'add', 'passphrase', '--credential', 'c'], /--credential does not go with the seal passphrase/],
		[['keystore', 'slot', 'add', 'passphrase', '--passphrase-fd', 'x'], /takes the number of an open file descriptor, not 'x'/],
		[['keystore', 'slot', 'add', 'passphrase', '--passphrase-fd', '77'], /cannot read the secret from descriptor 77/],
		[['keystore', 'slot', 'add', 'passphrase'], /there is no terminal to ask for the secret on; give --passphrase-fd/],
		[['keystore', 'slot', 'remove', 'x', '--yes'], /'x' is not the number of a slot/],
		[['keystore', 'slot', 'remove', '4294967296', '--yes'], /is not the number of a slot/],
		[['keystore', 'slot', 'remove', '1'], /cannot be undone, and there is no terminal to ask on; give --yes/],
		[['app', 'revoke', 'a'], /cannot be undone, and there is no terminal to ask on; give --yes/],
		[['room', 'revoke', 'a', 'r', '--purge-keys'], /cannot be undone, and there is no terminal to ask on; give --yes/],
		[['unlock', '--passphrase-fd', '-1'], /takes the number of an open file descriptor/],
		[['audit', 'tail', '--since', '-1'], /--since takes the number of an entry, not '-1'/],
		[['audit', 'tail', '--since', '9007199254740992'], /--since takes the number of an entry/],
		[['audit', 'verify', 'f'], /--keystore is missing/],
		[['audit', 'verify', '--keystore', 'k'], /--keystore goes with FILE only/],
		[['rpc'], /something is missing; expected: METHOD/],
		[['rpc', ''], /METHOD is empty/],
		[['rpc', 'getStatus', '{'], /PARAMS is not valid JSON/],
		[['rpc', 'getStatus', '{"a":1,"a":2}'], /PARAMS is not valid JSON/],
		[['rpc', 'getStatus', ''], /PARAMS is not valid JSON/],
		[['rpc', 'getStatus', '[]'], /PARAMS is not a JSON object/],
		[['rpc', 'getStatus', 'null'], /PARAMS is not a JSON object/],
		[['rpc', 'getStatus', '{}', '{}'], /'{}' is too much/],
		[['call', 'ping'], /--app is missing/],
		[['call', '--app', 'a', 'ping'], /--token-file is missing/],
		[['call', '--app', 'a', '--token-file', 'f', '--socket', '/s', 'ping'], /--socket names the admin socket/],
		[['call', '--app', 'a', '--token-file', 'f', '--app-socket', '/s', '--tcp', 'h:1', 'ping'], /exclude each other/],
	];
	for (const [args, pattern] of bad) {
		test(`bad usage: ${JSON.stringify(args)}`, async () => {
			const text = failed(await ctl(args), 64, pattern);
			assert.match(text, /^e2eectl: .*\nTry 'e2eectl .*'\.\n$/s);
		});
	}

	test('bad JSON on standard input is bad usage too', async () => {
		failed(await ctl(['rpc', 'getStatus', '-'], { input: '{]' }), 64, /PARAMS is not valid JSON/);
	});
});

describe('no connection', () => {
	let dir, tokenFile;
	before(() => {
		dir = temporaryFolder();
		tokenFile = join(dir, 'token');
		writeFileSync(tokenFile, `e2eed1_${'A'.repeat(43)}\n`, { mode: 0o600 });
	});
	after(() => removeFolder(dir));

	test('no socket there', async () => {
		const socket = join(dir, 'none.sock');
		for (const args of [['status'], ['rpc', 'getStatus'], ['app', 'list', '--json']])
			failed(await ctl(['--socket', socket, ...args]), 2, /cannot connect to .*none\.sock: there is no such socket; is e2eed running/);
		failed(await ctl(['call', '--app', 'a', '--token-file', tokenFile, '--app-socket', socket, 'ping']), 2, /no such socket/);
		failed(await ctl(['--socket', '@e2eed-test-nobody-there', 'status']), 2, /nobody listens there/);
		failed(await ctl(['--socket', '', 'status']), 2, /cannot connect/);
		failed(await ctl(['--socket', '@', 'status']), 2, /cannot connect/);
		failed(await ctl(['--socket', `/${'x'.repeat(120)}`, 'status']), 2, /too long/);
	});

	test('what listens there is no e2eed, or has hung up', async () => {
		const socket = join(dir, 'fake.sock');
		let behave;
		const server = createServer((connection) => behave(connection.on('error', () => {}).resume()));
		await new Promise((resolve) => server.listen(socket, resolve));
		behave = (connection) => connection.destroy();
		failed(await ctl(['--socket', socket, 'status']), 2, /closed the connection without an answer; only root/);
		behave = (connection) => connection.once('data', () => connection.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
		failed(await ctl(['--socket', socket, 'status']), 2, /does not speak e2eed's protocol/);
		// Other messages in front of the answer are not the answer.
		behave = (connection) => connection.once('data', () => connection.end('{"jsonrpc":"2.0","method":"event","params":{}}\n{"jsonrpc":"2.0","id":77,"result":{}}\n\r\n{"jsonrpc":"2.0","id":1,"result":{"n":1e400}}\r\n'));
		assert.equal(succeeded(await ctl(['--socket', socket, 'rpc', 'x'])), '{"n":1e400}\n');
		await new Promise((resolve) => server.close(resolve));
	});

	test('a daemon that does not know the token is not believed', async () => {
		const socket = join(dir, 'impostor.sock');
		const methods = [];
		const server = createServer((connection) => {
			connection.on('error', () => {}).setEncoding('utf8').on('data', (text) => {
				const { id, method } = JSON.parse(text);
				methods.push(method);
				const result = method === 'hello' ? { protocol: 1, challenge: Buffer.alloc(32).toString('base64') } : { appId: 'a', serverProof: '0'.repeat(64) };
				connection.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
			});
		});
		await new Promise((resolve) => server.listen(socket, resolve));
		failed(await ctl(['call', '--app', 'a', '--token-file', tokenFile, '--app-socket', socket, 'decrypt', '{"roomId":"r"}']), 2, /has not shown that it knows the app's token/);
		assert.deepEqual(methods, ['hello', 'authenticate']);
		await new Promise((resolve) => server.close(resolve));
	});
});

describe('with a daemon', { timeout: 120_000 }, () => {
	let daemon, admin, tokenFile;
	const run = (...args) => ctl(['--socket', admin, ...args]);
	const call = (...args) => ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--app-socket', daemon.config.listen.app_socket, ...args]);
	const writeToken = (token, mode = 0o600) => {
		const file = join(temporary, `token-${mode.toString(8)}-${Math.random().toString(36).slice(2)}`);
		writeFileSync(file, token, { mode });
		return file;
	};
	let temporary;

	before(async () => {
		temporary = temporaryFolder();
		daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } });
		admin = daemon.config.listen.admin_socket;
	});
	after(async () => {
		await daemon?.stop();
		removeFolder(temporary);
	});

	test('status', async () => {
		const rows = Object.fromEntries(cells(succeeded(await run('status'))).filter((row) => row.length === 2));
		assert.match(rows.State, /^(ready|degraded)$/);
		assert.ok(rows.Daemon.includes(`pid ${daemon.pid}, since 2`), rows.Daemon);
		assert.equal(rows.Keystore, daemon.keystorePath);
		assert.match(rows.Memory, /locked, limit/);
		assert.match(rows.Workers, /^loops 1, threads \d+, requests queued \d+$/);
		assert.equal(rows.Apps, '0');
		assert.equal(rows['Room keys'], '0');
		const status = JSON.parse(succeeded(await run('--json', 'status')));
		assert.equal(status.pid, daemon.pid);
		assert.equal(status.apps, 0);
	});

	test('nothing there yet', async () => {
		assert.equal(succeeded(await run('app', 'list')), "No apps yet; create one with 'e2eectl app create APPID'.\n");
		assert.deepEqual(JSON.parse(succeeded(await ctl(['app', 'list', '--json', '--socket', admin]))), { apps: [] });
	});

	test('app create', async () => {
		const text = succeeded(await run('app', 'create', 'bot', '--name', 'Bot für 日本', '--room', 'r=1=read,write', '--room=GENERAL=read'));
		const rows = Object.fromEntries(cells(text).filter((row) => row.length === 2));
		assert.equal(rows.App, 'bot');
		assert.match(rows['Identity key'], UUID);
		assert.match(rows.Token, TOKEN);
		assert.match(text, /shown this once/);
		tokenFile = writeToken(`${rows.Token}\n`);
		failed(await run('app', 'create', 'bot'), 1, /there is such an app/);
		failedJson(await run('app', 'create', 'bot', '--json'), 'ALREADY_EXISTS');
		failed(await run('app', 'create', 'x'.repeat(129)), 1, /does not accept the value of appId/);
		const json = JSON.parse(succeeded(await run('--json', 'app', 'create', '--', '--second')));
		assert.equal(json.appId, '--second');
		assert.match(json.token, TOKEN);
		assert.match(json.keyId, UUID);
		assert.equal(JSON.parse(json.publicKey).kty, 'RSA');
	});

	test('app list', async () => {
		const text = succeeded(await run('app', 'list'));
		const [header, ...rows] = cells(text);
		assert.deepEqual(header, ['APP', 'NAME', 'STATE', 'ROOMS', 'CREATED', 'IDENTITY KEY']);
		const bot = rows.find((row) => row[0] === 'bot');
		assert.deepEqual(bot.slice(0, 4), ['bot', 'Bot für 日本', 'active', '2']);
		assert.match(bot[5], UUID);
		assert.deepEqual(rows.find((row) => row[0] === '--second').slice(1, 4), ['-', 'active', '0']);
		// Columns begin in one place; 日 and 本 are two columns wide each.
		const width = (s) => [...s].reduce((sum, c) => sum + (c > '\u2e80' ? 2 : 1), 0);
		const at = text.trimEnd().split('\n').map((line) => width(line.slice(0, line.search(/STATE|active/))));
		assert.equal(new Set(at).size, 1, text);
	});

	test('app show', async () => {
		const text = succeeded(await run('app', 'show', 'bot'));
		const [head, identities, rooms] = text.split('\n\n');
		const rows = Object.fromEntries(cells(head));
		assert.deepEqual([rows.App, rows.Name, rows.State], ['bot', 'Bot für 日本', 'active']);
		assert.match(rows.Created, /^\d{4}-.*Z$/);
		assert.deepEqual(cells(identities)[1], ['KEY', 'STATE', 'CREATED', 'EXPIRES/REVOKED']);
		assert.equal(cells(identities)[2][1], 'current');
		assert.deepEqual(cells(rooms)[1], ['ROOM', 'PERMISSIONS', 'KEYS', 'CURRENT KEY']);
		assert.deepEqual(cells(rooms).slice(2).sort(), [['GENERAL', 'read', '0', '-'], ['r=1', 'read,write', '0', '-']]);
		assert.match(succeeded(await run('app', 'show', '--', '--second')), /Rooms\n  none; grant one/);
		assert.equal(JSON.parse(succeeded(await run('app', 'show', 'bot', '--json'))).appId, 'bot');
		failed(await run('app', 'show', 'nobody'), 1, /no such app; 'e2eectl app list'/);
		failedJson(await run('app', 'show', 'nobody', '--json'), 'NOT_FOUND');
	});

	test('room grant, list, revoke', async () => {
		const rows = Object.fromEntries(cells(succeeded(await run('room', 'grant', 'bot', 'GENERAL', 'read,write,create,distribute'))));
		assert.deepEqual([rows.App, rows.Room], ['bot', 'GENERAL']);
		assert.deepEqual(rows.Permissions.split(',').sort(), ['create', 'distribute', 'read', 'write']);
		assert.equal(JSON.parse(succeeded(await run('--json', 'room', 'grant', 'bot', 'other', 'read'))).roomId, 'other');
		failed(await run('room', 'grant', 'nobody', 'r', 'read'), 1, /no such app/);
		failedJson(await run('room', 'grant', 'nobody', 'r', 'read', '--json'), 'NOT_FOUND');

		const { kid } = JSON.parse(succeeded(await call('createRoomKey', '{"roomId":"GENERAL"}')));
		const [header, ...list] = cells(succeeded(await run('room', 'list', 'bot')));
		assert.deepEqual(header, ['ROOM', 'PERMISSIONS', 'KEYS', 'CURRENT KEY']);
		assert.deepEqual(list.find(([room]) => room === 'GENERAL').slice(2), ['1', kid]);
		assert.deepEqual(list.find(([room]) => room === 'other'), ['other', 'read', '0', '-']);
		assert.equal(JSON.parse(succeeded(await run('room', 'list', 'bot', '--json'))).rooms.length, 3);
		assert.match(succeeded(await run('room', 'list', '--', '--second')), /^No rooms yet; grant one/);
		failed(await run('room', 'list', 'nobody'), 1, /no such app/);

		assert.equal(succeeded(await run('room', 'revoke', 'bot', 'other')), "Revoked; the room's keys are kept.\n");
		assert.deepEqual(JSON.parse(succeeded(await run('room', 'revoke', 'bot', 'GENERAL', '--purge-keys', '--yes', '--json'))), {});
		failed(await run('room', 'revoke', 'bot', 'GENERAL'), 1, /no grant on that room/);
		failedJson(await run('room', 'revoke', 'bot', 'GENERAL', '--json'), 'NOT_FOUND');
		assert.match(succeeded(await run('room', 'revoke', 'bot', 'r=1', '--purge-keys', '--yes')), /^Revoked; the room's keys are destroyed\..*\n\nBackups .* still hold them.*Destroy those copies/s);
		succeeded(await run('room', 'grant', 'bot', 'GENERAL', 'read,write,create'));
	});

	test('rpc puts the result out as it came', async () => {
		assert.match(succeeded(await run('rpc', 'getStatus')), /^\{"version":"[^\n]*\}\n$/);
		assert.equal(JSON.parse(succeeded(await run('rpc', 'getApp', ' {"appId":\n"bot"} '))).appId, 'bot');
		assert.equal(JSON.parse(succeeded(await ctl(['--socket', admin, 'rpc', 'getApp', '-'], { input: '{\n\t"appId": "bot"\r\n}\n' }))).appId, 'bot');
		assert.equal(failedJson(await run('rpc', 'getApp', '{"appId":"nobody"}'), 'NOT_FOUND').code, -32010);
		assert.equal(failedJson(await run('rpc', 'getApp', '{}'), 'INVALID_PARAMS').data.param, 'appId');
		failedJson(await run('rpc', 'fly'), 'METHOD_NOT_FOUND');
		const methods = JSON.parse(succeeded(await run('rpc', 'rpc.discover'))).methods.map(({ name }) => name);
		assert.ok(methods.includes('createApp'));
	});

	test('call: as an app, over the socket and over TCP', async () => {
		assert.equal(JSON.parse(succeeded(await call('getStatus'))).appId, 'bot');
		const { kid } = JSON.parse(succeeded(await call('createRoomKey', '{"roomId":"GENERAL"}')));
		const payload = '{"msg":"\\u0000 \\ud800 grüße","n":1.0,"big":12345678901234567890123,"tiny":1e-400,"deep":[[]]}';
		const { content } = JSON.parse(succeeded(await ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--app-socket', daemon.config.listen.app_socket, 'encrypt', '-'], { input: `{"roomId":"GENERAL","payload":${payload}}` })));
		assert.equal(content.kid, kid);
		const opened = succeeded(await ctl(['call', '--app=bot', `--token-file=${tokenFile}`, `--tcp=127.0.0.1:${daemon.tcpPort}`, 'decrypt', JSON.stringify({ roomId: 'GENERAL', content })]));
		assert.ok(opened.includes(payload), opened);
		failedJson(await call('encrypt', '{"roomId":"elsewhere","payload":{}}'), 'ROOM_NOT_AUTHORIZED');
		failedJson(await call('listApps'), 'METHOD_NOT_FOUND');
	});

	test('call: an answer of megabytes', async () => {
		const text = 'ü'.repeat(200_000);
		const { content } = JSON.parse(succeeded(await ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--app-socket', daemon.config.listen.app_socket, 'encrypt', '-'], { input: JSON.stringify({ roomId: 'GENERAL', payload: { msg: text } }) })));
		const answer = succeeded(await ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--app-socket', daemon.config.listen.app_socket, 'decrypt', '-'], { input: JSON.stringify({ roomId: 'GENERAL', content }) }));
		assert.equal(JSON.parse(answer).payload.msg, text);
		const large = await ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--app-socket', daemon.config.listen.app_socket, 'encrypt', '-'], { input: JSON.stringify({ roomId: 'GENERAL', payload: { msg: 'x'.repeat(1 << 20) } }) });
		assert.equal(failedJson(large, 'TOO_LARGE').data.limit, 1 << 20);
	});

	test('call: token files that are none', async () => {
		const withFile = (file) => ctl(['call', '--app', 'bot', '--token-file', file, '--app-socket', daemon.config.listen.app_socket, 'getStatus']);
		failed(await withFile(writeToken(`e2eed1_${'A'.repeat(43)}\n`, 0o644)), 1, /others than its owner may read this file; chmod 600/);
		failed(await withFile(join(temporary, 'none')), 1, /no such file/);
		for (const text of ['', '\n', 'secret\n', `e2eed1_${'A'.repeat(42)}\n`, `e2eed1_${'A'.repeat(42)}+\n`, `e2eed2_${'A'.repeat(43)}\n`, `e2eed1_${'A'.repeat(43)}\n\n\n`]) {
			const said = failed(await withFile(writeToken(text)), 1, /this is no token/);
			assert.ok(!said.includes('AAAA'), said);
		}
		failedJson(await withFile(writeToken(`e2eed1_${'A'.repeat(43)}`)), 'AUTHENTICATION_FAILED');
		failed(await ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--tcp', '192.0.2.1:7438', 'ping']), 64, /loopback addresses only/);
		failed(await ctl(['call', '--app', 'bot', '--token-file', tokenFile, '--tcp', '127.0.0.1', 'ping']), 64, /takes HOST:PORT/);
	});

	test('app token makes a new one and voids the old', async () => {
		const token = succeeded(await run('app', 'token', 'bot')).trimEnd();
		assert.match(token, TOKEN);
		failedJson(await call('getStatus'), 'AUTHENTICATION_FAILED');
		tokenFile = writeToken(token);
		assert.equal(JSON.parse(succeeded(await call('getStatus'))).appId, 'bot');
		assert.match(JSON.parse(succeeded(await run('app', 'token', '--json', '--', '--second'))).token, TOKEN);
		failed(await run('app', 'token', 'nobody'), 1, /no such app/);
		failedJson(await run('--json', 'app', 'token', 'nobody'), 'NOT_FOUND');
	});

	test('arguments that are not UTF-8 are bad usage', async () => {
		// Node cannot pass such bytes; the shell can.
		const proc = spawn('/bin/sh', ['-c', `exec "$1" --socket "$2" app show "$(printf '\\377')"`, 'sh', CTL, admin], { stdio: ['ignore', 'pipe', 'pipe'] });
		let stderr = '';
		proc.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
		const code = await new Promise((resolve) => proc.once('close', resolve));
		assert.equal(code, 64, stderr);
		assert.match(stderr, /not valid UTF-8/);
	});

	test('abstract sockets', async () => {
		const name = `@e2eed-ctl-test-${process.pid}`;
		const other = await startDaemon({ config: { listen: { admin_socket: name, app_socket: `${name}-app` } } });
		try {
			assert.equal(JSON.parse(succeeded(await ctl(['--socket', name, '--json', 'status']))).pid, other.pid);
		} finally {
			await other.stop();
		}
	});

	test('standard output that is closed or full', async () => {
		const sh = (script) => new Promise((resolve) => {
			const proc = spawn('/bin/sh', ['-c', script, 'sh', CTL, admin], { stdio: ['ignore', 'ignore', 'pipe'] });
			let stderr = '';
			proc.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
			proc.once('close', (code) => resolve({ code, stderr }));
		});
		const full = await sh('exec "$1" --socket "$2" status > /dev/full');
		assert.equal(full.code, 1);
		assert.match(full.stderr, /cannot write to standard output: No space left/);
	});
});
