// e2eectl for identity keys and room keys against a real daemon: rotate, escrow, import, export, key list and revoke, room keys; each
// in words, as JSON and in its errors, with passphrases from a descriptor and from a terminal, and WebCrypto on the other side.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cells, ctl, failed, failedJson, succeeded, terminal } from './lib/ctl.mjs';
import { removeFolder, startDaemon, temporaryFolder } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const { vectors } = JSON.parse(readFileSync(new URL('../vectors/rocketchat.json', import.meta.url)));
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const BACKUPS = /Backups and copies of the keystore that were made before still hold them.*Destroy those copies/s;
const PASSPHRASE = 'correct horse, battery';
const DAY = 86_400_000;

const fields = (text) => Object.fromEntries(cells(text.split('\n\n')[0]));

// Usage is judged before the daemon is asked: there is none here.
describe('usage', () => {
	const bad = [
		[['key'], /'key' needs another word/],
		[['key', 'list'], /something is missing; expected: APPID/],
		[['key', 'revoke', 'a'], /something is missing; expected: APPID KEYID/],
		[['key', 'revoke', 'a', 'k'], /cannot be undone, and there is no terminal to ask on; give --yes/],
		[['room', 'keys', 'a'], /something is missing; expected: APPID ROOMID/],
		[['app', 'rotate'], /something is missing; expected: APPID/],
		[['app', 'rotate', 'a', '--clear'], /--clear does not go with this command/],
		[['app', 'rotate', 'a', '--grace', '0'], /cannot be undone, and there is no terminal to ask on; give --yes/],
		[['app', 'escrow'], /something is missing/],
		[['app', 'escrow', 'a', PASSPHRASE], /is too much; expected: APPID/],
		[['app', 'escrow', 'a'], /no terminal to ask for the secret on; give --passphrase-fd/],
		[['app', 'escrow', 'a', '--clear'], /cannot be undone, and there is no terminal to ask on; give --yes/],
		[['app', 'escrow', 'a', '--clear', '--passphrase-fd', '3'], /--clear and --passphrase-fd exclude each other/],
		[['app', 'escrow', 'a', '--passphrase-fd', 'x'], /takes the number of an open file descriptor, not 'x'/],
		[['app', 'import', 'a'], /something is missing; expected: APPID USERID \[FILE\]/],
		[['app', 'import', 'a', 'u', 'f', PASSPHRASE], /is too much/],
		[['app', 'import', 'a', 'u', '--passphrase-fd', '0'], /standard input gives the key pair; --passphrase-fd needs another/],
		[['app', 'import', 'a', 'u', '-', '--passphrase-fd=0'], /standard input gives the key pair/],
		[['app', 'export', 'a'], /something is missing; expected: APPID USERID/],
		[['app', 'export', 'a', 'u', '--passphrase-fd', '77'], /cannot read the secret from descriptor 77/],
		[['app', 'export', 'a', 'u'], /no terminal to ask for the secret on; give --passphrase-fd/],
	];
	for (const grace of ['', '-1', '7w', '1.5d', 'd', '7dd', ' 7d', '7 d', '3651d', '315360001', '99999999999999999999', '9223372036854775807d', '+7d'])
		bad.push([['app', 'rotate', 'a', `--grace=${grace}`], /--grace takes a time such as 7d, 12h, 30m or 90s, at most 3650d, not '/]);
	for (const [args, pattern] of bad) {
		test(JSON.stringify(args), async () => {
			assert.match(failed(await ctl(args), 64, pattern), /^e2eectl: .*\nTry 'e2eectl .*'\.\n$/s);
		});
	}

	test('app import without FILE does not wait for a terminal', async () => {
		const { code, text } = await terminal(['app', 'import', 'a', 'u']);
		assert.equal(code, 64);
		assert.match(text, /FILE is missing, and standard input is the terminal/);
	});

	test('no daemon', async () => {
		const dir = temporaryFolder(), socket = join(dir, 'none.sock');
		const gone = (args, more) => ctl(['--socket', socket, ...args], more).then((result) => failed(result, 2, /none\.sock: there is no such socket; is e2eed running/));
		for (const args of [['app', 'rotate', 'a'], ['app', 'escrow', 'a', '--clear', '--yes'], ['key', 'list', 'a'], ['key', 'revoke', 'a', 'k', '--yes'], ['room', 'keys', 'a', 'r']])
			await gone(args);
		for (const args of [['app', 'escrow', 'a'], ['app', 'export', 'a', 'u'], ['app', 'import', 'a', 'u']])
			await gone([...args, '--passphrase-fd', '3'], { secret: PASSPHRASE, input: '{"public_key":"","private_key":""}' });
		removeFolder(dir);
	});
});

describe('with a daemon', { timeout: 180_000 }, () => {
	let daemon, admin, temporary, bot, keyId, publicKey;
	const run = (...args) => ctl(['--socket', admin, ...args]);
	const withSecret = (secret, args, more = {}) => ctl(['--socket', admin, ...args, '--passphrase-fd', '3'], { secret, ...more });
	const create = async (appId, ...args) => JSON.parse(succeeded(await run('app', 'create', appId, ...args, '--json')));
	const keys = async (appId) => JSON.parse(succeeded(await run('key', 'list', appId, '--json'))).identities;
	const file = (name, content) => {
		const path = join(temporary, name);
		writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
		return path;
	};

	before(async () => {
		temporary = temporaryFolder();
		daemon = await startDaemon();
		admin = daemon.config.listen.admin_socket;
		const made = await create('bot', '--room', 'r=read,write,create,distribute');
		({ keyId, publicKey } = made);
		bot = await daemon.app('bot', made.token);
	});
	after(async () => {
		await daemon?.stop();
		removeFolder(temporary);
	});

	test('room keys', async () => {
		assert.match(succeeded(await run('room', 'keys', 'bot', 'r')), /^No keys yet; the app imports one/);
		assert.deepEqual(JSON.parse(succeeded(await run('room', 'keys', 'bot', 'r', '--json'))), { keys: [] });
		const give = async (alg, params) => {
			const { kid, jwkText } = await rc.makeRoomKey(alg);
			await bot.call('importRoomKey', { roomId: 'r', key: await rc.wrapRoomKey(publicKey, kid, jwkText), ...params });
			return kid;
		};
		const bare = await give('A256GCM', { ts: null });
		const iso = await give('A256GCM', { ts: '2024-02-03T04:05:06.789Z' });
		const ejson = await give('A128CBC', { ts: { $date: 1_600_000_000_123 } });
		const { kid } = await bot.call('createRoomKey', { roomId: 'r' });
		const [header, first, ...rest] = cells(succeeded(await run('room', 'keys', 'bot', 'r')));
		assert.deepEqual(header, ['KEY', 'ALGORITHM', 'STATE', 'TIME']);
		assert.deepEqual(first.slice(0, 3), [kid, 'A256GCM', 'current']);
		assert.match(first[3], ISO);
		assert.deepEqual(rest, [[bare, 'A256GCM', 'old', '-'], [iso, 'A256GCM', 'old', '2024-02-03T04:05:06.789Z'], [ejson, 'A128CBC', 'old', new Date(1_600_000_000_123).toISOString()]]);
		const text = succeeded(await run('room', 'keys', 'bot', 'r', '--json'));
		assert.deepEqual(JSON.parse(text), await bot.call('listRoomKeys', { roomId: 'r' }));
		failed(await run('room', 'keys', 'nobody', 'r'), 1, /no such app, or it has no grant on that room/);
		failed(await run('room', 'keys', 'bot', 'none'), 1, /no such app, or it has no grant on that room/);
		failedJson(await run('room', 'keys', 'bot', 'none', '--json'), 'NOT_FOUND');
		failed(await run('room', 'keys', 'bot', ''), 1, /does not accept the value of roomId/);
	});

	test('app rotate, key list', async () => {
		const before = Date.now();
		const text = succeeded(await run('app', 'rotate', 'bot'));
		const rows = fields(text);
		assert.deepEqual([rows.App, rows['Former key']], ['bot', keyId]);
		assert.match(rows['New key'], UUID);
		assert.match(text, /Next, publish the new key: .*getKeyPublication.*e2e\.setUserPublicAndPrivateKeys/s);
		assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 80, text);
		const until = Date.parse(rows['It unwraps until']);
		assert.ok(until >= before + 7 * DAY && until <= Date.now() + 7 * DAY, rows['It unwraps until']);

		const [header, current, retired, ...rest] = cells(succeeded(await run('key', 'list', 'bot')));
		assert.deepEqual(header, ['KEY', 'STATE', 'CREATED', 'EXPIRES/REVOKED']);
		assert.deepEqual([current[0], current[1], current[3]], [rows['New key'], 'current', '-']);
		assert.deepEqual([retired[0], retired[1], retired[3]], [keyId, 'retired', rows['It unwraps until']]);
		assert.match(retired[2], ISO);
		assert.deepEqual(rest, []);
		const all = await run('rpc', 'getApp', '{"appId":"bot"}');
		assert.deepEqual(await keys('bot'), JSON.parse(succeeded(all)).identities);

		// What was wrapped for the former key can be imported still.
		const { kid, jwkText } = await rc.makeRoomKey();
		const key = await rc.wrapRoomKey(publicKey, kid, jwkText);
		assert.equal((await bot.call('importRoomKey', { roomId: 'r', key })).kid, kid);

		for (const [grace, ms] of [['90', 90_000], ['90s', 90_000], ['30m', 1_800_000], ['12h', 12 * 3_600_000], ['1d', DAY], ['3650d', 3650 * DAY]]) {
			const from = Date.now();
			const json = JSON.parse(succeeded(await run('app', 'rotate', 'bot', '--grace', grace, '--json')));
			assert.deepEqual(Object.keys(json), ['keyId', 'publicKey', 'previousKeyId', 'previousExpiresAt']);
			const end = Date.parse(json.previousExpiresAt);
			assert.ok(end >= from + ms && end <= Date.now() + ms, `${grace}: ${json.previousExpiresAt}`);
		}
		for (const command of [['app', 'rotate'], ['key', 'list']]) {
			failed(await run(...command, 'nobody'), 1, /no such app; 'e2eectl app list'/);
			failedJson(await run(...command, 'nobody', '--json'), 'NOT_FOUND');
		}
	});

	test('app rotate without grace asks, and destroys the former key', async () => {
		const [{ keyId: current }] = await keys('bot');
		const rotate = ['--socket', admin, 'app', 'rotate', 'bot', '--grace', '0'];
		const question = /Rotate the identity key of app bot without grace\? .*can no longer be\n?\r?\nimported\. \[y\/N\] $/s;
		const no = await terminal(rotate, [[question, 'n\n']]);
		assert.equal(no.code, 1);
		assert.match(no.text, /nothing was changed/);
		assert.equal((await keys('bot'))[0].keyId, current);
		const yes = await terminal(rotate, [[question, 'y\n']]);
		assert.equal(yes.code, 0, yes.text);
		assert.match(yes.text, /It is +destroyed\n/);
		assert.match(yes.text, BACKUPS);
		assert.ok(!(await keys('bot')).some((key) => key.keyId === current));
		const { previousKeyId } = JSON.parse(succeeded(await run('app', 'rotate', 'bot', '--grace', '0d', '--yes', '--json')));
		assert.ok(!(await keys('bot')).some((key) => key.keyId === previousKeyId));
	});

	test('key revoke', async () => {
		const { publicKey: wrappedFor } = await bot.call('getIdentity');
		const { previousKeyId: former } = JSON.parse(succeeded(await run('app', 'rotate', 'bot', '--json')));
		const [{ keyId: current }] = await keys('bot');
		const { kid, jwkText } = await rc.makeRoomKey();
		const key = await rc.wrapRoomKey(wrappedFor, kid, jwkText);
		const revoke = ['--socket', admin, 'key', 'revoke', 'bot', former];
		const question = new RegExp(`Revoke key ${former} of app bot\\?.*can no longer be.*imported\\. \\[y/N\\] $`, 's');
		const no = await terminal(revoke, [[question, '\n']]);
		assert.equal(no.code, 1);
		assert.match(no.text, /nothing was changed/);
		assert.equal((await keys('bot'))[1].state, 'retired');
		const yes = await terminal(revoke, [[question, 'yes\n']]);
		assert.equal(yes.code, 0, yes.text);
		assert.match(yes.text, /Revoked: the key's secrets are destroyed\./);
		assert.match(yes.text, BACKUPS);
		const listed = cells(succeeded(await run('key', 'list', 'bot'))).find(([id]) => id === former);
		assert.equal(listed[1], 'revoked');
		assert.match(listed[3], ISO);
		await assert.rejects(bot.call('importRoomKey', { roomId: 'r', key }), { reason: 'KEY_UNWRAP_FAILED' });

		for (const gone of [former, current]) {
			failed(await run('key', 'revoke', 'bot', gone, '--yes'), 1, /only a retired key can be revoked: .*'e2eectl key list APPID'/);
			failedJson(await run('key', 'revoke', 'bot', gone, '--yes', '--json'), 'FORBIDDEN');
		}
		failed(await run('key', 'revoke', 'bot', rc.uuid(), '--yes'), 1, /no such app, or it has no such key/);
		failed(await run('key', 'revoke', 'nobody', former, '--yes'), 1, /no such app, or it has no such key/);
		const { previousKeyId } = JSON.parse(succeeded(await run('app', 'rotate', 'bot', '--json')));
		assert.deepEqual(JSON.parse(succeeded(await run('key', 'revoke', 'bot', previousKeyId, '--yes', '--json'))), {});
	});

	test('app escrow', async () => {
		const opens = async (passphrase) => {
			const { private_key: envelope } = await bot.call('getKeyPublication', { userId: 'u' });
			return rc.openPrivateKey(envelope, { passphrase, userId: 'u' }).then((text) => rc.publicOf(text), () => null);
		};
		const { publicKey: mine } = await bot.call('getIdentity');
		assert.equal(await opens(PASSPHRASE), null);
		const text = succeeded(await withSecret(`${PASSPHRASE}\n`, ['app', 'escrow', 'bot']));
		assert.match(text, /^Set: what getKeyPublication gives from now on opens with this passphrase/);
		assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 80, text);
		assert.equal(await opens(PASSPHRASE), mine);

		const escrow = ['--socket', admin, 'app', 'escrow', 'bot'];
		const first = /New escrow passphrase: $/, second = /The same once more: $/;
		const differ = await terminal(escrow, [[first, 'typed one\n'], [second, 'typed two\n']]);
		assert.deepEqual([differ.code, differ.echo], [1, true]);
		assert.match(differ.text, /the two differ; nothing was changed/);
		assert.equal(await opens(PASSPHRASE), mine);
		const typed = await terminal(escrow, [[first, 'typed one\n'], [second, 'typed one\n']]);
		assert.deepEqual([typed.code, typed.echo], [0, true], typed.text);
		assert.ok(!typed.text.includes('typed'), typed.text);
		assert.equal(await opens('typed one'), mine);
		const stopped = await terminal(escrow, [[first, '\x03']]);
		assert.deepEqual([stopped.code, stopped.echo], [130, true], stopped.text);

		for (const [secret, pattern] of [['grüße', /not open on all of Rocket\.Chat's clients; choose one of printable ASCII/], ['tab\there', /printable ASCII/], ['', /gave is empty/], ['x'.repeat(1025), /longer than 1024 bytes/]]) {
			const said = failed(await withSecret(secret, ['app', 'escrow', 'bot']), 1, pattern);
			assert.ok(!secret || !said.includes(secret));
		}
		assert.equal(await opens('typed one'), mine);
		assert.deepEqual(JSON.parse(succeeded(await withSecret('x'.repeat(1024), ['app', 'escrow', 'bot', '--json']))), {});
		assert.equal(await opens('x'.repeat(1024)), mine);

		const question = /Clear the escrow passphrase of app bot\? .*\[y\/N\] $/s;
		const no = await terminal([...escrow, '--clear'], [[question, 'n\n']]);
		assert.equal(no.code, 1);
		assert.equal(await opens('x'.repeat(1024)), mine);
		const yes = await terminal([...escrow, '--clear'], [[question, 'y\n']]);
		assert.equal(yes.code, 0);
		assert.match(yes.text, /Cleared: /);
		assert.equal(await opens('x'.repeat(1024)), null);
		assert.deepEqual(JSON.parse(succeeded(await run('app', 'escrow', 'bot', '--clear', '--yes', '--json'))), {});
		failed(await run('app', 'escrow', 'nobody', '--clear', '--yes'), 1, /there is no such app/);
		failedJson(await withSecret('a', ['app', 'escrow', 'nobody', '--json']), 'NOT_FOUND');
	});

	test('export and import: a round trip, with WebCrypto in the middle', async () => {
		const { publicKey: mine } = await bot.call('getIdentity');
		const result = await withSecret(PASSPHRASE, ['app', 'export', 'bot', 'user1']);
		assert.equal(result.code, 0, result.stderr);
		assert.match(result.stderr, /^e2eectl: exported, sealed with that passphrase: .*\n'e2eectl app import APPID USERID FILE' takes it/);
		const pair = JSON.parse(result.stdout);
		assert.deepEqual(Object.keys(pair), ['public_key', 'private_key']);
		assert.equal(pair.public_key, mine);
		const privateText = await rc.openPrivateKey(pair.private_key, { passphrase: PASSPHRASE, userId: 'user1' });
		assert.equal(rc.publicOf(privateText), mine);

		const { token } = await create('heir', '--room', 'r=read');
		const path = file('pair', result.stdout);
		const text = succeeded(await withSecret(PASSPHRASE, ['app', 'import', 'heir', 'user1', path]));
		assert.equal(fields(text).App, 'heir');
		assert.match(fields(text)['Identity key'], UUID);
		assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= 80, text);
		const heir = await daemon.app('heir', token);
		assert.equal((await heir.call('getIdentity')).publicKey, mine);
		const { kid, jwkText } = await rc.makeRoomKey();
		assert.equal((await heir.call('importRoomKey', { roomId: 'r', key: await rc.wrapRoomKey(mine, kid, jwkText) })).kid, kid);
		// Once more, from standard input: it is known.
		const again = JSON.parse(succeeded(await withSecret(PASSPHRASE, ['app', 'import', 'heir', 'user1', '--json'], { input: result.stdout })));
		assert.equal(again.keyId, fields(text)['Identity key']);
		assert.equal(JSON.parse(succeeded(await withSecret(PASSPHRASE, ['app', 'import', 'heir', 'user1', '-', '--json'], { input: result.stdout }))).keyId, again.keyId);

		// On a terminal, what is typed shows nowhere, and standard output has the pair alone.
		const first = /New passphrase for the exported key: $/, second = /The same once more: $/;
		const typed = await terminal(['--socket', admin, 'app', 'export', 'bot', 'user1', '--json'], [[first, 'typed\n'], [second, 'typed\n']]);
		assert.deepEqual([typed.code, typed.echo], [0, true], typed.text);
		assert.ok(!typed.text.includes('typed'));
		const asks = /E2E passphrase of user user1 in Rocket\.Chat: $/;
		const imported = await terminal(['--socket', admin, 'app', 'import', 'heir', 'user1', path], [[asks, `${PASSPHRASE}\n`]]);
		assert.deepEqual([imported.code, imported.echo], [0, true], imported.text);
		assert.ok(!imported.text.includes(PASSPHRASE));
		const differ = await terminal(['--socket', admin, 'app', 'export', 'bot', 'user1'], [[first, 'a\n'], [second, 'b\n']]);
		assert.equal(differ.code, 1);
		assert.match(differ.text, /the two differ/);

		failed(await withSecret('ключ', ['app', 'export', 'bot', 'user1']), 1, /printable ASCII/);
		failed(await withSecret(PASSPHRASE, ['app', 'export', 'nobody', 'user1']), 1, /there is no such app/);
		failedJson(await withSecret(PASSPHRASE, ['app', 'export', 'nobody', 'user1', '--json']), 'NOT_FOUND');
		failed(await withSecret(PASSPHRASE, ['app', 'export', 'bot', '']), 1, /does not accept the value of userId/);
		assert.equal(succeeded(await withSecret(PASSPHRASE, ['app', 'export', 'bot', 'user1', '--json'])).split('\n').length, 2);
	});

	test('import: every vector of a private key', async () => {
		const envelopes = vectors.filter(({ kind }) => kind.startsWith('private-key-'));
		assert.ok(envelopes.some(({ expected }) => expected.error) && envelopes.some(({ expected }) => !expected.error));
		for (const [i, { name, inputs, expected }] of envelopes.entries()) {
			const appId = `vector-${i}`;
			const { keyId: former } = await create(appId);
			const stored = inputs.stored_private_key;
			const twin = vectors.find((v) => v.inputs.stored_private_key === stored && v.expected.private_key_jwk);
			const publicText = rc.publicOf(twin.expected.private_key_jwk);
			const path = file(appId, { public_key: inputs.public_key ?? publicText, private_key: stored, success: true });
			const imported = await withSecret(inputs.passphrase, ['app', 'import', appId, inputs.user_id, path]);
			if (expected.error) {
				failed(imported, 1, /cannot decrypt \(DECRYPT_FAILED\); this passphrase does not open the private key/);
				assert.equal((await keys(appId))[0].keyId, former, name);
				continue;
			}
			const { 'Identity key': adopted } = fields(succeeded(imported));
			const [current, retired] = await keys(appId);
			assert.deepEqual([current.keyId, current.state, retired.keyId, retired.state], [adopted, 'current', former, 'retired'], name);
			const pair = JSON.parse(succeeded(await withSecret(PASSPHRASE, ['app', 'export', appId, 'u', '--json'])));
			assert.equal(pair.public_key, publicText, name);
		}
	});

	test('import: every other form that a client writes', async () => {
		const { publicText, privateText } = await rc.makeIdentity();
		const forms = {
			'v1': { form: 'v1' }, 'bare base64': { form: 'bare' }, 'v2': {}, 'v2 with a 16-byte IV': { ivLength: 16 },
			'v2, GCM with a 16-byte IV': { ivLength: 16, cipher: 'AES-GCM' }, 'v2 without salt': { salt: null },
			'mobile, UTF-8': { encoding: 'utf8', passphrase: 'ключ и замок' }, 'web, Latin-1': { passphrase: 'grüße' },
		};
		const { token } = await create('forms');
		const app = await daemon.app('forms', token);
		const import_ = (content, passphrase, ...more) => withSecret(passphrase, ['app', 'import', 'forms', 'u', file('form', content), ...more]);
		let adopted;
		for (const [name, { passphrase = PASSPHRASE, ...how }] of Object.entries(forms)) {
			const sealed = await rc.sealPrivateKey(privateText, { passphrase, userId: 'u', ...how });
			const stored = how.form === 'bare' ? [sealed] : [sealed, JSON.parse(sealed)]; // a text, or an object
			for (const envelope of stored) {
				const { keyId: id } = JSON.parse(succeeded(await import_({ public_key: publicText, private_key: envelope }, passphrase, '--json')));
				adopted ??= id;
				assert.equal(id, adopted, name);
			}
		}
		const sealed = await rc.sealPrivateKey(privateText, { passphrase: PASSPHRASE, userId: 'u' });
		for (const given of [JSON.stringify(publicText), JSON.parse(publicText)])
			succeeded(await import_({ private_key: sealed, public_key: given }, PASSPHRASE));
		succeeded(await import_(` {\n"public_key": ${JSON.stringify(publicText)},\t"private_key":\r\n${JSON.stringify(sealed)}\n}\n`, PASSPHRASE));
		assert.equal((await app.call('getIdentity')).publicKey, publicText);

		// What is none, in files and in the daemon's eyes.
		const none = /form: this is no key pair; expected the JSON object that e2e\.fetchMyKeys gives/;
		for (const content of ['', '{', '[]', 'null', '{}', '{"public_key":"x"}', '{"private_key":"x"}', '{"public_key":1,"private_key":"x"}', '{"public_key":"x","private_key":null}',
			'{"public_key":"x","private_key":"x","private_key":"y"}', `{"public_key":"x","private_key":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`])
			failed(await import_(content, PASSPHRASE), 1, none);
		failed(await withSecret(PASSPHRASE, ['app', 'import', 'forms', 'u'], { input: 'text' }), 1, /^e2eectl: standard input: this is no key pair/);
		failed(await import_(`{"public_key":"${'x'.repeat(1 << 20)}","private_key":""}`, PASSPHRASE), 1, /larger than 1 MiB/);
		failed(await withSecret(PASSPHRASE, ['app', 'import', 'forms', 'u', join(temporary, 'none')]), 1, /none: no such file; it should hold what e2e\.fetchMyKeys gave/);
		failed(await withSecret(PASSPHRASE, ['app', 'import', 'forms', 'u', temporary]), 1, /not a regular file; - reads standard input/);
		const wrong = failed(await import_({ public_key: publicText, private_key: sealed }, 'wrong one'), 1, /cannot decrypt \(DECRYPT_FAILED\); this passphrase does not open/);
		assert.ok(!wrong.includes('wrong one'));
		failedJson(await import_({ public_key: publicText, private_key: sealed }, 'wrong', '--json'), 'DECRYPT_FAILED');
		failed(await import_({ public_key: publicText, private_key: 'no envelope' }, PASSPHRASE), 1, /MALFORMED_ENVELOPE\); private_key must be what Rocket\.Chat has stored/);
		const other = await rc.makeIdentity();
		failed(await import_({ public_key: other.publicText, private_key: sealed }, PASSPHRASE), 1, /INVALID_KEY\); public_key must be that of the private key/);
		failed(await withSecret(PASSPHRASE, ['app', 'import', 'nobody', 'u', file('form', { public_key: publicText, private_key: sealed })]), 1, /there is no such app/);
		for (const secret of [Buffer.from([0xff, 0xfe]), 'a\0b'])
			failed(await import_({ public_key: publicText, private_key: sealed }, secret), 1, /must be UTF-8 text without NUL/);
		assert.equal((await keys('forms')).length, 2);
	});

	test('a revoked app', async () => {
		await create('gone', '--room', 'r=read');
		succeeded(await run('app', 'revoke', 'gone', '--yes'));
		failed(await run('app', 'rotate', 'gone'), 1, /the app is revoked, or 256 of its former keys still unwrap/);
		failed(await run('app', 'escrow', 'gone', '--clear', '--yes'), 1, /a revoked app cannot be changed/);
		failed(await withSecret(PASSPHRASE, ['app', 'export', 'gone', 'u']), 1, /a revoked app cannot be changed/);
		failedJson(await run('app', 'rotate', 'gone', '--json'), 'FORBIDDEN');
		assert.deepEqual(await keys('gone'), []);
		assert.equal(succeeded(await run('key', 'list', 'gone')), 'No keys: the app is revoked, and those it had are destroyed.\n');
	});

	test('while the keystore is locked', async () => {
		succeeded(await run('lock'));
		for (const args of [['app', 'rotate', 'bot'], ['app', 'escrow', 'bot', '--clear', '--yes'], ['key', 'list', 'bot'], ['key', 'revoke', 'bot', keyId, '--yes'], ['room', 'keys', 'bot', 'r']])
			failed(await run(...args), 1, /the keystore is locked \(LOCKED\); 'e2eectl unlock' opens it/);
		succeeded(await run('unlock'));
		for (const secret of [PASSPHRASE, 'typed one', 'correct horse']) assert.ok(!daemon.stderr().includes(secret));
	});
});
