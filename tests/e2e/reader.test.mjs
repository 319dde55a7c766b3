// The keystore's file as docs/keystore.md describes it: what a reader written from that page finds in it is what the daemon answers.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ALL, giveKey, newApp } from './lib/actors.mjs';
import { cases, ROOT, removeFolder, startDaemon, temporaryFolder } from './lib/daemon.mjs';

const node = (...args) => promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 28 });
const READER = join(ROOT, 'tests/keystore/reader.mjs');

const read = async (...args) => JSON.parse((await node(READER, '--secrets', ...args)).stdout);
const refusal = (...args) => node(READER, ...args).then(({ stdout }) => assert.fail(`read all the same: ${stdout.slice(0, 300)}`), ({ code, stderr }) => {
	assert.equal(code, 1, stderr);
	return stderr;
});

async function withDaemon(body) {
	const side = temporaryFolder();
	const daemon = await startDaemon({ config: { keystore: { anchor: join(side, 'anchor') }, log: { audit: join(side, 'audit.log') } } });
	const read_ = (...args) => read(daemon.keystorePath, daemon.config.keystore.key_file, daemon.config.keystore.anchor, ...args);
	try {
		await body({ daemon, admin: await daemon.admin(), side, read: read_ });
	} finally {
		await daemon.stop();
	}
}

const tokenBytes = (token) => Buffer.from(token.replace(/^e2eed1_/, ''), 'base64url').toString('base64');
const modulus = (pkcs8) => createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' }).export({ format: 'jwk' }).n;
const stateOf = (i) => (i === 0 ? 'current' : 'retired');

// The reader's state, put as the daemon's answers put it, beside those answers. @apps: id -> { token, client }, of those in use
async function sameAsAnswers({ header, records, tornBytes, state, anchor }, daemon, admin, apps) {
	const { keystore } = await admin.call('getStatus');
	assert.deepEqual({ generation: header.generation, seq: state.seq, records: records.length },
		{ generation: keystore.generation, seq: keystore.seq, records: keystore.records });
	assert.deepEqual(anchor, { generation: keystore.generation, seq: keystore.seq });
	assert.equal(tornBytes, 0);
	assert.equal(statSync(daemon.keystorePath).size, keystore.bytes);
	assert.deepEqual(header.slots.map(({ slot, seal, created }) => ({ slot, seal, createdAt: created })), (await admin.call('listSlots')).slots);

	const listed = (await admin.call('listApps')).apps;
	const granted = (app) => app.rooms.filter((room) => room.permissions.length);
	assert.deepEqual(state.apps.map((app) => ({
		appId: app.appId, name: app.name || null, state: app.revoked ? 'revoked' : 'active', keyId: app.identities[0]?.keyId ?? null,
		createdAt: app.created, rooms: granted(app).length,
	})), listed.map((app) => ({ ...app, name: app.name || null })));

	const watcher = await daemon.admin(), events = [];
	await watcher.call('subscribe', { since: Math.max(0, ...state.apps.map(({ eventsFrom }) => eventsFrom)) });
	// what a revoked app was told leaves the file with its secrets, and the daemon's memory some time later
	const inUse = new Set(state.apps.filter(({ revoked }) => !revoked).map(({ appId }) => appId));
	const lasting = state.events.filter(({ appId }) => inUse.has(appId));
	while (events.length < lasting.length) {
		const { params } = await watcher.nextFrame();
		if (inUse.has(params.appId)) events.push(params);
	}
	assert.deepEqual(events, lasting);
	assert.deepEqual(watcher.rawFrames(), []);
	await watcher.close();

	for (const app of state.apps) {
		const { identities, rooms } = await admin.call('getApp', { appId: app.appId });
		assert.deepEqual(app.identities.map(({ keyId, created, expires }, i) => ({ keyId, state: stateOf(i), createdAt: created, expiresAt: expires })), identities);
		assert.deepEqual(granted(app).map((room) => ({
			roomId: room.roomId, permissions: room.permissions, keys: room.keys.length, currentKid: room.keys.find(({ number }) => number === room.current)?.kid ?? null,
		})), rooms);
		if (app.revoked) continue;
		const { token, client } = apps.get(app.appId);
		assert.equal(app.token, tokenBytes(token));
		const { publicKey } = await client.call('getIdentity');
		assert.equal(modulus(app.identities[0].pkcs8), JSON.parse(publicKey).n);
		for (const room of granted(app).filter(({ permissions }) => permissions.includes('read'))) {
			const { keys } = await client.call('listRoomKeys', { roomId: room.roomId });
			assert.deepEqual(room.keys.map(({ number, kid, jwk, ts }) => ({
				kid, algorithm: JSON.parse(jwk).alg, state: number === room.current ? 'current' : 'old', ...(ts && { ts: JSON.parse(ts) }),
			})), keys);
		}
	}
}

// Two apps, and every kind of change but a revocation. Gives what the daemon never shows, too.
async function fill(daemon, admin) {
	const bot = await newApp(daemon, admin, { appId: 'bot', roomId: 'r', key: false });
	await admin.call('createApp', { appId: 'zoë', name: 'Zoë, ☃', rooms: [{ roomId: 'r', permissions: ['read'] }, { roomId: 'q', permissions: ALL }] });
	const { token } = await admin.call('resetToken', { appId: 'zoë' });
	const zoe = { appId: 'zoë', token, client: await daemon.app('zoë', token) };

	const first = await giveKey(bot.client, bot.publicKey, 'r', { ts: '2024-05-06T07:08:09.123Z' });
	const old = await giveKey(bot.client, bot.publicKey, 'r', { alg: 'A128CBC', makeCurrent: false, ts: { $date: 1600000000000 } });
	const second = await giveKey(bot.client, bot.publicKey, 'r', { makeCurrent: false });
	await bot.client.call('importRoomKey', { roomId: 'r', key: second.e2eKey, makeCurrent: true }); // only makes it current
	await bot.client.call('createRoomKey', { roomId: 'r' });
	await zoe.client.call('createRoomKey', { roomId: 'q' });

	for (const room of ['kept', 'purged', 'never keyed']) await admin.call('authorizeRoom', { appId: 'bot', roomId: room, permissions: ALL });
	const kept = await giveKey(bot.client, bot.publicKey, 'kept'), purged = await giveKey(bot.client, bot.publicKey, 'purged');
	for (const roomId of ['kept', 'never keyed']) await admin.call('deauthorizeRoom', { appId: 'bot', roomId });
	await admin.call('authorizeRoom', { appId: 'bot', roomId: 'narrow', permissions: ['write', 'distribute'] });

	const pair = await admin.call('exportIdentity', { appId: 'zoë', userId: 'u', passphrase: 'p' });
	const { keyId } = await admin.call('importIdentity', { appId: 'bot', userId: 'u', passphrase: 'p', ...pair });
	return { apps: new Map([['bot', bot], ['zoë', zoe]]), keyId, keys: [first, old, second, kept], purged };
}

const ofApp = (records, appId) => records.filter((record) => record.appId === appId);

describe('the independent reader', () => {
	test('reads what the daemon answers, before and after each way of rewriting the file', () => withDaemon(async ({ daemon, admin, read: look }) => {
		const empty = await look();
		assert.deepEqual([empty.header.generation, empty.state], [1, { seq: 0, apps: [], events: [] }]);
		assert.deepEqual(empty.records.map(({ op }) => op), ['CUSTODY', 'SNAPSHOT_END']);

		const { apps, keyId, keys, purged } = await fill(daemon, admin);
		const before = await look();
		assert.deepEqual([...new Set(before.records.map(({ op }) => op))].sort(),
			['APP_CREATED', 'CUSTODY', 'GRANT_DROPPED', 'GRANT_SET', 'IDENTITY_ADDED', 'ROOM_KEYS_ADDED', 'ROOM_KEY_CREATED', 'SNAPSHOT_END', 'TOKEN_SET']);
		await sameAsAnswers(before, daemon, admin, apps);
		const held = before.state.apps.flatMap(({ rooms }) => rooms).flatMap((room) => room.keys.map(({ jwk }) => jwk));
		for (const { jwkText } of [...keys, purged]) assert.ok(held.includes(jwkText), 'byte for byte as it came');
		const bot = before.state.apps.find(({ appId }) => appId === 'bot');
		assert.equal(bot.identities[0].keyId, keyId);
		assert.deepEqual(bot.rooms.find(({ roomId }) => roomId === 'kept').permissions, []);

		let last = before;
		for (const method of ['compactKeystore', 'rekeyKeystore']) {
			await admin.call(method);
			const after = await look();
			await sameAsAnswers(after, daemon, admin, apps);
			assert.deepEqual(after.state, last.state);
			assert.deepEqual([...new Set(after.records.map(({ op }) => op))], ['CUSTODY', 'APP', 'ROOM', 'EVENTS', 'SNAPSHOT_END']);
			assert.deepEqual([after.header.fileId, after.header.created, after.header.generation], [last.header.fileId, last.header.created, last.header.generation + 1]);
			const { derived } = after.header;
			for (const [name, key] of Object.entries(last.header.derived)) assert.equal(derived[name] === key, /AUD|ANC/.test(name), `${name}: only what is for outside stays`);
			assert.notEqual(after.header.dek, last.header.dek);
			const appKeys = ({ records }) => records.map(({ appKey }) => appKey).filter(Boolean);
			for (const key of appKeys(after)) assert.ok(!appKeys(last).includes(key), 'each generation has app keys of its own');
			last = after;
		}
		await admin.call('authorizeRoom', { appId: 'bot', roomId: 'later', permissions: ALL }); // changes behind a snapshot
		await apps.get('bot').client.call('createRoomKey', { roomId: 'later' });
		await apps.get('bot').client.call('createRoomKey', { roomId: 'r' });
		await sameAsAnswers(await look(), daemon, admin, apps);

		await daemon.restart();
		for (const app of apps.values()) app.client = await daemon.app(app.appId, app.token);
		await sameAsAnswers(await look(), daemon, await daemon.admin(), apps);
	}));

	test('reads how identity keys end and what escrow is set, as a change and in a snapshot', () => withDaemon(async ({ daemon, admin, read: look }) => {
		await newApp(daemon, admin, { appId: 'bot', roomId: 'r', key: false });
		const inTheWay = `${daemon.keystorePath}.rewrite`;
		mkdirSync(inTheWay); // or each of these would have the file written anew at once, and be no record of its own
		const ids = [];
		for (let i = 0; i < 4; i++) ids.push((await admin.call('rotate', { appId: 'bot', ...(i === 3 && { graceSeconds: 0 }) })).previousKeyId);
		for (const keyId of ids.slice(0, 2)) await admin.call('revokeKey', { appId: 'bot', keyId });
		await admin.call('setEscrow', { appId: 'bot', passphrase: 'in escrow' });

		const before = await look();
		const ended = before.records.filter(({ op }) => /^(KEY|ESCROW)_/.test(op));
		assert.deepEqual(ended.map(({ op, keyId, escrow }) => [op, keyId ?? Buffer.from(escrow, 'base64').toString()]),
			[['KEY_EXPIRED', ids[3]], ['KEY_REVOKED', ids[0]], ['KEY_REVOKED', ids[1]], ['ESCROW_SET', 'in escrow']]);
		const [bot] = before.state.apps;
		const { identities } = await admin.call('getApp', { appId: 'bot' });
		assert.deepEqual(bot.identities.map(({ keyId }) => keyId), identities.slice(0, 2).map(({ keyId }) => keyId));
		assert.deepEqual(identities.slice(2).map(({ keyId, state, createdAt, expiresAt }) => [state, { keyId, created: createdAt, revoked: expiresAt }]),
			bot.tombstones.map((tomb) => ['revoked', tomb]));
		assert.deepEqual(bot.tombstones.map(({ keyId }) => keyId), [ids[1], ids[0]]);

		rmSync(inTheWay, { recursive: true });
		await admin.call('compactKeystore');
		const after = await look();
		assert.deepEqual(after.state, before.state);
		const gone = before.records.flatMap(({ keyId, pkcs8 }) => (pkcs8 && [ids[0], ids[1], ids[3]].includes(keyId) ? [pkcs8] : []));
		assert.ok(gone.length >= 2);
		for (const pkcs8 of gone) assert.ok(!JSON.stringify(after).includes(pkcs8), 'an identity key that was destroyed');
		await daemon.restart();
		assert.deepEqual((await (await daemon.admin()).call('getApp', { appId: 'bot' })).identities, identities);
	}));

	test('finds nothing that was purged or revoked; what could not be erased yet stands there until it can', () => withDaemon(async ({ daemon, admin, read: look }) => {
		const { apps, purged } = await fill(daemon, admin);
		const before = await look();
		const secretsOf = (appId) => JSON.stringify(ofApp(before.records, appId)).match(/(?<="(?:token|appKey|pkcs8|jwk)":)"(?:[^"\\]|\\.)*"/g);
		const secrets = secretsOf('bot').filter((secret) => !secretsOf('zoë').includes(secret)); // an identity is both's
		assert.ok(secrets.length > 8);

		await admin.call('deauthorizeRoom', { appId: 'bot', roomId: 'purged', purgeKeys: true });
		const afterPurge = await look();
		assert.ok(JSON.stringify(before).includes(JSON.stringify(purged.jwkText)));
		assert.ok(!JSON.stringify(afterPurge).includes(JSON.stringify(purged.jwkText)));
		assert.deepEqual(afterPurge.state.apps.find(({ appId }) => appId === 'bot').rooms.find(({ roomId }) => roomId === 'purged'),
			{ roomId: 'purged', permissions: [], nextNumber: 1, keys: [] }, 'numbers are not used again');
		await sameAsAnswers(afterPurge, daemon, admin, apps);

		const inTheWay = `${daemon.keystorePath}.rewrite`;
		mkdirSync(inTheWay);
		await admin.call('authorizeRoom', { appId: 'zoë', roomId: 'q', permissions: ['read'] });
		await admin.call('deauthorizeRoom', { appId: 'zoë', roomId: 'q', purgeKeys: true });
		await admin.call('revokeApp', { appId: 'bot' });
		const stuck = await look();
		assert.deepEqual(stuck.records.slice(-2).map(({ op, appId, purge }) => ({ op, appId, purge })),
			[{ op: 'GRANT_DROPPED', appId: 'zoë', purge: true }, { op: 'APP_REVOKED', appId: 'bot', purge: undefined }]);
		assert.ok(ofApp(stuck.records, 'bot').some(({ appKey }) => appKey));
		await sameAsAnswers(stuck, daemon, admin, apps);

		rmSync(inTheWay, { recursive: true });
		await admin.call('compactKeystore');
		const after = await look();
		await sameAsAnswers(after, daemon, admin, apps);
		assert.deepEqual(ofApp(after.records, 'bot').map((record) => Object.keys(record).sort()),
			[['appId', 'created', 'eventsFrom', 'identities', 'name', 'number', 'offset', 'op', 'revoked', 'seq', 'time', 'tokenSeq', 'tombstones']]);
		assert.deepEqual(ofApp(after.records, 'bot')[0].identities, []);
		const shown = JSON.stringify(after);
		for (const secret of secrets) assert.ok(!shown.includes(secret), 'a secret of the revoked app');
		assert.deepEqual(after.state.apps.find(({ appId }) => appId === 'zoë').rooms.find(({ roomId }) => roomId === 'q').keys, []);
	}));

	test('opens every slot it has the secret of, as long as the slot is there', () => withDaemon(async ({ daemon, admin, side, read: look }) => {
		await newApp(daemon, admin, { roomId: 'r' });
		const { keystorePath: path, config: { keystore: { key_file: keyFile } } } = daemon;
		const other = join(side, 'other.key'), paper = join(side, 'paper');
		await admin.call('addSlot', { seal: 'keyfile', keyFile: other });
		const { recoveryKey } = await admin.call('addSlot', { seal: 'recovery' });
		writeFileSync(paper, `${recoveryKey.toUpperCase().replaceAll('-', ' ')}\n`);
		const readings = await Promise.all([keyFile, other, paper].map((secret) => read(path, secret)));
		assert.deepEqual(readings.map(({ header }) => header.slots.map(({ slot, opened }) => [slot, opened ?? false])),
			[0, 1, 2].map((opened) => [0, 1, 2].map((slot) => [slot, slot === opened])));
		for (const { state, records } of readings) assert.deepEqual({ state, records }, { state: readings[0].state, records: readings[0].records });

		await admin.call('removeSlot', { slot: 1 });
		assert.match(await refusal(path, other), /opens no slot/);
		assert.deepEqual((await look()).header.slots.map(({ slot }) => slot), [0, 2]);
		assert.equal((await look()).header.nextSlot, 3);
	}));

	test('refuses a wrong secret, any changed bit, another generation and another file', () => withDaemon(async ({ daemon, admin, side }) => {
		await newApp(daemon, admin, { roomId: 'r' });
		const { keystorePath: path, config: { keystore: { key_file: keyFile, anchor } } } = daemon;
		const changed = join(side, 'changed');
		writeFileSync(changed, '5e'.repeat(32));
		assert.match(await refusal(path, changed), /opens no slot/);
		writeFileSync(changed, 'cbdefg-'.repeat(7) + 'hijkln');
		assert.match(await refusal(path, changed), /checksum/);

		const bytes = readFileSync(path), header = bytes.readUInt32LE(12);
		const first = header + 44 + bytes.readUInt32LE(header);
		const places = [0, 8, 12, 16, 32, 40, 48, 52, 56, 60, 64, 72, 76, 100, 150, 200, header - 1, header, header + 4, header + 20, header + 44, first - 1,
			...Array.from({ length: 20 }, (_, i) => first + Math.floor(((bytes.length - first) * i) / 20)), bytes.length - 1];
		const files = places.map((at) => {
			const copy = join(side, `changed ${at}`), other = Buffer.from(bytes);
			other[at] ^= other[at] === 1 ? 2 : 1; // never to a zero, which at the end could be a crash's
			writeFileSync(copy, other);
			return copy;
		});
		while (files.length) await Promise.all(files.splice(0, 4).map((copy) => refusal(copy, keyFile)));

		await admin.call('rekeyKeystore');
		const after = readFileSync(path);
		for (const mixed of [[bytes.subarray(0, header), after.subarray(header)], [after.subarray(0, header), bytes.subarray(header)], [bytes.subarray(0, header)],
			[bytes.subarray(0, first), bytes.subarray(header)], [bytes.subarray(0, header), bytes.subarray(first)]]) {
			writeFileSync(changed, Buffer.concat(mixed));
			await refusal(changed, keyFile);
		}
		const mark = readFileSync(anchor);
		mark[40] ^= 1;
		mark[552] ^= 1;
		writeFileSync(changed, mark);
		assert.match(await refusal(path, keyFile, changed), /anchor/);
		writeFileSync(changed, mark.fill(0, 512)); // its first writing, cut short
		assert.equal((await read(path, keyFile, changed)).anchor, null);
	}));

	test('takes the same tails for torn as the daemon, and no others', async () => {
		const daemon = await startDaemon(), admin = await daemon.admin(), path = daemon.keystorePath, whole = join(daemon.dir, 'whole');
		const { key_file: keyFile } = daemon.config.keystore;
		await newApp(daemon, admin, { roomId: 'r' });
		const { bytes: before } = (await admin.call('getStatus')).keystore;
		await admin.call('createApp', { appId: 'last', rooms: Array.from({ length: 40 }, (_, i) => ({ roomId: `room ${i}`, permissions: ALL })) });
		await daemon.terminate();
		copyFileSync(path, whole);
		const { size } = statSync(whole);
		const sector = Math.ceil((before + 44) / 512) * 512;
		assert.ok(sector + 512 < size);
		const zeroed = (from, to = size) => () => writeFileSync(path, Buffer.concat([readFileSync(whole).subarray(0, from), Buffer.alloc(to - from)]));
		const torn = [() => truncateSync(path, before + 1), () => truncateSync(path, before + 20), () => truncateSync(path, size - 1), zeroed(before), zeroed(before + 19),
			zeroed(sector), zeroed(sector + 1), zeroed(size - 16), zeroed(before, before + 5000)];
		const damaged = [() => appendFileSync(path, Buffer.alloc(20, 7)), () => writeFileSync(path, Buffer.concat([readFileSync(whole), readFileSync(whole).subarray(before)])),
			() => {
				const bytes = readFileSync(path);
				bytes.fill(0, sector, sector + 8); // and data behind them
				writeFileSync(path, bytes);
			}];
		for (const [i, tear] of torn.entries()) {
			if (cases(100) === 1 && i % 3) continue; // each is a start, which takes long under valgrind
			copyFileSync(whole, path);
			tear();
			const { tornBytes, state } = await read(path, keyFile);
			assert.equal(tornBytes, statSync(path).size - before, `torn ${i}`);
			await daemon.start();
			const { keystore } = await (await daemon.admin()).call('getStatus');
			assert.deepEqual([keystore.bytes, keystore.seq], [before, state.seq], `torn ${i}`);
			await daemon.terminate();
		}
		for (const [i, damage] of damaged.entries()) {
			copyFileSync(whole, path);
			damage();
			const offset = (await refusal(path, keyFile)).match(/at offset (\d+)/)[1];
			const { code, stderr } = await startDaemon({ config: daemon.config, dir: daemon.dir, expectExit: true });
			assert.equal(code, 74, `damaged ${i}`);
			assert.match(stderr, new RegExp(`at offset ${offset} is damaged`));
		}
		copyFileSync(whole, path);
		await daemon.restart();
		await daemon.stop();
	});

	test('that ends within its snapshot is refused, and left as it is', async () => {
		const daemon = await startDaemon(), admin = await daemon.admin(), path = daemon.keystorePath;
		await newApp(daemon, admin, { roomId: 'r' });
		const { after: size } = await admin.call('compactKeystore');
		await daemon.terminate();
		truncateSync(path, size - 1);
		const bytes = readFileSync(path);
		assert.match(await refusal(path, daemon.config.keystore.key_file), /no whole snapshot/);
		for (const args of [[], ['--accept-damaged-tail', '--accept-rollback']]) {
			const { code, stderr } = await startDaemon({ config: daemon.config, dir: daemon.dir, args, expectExit: true });
			assert.equal(code, 74);
			assert.match(stderr, /ends within the snapshot/);
			assert.deepEqual(readFileSync(path), bytes);
		}
		removeFolder(daemon.dir);
	});

	test('finds the key by which the audit trail verifies as docs/audit.md says', () => withDaemon(async ({ daemon, admin, side, read: look }) => {
		await newApp(daemon, admin, { roomId: 'r' });
		await admin.call('rekeyKeystore');
		const program = join(side, 'verify.mjs'), key = join(side, 'audit.key');
		writeFileSync(program, readFileSync(join(ROOT, 'docs/audit.md'), 'utf8').match(/```js\n([\s\S]*?)\n```\n/)[1]);
		writeFileSync(key, (await look()).header.derived.e2eedAUD);
		const { stdout } = await node(program, daemon.config.log.audit, key);
		const lines = readFileSync(daemon.config.log.audit, 'latin1').trimEnd().split('\n');
		assert.equal(lines.length, 3); // unlock, createApp, rekeyKeystore
		assert.equal(stdout, `${lines.length} entries verify, 0 bytes behind them; the last MAC is ${JSON.parse(lines.at(-1)).mac}\n`);
	}));
});
