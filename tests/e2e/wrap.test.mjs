// wrapRoomKey, whose work is spread over the workers: what each recipient gets is right and in order, whatever else goes on, and a
// revocation ends it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ALL, newApp, refused } from './lib/actors.mjs';
import { RpcError } from './lib/client.mjs';
import { cases, withDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const RECIPIENTS = 100;

// The app gets @n more keys of its room, by importRoomKeys; gives them newest first.
async function giveHistory(app, n) {
	const keys = await Promise.all(Array.from({ length: n }, () => rc.makeRoomKey()));
	const entries = await Promise.all(keys.map(async ({ kid, jwkText }, i) => ({
		e2eKeyId: kid, E2EKey: await rc.wrapRoomKey(app.publicKey, kid, jwkText), ts: new Date(Date.UTC(2025, 0, 1 + i)).toISOString() })));
	const { failed } = await app.client.call('importRoomKeys', { roomId: app.roomId, keys: entries });
	assert.deepEqual(failed, []);
	return keys.map(({ kid, jwkText }, i) => ({ kid, jwkText, ts: entries[i].ts })).reverse();
}

// Members of the room; few pairs, since it is the daemon that is to be at work.
async function members(n, pairs = 3) {
	const identities = await Promise.all(Array.from({ length: pairs }, () => rc.makeIdentity()));
	return Array.from({ length: n }, (_, i) => ({ id: `user ${i} "ü"`, ...identities[i % pairs] }));
}

const recipientsOf = (all) => all.map(({ id, publicText }) => ({ _id: id, public_key: publicText }));

// What @user was given opens to the current key and all of @history.
async function opens(user, { id, privateText }, current, history) {
	assert.equal(user._id, id);
	assert.deepEqual(await rc.unwrapE2EKey(privateText, user.key), { kid: current.kid, jwkText: current.jwkText });
	assert.deepEqual(user.oldKeys.map(({ e2eKeyId, ts }) => [e2eKeyId, ts]), history.map(({ kid, ts }) => [kid, ts]));
	for (const [i, { E2EKey }] of user.oldKeys.entries())
		assert.deepEqual(await rc.unwrapE2EKey(privateText, E2EKey), { kid: history[i].kid, jwkText: history[i].jwkText });
}

// valgrind runs one thread at a time, however many there are
for (const threads of cases(100) > 1 ? [1, 2, 4] : [2]) {
	describe(`wrapRoomKey with ${threads} workers`, { timeout: 900_000 }, () => {
		const config = { workers: { threads } };

		test('100 recipients and a history of 30 keys: all of it opens, in order, those that fail are named', () => withDaemon({ config }, async (daemon, admin) => {
			const app = await newApp(daemon, admin);
			const history = await giveHistory(app, 30);
			const all = await members(RECIPIENTS);
			const bad = new Set([0, 1, 17, 50, 98, 99]);
			const recipients = recipientsOf(all).map((r, i) => (bad.has(i) ? { ...r, public_key: '{"kty":"RSA"}' } : r));
			const { users, failed, roomId } = await app.client.call('wrapRoomKey', { roomId: app.roomId, recipients });
			assert.equal(roomId, app.roomId);
			assert.deepEqual(failed, [...bad].map((i) => ({ _id: all[i].id, reason: 'INVALID_KEY' })));
			const good = all.filter((_, i) => !bad.has(i));
			assert.equal(users.length, good.length);
			const looked = Math.max(4, Math.min(good.length, cases(100)));
			for (let i = 0; i < looked; i++) {
				const at = Math.floor((i * (good.length - 1)) / (looked - 1));
				await opens(users[at], good[at], app.key, history);
			}
		}));

		test('one recipient and many keys; many recipients and one', () => withDaemon({ config }, async (daemon, admin) => {
			const app = await newApp(daemon, admin);
			const history = await giveHistory(app, Math.max(70, cases(700)));
			const all = await members(RECIPIENTS, 1);
			const one = await app.client.call('wrapRoomKey', { roomId: app.roomId, recipients: recipientsOf(all.slice(0, 1)) });
			await opens(one.users[0], all[0], app.key, history);
			const many = await app.client.call('wrapRoomKey', { roomId: app.roomId, recipients: recipientsOf(all), history: false });
			assert.deepEqual(many.users.map((user) => Object.keys(user)), Array(RECIPIENTS).fill(['_id', 'key']));
			for (const [i, user] of many.users.entries())
				assert.equal((await rc.unwrapE2EKey(all[i].privateText, user.key)).jwkText, app.key.jwkText);
			assert.deepEqual(await app.client.call('wrapRoomKey', { roomId: app.roomId, recipients: [] }), { roomId: app.roomId, users: [], failed: [] });
		}));

		test('several at once, and other slow requests between them', () => withDaemon({ config }, async (daemon, admin) => {
			const app = await newApp(daemon, admin);
			const history = await giveHistory(app, 20);
			const all = await members(20);
			const recipients = recipientsOf(all);
			const answers = await Promise.all(Array.from({ length: 24 }, async (_, i) => {
				if (i % 3 === 2) return app.client.call('getEncryptedRoomKey', { roomId: app.roomId });
				if (i % 8 === 0) return admin.call('authorizeRoom', { appId: app.appId, roomId: `extra ${i}`, permissions: ALL });
				return app.client.call('wrapRoomKey', { roomId: app.roomId, recipients });
			}));
			for (const { users } of answers.filter((answer) => answer.users)) {
				assert.deepEqual(users.map((user) => user._id), all.map(({ id }) => id));
				await opens(users[7], all[7], app.key, history);
				await opens(users[19], all[19], app.key, history);
			}
		}));

		test('a revocation in the middle ends it, and those that wait', () => withDaemon({ config }, async (daemon, admin) => {
			for (const [revoke, reasons] of [
				[(app) => admin.call('deauthorizeRoom', { appId: app.appId, roomId: app.roomId, purgeKeys: true }), ['ROOM_NOT_AUTHORIZED']],
				[(app) => admin.call('authorizeRoom', { appId: app.appId, roomId: app.roomId, permissions: ['read'] }), ['ROOM_NOT_AUTHORIZED']],
				[(app) => admin.call('resetToken', { appId: app.appId }), ['UNAUTHENTICATED', 'ConnectionClosed']],
				[(app) => admin.call('revokeApp', { appId: app.appId }), ['UNAUTHENTICATED', 'ConnectionClosed']],
			]) {
				const app = await newApp(daemon, admin);
				await giveHistory(app, Math.max(40, cases(200)));
				const recipients = recipientsOf(await members(RECIPIENTS, 1));
				const answered = [];
				const wraps = Array.from({ length: 8 }, () => app.client.call('wrapRoomKey', { roomId: app.roomId, recipients }).then(
					() => answered.push('done'), (error) => answered.push(error instanceof RpcError ? error.reason : error.name)));
				while ((await admin.call('getStatus')).workers.queued < 8 - 2 * threads && answered.length === 0); // some are at work by now
				await revoke(app);
				await Promise.all(wraps);
				assert.ok(answered.filter((reason) => reason === 'done').length < 8, 'it took too long to be of use');
				assert.deepEqual(answered.filter((reason) => reason !== 'done' && !reasons.includes(reason)), []);
				assert.ok(answered.some((reason) => reasons.includes(reason)));
			}
		}));
	});
}

describe('recipients', { timeout: 600_000 }, () => {
	test('a weak or odd key is that recipient\'s failure alone', () => withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin);
		const [member] = await members(1, 1);
		const good = JSON.parse(member.publicText);
		const n = BigInt(`0x${Buffer.from(good.n, 'base64url').toString('hex')}`);
		const withN = (value) => ({ ...good, n: Buffer.from(value.toString(16).padStart(512, '0'), 'hex').toString('base64url') });
		const [{ publicText: small }, { publicText: large }] = await Promise.all([1024, 3072].map((modulusLength) => rc.makeIdentity({ modulusLength })));
		const odd = {
			'of 1024 bits': small, 'of 3072 bits': large,
			'of 2047 bits': withN(n >> 1n | 1n), 'with an even modulus': withN(n - 1n),
			'with a modulus that 3 divides': withN(n - n % 6n + 3n), 'with a modulus that 251 divides': withN(n - n % 502n + 251n),
			'with e 3': { ...good, e: 'Aw' }, 'with e 65539': { ...good, e: 'AQAD' }, 'without e': { ...good, e: undefined },
			'with its private members': member.privateText, 'with d': { ...good, d: good.n }, 'with p': { ...good, p: 'AQAB' }, 'with oth': { ...good, oth: [] },
			'of another kind': { kty: 'EC', crv: 'P-256', x: 'AQ', y: 'AQ' }, 'for another algorithm': { ...good, alg: 'RSA-OAEP' },
			'for signing': { ...good, use: 'sig' }, 'for decrypting': { ...good, key_ops: ['decrypt'] },
			'in standard base64': { ...good, n: Buffer.from(good.n, 'base64url').toString('base64') },
			'that is empty': '', 'that is no JSON': 'ssh-rsa AAAA', 'that is an array': [good], 'encoded six times': Array(5).fill().reduce((text) => JSON.stringify(text), member.publicText),
		};
		const bad = Object.entries(odd).map(([what, key]) => ({ _id: `one ${what}`, public_key: typeof key === 'string' ? key : JSON.stringify(key) }));
		bad.push({ _id: 'one without a key' }, { _id: 'one with a number', public_key: 5 }, { _id: 'one with an object', public_key: good });
		const recipients = [{ _id: 'first', public_key: member.publicText }, ...bad.slice(0, 9), { _id: 'twice', public_key: JSON.stringify(member.publicText) },
			...bad.slice(9), { _id: 'first', public_key: member.publicText }, { _id: 'last', public_key: member.publicText }];
		const { users, failed } = await app.client.call('wrapRoomKey', { roomId: app.roomId, recipients });
		assert.deepEqual(failed, [...bad, { _id: 'first' }].map(({ _id }) => ({ _id, reason: 'INVALID_KEY' })));
		assert.deepEqual(users.map(({ _id }) => _id), ['first', 'twice', 'last']);
		for (const user of users) assert.equal((await rc.unwrapE2EKey(member.privateText, user.key)).jwkText, app.key.jwkText);
		await refused(app.client.call('wrapRoomKey', { roomId: app.roomId, recipients: [...recipientsOf(await members(RECIPIENTS, 1)), recipients[0]] }), 'INVALID_PARAMS');
	}));
});
