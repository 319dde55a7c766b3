// Locking and unlocking: while the keystore is locked nothing of it can be used, and afterwards everything is as it was, sessions
// included.
import assert from 'node:assert/strict';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ALL, giveKey, newApp, reasonOf, refused } from './lib/actors.mjs';
import { temporaryFolder, withDaemon } from './lib/daemon.mjs';

const PASSPHRASE = 'correct horse battery staple';
const CHEAP = { passphrase_memory_kib: 8192, passphrase_passes: 1 }; // Argon2id, for tests

describe('lock and unlock', { timeout: 300_000 }, () => {
	test('a session, its keys and its rooms outlast them; between them all is LOCKED', () => withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { roomId: 'r', key: false });
		await giveKey(app.client, app.publicKey, 'r', { makeCurrent: true });
		const { content } = await app.client.call('encrypt', { roomId: 'r', payload: { msg: 'before' } });
		const stranger = await daemon.stranger();
		assert.deepEqual(await admin.call('lock'), {});
		assert.deepEqual(await admin.call('lock'), {}, 'twice is no error');

		for (const [method, params] of [['decrypt', { roomId: 'r', content }], ['encrypt', { roomId: 'r', payload: {} }], ['getIdentity', {}],
			['getStatus', {}], ['createRoomKey', { roomId: 'r' }], ['listRoomKeys', { roomId: 'r' }]])
			assert.equal(await reasonOf(app.client.call(method, params)), 'LOCKED', method);
		assert.equal(await reasonOf(app.client.call('decrypt', { roomId: 'r' })), 'INVALID_PARAMS', 'which is looked for first');
		for (const [method, params] of [['createApp', { appId: 'b' }], ['listApps', {}], ['getApp', { appId: app.appId }], ['compactKeystore', {}],
			['verifyKeystore', {}], ['listSlots', {}], ['backupKeystore', { path: '/nonexistent/x' }]])
			assert.equal(await reasonOf(admin.call(method, params)), 'LOCKED', method);
		for (const [method, param, params] of [['createApp', 'rooms', { appId: 'b', rooms: [1] }], ['readAudit', 'limit', { limit: 1001 }],
			['authorizeRoom', 'permissions', { appId: app.appId, roomId: 'r', permissions: ['all'] }], ['addSlot', 'seal', { seal: 'wax' }], ['addSlot', 'seal', { seal: '' }]]) {
			const { reason, param: named } = await refused(admin.call(method, params), 'INVALID_PARAMS');
			assert.deepEqual([reason, named], ['INVALID_PARAMS', param], method);
		}
		assert.equal(await reasonOf(stranger.authenticate(app.appId, app.token)), 'LOCKED');
		const status = await admin.call('getStatus');
		assert.equal(status.state, 'locked');
		assert.deepEqual([status.apps, status.roomKeys, status.keystore.seal], [0, 0, null]);
		assert.ok((await app.client.call('ping')).time);

		assert.deepEqual(await admin.call('unlock'), {});
		assert.equal((await admin.call('getStatus')).state, 'ready');
		assert.deepEqual((await app.client.call('decrypt', { roomId: 'r', content })).payload, { msg: 'before' });
		await daemon.app(app.appId, app.token);
		await app.client.call('createRoomKey', { roomId: 'r' });
	}));

	test('requests under way while it is locked are answered or LOCKED, and none is lost', () => withDaemon({ config: { workers: { loops: 3, threads: 3 } } }, async (daemon, admin) => {
		const apps = await Promise.all(Array.from({ length: 4 }, (_, i) => newApp(daemon, admin, { appId: `a${i}`, roomId: 'r', key: false })));
		await Promise.all(apps.map((app) => giveKey(app.client, app.publicKey, 'r', { makeCurrent: true })));
		const contents = await Promise.all(apps.map((app) => app.client.call('encrypt', { roomId: 'r', payload: { msg: 'x' } })));
		let stop = false, read = 0, locked = 0;
		const hammer = async (app, { content }) => {
			while (!stop) {
				const calls = [['decrypt', { roomId: 'r', content }], ['createRoomKey', { roomId: 'r' }], ['getIdentity', {}], ['listRoomKeys', { roomId: 'r' }]];
				await Promise.all(calls.map(([method, params]) => app.client.call(method, params).then(() => read++, (error) => {
					assert.equal(error.data?.reason, 'LOCKED', error.stack);
					locked++;
				})));
			}
		};
		const hammering = apps.map((app, i) => hammer(app, contents[i]));
		for (let i = 0; i < 15; i++) {
			await admin.call('lock');
			await Promise.all([admin.call('unlock'), admin.call('unlock'), admin.call('getStatus')]);
		}
		stop = true;
		await Promise.all(hammering);
		assert.ok(read > 0 && locked > 0, `${read} answered, ${locked} locked`);
		const before = await Promise.all(apps.map((app) => app.client.call('listRoomKeys', { roomId: 'r' })));
		await admin.call('lock');
		await admin.call('unlock');
		assert.deepEqual(await Promise.all(apps.map((app) => app.client.call('listRoomKeys', { roomId: 'r' }))), before);
	}));

	test('each request of a batch finds it as the one before has left it', () => withDaemon({}, async (daemon, admin) => {
		const { appId } = await newApp(daemon, admin, { roomId: 'r' });
		const short = ({ error, result }) => error?.data.reason ?? Object.keys(result).join();
		const calls = [{ method: 'listApps' }, { method: 'getApp', params: { appId } }, { method: 'createApp', params: { appId } }, { method: 'readAudit' }];
		assert.deepEqual((await admin.batch([{ method: 'lock' }, ...calls])).map(short), ['', 'LOCKED', 'LOCKED', 'LOCKED', 'LOCKED']);
		assert.deepEqual((await admin.batch([...calls, { method: 'unlock' }])).map(short), ['LOCKED', 'LOCKED', 'LOCKED', 'LOCKED', '']);
		await admin.call('lock');
		const [, { result: { apps } }, , , again] = await admin.batch([{ method: 'unlock' }, { method: 'listApps' }, { method: 'lock' }, { method: 'unlock' }, ...calls]);
		assert.deepEqual([apps.map((app) => app.appId), short(again)], [[appId], 'apps']);
	}));

	test('batches that lock and unlock at once are each answered rightly', () => withDaemon({ config: { workers: { threads: 4 }, log: { audit: join(temporaryFolder(), 'audit') } } }, async (daemon, admin) => {
		const { appId } = await newApp(daemon, admin, { roomId: 'r' });
		const admins = await Promise.all(Array.from({ length: 6 }, () => daemon.admin()));
		const calls = [{ method: 'listApps' }, { method: 'authorizeRoom', params: { appId, roomId: 'r', permissions: ALL } }, { method: 'readAudit' }];
		for (let i = 0; i < 10; i++) {
			const batches = await Promise.all(admins.map((one, k) => one.batch([{ method: k % 2 ? 'lock' : 'unlock' }, ...calls])));
			for (const [change, list, grant, trail] of batches) {
				assert.deepEqual(change.result, {});
				for (const { error } of [list, grant, trail]) assert.ok(!error || error.data.reason === 'LOCKED', JSON.stringify(error));
				assert.ok(list.error || list.result.apps.length === 1, 'a keystore that is locked or half loaded has been seen');
			}
		}
	}));

	test('what unlocking found out is in the log, as at a start', async () => {
		const dir = temporaryFolder(), anchor = join(dir, 'anchor');
		await withDaemon({ config: { keystore: { anchor } } }, async (daemon, admin) => {
			await newApp(daemon, admin, { roomId: 'r' });
			await admin.call('lock');
			rmSync(anchor);
			await admin.call('unlock');
			await daemon.logged(/warning: anchor .* has been made anew: whether the keystore is the newest one cannot be told/);
			await daemon.logged(/keystore open: apps 1, room keys 1/);
			await admin.call('lock');
			renameSync(daemon.keystorePath, `${daemon.keystorePath}.away`);
			const { why } = await refused(admin.call('unlock'), 'STORAGE_ERROR');
			assert.ok((await daemon.logged(/unlock failed: (.*)/))[1].includes(why), 'and what failed');
			renameSync(`${daemon.keystorePath}.away`, daemon.keystorePath);
			await admin.call('unlock');
		});
	});

	test('an older copy put in place meanwhile ends the sessions', () => withDaemon({}, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { roomId: 'r', key: false });
		const copy = join(daemon.dir, 'copy');
		await admin.call('backupKeystore', { path: copy });
		await admin.call('authorizeRoom', { appId: app.appId, roomId: 's', permissions: ALL });
		const later = await newApp(daemon, admin, { key: false });
		await admin.call('lock');
		renameSync(copy, daemon.keystorePath);
		await admin.call('unlock');
		await Promise.all([app.client.closed, later.client.closed]);
		const again = await daemon.app(app.appId, app.token);
		assert.equal(await reasonOf(again.call('createRoomKey', { roomId: 's' })), 'ROOM_NOT_AUTHORIZED');
	}));
});

describe('seal = passphrase', { timeout: 300_000 }, () => {
	test('from a file it opens at start; without one it starts locked', async () => {
		const dir = temporaryFolder(), file = join(dir, 'passphrase');
		writeFileSync(file, `${PASSPHRASE}\n`, { mode: 0o600 });
		const config = { keystore: { seal: 'passphrase', passphrase_file: file, ...CHEAP } };
		await withDaemon({ config }, async (daemon, first) => {
			const app = await newApp(daemon, first, { roomId: 'r', key: false });
			assert.equal((await first.call('getStatus')).keystore.seal, 'passphrase');
			await daemon.restart({ config: { keystore: { passphrase_file: null } } });
			assert.match(daemon.stderr(), /stays locked/);
			const admin = await daemon.admin();
			assert.equal((await admin.call('getStatus')).state, 'locked');
			const stranger = await daemon.stranger();
			assert.equal(await reasonOf(stranger.authenticate(app.appId, app.token)), 'LOCKED');

			const missing = await admin.call('unlock').catch((error) => error);
			assert.deepEqual([missing.data.reason, missing.data.param], ['INVALID_PARAMS', 'passphrase']);
			for (const passphrase of ['hunter2', `${PASSPHRASE} `, PASSPHRASE.slice(1)]) {
				const wrong = await admin.call('unlock', { passphrase }).catch((error) => error);
				assert.equal(wrong.data.reason, 'AUTHENTICATION_FAILED');
				assert.match(wrong.data.why, /does not open keystore/);
				assert.doesNotMatch(JSON.stringify(wrong.data), new RegExp(passphrase));
			}
			assert.equal(await reasonOf(admin.call('unlock', { passphrase: '' })), 'INVALID_PARAMS');
			assert.equal((await admin.call('getStatus')).state, 'locked');
			assert.equal(daemon.stderr().match(/unlock failed: the secret of seal/g).length, 3, 'and each is in the log');
			await admin.call('unlock', { passphrase: PASSPHRASE });
			await daemon.app(app.appId, app.token);
			assert.doesNotMatch(daemon.stderr(), new RegExp(PASSPHRASE));
		});
	});
});
