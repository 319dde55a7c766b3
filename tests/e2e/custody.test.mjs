// An app's identity keys in the hands of admins: rotate, revokeKey, setEscrow, importIdentity, exportIdentity, and what the app sees
// of it. Room keys are wrapped by WebCrypto for each identity the app has had: that they unwrap, or do not, is the proof.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ALL, giveKey, newApp, refused } from './lib/actors.mjs';
import { cases, startDaemon, temporaryFolder, withDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const PASSPHRASE = 'correct horse battery staple';

// A room key wrapped for the public key; known to nobody else.
async function wrapFor(publicText) {
	const key = await rc.makeRoomKey();
	return rc.wrapRoomKey(publicText, key.kid, key.jwkText);
}

const envelopes = []; // a pair of a client's, sealed; made once
async function clientPair(i) {
	envelopes[i] ??= (async () => {
		const pair = await rc.makeIdentity();
		return { ...pair, private_key: await rc.sealPrivateKey(pair.privateText, { passphrase: PASSPHRASE, userId: 'u' }) };
	})();
	return envelopes[i];
}

async function adopt(admin, appId, i) {
	const { publicText, private_key } = await clientPair(i);
	return { publicText, ...(await admin.call('importIdentity', { appId, userId: 'u', public_key: publicText, private_key, passphrase: PASSPHRASE })) };
}

describe('identity keys', { timeout: 600_000 }, () => {
	let daemon, admin;
	before(async () => {
		daemon = await startDaemon();
		admin = await daemon.admin();
	});
	after(() => daemon?.stop());

	const fresh = () => newApp(daemon, admin);
	const identities = async (appId) => (await admin.call('getApp', { appId })).identities;
	const opens = (app, key) => app.client.call('importRoomKey', { roomId: app.roomId, key });

	test('rotate: the answer, and what app and admin see of it', async () => {
		const app = await fresh();
		const started = Date.now();
		const answer = await admin.call('rotate', { appId: app.appId });
		const ended = Date.now();
		assert.deepEqual(Object.keys(answer).sort(), ['keyId', 'previousExpiresAt', 'previousKeyId', 'publicKey']);
		assert.match(answer.keyId, UUID);
		assert.notEqual(answer.keyId, app.keyId);
		assert.equal(answer.previousKeyId, app.keyId);
		assert.match(answer.previousExpiresAt, TIME);
		const expires = Date.parse(answer.previousExpiresAt);
		assert.ok(expires >= started + 604_800_000 && expires <= ended + 604_800_000, 'a week from now, without graceSeconds');
		assert.deepEqual(Object.keys(JSON.parse(answer.publicKey)), ['alg', 'e', 'ext', 'key_ops', 'kty', 'n']);

		const own = await app.client.call('getIdentity');
		assert.deepEqual([own.keyId, own.publicKey], [answer.keyId, answer.publicKey]);
		assert.equal(own.retired.length, 1);
		const [{ keyId, retiredAt, expiresAt }] = own.retired;
		assert.deepEqual([keyId, expiresAt], [app.keyId, answer.previousExpiresAt]);
		assert.equal(Date.parse(expiresAt) - Date.parse(retiredAt), 604_800_000);
		assert.equal(own.createdAt, retiredAt);
		const seen = await identities(app.appId);
		assert.deepEqual(seen.map((id) => [id.keyId, id.state, id.expiresAt]),
			[[answer.keyId, 'current', null], [app.keyId, 'retired', answer.previousExpiresAt]]);
		assert.equal((await admin.call('listApps')).apps.find(({ appId }) => appId === app.appId).keyId, answer.keyId);
	});

	test('room keys are wrapped anew for the current key on demand', async () => {
		const app = await fresh();
		await admin.call('rotate', { appId: app.appId });
		const { key } = await app.client.call('getEncryptedRoomKey', { roomId: app.roomId });
		const pair = await admin.call('exportIdentity', { appId: app.appId, userId: 'u', passphrase: PASSPHRASE });
		assert.equal(pair.public_key, (await app.client.call('getIdentity')).publicKey);
		const privateText = await rc.openPrivateKey(pair.private_key, { passphrase: PASSPHRASE, userId: 'u' });
		assert.deepEqual(await rc.unwrapE2EKey(privateText, key), { kid: app.key.kid, jwkText: app.key.jwkText });
	});

	test('a retired key unwraps until its grace ends, and no longer', async () => {
		const app = await fresh();
		const { publicKey } = await admin.call('rotate', { appId: app.appId });
		await opens(app, await wrapFor(app.publicKey));
		const { previousKeyId } = await admin.call('rotate', { appId: app.appId, graceSeconds: 1 });
		const late = await wrapFor(publicKey);
		for (let retired; !retired || retired.some(({ keyId }) => keyId === previousKeyId);) ({ retired } = await app.client.call('getIdentity'));
		await refused(opens(app, late), 'KEY_UNWRAP_FAILED');
		await opens(app, await wrapFor(app.publicKey)); // whose grace is a week
		await daemon.logged(new RegExp(`identity key has expired and is destroyed: ${previousKeyId}`));
		assert.deepEqual((await identities(app.appId)).map(({ state }) => state), ['current', 'retired']);
		await refused(admin.call('revokeKey', { appId: app.appId, keyId: previousKeyId }), 'NOT_FOUND');
		await refused(opens(app, late), 'KEY_UNWRAP_FAILED');
	});

	test('without grace the former key is destroyed when the answer comes', async () => {
		const app = await fresh();
		const { keystore: { generation } } = await admin.call('getStatus');
		const answer = await admin.call('rotate', { appId: app.appId, graceSeconds: 0 });
		await refused(opens(app, await wrapFor(app.publicKey)), 'KEY_UNWRAP_FAILED');
		await opens(app, await wrapFor(answer.publicKey));
		assert.deepEqual((await app.client.call('getIdentity')).retired, []);
		assert.deepEqual((await identities(app.appId)).map(({ state }) => state), ['current']);
		assert.ok((await admin.call('getStatus')).keystore.generation > generation, 'the file was written anew');
		await refused(admin.call('revokeKey', { appId: app.appId, keyId: answer.previousKeyId }), 'NOT_FOUND');
	});

	test('graceSeconds: what is taken', async () => {
		const app = await fresh();
		for (const graceSeconds of [-1, 0.5, '60', null, true, 315_360_001, 2 ** 53, 1e300])
			assert.equal((await refused(admin.call('rotate', { appId: app.appId, graceSeconds }), 'INVALID_PARAMS')).param, 'graceSeconds');
		assert.equal((await identities(app.appId)).length, 1);
		const { previousExpiresAt } = await admin.call('rotate', { appId: app.appId, graceSeconds: 315_360_000 });
		assert.ok(Date.parse(previousExpiresAt) > Date.now() + 315_000_000_000);
	});

	test('revokeKey: a retired key at once, remembered as revoked; the current one only after rotate', async () => {
		const app = await fresh(), other = await fresh();
		const { client, appId, keyId } = app;
		await refused(admin.call('revokeKey', { appId, keyId }), 'FORBIDDEN');
		const { publicKey } = await admin.call('rotate', { appId });
		const wrapped = await wrapFor(app.publicKey);
		await refused(admin.call('revokeKey', { appId: other.appId, keyId }), 'NOT_FOUND');
		await refused(admin.call('revokeKey', { appId, keyId: rc.uuid() }), 'NOT_FOUND');
		await refused(admin.call('revokeKey', { appId: 'nobody', keyId }), 'NOT_FOUND');
		await opens(app, wrapped);
		const before = Date.now();
		assert.deepEqual(await admin.call('revokeKey', { appId, keyId }), {});
		await refused(opens(app, await wrapFor(app.publicKey)), 'KEY_UNWRAP_FAILED');
		await opens(app, await wrapFor(publicKey));
		await client.call('encrypt', { roomId: app.roomId, payload: {} }); // the session and its room keys go on
		const [current, revoked] = await identities(appId);
		assert.deepEqual([current.state, revoked.keyId, revoked.state], ['current', keyId, 'revoked']);
		assert.ok(Date.parse(revoked.expiresAt) >= before && Date.parse(revoked.expiresAt) <= Date.now());
		assert.deepEqual((await client.call('getIdentity')).retired, []);
		await refused(admin.call('revokeKey', { appId, keyId }), 'FORBIDDEN');
	});

	test('a batch of keys wrapped for a revoked key fails entry by entry', async () => {
		const app = await fresh();
		const entry = async (publicText) => ({ e2eKeyId: rc.uuid(), E2EKey: (await wrapFor(publicText)).slice(-344) });
		const { publicKey } = await admin.call('rotate', { appId: app.appId });
		await admin.call('revokeKey', { appId: app.appId, keyId: app.keyId });
		const keys = [await entry(app.publicKey), await entry(publicKey)];
		const answer = await app.client.call('importRoomKeys', { roomId: app.roomId, keys });
		assert.deepEqual(answer, { imported: [keys[1].e2eKeyId], failed: [{ kid: keys[0].e2eKeyId, reason: 'KEY_UNWRAP_FAILED' }] });
	});

	test('importIdentity retires the former key for a week, and brings a retired one back', async () => {
		const app = await fresh();
		const first = await adopt(admin, app.appId, 0);
		await opens(app, await wrapFor(app.publicKey));
		const [, retired] = await identities(app.appId);
		assert.equal(retired.keyId, app.keyId);
		assert.ok(Date.parse(retired.expiresAt) > Date.now() + 604_000_000);
		assert.deepEqual(await adopt(admin, app.appId, 0), first, 'the current one already');
		await adopt(admin, app.appId, 1);
		const again = await adopt(admin, app.appId, 0);
		assert.notEqual(again.keyId, first.keyId);
		const seen = await identities(app.appId);
		assert.deepEqual(seen.map(({ state }) => state), ['current', 'retired', 'retired']);
		assert.equal(seen[0].keyId, again.keyId);
		assert.ok(!seen.some(({ keyId }) => keyId === first.keyId));
		const twin = await fresh(); // one pair may serve two apps
		assert.equal((await adopt(admin, twin.appId, 0)).publicText, (await twin.client.call('getIdentity')).publicKey);
	});

	test('of a revoked app nothing is rotated, revoked or put in escrow; of an unknown one neither', async () => {
		const app = await fresh();
		await admin.call('rotate', { appId: app.appId });
		await admin.call('revokeApp', { appId: app.appId });
		const calls = [['rotate', {}], ['revokeKey', { keyId: app.keyId }], ['setEscrow', { passphrase: PASSPHRASE }], ['setEscrow', { passphrase: null }],
			['exportIdentity', { userId: 'u', passphrase: PASSPHRASE }]];
		for (const [method, params] of calls) {
			await refused(admin.call(method, { appId: app.appId, ...params }), 'FORBIDDEN');
			await refused(admin.call(method, { appId: 'nobody', ...params }), 'NOT_FOUND');
		}
		assert.deepEqual(await identities(app.appId), []);
	});

	test('rotations at the same time all happen, one after the other', async () => {
		const app = await fresh();
		const all = await Promise.all(Array.from({ length: 4 }, () => admin.call('rotate', { appId: app.appId })));
		const seen = await identities(app.appId);
		assert.deepEqual(seen.map(({ state }) => state), ['current', 'retired', 'retired', 'retired', 'retired']);
		assert.deepEqual(new Set(seen.map(({ keyId }) => keyId)), new Set([app.keyId, ...all.map(({ keyId }) => keyId)]));
		for (const { keyId, previousKeyId } of all) assert.equal(seen[seen.findIndex((id) => id.keyId === keyId) + 1].keyId, previousKeyId);
	});

	test('rotating under load fails no decrypt', async () => {
		const app = await fresh();
		const content = await rc.encryptV2(app.key.jwkText, app.key.kid, { msg: 'all the while' });
		const clients = await Promise.all(Array.from({ length: 3 }, () => daemon.app(app.appId, app.token)));
		const rotations = Math.max(2, Math.round(cases(20)));
		let rotating = true, done = 0;
		const reading = clients.map(async (client) => {
			while (rotating) {
				const answers = await Promise.all(Array.from({ length: 50 }, () => client.call('decrypt', { roomId: app.roomId, content })));
				for (const { payload } of answers) assert.equal(payload.msg, 'all the while');
				done += answers.length;
			}
		});
		for (let i = 0; i < rotations; i++) {
			const { previousKeyId } = await admin.call('rotate', { appId: app.appId });
			await admin.call('revokeKey', { appId: app.appId, keyId: previousKeyId });
		}
		rotating = false;
		await Promise.all(reading);
		assert.ok(done >= 150);
		assert.equal((await identities(app.appId)).filter(({ state }) => state === 'revoked').length, rotations);
	});

	// ---- escrow ----

	const published = async (app) => app.client.call('getKeyPublication', { userId: 'bot' });
	const openedBy = (envelope, passphrase) => rc.openPrivateKey(envelope, { passphrase, userId: 'bot' }).then(rc.publicOf, () => null);

	test('setEscrow: what is published opens with it, whichever key is current', async () => {
		const app = await fresh();
		const none = await published(app);
		assert.equal(await openedBy(none.private_key, PASSPHRASE), null);
		assert.deepEqual(await admin.call('setEscrow', { appId: app.appId, passphrase: PASSPHRASE }), {});
		const first = await published(app);
		assert.equal(await openedBy(first.private_key, PASSPHRASE), app.publicKey);
		assert.equal(JSON.parse(first.private_key).iterations, 100_000);
		const { publicKey } = await admin.call('rotate', { appId: app.appId });
		const second = await published(app);
		assert.equal(second.public_key, publicKey);
		assert.equal(await openedBy(second.private_key, PASSPHRASE), publicKey);
		await admin.call('setEscrow', { appId: app.appId, passphrase: ' ~' });
		assert.equal(await openedBy((await published(app)).private_key, ' ~'), publicKey);
		assert.equal(await openedBy((await published(app)).private_key, PASSPHRASE), null);
		await admin.call('setEscrow', { appId: app.appId, passphrase: null });
		for (const passphrase of [PASSPHRASE, ' ~', '']) assert.equal(await openedBy((await published(app)).private_key, passphrase), null);
	});

	test('setEscrow: which passphrases are taken', async () => {
		const app = await fresh();
		for (const passphrase of ['', 'schön', 'tab\t', '\u007f', 'x'.repeat(1025), 7, [], {}, false, undefined])
			assert.equal((await refused(admin.call('setEscrow', { appId: app.appId, passphrase }), 'INVALID_PARAMS')).param, 'passphrase');
		await admin.call('setEscrow', { appId: app.appId, passphrase: 'x'.repeat(1024) });
		assert.equal(await openedBy((await published(app)).private_key, 'x'.repeat(1024)), app.publicKey);
	});

	// ---- what admins see of an app's room keys ----

	test('listAppRoomKeys gives what listRoomKeys gives the app', async () => {
		const app = await fresh();
		await giveKey(app.client, app.publicKey, app.roomId, { alg: 'A128CBC', makeCurrent: false, ts: '2024-05-06T07:08:09.123Z' });
		await app.client.call('createRoomKey', { roomId: app.roomId });
		const own = await app.client.call('listRoomKeys', { roomId: app.roomId });
		assert.equal(own.keys.length, 3);
		assert.deepEqual(await admin.call('listAppRoomKeys', { appId: app.appId, roomId: app.roomId }), own);
		await refused(admin.call('listAppRoomKeys', { appId: app.appId, roomId: 'elsewhere' }), 'NOT_FOUND');
		await refused(admin.call('listAppRoomKeys', { appId: 'nobody', roomId: app.roomId }), 'NOT_FOUND');
		await refused(app.client.call('listAppRoomKeys', { appId: app.appId, roomId: app.roomId }), 'METHOD_NOT_FOUND');
	});
});

test('identities, escrow and revoked keys outlast restarts; a grace that ends meanwhile has ended', { timeout: 120_000 }, () => withDaemon({}, async (daemon, admin) => {
	const app = await newApp(daemon, admin, { appId: 'a' });
	await admin.call('setEscrow', { appId: 'a', passphrase: PASSPHRASE });
	const second = await admin.call('rotate', { appId: 'a' });
	await admin.call('revokeKey', { appId: 'a', keyId: app.keyId });
	await admin.call('rotate', { appId: 'a' });
	const last = await admin.call('rotate', { appId: 'a', graceSeconds: 1 });
	const before = await admin.call('getApp', { appId: 'a' });
	const exit = await daemon.terminate();
	assert.equal(exit.code, 0);
	while (Date.now() <= Date.parse(last.previousExpiresAt)) await new Promise(setImmediate); // it is down when the grace ends
	await daemon.start();
	admin = await daemon.admin();
	const client = await daemon.app('a', app.token);
	assert.deepEqual((await client.call('getIdentity')).retired.map(({ keyId }) => keyId), [second.keyId]);
	await daemon.logged(new RegExp(`identity key has expired and is destroyed: ${last.previousKeyId}`));
	const { identities } = await admin.call('getApp', { appId: 'a' });
	assert.deepEqual(identities, before.identities.filter(({ keyId }) => keyId !== last.previousKeyId));
	assert.deepEqual(identities.map(({ state }) => state), ['current', 'retired', 'revoked']);
	const { private_key } = await client.call('getKeyPublication', { userId: 'bot' });
	const privateText = await rc.openPrivateKey(private_key, { passphrase: PASSPHRASE, userId: 'bot' });
	assert.equal(rc.publicOf(privateText), last.publicKey);
}));

test('a grace that ends while the keystore is locked ends when it is unlocked', { timeout: 120_000 }, () => withDaemon({}, async (daemon, admin) => {
	const app = await newApp(daemon, admin, { appId: 'a' });
	const { previousExpiresAt } = await admin.call('rotate', { appId: 'a', graceSeconds: 1 });
	await admin.call('lock');
	await refused(admin.call('rotate', { appId: 'a' }), 'LOCKED');
	while (Date.now() <= Date.parse(previousExpiresAt)) await new Promise(setImmediate);
	await admin.call('unlock');
	await refused(app.client.call('importRoomKey', { roomId: app.roomId, key: await wrapFor(app.publicKey) }), 'KEY_UNWRAP_FAILED');
	await daemon.logged(/identity key has expired and is destroyed/);
	assert.equal((await admin.call('getApp', { appId: 'a' })).identities.length, 1);
}));

test('the audit trail has it all, and no passphrase; nor has the log', { timeout: 120_000 }, async () => {
	const audit = join(temporaryFolder(), 'audit.log');
	await withDaemon({ config: { log: { audit, level: 'debug' } } }, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { appId: 'a' });
		await admin.call('setEscrow', { appId: 'a', passphrase: PASSPHRASE });
		await admin.call('rotate', { appId: 'a', graceSeconds: 1 });
		await daemon.logged(/identity key has expired and is destroyed/);
		const { previousKeyId: second } = await admin.call('rotate', { appId: 'a', graceSeconds: 0 });
		const { previousKeyId } = await admin.call('rotate', { appId: 'a' });
		await admin.call('revokeKey', { appId: 'a', keyId: previousKeyId });
		await refused(admin.call('revokeKey', { appId: 'a', keyId: previousKeyId }), 'FORBIDDEN');
		await admin.call('listAppRoomKeys', { appId: 'a', roomId: app.roomId });
		const { entries } = await admin.call('readAudit');
		const noted = entries.filter(({ action }) => !/^(createApp|keyUse|start|unlock|open)/.test(action)).map(({ action, target, result }) => [action, target, result]);
		const ended = ([action]) => action === 'keyExpired';
		assert.deepEqual(noted.filter(ended), [['keyExpired', `a ${app.keyId}`, 'ok'], ['keyExpired', `a ${second}`, 'ok']]);
		assert.deepEqual(noted.filter((entry) => !ended(entry)), [['setEscrow', 'a', 'ok'], ['rotate', 'a', 'ok'], ['rotate', 'a', 'ok'], ['rotate', 'a', 'ok'],
			['revokeKey', `a ${previousKeyId}`, 'ok'], ['revokeKey', `a ${previousKeyId}`, 'FORBIDDEN'], ['listAppRoomKeys', `a ${app.roomId}`, 'ok']]);
		for (const text of [readFileSync(audit, 'utf8'), daemon.stderr()]) assert.ok(!text.includes(PASSPHRASE) && !text.includes('battery'));
	});
});
