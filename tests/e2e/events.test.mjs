// Events: what apps and admins are told, from any number on, after whatever has happened to the daemon meanwhile.
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { ALL, isError, newApp, random, reasonOf, refused, usable } from './lib/actors.mjs';
import { ConnectionClosed } from './lib/client.mjs';
import { cases, withDaemon } from './lib/daemon.mjs';
import { inFlight } from './lib/random.mjs';
import * as rc from './lib/rc.mjs';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

// The next @n events of a subscribed connection: their params, which rise.
async function next(client, n) {
	const events = [];
	while (events.length < n) {
		const frame = await client.nextFrame();
		assert.deepEqual(Object.keys(frame), ['jsonrpc', 'method', 'params'], JSON.stringify(frame).slice(0, 300));
		assert.equal(frame.method, 'event');
		assert.match(frame.params.time, TIME);
		if (events.length) assert.ok(frame.params.seq > events.at(-1).seq, 'numbers rise');
		events.push(frame.params);
	}
	return events;
}

// All up to number @seq, which is that of an event of the connection's.
async function upTo(client, seq) {
	const events = [];
	while (events.at(-1)?.seq !== seq) events.push(...await next(client, 1));
	return events;
}

const plain = ({ seq, time, ...event }) => event;

// A connection of its own that has asked for everything since @since.
async function since(connecting, number) {
	const client = await connecting;
	return Object.assign(client, { newest: (await client.call('subscribe', { since: number })).seq });
}

const rooms = (n, prefix, permissions = ['read']) => Array.from({ length: n }, (_, i) => ({ roomId: `${prefix}${i}`, permissions }));

describe('events', { timeout: 900_000 }, () => {
	test('each kind is told with what belongs to it, and to its app alone', () => withDaemon({}, async (daemon, admin) => {
		const watcher = await daemon.admin();
		assert.deepEqual(await watcher.call('subscribe'), { seq: 0 });
		const { token, keyId: first, publicKey } = await admin.call('createApp', { appId: 'a', rooms: [{ roomId: 'r', permissions: ALL }, { roomId: 's', permissions: ['read'] }] });
		const { token: otherToken } = await admin.call('createApp', { appId: 'b' });
		const app = await daemon.app('a', token), other = await daemon.app('b', otherToken);
		assert.deepEqual(await other.call('subscribe', { since: 0 }), { seq: 3 });
		assert.deepEqual(await app.call('subscribe', { since: 0 }), { seq: 3 });
		const wrapped = await Promise.all([1, 2, 3, 4].map(async () => {
			const key = await rc.makeRoomKey('A256GCM');
			return { kid: key.kid, e2eKey: await rc.wrapRoomKey(publicKey, key.kid, key.jwkText) };
		}));
		const [k1, k2, k3, k4] = wrapped;
		await app.call('importRoomKeys', { roomId: 'r', keys: [k1, k2].map(({ kid, e2eKey }) => ({ e2eKeyId: kid, E2EKey: e2eKey, ts: '2026-01-01T00:00:00.000Z' })) });
		await app.call('importRoomKey', { roomId: 'r', key: k3.e2eKey, makeCurrent: true });
		await app.call('importRoomKey', { roomId: 'r', key: k1.e2eKey }); // known: nothing has changed
		await app.call('importRoomKey', { roomId: 'r', key: k1.e2eKey, makeCurrent: true });
		await app.call('importRoomKey', { roomId: 's', key: k4.e2eKey });
		const { kid } = await app.call('createRoomKey', { roomId: 'r' });
		const { keyId: second } = await admin.call('rotate', { appId: 'a', graceSeconds: 3600 });
		const { keyId: third } = await admin.call('rotate', { appId: 'a', graceSeconds: 0 });
		await admin.call('revokeKey', { appId: 'a', keyId: first });
		await admin.call('authorizeRoom', { appId: 'a', roomId: 's', permissions: ['write', 'read'] });
		await admin.call('deauthorizeRoom', { appId: 'a', roomId: 's', purgeKeys: true });
		await admin.call('setEscrow', { appId: 'a', passphrase: 'a passphrase' }); // tells nothing
		const { token: newToken } = await admin.call('resetToken', { appId: 'b' });

		// when the key without grace goes is the daemon's business; all else has its order
		const want = [
			{ type: 'room.authorized', roomId: 'r', permissions: ALL },
			{ type: 'room.authorized', roomId: 's', permissions: ['read'] },
			{ type: 'roomKey.imported', roomId: 'r', kid: k1.kid },
			{ type: 'roomKey.imported', roomId: 'r', kid: k2.kid },
			{ type: 'roomKey.imported', roomId: 'r', kid: k3.kid },
			{ type: 'roomKey.rotated', roomId: 'r', kid: k3.kid },
			{ type: 'roomKey.rotated', roomId: 'r', kid: k1.kid },
			{ type: 'roomKey.imported', roomId: 's', kid: k4.kid },
			{ type: 'roomKey.rotated', roomId: 'r', kid },
			{ type: 'identity.rotated', keyId: second },
			{ type: 'identity.rotated', keyId: third },
			{ type: 'identity.keyRevoked', keyId: first },
			{ type: 'room.authorized', roomId: 's', permissions: ['read', 'write'] },
			{ type: 'room.deauthorized', roomId: 's' },
		];
		const expired = { type: 'identity.retiredKeyExpired', keyId: second };
		const got = await next(app, want.length + 1);
		assert.deepEqual(got.map(plain).filter(({ type }) => type !== expired.type), want);
		assert.deepEqual(got.map(plain).filter(({ type }) => type === expired.type), [expired]);
		assert.deepEqual(app.rawFrames(), []);

		await other.closed; // its token was replaced, and it is told no more
		assert.deepEqual(other.rawFrames(), []);
		const again = await since(daemon.app('b', newToken), 0);
		assert.deepEqual((await next(again, 1)).map(plain), [{ type: 'token.reset' }]);

		// the app's name comes first, for people who look
		const raw = await watcher.nextRaw();
		assert.ok(raw.startsWith('{"jsonrpc":"2.0","method":"event","params":{"appId":"a","seq":1,"time":'), raw);
		const all = [JSON.parse(raw).params, ...await next(watcher, got.length)];
		assert.deepEqual(all.filter(({ appId }) => appId === 'a').map(({ appId, ...event }) => event), got);
		assert.deepEqual(all.filter(({ appId }) => appId === 'b').map(plain), [{ appId: 'b', type: 'token.reset' }]);
	}));

	test('begin where they are asked for, and end', () => withDaemon({}, async (daemon, admin) => {
		const { appId, token, client } = await newApp(daemon, admin, { appId: 'a', roomId: 'r', key: false });
		for (let i = 0; i < 5; i++) await admin.call('authorizeRoom', { appId, roomId: `x${i}`, permissions: ['read'] });
		const all = await next(await since(daemon.app('a', token), 0), 6);
		for (let i = 0; i < 6; i++) {
			const part = await since(daemon.app('a', token), all[i].seq);
			assert.equal(part.newest, all[5].seq);
			assert.deepEqual(await upTo(part, i < 5 ? all[5].seq : undefined), all.slice(i + 1));
			assert.deepEqual(part.rawFrames(), []);
		}
		for (const too of [all[5].seq + 1, 2 ** 53 - 1])
			for (const who of [client, admin]) assert.equal((await refused(who.call('subscribe', { since: too }), 'SEQ_TOO_OLD')).oldest, 0);
		for (const bad of [-1, 1.5, '1', null, 2 ** 53])
			assert.equal((await refused(client.call('subscribe', { since: bad }), 'INVALID_PARAMS')).param, 'since');
		await usable(client);

		// without a number, from now on; another subscription takes its place; and none
		await client.call('unsubscribe');
		assert.deepEqual(await client.call('subscribe'), { seq: all[5].seq });
		await admin.call('authorizeRoom', { appId, roomId: 'y', permissions: ['read'] });
		assert.equal((await next(client, 1))[0].roomId, 'y');
		await client.call('subscribe', { since: all[4].seq });
		assert.deepEqual((await next(client, 2)).map(({ roomId }) => roomId), ['x4', 'y']);
		assert.deepEqual(await client.call('unsubscribe'), {});
		await admin.call('authorizeRoom', { appId, roomId: 'z', permissions: ['read'] });
		await usable(client);
		assert.deepEqual(client.rawFrames(), []);
		const [pong, subscribed] = await client.batch([{ method: 'ping' }, { method: 'subscribe', params: { since: all[5].seq } }]);
		assert.ok(pong.result && subscribed.result);
		assert.deepEqual((await next(client, 2)).map(({ roomId }) => roomId), ['y', 'z']);
		const first = client.received;
		// one that runs on a worker, since another request of the batch has to
		const [made] = await client.batch([{ method: 'createRoomKey', params: { roomId: 'r' } }, { method: 'subscribe', params: { since: 0 } }]);
		assert.equal((await upTo(client, all[5].seq + 3)).at(-1).kid, made.result.kid);
		const silent = await daemon.app('a', token); // a notification subscribes, too
		silent.notify('subscribe', { since: all[5].seq });
		assert.deepEqual((await next(silent, 3)).map(({ type }) => type), ['room.authorized', 'room.authorized', 'roomKey.rotated']);
	}));

	test('an answer stands before the events that it promises', () => withDaemon({}, async (daemon, admin) => {
		const { appId, token } = await newApp(daemon, admin, { appId: 'a', key: false });
		let going = true;
		const changing = (async () => {
			for (let i = 0; going; i++) await admin.call('authorizeRoom', { appId, roomId: `r${i}`, permissions: ['read'] });
		})();
		for (let i = 0; i < cases(50); i++) {
			const client = await (i % 2 ? daemon.app('a', token) : daemon.admin());
			// served where it was read, or on a worker, since the other request has to
			const asked = [{ method: 'subscribe', params: { since: 0 } }, ...(i % 3 ? [{ method: 'rpc.discover' }] : [])];
			client.send(`${JSON.stringify(asked.map((m, id) => ({ jsonrpc: '2.0', id: `x${id}`, ...m })))}\n`);
			const first = await client.nextFrame();
			assert.ok(Array.isArray(first) && first[0].result.seq > 0, JSON.stringify(first).slice(0, 200));
			await upTo(client, first[0].result.seq);
			await client.close();
		}
		going = false;
		await changing;
	}));

	test('are told once they last: what was told is there after a kill', () => withDaemon({}, async (daemon, admin) => {
		const { appId, token } = await newApp(daemon, admin, { appId: 'a', key: false });
		let told = [];
		for (let round = 0; round < cases(30); round++) {
			const client = await since(daemon.app('a', token), 0);
			const before = await upTo(client, client.newest);
			assert.deepEqual(before.slice(0, told.length), told);
			const by = await daemon.admin();
			for (let i = 0; i < 20; i++) void by.call('authorizeRoom', { appId, roomId: `r${round}-${i}`, permissions: ['read'] }).catch(() => {});
			const after = await next(client, 1 + round % 5);
			daemon.signal('SIGKILL');
			await client.closed;
			told = [...before, ...after, ...client.rawFrames().map((text) => JSON.parse(text).params)];
			await daemon.kill();
			await daemon.start();
			const { rooms: there } = await (await daemon.admin()).call('getApp', { appId });
			const ids = new Set(there.map(({ roomId }) => roomId));
			for (const { roomId } of told) assert.ok(ids.has(roomId), roomId);
		}
	}));

	test('go on over restart, compaction, a new data key, a purge, and locking', () => withDaemon({}, async (daemon, admin) => {
		const { appId, token } = await newApp(daemon, admin, { appId: 'a', roomId: 'r' });
		await newApp(daemon, admin, { appId: 'b' });
		await admin.call('rotate', { appId, graceSeconds: 1000 });
		const read = async () => {
			const client = await since(daemon.app('a', token), 0), watcher = await since(daemon.admin(), 0);
			const own = await next(client, 4);
			const all = await upTo(watcher, own.at(-1).seq);
			assert.deepEqual(all.filter((event) => event.appId === 'a').map(({ appId: _, ...event }) => event), own);
			return { client, watcher, own, all };
		};
		const before = await read();
		for (const method of ['compactKeystore', 'rekeyKeystore', 'compactKeystore']) {
			await admin.call(method);
			const now = await read();
			assert.deepEqual([now.own, now.all], [before.own, before.all], method);
			for (const c of [now.client, now.watcher]) await c.close();
		}
		await admin.call('lock');
		for (const c of [before.client, admin]) assert.equal(await reasonOf(c.call('subscribe')), 'LOCKED');
		await admin.call('unlock');
		await admin.call('deauthorizeRoom', { appId, roomId: 'r', purgeKeys: true });
		const [gone] = await next(before.client, 1);
		assert.deepEqual(plain(gone), { type: 'room.deauthorized', roomId: 'r' });
		assert.deepEqual((await next(before.watcher, 1)).map(plain), [{ appId: 'a', type: 'room.deauthorized', roomId: 'r' }]);
		await daemon.restart();
		const late = await since(daemon.app('a', token), 0);
		assert.deepEqual(await next(late, 5), [...before.own, gone]);

		// a subscriber that was catching up when the keystore was locked goes on, too
		const by = await daemon.admin();
		await by.call('createApp', { appId: 'c', rooms: rooms(6000, 'c') });
		const slow = await daemon.admin();
		await slow.call('subscribe', { since: 0 });
		await by.call('lock');
		await by.call('unlock');
		const { keystore: { seq } } = await by.call('getStatus');
		assert.equal((await upTo(slow, seq)).filter((event) => event.appId === 'c').length, 6000);
	}));

	test('the newest 10,000 of each app are kept, and all of one that has few', () => withDaemon({}, async (daemon, admin) => {
		const { token: few } = await admin.call('createApp', { appId: 'few', rooms: rooms(3, 'f') });
		const { token } = await admin.call('createApp', { appId: 'many', rooms: rooms(11_000, 'm') });
		await admin.call('authorizeRoom', { appId: 'few', roomId: 'last', permissions: ['read'] });
		const newest = 3 + 11_000 + 1, oldest = 3 + 1000;
		const client = await since(daemon.app('many', token), 0);
		assert.equal(client.newest, newest);
		const all = await upTo(client, newest - 1);
		assert.equal(all.length, 11_000);
		for (const change of ['compactKeystore', 'restart', 'compactKeystore']) {
			if (change === 'restart') await daemon.restart();
			else await (await daemon.admin()).call(change);
			const app = await daemon.app('many', token), by = await daemon.admin();
			for (const who of [app, by]) assert.deepEqual(await refused(who.call('subscribe', { since: oldest - 1 }), 'SEQ_TOO_OLD'), { reason: 'SEQ_TOO_OLD', oldest });
			await app.call('subscribe', { since: oldest });
			assert.deepEqual(await upTo(app, newest - 1), all.slice(1000));
			await by.call('subscribe', { since: oldest });
			assert.equal((await upTo(by, newest)).length, 10_001);
			assert.deepEqual((await next(await since(daemon.app('few', few), 0), 4)).map(({ roomId }) => roomId), ['f0', 'f1', 'f2', 'last']);
		}
		const by = await daemon.admin();
		await by.call('revokeApp', { appId: 'many' }); // whose events go with it
		const rest = await since(daemon.admin(), 0);
		assert.deepEqual((await next(rest, 4)).map(({ appId }) => appId), ['few', 'few', 'few', 'few']);
	}));

	test('a subscriber that is ahead of a restored keystore is told and closed', () => withDaemon({}, async (daemon, admin) => {
		await admin.call('createApp', { appId: 'a', rooms: rooms(3, 'r') });
		const copy = `${daemon.keystorePath}.copy`;
		copyFileSync(daemon.keystorePath, copy);
		await admin.call('authorizeRoom', { appId: 'a', roomId: 'later', permissions: ['read'] });
		const watcher = await since(daemon.admin(), 0), behind = await daemon.admin();
		await upTo(watcher, 4);
		await admin.call('lock');
		copyFileSync(copy, daemon.keystorePath);
		await admin.call('unlock');
		isError(await watcher.nextFrame(), 'SEQ_TOO_OLD', null);
		await watcher.closed;
		assert.equal((await upTo(await Object.assign(behind, { _: await behind.call('subscribe', { since: 0 }) }), 3)).length, 3);
	}));

	test('numbers of another history are not gone on from, though the keystore has them', () => withDaemon({}, async (daemon, admin) => {
		const grant = (roomId) => admin.call('authorizeRoom', { appId: 'a', roomId, permissions: ['read'] });
		const put = async (file) => {
			await admin.call('lock');
			copyFileSync(file, daemon.keystorePath);
			await admin.call('unlock');
		};
		const [start, one] = ['start', 'one'].map((name) => `${daemon.keystorePath}.${name}`);
		await admin.call('createApp', { appId: 'a', rooms: rooms(3, 'r') });
		copyFileSync(daemon.keystorePath, start);
		for (const roomId of ['x4', 'x5', 'x6']) await grant(roomId);
		copyFileSync(daemon.keystorePath, one);
		await put(start);
		await grant('y4');
		const watcher = await since(daemon.admin(), 0);
		assert.equal((await upTo(watcher, 4)).at(-1).roomId, 'y4');
		await put(one); // where 4 is x4
		isError(await watcher.nextFrame(), 'SEQ_TOO_OLD', null);
		await watcher.closed;
		assert.deepEqual((await upTo(await since(daemon.admin(), 3), 6)).map(({ roomId }) => roomId), ['x4', 'x5', 'x6']);
	}));

	test('who does not read is told why and closed, and holds up nobody', () => withDaemon({ config: { log: { level: 'debug' } } }, async (daemon, admin) => {
		const slow = await since(daemon.admin(), 0), silent = await since(daemon.admin(), 0), quick = await since(daemon.admin(), 0);
		for (const c of [slow, silent]) {
			await admin.call('createApp', { appId: `ready-${c === slow}`, rooms: rooms(1, 'r') });
			await next(slow, 1);
			await next(silent, 1);
		}
		for (const c of [slow, silent]) c.socket.pause();
		let made = 0, last = 2;
		const create = async () => {
			await admin.call('createApp', { appId: `app-${made++}`, rooms: rooms(2000, `${made}-${'long '.repeat(20)}`) });
			last += 2000;
		};
		const closed = daemon.logged(/subscriber uid:\d+ is closed behind event \d+: it does not read what is sent[^]*subscriber uid/);
		let enough = false;
		void closed.then(() => (enough = true));
		while (!enough) await create(); // each is answered, however slowly others read
		assert.equal((await upTo(quick, last)).length, last);
		slow.socket.resume();
		const seen = [];
		let frame;
		while ((frame = await slow.nextFrame()).method) seen.push(frame.params.seq);
		assert.match(isError(frame, 'OVERLOADED', null).why, /subscribe/);
		await slow.closed;
		assert.ok(seen.length > 100 && seen.every((seq, i) => seq === i + 3), 'nothing is missing up to there');
		const resumed = await since(daemon.admin(), seen.at(-1));
		assert.equal((await next(resumed, 1))[0].seq, seen.at(-1) + 1);
		await daemon.logged(/did not read to the end/);
		silent.socket.resume();
		await silent.closed;
		assert.equal((await upTo(resumed, last)).at(-1).seq, last);
	}));

	// What a subscriber has missed is read by a worker, and its turn comes, however many wait for one.
	test('who catches up is not cut off because another app fills the queue of the workers', () => withDaemon({ config: { workers: { threads: 1 }, limits: { max_in_flight: 65536 } } }, async (daemon, admin) => {
		const { token } = await admin.call('createApp', { appId: 'a', rooms: rooms(6000, 'r') });
		const flood = await newApp(daemon, admin, { key: false });
		const client = await daemon.app('a', token);
		flood.client.send(`{"jsonrpc":"2.0","id":"s","method":"getKeyPublication","params":{"userId":"u"}}\n`.repeat(9000));
		while ((await flood.client.nextFrame()).result);
		await client.call('subscribe', { since: 0 });
		await usable(client); // by now the first piece has been asked for
		await admin.call('revokeApp', { appId: flood.appId }); // and the queue is done with at once
		assert.equal((await next(client, 6000)).at(-1).roomId, 'r5999');
	}));

	test('long answers that it has not read yet do not make a subscriber a slow one', () => withDaemon({}, async (daemon, admin) => {
		await admin.call('createApp', { appId: 'a', rooms: rooms(2000, 'r') });
		const watcher = await daemon.admin();
		await watcher.call('subscribe');
		watcher.socket.pause();
		const answers = Array.from({ length: 30 }, () => watcher.call('listRooms', { appId: 'a' })); // some 5 MB
		do await usable(admin);
		while ((await admin.call('getStatus')).workers.queued);
		await admin.call('authorizeRoom', { appId: 'a', roomId: 'new', permissions: ['read'] });
		await usable(admin); // the loop has been round
		watcher.socket.resume();
		for (const { rooms: listed } of await Promise.all(answers)) assert.ok(listed.length >= 2000);
		assert.equal((await next(watcher, 1))[0].roomId, 'new');
		await usable(watcher);
	}));

	test('over TCP, and with two loops', () => withDaemon({ config: { listen: { tcp: '127.0.0.1:0' }, workers: { loops: 2 } } }, async (daemon, admin) => {
		const { token } = await admin.call('createApp', { appId: 'a' });
		const clients = [];
		for (let i = 0; i < 6; i++) {
			const client = await daemon.connect(i % 2 ? daemon.appSocket : { host: '127.0.0.1', port: daemon.tcpPort });
			await client.authenticate('a', token);
			await client.call('subscribe', { since: 0 });
			clients.push(client);
		}
		const n = cases(500);
		await inFlight(n, 50, (i) => admin.call('authorizeRoom', { appId: 'a', roomId: `r${i}`, permissions: ['read'] }));
		const first = await next(clients[0], n);
		assert.equal(new Set(first.map(({ roomId }) => roomId)).size, n);
		for (const client of clients.slice(1)) assert.deepEqual(await next(client, n), first);
		// a drain ends subscriptions behind what is queued
		await admin.call('authorizeRoom', { appId: 'a', roomId: 'end', permissions: ['read'] });
		daemon.signal('SIGTERM');
		for (const client of clients) {
			assert.equal((await next(client, 1))[0].roomId, 'end');
			await assert.rejects(client.nextRaw(), ConnectionClosed);
		}
		assert.equal((await daemon.exited()).code, 0);
	}));

	test('10,000 changes, 50 subscribers that are cut off at random: each has had every event, in order', () => withDaemon({}, async (daemon, admin) => {
		const rng = random(), n = cases(10_000), APPS = 5, start = performance.now();
		console.log(`# seed ${rng.seed}`);
		const tokens = [];
		for (let i = 0; i < APPS; i++) tokens.push((await admin.call('createApp', { appId: `app-${i}` })).token);
		let cuts = 0, received = 0, end;
		const ended = new Promise((resolve) => (end = resolve));
		const connectAs = (i) => (i % 10 ? daemon.app(`app-${i % APPS}`, tokens[i % APPS]) : daemon.admin());
		// events by number, as this subscriber has had them
		const subscriber = async (i) => {
			const seen = new Map();
			let last = 0, goal = Infinity;
			void ended.then((newest) => (goal = i % 10 ? newest[i % APPS] : Math.max(...newest)));
			while (last < goal) {
				const client = await since(connectAs(i), Math.max(0, last - rng.below(5)));
				let left = rng.between(1, 400), before = 0;
				try {
					while (left-- > 0 && last < goal) {
						const frame = await client.nextFrame();
						if (frame.error) { // it was too slow: nothing is lost by that
							assert.equal(frame.error.data.reason, 'OVERLOADED');
							break;
						}
						const { seq, roomId, appId } = frame.params;
						assert.ok(seq > before, 'in order');
						if (i % 10 === 0) assert.match(appId, /^app-\d$/);
						before = seq;
						last = Math.max(last, seq);
						seen.set(seq, roomId);
						received++;
					}
				} finally {
					cuts++;
					await client.close();
				}
			}
			return seen;
		};
		const subscribers = Array.from({ length: 50 }, (_, i) => subscriber(i));
		const newest = Array(APPS).fill(0);
		await inFlight(n, 100, async (i) => {
			await admin.call('authorizeRoom', { appId: `app-${i % APPS}`, roomId: `room-${i}`, permissions: ['read'] });
		});
		const changed = performance.now();
		const all = await upTo(await since(daemon.admin(), 0), (await admin.call('getStatus')).keystore.seq);
		for (const { appId, seq } of all) newest[appId.slice(-1)] = seq;
		assert.equal(new Set(all.map(({ roomId }) => roomId)).size, n);
		end(newest);
		// an app may have had its last one before it knew: one more for each ends every wait
		for (let i = 0; i < APPS; i++) await admin.call('authorizeRoom', { appId: `app-${i}`, roomId: 'the end', permissions: ['read'] });
		for (const [i, seen] of (await Promise.all(subscribers)).entries()) {
			const want = all.filter(({ appId }) => i % 10 === 0 || appId === `app-${i % APPS}`);
			for (const { seq, roomId } of want) assert.equal(seen.get(seq), roomId, `subscriber ${i}, event ${seq}`);
			assert.ok([...seen.values()].filter((roomId) => roomId !== 'the end').length === want.length);
		}
		const seconds = (changed - start) / 1000;
		console.log(`# figures: events: ${n} changes in ${seconds.toFixed(1)} s, 50 subscribers, ${cuts} connections, ${received} events received`);
	}));
});
