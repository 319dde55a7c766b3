// A conversation that is disturbed: the daemon restarted and killed, the keystore locked and put back to what it was, the token reset, the
// app revoked, each while thousands of calls are under way and events flow. Every call settles, as it should; every event comes once.
import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connect, E2eedError } from '../../shim/dist/index.mjs';
import { ALL, encryptFor, newApp } from '../e2e/lib/actors.mjs';
import { startDaemon } from '../e2e/lib/daemon.mjs';
import * as rc from '../e2e/lib/rc.mjs';

const SAID = { msg: 'hello ☃' };
const BETWEEN = 3_000; // answers from one restart to the next
const ROOMS = 20; // that get a key while it restarts

const once = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));

// Keeps @n calls of @make under way until @body has ended; then waits for the rest. Gives how each ended: { call, value } or { call, error }.
async function underWay(n, make, body) {
	const ends = [], running = new Set(), waiting = new Set();
	let stopping = false;
	const begin = () => {
		const call = make();
		const end = call.promise.then((value) => ({ call, value }), (error) => ({ call, error })).then((outcome) => {
			running.delete(end);
			ends.push(outcome);
			for (const look of waiting) look();
			if (!stopping) begin();
		});
		running.add(end);
	};
	for (let i = 0; i < n; i++) begin();
	const answered = (more) => new Promise((resolve) => {
		const goal = ends.length + more;
		const look = () => ends.length >= goal && (waiting.delete(look), resolve());
		waiting.add(look);
	});
	await body(answered);
	stopping = true;
	while (running.size > 0) await Promise.all(running);
	return ends;
}

const reasons = (ends) => {
	const counts = {};
	for (const { error } of ends) {
		assert.ok(!error || error instanceof E2eedError, error?.stack);
		const reason = error?.reason ?? 'answered';
		counts[reason] = (counts[reason] ?? 0) + 1;
	}
	return counts;
};

// All that @client is told, by its listeners and in a loop.
function record(client) {
	const heard = [], looped = [], waiting = new Set();
	const look = () => waiting.forEach((each) => each());
	client.on('event', (event) => (heard.push(event), look()));
	const ended = (async () => {
		for await (const event of client.events()) looped.push(event), look();
	})().catch((error) => error);
	return {
		heard, looped, ended,
		until: (there) => new Promise((resolve) => {
			const each = () => there(heard) && there(looped) && (waiting.delete(each), resolve());
			waiting.add(each);
			each();
		}),
	};
}

const rising = (events) => events.every(({ seq }, i) => i === 0 || events[i - 1].seq < seq);

describe('the client in a disturbed conversation', { timeout: 300_000 }, () => {
	let daemon, admin, app, content;

	before(async () => {
		const server = createServer();
		await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
		const { port } = server.address();
		await new Promise((resolve) => server.close(resolve));
		daemon = await startDaemon({ config: { listen: { tcp: `127.0.0.1:${port}` } } });
	});
	after(() => daemon.stop());

	const newScene = async () => {
		admin = await daemon.admin();
		app = await newApp(daemon, admin);
		({ content } = await encryptFor(app, SAID));
	};
	const options = (more) => ({ appId: app.appId, token: app.token, transport: 'tcp', port: daemon.tcpPort, timeoutMs: 240_000, reconnect: { minMs: 1, maxMs: 20 }, ...more });
	const grant = async (roomId = `room-${rc.uuid()}`) => {
		await admin.call('authorizeRoom', { appId: app.appId, roomId, permissions: ALL });
		return roomId;
	};
	const restart = async (signal) => {
		if (signal === 'SIGKILL') {
			await daemon.kill();
			await daemon.start();
		} else await daemon.restart();
		admin = await daemon.admin();
	};
	// Reading and writing in the app's room, as a conversation has it.
	const conversation = (client) => {
		let n = 0;
		const { roomId } = app;
		const kinds = [
			() => client.decrypt({ roomId, content }),
			() => client.decryptMessage({ message: { rid: roomId, t: 'e2e', content } }),
			() => client.encrypt({ roomId, payload: SAID }),
			() => client.decrypt({ roomId, content }),
			() => client.getEncryptedRoomKey({ roomId }),
		];
		return () => {
			const kind = n++ % 20 < kinds.length ? (n - 1) % 20 : 0;
			return { kind, promise: kinds[kind]() };
		};
	};
	const answersAreRight = (ends) => {
		for (const { call: { kind }, value } of ends.filter((end) => 'value' in end)) {
			if (kind === 0 || kind === 3) assert.deepEqual(value.payload, SAID);
			else if (kind === 1) assert.equal(value.message.msg, SAID.msg);
			else if (kind === 2) assert.equal(value.content.algorithm, 'rc.v2.aes-sha2');
			else if (kind === 4) assert.equal(value.state, 'current');
		}
	};

	for (const [transport, calls, restarts] of [['tcp', 10_000, 10], ['unix', 1000, 4]])
		test(`${calls} calls under way across ${restarts} restarts, by ${transport}`, async () => {
			await newScene();
			const client = await connect(options(transport === 'tcp' ? {} : { transport, socketPath: daemon.appSocket }));
			const events = record(client);
			await client.ping(); // behind both subscriptions
			const granted = [], rooms = [];
			rooms.push(...await Promise.all(Array.from({ length: ROOMS * restarts }, () => grant())));
			const unmade = [...rooms], talk = conversation(client);
			let disconnects = 0;
			client.on('disconnect', () => disconnects++);
			const creating = [];
			const ends = await underWay(calls, talk, async (answered) => {
				for (let i = 0; i < restarts; i++) {
					// one room each: a key that is made twice shows
					for (const roomId of unmade.splice(0, ROOMS)) creating.push(client.createRoomKey({ roomId }).then(({ kid }) => ({ roomId, kid }), (error) => ({ roomId, error })));
					granted.push(...await Promise.all(Array.from({ length: 20 }, () => grant())));
					await answered(BETWEEN);
					granted.push(...await Promise.all(Array.from({ length: 20 }, () => grant()))); // of these, events are on their way when it ends
					await restart(i % 2 ? 'SIGKILL' : 'SIGTERM');
				}
				await answered(1);
			});
			assert.deepEqual(Object.keys(reasons(ends)), ['answered']);
			assert.ok(ends.length >= calls + restarts * BETWEEN);
			answersAreRight(ends);
			assert.ok(disconnects >= restarts);

			const made = await Promise.all(creating);
			for (const { roomId, kid, error } of made) {
				const { keys } = await client.listRoomKeys({ roomId });
				if (error) assert.equal(error.reason, 'CONNECTION_LOST', error.stack);
				assert.ok(keys.length <= 1, 'a key was made twice');
				if (kid) assert.deepEqual(keys.map((key) => key.kid), [kid]);
			}
			const kids = made.filter(({ kid }) => kid).map(({ kid }) => kid);
			assert.ok(kids.length > 0);

			const last = await grant();
			await events.until((those) => those.at(-1)?.roomId === last);
			for (const those of [events.heard, events.looped]) {
				assert.ok(rising(those), 'each once, in order');
				assert.deepEqual(those.filter(({ type }) => type === 'room.authorized').map(({ roomId }) => roomId).sort(), [...rooms, ...granted, last].sort());
				const told = those.filter(({ type }) => type === 'roomKey.rotated').map(({ kid }) => kid);
				assert.equal(new Set(told).size, told.length);
				for (const kid of kids) assert.ok(told.includes(kid), 'the key that was made is told');
			}
			assert.deepEqual(events.heard, events.looped);
			await client.close();
			assert.equal((await events.ended).reason, 'CLOSED');
		});

	test('the keystore is locked and unlocked: LOCKED meanwhile, and nothing else', async () => {
		await newScene();
		const client = await connect(options());
		const events = record(client);
		await client.ping();
		let disconnects = 0;
		client.on('disconnect', () => disconnects++);
		const granted = [];
		const ends = await underWay(2000, conversation(client), async (answered) => {
			for (let i = 0; i < 4; i++) {
				granted.push(await grant());
				await answered(1000);
				await admin.call('lock');
				await answered(1000);
				await admin.call('unlock');
			}
			granted.push(await grant());
		});
		const counts = reasons(ends);
		assert.ok(counts.LOCKED > 0 && counts.answered > 0);
		assert.deepEqual(Object.keys(counts).sort(), ['LOCKED', 'answered']);
		answersAreRight(ends);
		await events.until((those) => those.length >= granted.length);
		for (const those of [events.heard, events.looped]) assert.deepEqual(those.map(({ roomId }) => roomId), granted);
		assert.equal(disconnects, 0);
		await client.close();
	});

	test('a subscription that is made while the keystore is locked comes about when it is open again', async () => {
		await newScene();
		const client = await connect(options());
		await admin.call('lock');
		const came = once(client, 'event');
		await assert.rejects(client.getStatus(), { reason: 'LOCKED' }); // behind the subscription, which was refused as well
		await admin.call('unlock');
		let roomId; // nothing tells when the client has tried again: it is given events until it sees one
		for (let seen = false; !seen;) {
			roomId = await grant();
			seen = await Promise.race([came.then(() => true), client.ping().then(() => false)]);
		}
		assert.equal((await came).type, 'room.authorized');
		await client.close();
	});

	test('the token is reset: with its text the client ends, and says so', async () => {
		await newScene();
		const client = await connect(options());
		const events = record(client);
		await client.ping();
		const closed = once(client, 'close');
		const [roomA, roomB] = [await grant(), await grant()];
		const talk = conversation(client);
		const making = [];
		const calls = Array.from({ length: 5000 }, talk);
		const outcomes = Promise.allSettled(calls.map(({ promise }) => promise));
		for (const roomId of [roomA, roomB]) making.push(client.createRoomKey({ roomId }).catch((error) => error));
		await admin.call('resetToken', { appId: app.appId });
		const settled = (await outcomes).map(({ value, reason: error }, i) => ({ call: calls[i], ...(error ? { error } : { value }) }));
		assert.deepEqual(Object.keys(reasons(settled)).filter((reason) => !['answered', 'AUTHENTICATION_FAILED'].includes(reason)), []);
		answersAreRight(settled);
		for (const outcome of await Promise.all(making)) assert.ok(!outcome.reason || ['CONNECTION_LOST', 'AUTHENTICATION_FAILED'].includes(outcome.reason), outcome.stack);
		assert.equal((await closed).reason, 'AUTHENTICATION_FAILED');
		assert.equal((await events.ended).reason, 'AUTHENTICATION_FAILED');
		assert.equal(client.state, 'closed');
		await assert.rejects(client.ping(), { reason: 'AUTHENTICATION_FAILED' });
	});

	test('the token is reset: with a function the client goes on, and is told', async () => {
		await newScene();
		let asked = 0, reset;
		const resetting = new Promise((resolve) => (reset = resolve));
		const client = await connect(options({ token: async () => (asked++ ? resetting : app.token) }));
		const events = record(client);
		await client.ping();
		const ends = await underWay(2000, conversation(client), async (answered) => {
			await answered(2000);
			const disconnected = once(client, 'disconnect');
			const { token } = await admin.call('resetToken', { appId: app.appId });
			await disconnected;
			reset(token); // whoever keeps it learns of it later than the client
			await answered(4000);
		});
		assert.deepEqual(Object.keys(reasons(ends)), ['answered']);
		answersAreRight(ends);
		assert.equal(asked, 2);
		await events.until((those) => those.length > 0);
		assert.deepEqual(events.heard.map(({ type }) => type), ['token.reset']);
		await client.close();
	});

	test('the app is revoked: every call settles, and the client ends', async () => {
		await newScene();
		const client = await connect(options());
		const events = record(client);
		await client.ping();
		const closed = once(client, 'close');
		const talk = conversation(client);
		const calls = Array.from({ length: 5000 }, talk);
		const outcomes = Promise.allSettled(calls.map(({ promise }) => promise));
		await admin.call('revokeApp', { appId: app.appId });
		const settled = (await outcomes).map(({ value, reason: error }, i) => ({ call: calls[i], ...(error ? { error } : { value }) }));
		const allowed = ['answered', 'AUTHENTICATION_FAILED', 'UNAUTHENTICATED', 'ROOM_NOT_AUTHORIZED'];
		assert.deepEqual(Object.keys(reasons(settled)).filter((reason) => !allowed.includes(reason)), []);
		answersAreRight(settled);
		assert.equal((await closed).reason, 'AUTHENTICATION_FAILED');
		assert.equal((await events.ended).reason, 'AUTHENTICATION_FAILED');
		await assert.rejects(connect(options()), { reason: 'AUTHENTICATION_FAILED' });
	});

	test('the keystore is put back to an older one: a gap is told, and what is new comes', async () => {
		await newScene();
		const client = await connect(options());
		const events = record(client);
		await client.ping();
		const path = join(daemon.dir, 'copy');
		await admin.call('backupKeystore', { path });
		const granted = [];
		for (let i = 0; i < 20; i++) granted.push(await grant());
		await events.until((those) => those.length === granted.length);
		const gap = once(client, 'gap');
		const talk = conversation(client);
		const ends = await underWay(1000, talk, async (answered) => {
			await answered(1000);
			await daemon.terminate();
			copyFileSync(path, daemon.keystorePath);
			await daemon.start();
			admin = await daemon.admin();
			await answered(1000);
		});
		assert.deepEqual(Object.keys(reasons(ends)), ['answered']);
		assert.equal((await gap).reason, 'SEQ_TOO_OLD');
		assert.equal((await events.ended).reason, 'SEQ_TOO_OLD'); // a loop ends, and is begun anew by who has learnt the state anew
		await client.ping();
		const came = once(client, 'event');
		const roomId = await grant();
		assert.equal((await came).roomId, roomId);
		assert.equal(events.heard.length, granted.length + 1);
		await client.close();
	});

	test('the memory of a client stays what it is', async () => {
		await newScene();
		setFlagsFromString('--expose-gc');
		const collect = runInNewContext('gc');
		const client = await connect(options());
		const events = record(client);
		await client.ping();
		const heap = [];
		for (let wave = 0; wave < 6; wave++) {
			await underWay(1000, conversation(client), async (answered) => {
				await answered(2000);
				await restart(wave % 2 ? 'SIGKILL' : 'SIGTERM');
				const signal = AbortSignal.abort();
				for (let i = 0; i < 1000; i++) client.ping({}, { signal }).catch(() => undefined);
				const controller = new AbortController();
				for (let i = 0; i < 1000; i++) client.ping({}, { signal: controller.signal }).catch(() => undefined);
				controller.abort();
				await answered(1000);
			});
			events.heard.length = events.looped.length = 0;
			await client.ping();
			collect();
			heap.push(process.memoryUsage().heapUsed);
		}
		const grown = heap.at(-1) - heap[2]; // the first waves compile, and fill caches
		assert.ok(grown < 1 << 20, `grown by ${grown} bytes: ${heap}`);
		await client.close();
	});
});
