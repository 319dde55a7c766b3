// The keystore's file as an admin sees it: slots, new data keys, backups, rollback, damage, and what is gone after a revocation.
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ALL, giveKey, newApp, reasonOf } from './lib/actors.mjs';
import { startDaemon, temporaryFolder, withDaemon } from './lib/daemon.mjs';

const CHEAP = { passphrase_memory_kib: 8192, passphrase_passes: 1 };
async function filledApp(daemon, admin) {
	const app = await newApp(daemon, admin, { roomId: 'r', key: false });
	await admin.call('authorizeRoom', { appId: app.appId, roomId: 's', permissions: ALL });
	await giveKey(app.client, app.publicKey, 'r', { makeCurrent: true });
	const { content } = await app.client.call('encrypt', { roomId: 'r', payload: { msg: 'hello' } });
	return { ...app, content };
}

const readsAgain = async (daemon, app) =>
	assert.deepEqual((await (await daemon.app(app.appId, app.token)).call('decrypt', { roomId: 'r', content: app.content })).payload, { msg: 'hello' });

describe('the file', () => {
	test('is compacted, gets a new data key, verifies and serves on', () => withDaemon({}, async (daemon, admin) => {
		const app = await filledApp(daemon, admin);
		for (let i = 0; i < 30; i++) await admin.call('authorizeRoom', { appId: app.appId, roomId: 's', permissions: i % 2 ? ALL : ['read'] });
		const { keystore: before } = await admin.call('getStatus');
		const sizes = await admin.call('compactKeystore');
		assert.equal(sizes.before, before.bytes);
		assert.ok(sizes.after < sizes.before);
		assert.equal(statSync(daemon.keystorePath).size, sizes.after);
		const { keystore: after } = await admin.call('getStatus');
		assert.deepEqual([after.seq, after.generation], [before.seq, before.generation + 1]);
		const bytes = readFileSync(daemon.keystorePath);
		assert.deepEqual(await admin.call('rekeyKeystore'), { generation: after.generation + 1 });
		assert.notDeepEqual(readFileSync(daemon.keystorePath).subarray(200), bytes.subarray(200));
		await admin.call('authorizeRoom', { appId: app.appId, roomId: 't', permissions: ALL });
		const { keystore } = await admin.call('getStatus');
		assert.deepEqual(await admin.call('verifyKeystore'), { ok: true, records: keystore.records, generation: keystore.generation });
		await daemon.restart();
		await readsAgain(daemon, app);
		assert.deepEqual(readdirSync(daemon.dir).filter((name) => /^keystore\.(rewrite|old)/.test(name)), []);
	}));

	test('that was changed on disk is found by verifyKeystore, and the daemon serves on', () => withDaemon({}, async (daemon, admin) => {
		await filledApp(daemon, admin);
		const bytes = readFileSync(daemon.keystorePath);
		for (const at of [9, 60, bytes.length - 300, bytes.length - 1]) {
			const changed = Buffer.from(bytes);
			changed[at] ^= 1;
			writeFileSync(daemon.keystorePath, changed); // in place: the same file
			const answer = await admin.call('verifyKeystore');
			assert.equal(answer.ok, false, `byte ${at}`);
			assert.ok(answer.why.includes(daemon.keystorePath));
		}
		truncateSync(daemon.keystorePath, bytes.length - 1);
		assert.equal((await admin.call('verifyKeystore')).ok, false);
		writeFileSync(daemon.keystorePath, bytes);
		assert.equal((await admin.call('verifyKeystore')).ok, true);
		renameSync(daemon.keystorePath, `${daemon.keystorePath}.away`);
		assert.match((await admin.call('verifyKeystore')).why, /moved or removed/);
		renameSync(`${daemon.keystorePath}.away`, daemon.keystorePath);
	}));

	test('is copied while it changes; the copy opens by itself', () => withDaemon({}, async (daemon, admin) => {
		const app = await filledApp(daemon, admin), path = join(daemon.dir, 'backup');
		let stop = false;
		const changes = (async () => {
			for (let i = 0; !stop; i++) await admin.call('authorizeRoom', { appId: app.appId, roomId: `room ${i}`, permissions: ALL });
		})();
		const other = await daemon.admin();
		const copy = await other.call('backupKeystore', { path });
		stop = true;
		await changes;
		assert.deepEqual([copy.path, copy.bytes], [path, statSync(path).size]);
		assert.equal(statSync(path).mode & 0o777, 0o600);
		assert.equal(await reasonOf(admin.call('backupKeystore', { path })), 'ALREADY_EXISTS');
		for (const bad of ['relative', '', '/', `${daemon.dir}/`]) assert.equal(await reasonOf(admin.call('backupKeystore', { path: bad })), 'INVALID_PARAMS', bad);
		const nowhere = await admin.call('backupKeystore', { path: '/nonexistent/x' }).catch((error) => error);
		assert.equal(nowhere.data.reason, 'STORAGE_ERROR');
		assert.match(nowhere.data.why, /\/nonexistent\/x/);

		const restored = await startDaemon({ config: { keystore: { path, key_file: daemon.config.keystore.key_file } } });
		try {
			assert.equal((await (await restored.admin()).call('getStatus')).keystore.seq, copy.seq);
			await readsAgain(restored, app);
		} finally {
			await restored.stop();
		}
	}));

	test('that is missing where there was one is not made anew', async () => {
		const dir = temporaryFolder(), side = join(dir, 'side');
		mkdirSync(side);
		const config = { keystore: { anchor: join(side, 'anchor') }, log: { audit: join(side, 'audit') } };
		const daemon = await startDaemon({ config, dir: temporaryFolder() });
		await daemon.terminate();
		renameSync(daemon.keystorePath, join(dir, 'k'));
		const refused = async (pattern) => {
			for (const args of [[], ['--accept-rollback']]) { // which is about one that is there
				const { code, stderr } = await startDaemon({ config, dir: daemon.dir, args, expectExit: true });
				assert.notEqual(code, 0);
				assert.match(stderr, pattern);
				assert.ok(!existsSync(daemon.keystorePath));
			}
		};
		await refused(/anchor shows that there was one/);
		rmSync(join(side, 'anchor'));
		await refused(/audit shows that there was one/);
		rmSync(join(side, 'audit'));
		await refused(/the key of its seal "keyfile" is there/);
		renameSync(join(dir, 'k'), daemon.keystorePath);
		await daemon.start();
		await daemon.stop();
	});

	test('that is older than the anchor or the audit trail remembers is refused, unless accepted', async () => {
		for (const what of ['anchor', 'audit']) {
			const side = temporaryFolder();
			const config = what === 'anchor' ? { keystore: { anchor: join(side, what) } } : { log: { audit: join(side, what) } };
			const daemon = await startDaemon({ config });
			let admin = await daemon.admin();
			const app = await newApp(daemon, admin, { roomId: 'r', key: false });
			const old = join(daemon.dir, 'old'), lately = join(daemon.dir, 'lately');
			await admin.call('backupKeystore', { path: old });
			await admin.call('resetToken', { appId: app.appId });
			await daemon.terminate();
			renameSync(daemon.keystorePath, lately);
			copyFileSync(old, daemon.keystorePath);
			const { code, stderr } = await startDaemon({ config: daemon.config, dir: daemon.dir, expectExit: true });
			assert.equal(code, 74);
			assert.match(stderr, /older than it was.*--accept-rollback/);
			const accepting = await startDaemon({ config: daemon.config, dir: daemon.dir, args: ['--accept-rollback'] });
			await accepting.app(app.appId, app.token); // which is why one is asked
			await accepting.terminate();
			await daemon.start(); // the accepted one is the newest now
			await daemon.terminate();
			copyFileSync(lately, daemon.keystorePath); // and what was given up cannot come back
			assert.equal((await startDaemon({ config: daemon.config, dir: daemon.dir, expectExit: true })).code, 74);
		}
	});

	test('whose last record is damaged is refused, unless a person accepts the loss', async () => {
		const daemon = await startDaemon();
		const admin = await daemon.admin();
		const app = await newApp(daemon, admin, { roomId: 'r', key: false });
		const { bytes: whole } = (await admin.call('getStatus')).keystore;
		await admin.call('authorizeRoom', { appId: app.appId, roomId: 'last', permissions: ALL });
		await daemon.terminate();
		const bytes = readFileSync(daemon.keystorePath);
		bytes[bytes.length - 20] ^= 1;
		writeFileSync(daemon.keystorePath, bytes);
		const refused = await startDaemon({ config: daemon.config, dir: daemon.dir, expectExit: true });
		assert.equal(refused.code, 74);
		assert.match(refused.stderr, new RegExp(`at offset ${whole} is damaged.*--accept-damaged-tail`));
		const accepting = await startDaemon({ config: daemon.config, dir: daemon.dir, args: ['--accept-damaged-tail'] });
		const { rooms } = await (await accepting.admin()).call('listRooms', { appId: app.appId });
		assert.deepEqual(rooms.map((room) => room.roomId), ['r']);
		await accepting.terminate();
		bytes[Math.floor(whole * 0.8)] ^= 1; // in the middle: not even then
		writeFileSync(daemon.keystorePath, bytes);
		const never = await startDaemon({ config: daemon.config, dir: daemon.dir, args: ['--accept-damaged-tail'], expectExit: true });
		assert.equal(never.code, 74);
	});
});

describe('key slots', () => {
	test('each opens the store, the last one stays, and a removed one opens nothing', () => withDaemon({ config: { keystore: CHEAP } }, async (daemon, first) => {
		const app = await filledApp(daemon, first), passphrase = 'slot passphrase', other = join(daemon.dir, 'other.key');
		let admin = first;
		assert.deepEqual((await admin.call('listSlots')).slots.map(({ slot, seal }) => [slot, seal]), [[0, 'keyfile']]);
		assert.equal(await reasonOf(admin.call('removeSlot', { slot: 0 })), 'FORBIDDEN');
		assert.equal(await reasonOf(admin.call('removeSlot', { slot: 7 })), 'NOT_FOUND');
		assert.equal(await reasonOf(admin.call('addSlot', { seal: 'nonsense' })), 'INVALID_PARAMS');
		assert.equal(await reasonOf(admin.call('addSlot', { seal: 'passphrase' })), 'INVALID_PARAMS');
		assert.deepEqual(await admin.call('addSlot', { seal: 'passphrase', passphrase }), { slot: 1 });
		const { slot, recoveryKey } = await admin.call('addSlot', { seal: 'recovery' });
		assert.equal(slot, 2);
		assert.match(recoveryKey, /^([cbdefghijklnrtuv]{6}-){7}[cbdefghijklnrtuv]{6}$/);
		assert.deepEqual(await admin.call('addSlot', { seal: 'keyfile', keyFile: other }), { slot: 3 });
		assert.equal(statSync(other).mode & 0o777, 0o600);
		assert.deepEqual((await admin.call('listSlots')).slots.map(({ slot, seal }) => [slot, seal]),
			[[0, 'keyfile'], [1, 'passphrase'], [2, 'recovery'], [3, 'keyfile']]);

		await admin.call('lock');
		await admin.call('unlock', { passphrase });
		await readsAgain(daemon, app);
		await admin.call('rekeyKeystore'); // by which all slots are wrapped anew
		await admin.call('lock');
		await admin.call('unlock', { passphrase });
		await admin.call('removeSlot', { slot: 0 });
		await admin.call('lock');
		assert.equal(await reasonOf(admin.call('unlock')), 'AUTHENTICATION_FAILED', 'the configured key file opens nothing any more');
		await admin.call('unlock', { passphrase });
		await daemon.restart({ config: { keystore: { key_file: other } } });
		admin = await daemon.admin();
		await readsAgain(daemon, app);
		await admin.call('removeSlot', { slot: 1 });
		await admin.call('lock');
		const gone = await admin.call('unlock', { passphrase }).catch((error) => error);
		assert.match(gone.data.why, /no key slot of the kind "passphrase"/);
		await admin.call('unlock');
		assert.deepEqual(await admin.call('addSlot', { seal: 'passphrase', passphrase }), { slot: 4 }, 'numbers are not used again');
	}));

	test('there are at most 16', () => withDaemon({}, async (daemon, admin) => {
		for (let i = 1; i < 16; i++) await admin.call('addSlot', { seal: 'recovery' });
		const full = await admin.call('addSlot', { seal: 'recovery' }).catch((error) => error);
		assert.equal(full.data.reason, 'FORBIDDEN');
		assert.match(full.data.why, /16 key slots/);
	}));
});

describe('what is destroyed', () => {
	test('a revoked app is refused everywhere, at once and for good', () => withDaemon({}, async (daemon, admin) => {
		const app = await filledApp(daemon, admin), other = await newApp(daemon, admin, { appId: 'other', roomId: 'r', key: false });
		const inFlight = Array.from({ length: 50 }, () => app.client.call('decrypt', { roomId: 'r', content: app.content }).then(() => 'read', (error) => error));
		assert.deepEqual(await admin.call('revokeApp', { appId: app.appId }), {});
		await app.client.closed;
		await Promise.all(inFlight);
		const stranger = await daemon.stranger();
		assert.equal(await reasonOf(stranger.authenticate(app.appId, app.token)), 'AUTHENTICATION_FAILED');
		const check = async (a) => {
			assert.equal(await reasonOf(a.call('createApp', { appId: app.appId })), 'ALREADY_EXISTS');
			assert.equal(await reasonOf(a.call('revokeApp', { appId: 'nobody' })), 'NOT_FOUND');
			for (const [method, params] of [['revokeApp', {}], ['resetToken', {}], ['authorizeRoom', { roomId: 'r', permissions: ALL }],
				['exportIdentity', { userId: 'u', passphrase: 'p' }]])
				assert.equal(await reasonOf(a.call(method, { appId: app.appId, ...params })), 'FORBIDDEN', method);
			const shown = await a.call('getApp', { appId: app.appId });
			assert.deepEqual([shown.state, shown.identities, shown.rooms], ['revoked', [], []]);
			const listed = (await a.call('listApps')).apps.find(({ appId }) => appId === app.appId);
			assert.deepEqual([listed.state, listed.keyId], ['revoked', null]);
		};
		await check(admin);
		await other.client.call('getIdentity');
		await daemon.restart();
		await check(await daemon.admin());
		await daemon.app('other', other.token);
	}));

	test('no byte of the old file stays behind after a revocation or a purge', () => withDaemon({}, async (daemon, admin) => {
		for (const destroy of [(app) => admin.call('revokeApp', { appId: app.appId }),
			(app) => admin.call('deauthorizeRoom', { appId: app.appId, roomId: 'r', purgeKeys: true })]) {
			const app = await filledApp(daemon, admin);
			const before = readFileSync(daemon.keystorePath);
			await destroy(app);
			const files = readdirSync(daemon.dir).map((name) => join(daemon.dir, name)).filter((path) => statSync(path).isFile());
			for (const path of files) {
				const bytes = readFileSync(path);
				for (let at = 200; at + 64 <= before.length; at += 64) assert.equal(bytes.indexOf(before.subarray(at, at + 64)), -1, `${path} holds bytes ${at}… of the old file`);
			}
		}
	}));

	test('a rewrite that is not possible is said, and made good later', { skip: process.getuid() !== 0 && 'needs another user' }, async () => {
		// a folder that does not let its user make files: the log can be written, a new one cannot
		const dir = temporaryFolder(), store = join(dir, 'store');
		mkdirSync(store, { mode: 0o700 });
		const daemon = await startDaemon({ dir, config: { keystore: { path: join(store, 'keystore'), key_file: join(dir, 'key') } } });
		try {
			const admin = await daemon.admin();
			const app = await filledApp(daemon, admin);
			mkdirSync(join(store, 'keystore.rewrite')); // in the new file's way
			assert.deepEqual(await admin.call('revokeApp', { appId: app.appId }), {}, 'the app is revoked all the same');
			const status = await admin.call('getStatus');
			assert.equal(status.state, 'degraded');
			assert.match(status.problems.join(), /e2eectl keystore compact/);
			assert.equal(await reasonOf(admin.call('compactKeystore')), 'STORAGE_ERROR');
			rmSync(join(store, 'keystore.rewrite'), { recursive: true });
			await admin.call('compactKeystore');
			assert.equal((await admin.call('getStatus')).state, 'ready');
		} finally {
			await daemon.stop();
		}
	});
});
