// The audit trail: who did what, with which result, never content; without it no admin changes anything.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ALL, newApp, reasonOf, refused } from './lib/actors.mjs';
import { startDaemon, temporaryFolder } from './lib/daemon.mjs';

async function withTrail(body, config = {}) {
	const path = join(temporaryFolder(), 'audit.log');
	const daemon = await startDaemon({ config: { ...config, log: { audit: path } } });
	try {
		await body({ daemon, path, admin: await daemon.admin() });
	} finally {
		await daemon.stop();
	}
}

describe('the audit trail', { timeout: 300_000 }, () => {
	test('has an entry for each call of an admin, refused ones included, and for failed authentication', () => withTrail(async ({ daemon, path, admin }) => {
		const { token } = await admin.call('createApp', { appId: 'bot', name: 'a secret name' });
		await admin.call('authorizeRoom', { appId: 'bot', roomId: 'GENERAL', permissions: ALL });
		assert.equal(await reasonOf(admin.call('resetToken', { appId: 'nobody' })), 'NOT_FOUND');
		await admin.call('getApp', { appId: 'bot' });
		await admin.call('exportIdentity', { appId: 'bot', userId: 'u', passphrase: 'hunter2' });
		const stranger = await daemon.stranger();
		assert.equal(await reasonOf(stranger.authenticate('bot', token.replace(/.{4}$/, 'AAAA'))), 'AUTHENTICATION_FAILED');
		await admin.call('revokeApp', { appId: 'bot' });
		await admin.call('getStatus');
		const { entries, next } = await admin.call('readAudit');
		const me = { uid: process.getuid(), pid: process.pid };
		assert.deepEqual(entries.map(({ actor, action, target, result }) => [actor, action, target, result]), [
			[{}, 'unlock', undefined, 'ok'],
			[me, 'createApp', 'bot', 'ok'],
			[me, 'authorizeRoom', 'bot GENERAL', 'ok'],
			[me, 'resetToken', 'nobody', 'NOT_FOUND'],
			[me, 'getApp', 'bot', 'ok'],
			[me, 'exportIdentity', 'bot', 'ok'],
			[me, 'authenticate', 'bot', 'AUTHENTICATION_FAILED'],
			[me, 'revokeApp', 'bot', 'ok'],
		]);
		assert.deepEqual(entries.map(({ n }) => n), [1, 2, 3, 4, 5, 6, 7, 8]);
		assert.equal(next, 8);
		for (const { time, mac } of entries) {
			assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
			assert.match(mac, /^[0-9a-f]{64}$/);
		}
		assert.deepEqual((await admin.call('readAudit', { since: 5, limit: 2 })).entries, entries.slice(5, 7));
		assert.deepEqual((await admin.call('readAudit', { since: 8 })), { entries: [], next: 8 });
		for (const limit of [0, 1001, -1, 1.5, '1']) assert.equal(await reasonOf(admin.call('readAudit', { limit })), 'INVALID_PARAMS', limit);
		const text = readFileSync(path, 'utf8');
		assert.doesNotMatch(text, /hunter2|a secret name|e2eed1_/);
		assert.equal(text.trimEnd().split('\n').map((line) => JSON.parse(line)).length, 8);
	}));

	test('sums up what apps did with their keys, and goes on over a restart', () => withTrail(async ({ daemon, admin }) => {
		const app = await newApp(daemon, admin, { roomId: 'r', key: false });
		await app.client.call('createRoomKey', { roomId: 'r' });
		const { content } = await app.client.call('encrypt', { roomId: 'r', payload: { msg: 'x' } });
		for (let i = 0; i < 5; i++) await app.client.call('decrypt', { roomId: 'r', content });
		await daemon.restart();
		const { entries } = await (await daemon.admin()).call('readAudit');
		const use = entries.find(({ action }) => action === 'keyUse');
		assert.deepEqual([use.actor, use.target], [{ appId: app.appId }, 'decrypt=5 encrypt=1 unwrap=0 wrap=1']);
		assert.deepEqual(entries.slice(-2).map(({ action }) => action), ['lock', 'unlock']);
	}));

	test('that was changed is not believed: the daemon serves apps, and admins change nothing', () => withTrail(async ({ daemon, path, admin }) => {
		const app = await newApp(daemon, admin, { roomId: 'r', key: false });
		await daemon.terminate();
		writeFileSync(path, readFileSync(path, 'utf8').replace('createApp', 'deleteApp'));
		await daemon.start();
		assert.match(daemon.stderr(), /audit/);
		const again = await daemon.admin();
		const status = await again.call('getStatus');
		assert.equal(status.state, 'degraded');
		assert.ok(status.problems.some((problem) => problem.includes(path)), status.problems.join('\n'));
		const { why } = await refused(again.call('createApp', { appId: 'b' }), 'STORAGE_ERROR');
		assert.ok(why.includes(path), why);
		assert.ok((await daemon.logged(/createApp failed: (.*)/))[1].includes(path), 'the log says that it was the trail');
		assert.equal(await reasonOf(again.call('readAudit')), 'STORAGE_ERROR');
		await again.call('listApps');
		await (await daemon.app(app.appId, app.token)).call('createRoomKey', { roomId: 'r' });
	}));

	test('is not filled by failures over TCP, from whatever address they come', async () => {
		const path = join(temporaryFolder(), 'audit.log');
		const daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' }, log: { audit: path } } });
		try {
			const admin = await daemon.admin();
			for (let i = 0; i < 30; i++) {
				const client = await daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort, localAddress: `127.0.0.${i + 2}` });
				assert.equal(await reasonOf(client.authenticate('nobody', `e2eed1_${'A'.repeat(43)}`)), 'AUTHENTICATION_FAILED');
			}
			const failures = async () => (await admin.call('readAudit')).entries.filter(({ action }) => action === 'authenticate');
			assert.equal((await failures()).length, 11);
			const stranger = await daemon.stranger();
			assert.equal(await reasonOf(stranger.authenticate('other', `e2eed1_${'A'.repeat(43)}`)), 'AUTHENTICATION_FAILED');
			assert.deepEqual((await failures()).slice(11).map(({ target }) => target), ['(19 more)', 'other']);
		} finally {
			await daemon.stop();
		}
	});

	test('that cannot be written stops changes by admins before they happen', async () => {
		const dir = temporaryFolder(), path = join(dir, 'audit.log');
		const daemon = await startDaemon({ config: { log: { audit: path } }, wrap: ['prlimit', '--fsize=40000'] });
		try {
			const admin = await daemon.admin();
			const seen = [];
			for (let i = 0; i < 400 && seen.at(-1) !== 'STORAGE_ERROR'; i++)
				seen.push(await admin.call('authorizeRoom', { appId: 'nobody', roomId: `r${i}`, permissions: ALL }).catch((error) => error.data.reason));
			assert.equal(seen.at(-1), 'STORAGE_ERROR', 'the trail was never full');
			assert.ok(seen.slice(0, -1).every((r) => r === 'NOT_FOUND'));
			assert.match((await refused(admin.call('createApp', { appId: 'a' }), 'STORAGE_ERROR')).why, /audit.log has reached the limit on the size of files/);
			assert.match((await daemon.logged(/createApp failed: (.*)/))[1], /audit.log has reached the limit on the size of files/);
			assert.deepEqual((await admin.call('listApps')).apps, []);
			assert.equal((await admin.call('getStatus')).state, 'degraded');
		} finally {
			await daemon.stop();
		}
	});
});
