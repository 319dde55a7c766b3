// What was answered is on disk: the daemon is killed at any moment after the answer, and the next one still has it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ALL, giveKey, newApp, random } from './lib/actors.mjs';
import { ConnectionClosed } from './lib/client.mjs';
import { cases, startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

// What the daemon must know, kept up to date with every answer; compared after each restart.
class Ledger {
	apps = new Map(); // appId -> { token, publicKey, keyIds: [current, ...retired], rooms: Map(roomId -> [kid]) }

	constructor(rng, pairs) {
		Object.assign(this, { rng, pairs });
	}

	pickApp() {
		return this.rng.pick([...this.apps.values()]);
	}

	// Each does one mutation on @daemon and, once it is answered, notes what it did.
	mutations = {
		createApp: async ({ admin }) => {
			const appId = `app-${rc.uuid()}`, roomId = `room-${rc.uuid()}`;
			const { token, publicKey, keyId } = await admin.call('createApp', { appId, rooms: [{ roomId, permissions: ALL }] });
			this.apps.set(appId, { appId, token, publicKey, keyIds: [keyId], rooms: new Map([[roomId, []]]), lost: new Set() });
		},
		authorizeRoom: async ({ admin }) => {
			const app = this.pickApp(), roomId = `room-${rc.uuid()}`;
			await admin.call('authorizeRoom', { appId: app.appId, roomId, permissions: ALL });
			app.rooms.set(roomId, []);
		},
		deauthorizeRoom: async ({ admin }) => {
			const app = this.pickApp(), roomId = `room-${rc.uuid()}`;
			await admin.call('authorizeRoom', { appId: app.appId, roomId, permissions: ALL });
			await admin.call('deauthorizeRoom', { appId: app.appId, roomId, purgeKeys: this.rng.chance(0.5) });
			app.lost.add(roomId);
		},
		resetToken: async ({ admin }) => {
			const app = this.pickApp();
			({ token: app.token } = await admin.call('resetToken', { appId: app.appId }));
		},
		importIdentity: async ({ admin }) => {
			const app = this.pickApp(), pair = this.pairs.shift();
			if (!pair) return;
			const private_key = await rc.sealPrivateKey(pair.privateText, { passphrase: 'p', userId: 'u' });
			const { keyId } = await admin.call('importIdentity', { appId: app.appId, userId: 'u', public_key: pair.publicText, private_key, passphrase: 'p' });
			app.keyIds.unshift(keyId);
			app.publicKey = pair.publicText;
		},
		createRoomKey: async ({ daemon }) => {
			const app = this.pickApp(), [roomId, kids] = this.rng.pick([...app.rooms]);
			const client = await daemon.app(app.appId, app.token);
			kids.push((await client.call('createRoomKey', { roomId })).kid);
		},
		importRoomKey: async ({ daemon }) => {
			const app = this.pickApp(), [roomId, kids] = this.rng.pick([...app.rooms]);
			const client = await daemon.app(app.appId, app.token);
			kids.push((await giveKey(client, app.publicKey, roomId, { makeCurrent: this.rng.chance(0.5) })).kid);
		},
		importRoomKeys: async ({ daemon }) => {
			const app = this.pickApp(), [roomId, kids] = this.rng.pick([...app.rooms]);
			const client = await daemon.app(app.appId, app.token);
			const keys = await Promise.all(Array.from({ length: 1 + this.rng.below(8) }, async () => {
				const { kid, jwkText } = await rc.makeRoomKey();
				return { e2eKeyId: kid, E2EKey: await rc.wrapRoomKey(app.publicKey, kid, jwkText), ts: '2026-01-02T03:04:05.678Z' };
			}));
			kids.push(...(await client.call('importRoomKeys', { roomId, keys })).imported);
		},
	};

	async check(daemon, admin) {
		const listed = new Map((await admin.call('listApps')).apps.map((a) => [a.appId, a]));
		for (const app of this.apps.values()) {
			assert.equal(listed.get(app.appId)?.keyId, app.keyIds[0], app.appId);
			const { identities } = await admin.call('getApp', { appId: app.appId });
			assert.deepEqual(identities.map((i) => i.keyId), app.keyIds);
			const rooms = new Set((await admin.call('listRooms', { appId: app.appId })).rooms.map((r) => r.roomId));
			for (const roomId of app.lost) assert.ok(!rooms.has(roomId));
			const client = await daemon.app(app.appId, app.token);
			for (const [roomId, kids] of app.rooms) {
				assert.ok(rooms.has(roomId));
				const held = new Set((await client.call('listRoomKeys', { roomId })).keys.map((k) => k.kid));
				for (const kid of kids) assert.ok(held.has(kid), `${app.appId} ${roomId} lost ${kid}`);
			}
			await client.close();
		}
	}
}

describe('durability', { timeout: 3_600_000 }, () => {
	test('kill -9 right after a mutation\'s answer', async (t) => {
		const rng = random();
		t.diagnostic(`seed ${rng.seed}`);
		const daemon = await startDaemon();
		try {
			const ledger = new Ledger(rng, await Promise.all(Array.from({ length: 5 }, () => rc.makeIdentity())));
			const names = Object.keys(ledger.mutations);
			const rounds = Math.max(names.length, cases(56));
			for (let i = 0; i < rounds; i++) {
				const name = names[i % names.length];
				const admin = await daemon.admin();
				for (let extra = i === 0 ? 0 : rng.below(3); extra > 0; extra--)
					await ledger.mutations[rng.pick(names.slice(1))]({ daemon, admin });
				await ledger.mutations[name]({ daemon, admin });
				const { signal } = await daemon.kill();
				assert.equal(signal, 'SIGKILL');
				await daemon.start();
				await ledger.check(daemon, await daemon.admin()).catch((error) => {
					error.message = `seed ${rng.seed}, round ${i}, ${name}: ${error.message}`;
					throw error;
				});
			}
		} finally {
			await daemon.stop();
		}
	});

	test('kill -9 in the midst of mutations from 8 connections: what was answered is there, and the store opens', async (t) => {
		const rng = random();
		t.diagnostic(`seed ${rng.seed}`);
		const daemon = await startDaemon({ config: { workers: { loops: 2, threads: 4 } } });
		try {
			let admin = await daemon.admin();
			const app = await newApp(daemon, admin, { appId: 'app', roomId: 'room', key: false });
			const kids = new Set(), rooms = new Set(['room']);
			const rounds = cases(20);
			for (let round = 0; round < rounds; round++) {
				let answered = 0, stop = 1 + rng.below(60), killed;
				const note = (set, value) => {
					set.add(value);
					if (++answered === stop) killed = daemon.kill();
				};
				const until = async (work) => {
					try {
						for (;;) await work();
					} catch (error) {
						if (!(error instanceof ConnectionClosed)) throw error;
					}
				};
				// connected before the first mutation, so that the kill finds all of them at work
				const clients = [];
				for (let i = 0; i < 8; i++) clients.push(i % 2 ? await daemon.app('app', app.token) : await daemon.admin());
				await Promise.all(clients.map((client, i) => until(async () => {
					if (i % 2) {
						note(kids, (await client.call('createRoomKey', { roomId: 'room' })).kid);
					} else {
						const roomId = `room-${rc.uuid()}`;
						await client.call('authorizeRoom', { appId: 'app', roomId, permissions: ['read'] });
						note(rooms, roomId);
					}
				})));
				await killed;
				await daemon.start();
				admin = await daemon.admin();
				const held = new Set((await (await daemon.app('app', app.token)).call('listRoomKeys', { roomId: 'room' })).keys.map((k) => k.kid));
				for (const kid of kids) assert.ok(held.has(kid), `seed ${rng.seed}, round ${round}: ${kid} is lost`);
				const listed = new Set((await admin.call('listRooms', { appId: 'app' })).rooms.map((r) => r.roomId));
				for (const roomId of rooms) assert.ok(listed.has(roomId), `seed ${rng.seed}, round ${round}: ${roomId} is lost`);
				assert.equal((await admin.call('getStatus')).state, 'ready');
			}
		} finally {
			await daemon.stop();
		}
	});

	test('a clean stop and start keep everything, the JWK texts byte for byte', async () => {
		const daemon = await startDaemon();
		try {
			let admin = await daemon.admin();
			const app = await newApp(daemon, admin, { appId: 'app', roomId: 'room', key: false });
			const pair = await rc.makeIdentity();
			const private_key = await rc.sealPrivateKey(pair.privateText, { passphrase: 'p', userId: 'u' });
			await admin.call('importIdentity', { appId: 'app', userId: 'u', public_key: pair.publicText, private_key, passphrase: 'p' });
			const keys = [];
			for (const [alg, order] of [['A256GCM', 'web'], ['A256GCM', 'mobile'], ['A128CBC', 'web'], ['A128CBC', 'mobile']]) {
				const key = await rc.makeRoomKey(alg, { order });
				const ts = keys.length % 2 ? { $date: 1767323045678 + keys.length } : `2026-01-0${1 + keys.length}T00:00:00.000Z`;
				await app.client.call('importRoomKey', { roomId: 'room', key: await rc.wrapRoomKey(pair.publicText, key.kid, key.jwkText), ts, makeCurrent: alg === 'A128CBC' });
				keys.push({ ...key, ts });
			}
			const picture = async (client) => [await client.call('getIdentity'), await client.call('listRoomKeys', { roomId: 'room' }),
				(await admin.call('getApp', { appId: 'app' })).rooms, (await admin.call('listApps')).apps];
			const before = await picture(app.client);
			await daemon.restart();
			admin = await daemon.admin();
			const client = await daemon.app('app', app.token);
			assert.deepEqual(await picture(client), before);
			for (const { kid, jwkText, ts } of keys) {
				const wrapped = await client.call('getEncryptedRoomKey', { roomId: 'room', kid });
				assert.deepEqual(wrapped.ts, ts);
				assert.equal((await rc.unwrapE2EKey(pair.privateText, wrapped.key)).jwkText, jwkText);
			}
		} finally {
			await daemon.stop();
		}
	});
});
