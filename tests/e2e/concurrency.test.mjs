// Several loops, several workers, many connections, everything at once: all answers are right.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ALL, encryptFor, giveKey, newApp, random, usable } from './lib/actors.mjs';
import { RpcError } from './lib/client.mjs';
import { cases, startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const CONNECTIONS = 32;

async function withDaemon(config, work) {
	const daemon = await startDaemon({ config });
	try {
		await work(daemon, await daemon.admin());
	} finally {
		await daemon.stop();
	}
}

// What an answer is, or the reason of the error it is; anything else is a defect.
const outcome = (promise) => promise.then((result) => ({ result }), (error) => {
	if (error instanceof RpcError) return { reason: error.reason };
	throw error;
});

const SHAPES = [[4, 4], [1, 4], [3, 1]].slice(0, cases(100) > 1 ? 3 : 1); // valgrind runs one thread at a time, whatever there are
for (const [loops, threads] of SHAPES) {
	describe(`concurrency, ${loops} loops and ${threads} workers`, { timeout: 1_800_000 }, () => {
		test(`${CONNECTIONS} connections read, write, import and are administered`, (t) => withDaemon({ workers: { loops, threads } }, async (daemon, admin) => {
			const rng = random();
			t.diagnostic(`seed ${rng.seed}`);
			const status = await admin.call('getStatus');
			assert.deepEqual([status.workers.loops, status.workers.threads], [loops, threads]);
			const apps = await Promise.all(Array.from({ length: 4 }, (_, i) => newApp(daemon, admin, { appId: `app-${i}`, roomId: `room-${i}` })));
			const granted = Object.fromEntries(apps.map((app) => [app.appId, new Set([app.roomId])]));
			const imported = Object.fromEntries(apps.map((app) => [app.appId, new Set([app.key.kid])]));

			const actions = [
				async ({ app, client }, i) => { // what a client wrote is read
					const sealed = await encryptFor(app, { msg: `${app.appId} ${i}` });
					const { payload, keyState, kid } = await client.call('decrypt', sealed);
					assert.deepEqual([payload.msg, kid], [`${app.appId} ${i}`, app.key.kid]);
					assert.ok(['current', 'old'].includes(keyState));
				},
				async ({ app, client }, i) => { // what is written can be read by the daemon, and by a client where it knows the key
					const payload = { msg: `${i} ${'x'.repeat(rng.below(5000))}`, n: i };
					const { content } = await client.call('encrypt', { roomId: app.roomId, payload });
					if (content.kid === app.key.kid) assert.equal(await rc.decryptContent(app.key.jwkText, content), JSON.stringify(payload));
					assert.deepEqual((await client.call('decrypt', { roomId: app.roomId, content })).payload, payload);
				},
				async ({ app, client }) => { // a large frame, which a worker serves
					const { content } = await client.call('encrypt', { roomId: app.roomId, payload: { msg: 'ü'.repeat(150_000) } });
					assert.equal((await client.call('decrypt', { roomId: app.roomId, content })).payload.msg.length, 150_000);
				},
				async ({ app, client }) => {
					const key = await giveKey(client, app.publicKey, app.roomId, { makeCurrent: rng.chance(0.2) });
					imported[app.appId].add(key.kid);
					const { content } = { content: await rc.encryptV2(key.jwkText, key.kid, { msg: 'by the new one' }) };
					assert.equal((await client.call('decrypt', { roomId: app.roomId, content })).payload.msg, 'by the new one');
				},
				async ({ app, client }) => {
					const { keys } = await client.call('listRoomKeys', { roomId: app.roomId });
					assert.equal(keys.filter((k) => k.state === 'current').length, 1);
					assert.equal(new Set(keys.map((k) => k.kid)).size, keys.length);
					assert.equal(keys[0].state, 'current');
				},
				async ({ app, client }) => { // one app never gets at another's room
					const other = rng.pick(apps.filter((a) => a !== app));
					assert.deepEqual(await outcome(client.call('decrypt', await encryptFor(other, { msg: 'x' }))), { reason: 'ROOM_NOT_AUTHORIZED' });
				},
				async ({ app, client }) => assert.equal((await client.call('getIdentity')).publicKey, app.publicKey),
				async ({ client }) => usable(client),
			];
			const adminActions = [
				async (client, app) => {
					const roomId = `extra-${rc.uuid()}`;
					await client.call('authorizeRoom', { appId: app.appId, roomId, permissions: ALL });
					if (rng.chance(0.5)) granted[app.appId].add(roomId);
					else await client.call('deauthorizeRoom', { appId: app.appId, roomId, purgeKeys: true });
				},
				async (client, app) => assert.equal((await client.call('getApp', { appId: app.appId })).identities[0].keyId, app.keyId),
				async (client) => assert.equal((await client.call('listApps')).apps.length, apps.length),
				async (client) => assert.equal((await client.call('getStatus')).state, 'ready'),
			];

			const rounds = Math.max(5, cases(60));
			await Promise.all([
				...Array.from({ length: CONNECTIONS }, async (_, i) => {
					const app = apps[i % apps.length];
					const client = await daemon.app(app.appId, app.token);
					for (let round = 0; round < rounds; round++) {
						if (round % 5) await rng.pick(actions)({ app, client }, round);
						else await Promise.all(Array.from({ length: 8 }, () => rng.pick(actions)({ app, client }, round)));
					}
					assert.deepEqual(client.rawFrames(), []);
				}),
				...Array.from({ length: 4 }, async () => {
					const client = await daemon.admin();
					for (let round = 0; round < rounds; round++) await rng.pick(adminActions)(client, rng.pick(apps));
				}),
			]);

			const picture = async () => {
				for (const app of apps) {
					const { rooms } = await (await daemon.admin()).call('listRooms', { appId: app.appId });
					assert.deepEqual(rooms.map((r) => r.roomId).sort(), [...granted[app.appId]].sort());
					const client = await daemon.app(app.appId, app.token);
					const { keys } = await client.call('listRoomKeys', { roomId: app.roomId });
					assert.deepEqual(keys.map((k) => k.kid).sort(), [...imported[app.appId]].sort());
				}
			};
			await picture();
			await daemon.restart();
			await picture();
		}));
	});
}

describe('concurrency', { timeout: 1_800_000 }, () => {
	test('a grant that goes while it is used is there or not there, nothing between', (t) => withDaemon({ workers: { loops: 2, threads: 4 } }, async (daemon, admin) => {
		const rng = random();
		t.diagnostic(`seed ${rng.seed}`);
		const app = await newApp(daemon, admin);
		const sealed = await encryptFor(app, { msg: 'x' });
		let over = false;
		const seen = { yes: 0, no: 0 };
		const readers = Array.from({ length: 8 }, async () => {
			const client = await daemon.app(app.appId, app.token);
			while (!over) {
				const { result, reason } = await outcome(client.call('decrypt', sealed));
				if (result) assert.equal(result.payload.msg, 'x');
				else assert.equal(reason, 'ROOM_NOT_AUTHORIZED');
				seen[result ? 'yes' : 'no']++;
			}
		});
		for (let i = 0; i < cases(200); i++) {
			await admin.call('deauthorizeRoom', { appId: app.appId, roomId: app.roomId });
			await admin.call('authorizeRoom', { appId: app.appId, roomId: app.roomId, permissions: ALL });
		}
		over = true;
		await Promise.all(readers);
		assert.ok(seen.yes > 0);
		assert.equal((await app.client.call('decrypt', sealed)).payload.msg, 'x');
	}));

	test('tokens are reset while sessions come and go', () => withDaemon({ workers: { loops: 4, threads: 4 } }, async (daemon, admin) => {
		const app = await newApp(daemon, admin);
		let { token } = app;
		for (let i = 0; i < cases(50); i++) {
			const sessions = await Promise.all(Array.from({ length: 8 }, () => daemon.app(app.appId, token)));
			const busy = sessions.map((c) => outcome(c.call('getEncryptedRoomKey', { roomId: app.roomId })).catch((e) => ({ reason: e.name })));
			({ token } = await admin.call('resetToken', { appId: app.appId }));
			await Promise.all(sessions.map((c) => c.closed));
			for (const { result, reason } of await Promise.all(busy))
				assert.ok(result?.kid === app.key.kid || ['UNAUTHENTICATED', 'ConnectionClosed'].includes(reason), reason);
		}
		await daemon.app(app.appId, token);
	}));

	test('createRoomKey from everywhere leaves one current key and every other one old', () => withDaemon({ workers: { loops: 4, threads: 4 } }, async (daemon, admin) => {
		const app = await newApp(daemon, admin, { key: false });
		const clients = await Promise.all(Array.from({ length: 16 }, () => daemon.app(app.appId, app.token)));
		const made = await Promise.all(clients.flatMap((c) => Array.from({ length: 8 }, () => c.call('createRoomKey', { roomId: app.roomId }))));
		const { keys } = await clients[0].call('listRoomKeys', { roomId: app.roomId });
		assert.deepEqual(keys.map((k) => k.kid).sort(), made.map((m) => m.kid).sort());
		assert.deepEqual(keys.map((k) => k.state), ['current', ...Array(made.length - 1).fill('old')]);
	}));

	test('many connections open at once are all served', () => withDaemon({ workers: { loops: 4, threads: 2 }, limits: { max_connections: 1024 } }, async (daemon, admin) => {
		const clients = await Promise.all(Array.from({ length: 500 }, () => daemon.stranger()));
		for (let i = 0; i < 3; i++) await Promise.all(clients.map(usable));
		await Promise.all(clients.map((c) => c.close()));
		while ((await admin.call('getStatus')).connections > 1);
	}));
});
