// Participant over time: passes by itself, dead tokens, rate limits, servers and daemons that do not answer, and how it ends.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { openDaemon, openStage, test } from './lib/stage.mjs';

const NEVER = 3_600_000;

// The timers that the Apps-Engine layer has set and that have neither come nor been cleared.
const timers = new Set();
const { setTimeout: set } = globalThis;
globalThis.setTimeout = (...args) => {
	const timer = set(...args);
	if (new Error().stack.split('\n')[2].includes('/dist/apps-engine/')) timers.add(timer);
	return timer;
};
const timersLeft = () => [...timers].filter(({ _destroyed }) => !_destroyed).length;
let house;
before(async () => {
	house = await openDaemon();
});
after(() => house.close());

test('started, it passes by itself, and what is new is seen', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant({ intervalMs: 5 });
	const roomId = await stage.encryptedRoom(ada);
	participant.start();
	participant.start(); // once is enough
	const ready = stage.becomes(participant, ({ rooms }) => rooms[roomId]?.phase === 'ready');
	stage.rc.on('keyRequest', () => void ada.serveWaiting(roomId)); // ada's client is open
	await ada.invite(roomId, stage.bot._id);
	await ready;
});

test('stopped, it asks nothing any more, and leaves no timer', async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant({ intervalMs: 1 });
	participant.start();
	await stage.becomes(participant, ({ phase }) => phase === 'running');
	await participant.stop();
	assert.equal(participant.state.phase, 'idle');
	stage.asked();
	assert.equal(timersLeft(), 0);
	participant.start();
	assert.equal(timersLeft(), 1);
	await participant.stop();
	assert.equal(timersLeft(), 0);
	assert.deepEqual(stage.asked(), {});
});

test('stop() waits for the pass under way', async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant();
	const order = [];
	stage.server.before('api/v1/me', () => {
		void participant.stop().then(() => order.push('stopped'));
	});
	await participant.sync().then(() => order.push('passed'));
	await participant.stop();
	assert.deepEqual(order, ['passed', 'stopped']);
});

test('what is known already is not asked for again, until a pass fails', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const asked = [];
	const http = (url, init) => {
		if (/(rooms|subscriptions)\.get\b/.test(url)) asked.push(new URL(url).searchParams.get('updatedSince'));
		return fetch(url, init);
	};
	const participant = await stage.participant({ http });
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	const newest = [stage.room(roomId), stage.kept(roomId)].map(({ _updatedAt }) => _updatedAt.getTime());
	await participant.sync();
	assert.deepEqual(asked.splice(0), [null, null]);
	await participant.sync();
	assert.deepEqual(asked.splice(0).map((since) => Date.parse(since)), newest.map((at) => at - 60_000)); // clocks of a cluster differ
	stage.server.failNext('e2e.fetchMyKeys', 'hang up');
	await participant.sync();
	asked.splice(0);
	await participant.sync();
	assert.deepEqual(asked, [null, null]);
});

test('calls while a pass is under way share one that begins behind it', async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant();
	await Promise.all([participant.sync(), participant.sync(), participant.sync()]);
	assert.equal(stage.asked()['rooms.get'], 2);
});

for (const [when, path] of [['at the start', 'api/v1/me'], ['in the midst', 'e2e.fetchMyKeys'], ['while a room is looked at', 'subscriptions.getOne']])
	test(`its token dies ${when}: it says so, and asks nothing ever again`, async (t) => {
		const stage = await openStage(t, house);
		const ada = await stage.person('ada');
		const roomId = await stage.encryptedRoom(ada);
		await ada.invite(roomId, stage.bot._id);
		const participant = await stage.participant({ intervalMs: 1 });
		stage.server.before(path, () => stage.rc.resetAccountKeys(stage.bot)); // all tokens go with the keys
		participant.start();
		const state = await stage.becomes(participant, ({ phase }) => phase === 'stopped');
		assert.equal(state.reason, 'REST_UNAUTHORIZED');
		assert.match(state.message, /token/);
		assert.match(state.message, /reset/);
		assert.ok(!JSON.stringify(state).includes(stage.botToken));
		stage.asked();
		participant.start();
		await participant.sync();
		assert.deepEqual(stage.asked(), {});
		assert.equal(timersLeft(), 0);
	});

test('a new token and a new Participant take up where the account was reset', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.sharedRoom(participant, ada);
	stage.rc.resetAccountKeys(stage.bot);
	assert.equal((await participant.sync()).phase, 'stopped');
	const again = await stage.participant({ client, authToken: stage.rc.createToken(stage.bot) });
	assert.deepEqual((await again.sync()).rooms[roomId], { phase: 'ready', keyId: stage.room(roomId).e2eKeyId }); // the daemon has the key still
	assert.ok(stage.kept(roomId).E2EKey);
});

test('a rate limit ends the pass; until it is over nothing is asked', async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant({ intervalMs: 1 });
	await participant.sync();
	stage.server.failNext('rooms.get', { status: 429, headers: { 'X-RateLimit-Reset': String(Date.now() + NEVER) }, data: { success: false, error: 'too many' } });
	assert.deepEqual([(await participant.sync()).phase, participant.state.reason], ['troubled', 'RATE_LIMITED']);
	stage.asked();
	await participant.sync();
	participant.start();
	const client = await stage.client();
	const told = new Promise((resolve) => client.on('event', resolve));
	await client.subscribe({});
	await stage.grant('some-room'); // an event is no reason either
	await told;
	await participant.stop();
	assert.deepEqual(stage.asked(), {});
});

test('after the limit it goes on', async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant({ intervalMs: 1 });
	stage.server.failNext('rooms.get', { status: 429, headers: { 'X-RateLimit-Reset': String(Date.now() - 1000) }, data: { success: false } });
	participant.start();
	await stage.becomes(participant, ({ phase }) => phase === 'troubled');
	await stage.becomes(participant, ({ phase }) => phase === 'running');
});

test('a user whose calls are limited gets through, pass by pass', async (t) => {
	const stage = await openStage(t, house, { roles: ['user'] });
	const participant = await stage.participant();
	let state;
	for (let i = 0; i < 12; i++) state = await participant.sync();
	assert.deepEqual([state.phase, state.reason], ['troubled', 'RATE_LIMITED']);
	assert.equal(stage.asked()['rooms.get'], 11); // the eleventh is refused, and then it waits
});

for (const [what, how, reason] of [
	['hangs up', 'hang up', 'REST_FAILED'], ['fails', { status: 503, data: {} }, 'REST_FAILED'],
	['answers nonsense', { status: 200, type: 'text/html', bytes: '<html>' }, 'REST_FAILED'], ['answers with something else', { status: 200, data: { success: true, update: 'all', remove: 7 } }, 'REST_FAILED'],
])
	test(`the server ${what}: the pass ends, the next one goes on`, async (t) => {
		const stage = await openStage(t, house);
		const ada = await stage.person('ada');
		const participant = await stage.participant();
		const roomId = await stage.sharedRoom(participant, ada);
		for (const path of ['rooms.get', 'subscriptions.get', 'e2e.fetchMyKeys']) {
			stage.server.failNext(path, how);
			const { phase, reason: told, rooms } = await participant.sync();
			if (path === 'e2e.fetchMyKeys' && what === 'answers with something else') continue; // nothing of it is wrong there
			assert.deepEqual([phase, told], ['troubled', reason], path);
			assert.equal(rooms[roomId].phase, 'ready', 'what is known stays known');
			assert.equal((await participant.sync()).phase, 'running');
		}
	});

test('a server that does not answer: the pass ends all the same', async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant({ timeoutMs: 20 });
	stage.server.failNext('rooms.get', new Promise(() => {}));
	assert.deepEqual([(await participant.sync()).phase, participant.state.reason], ['troubled', 'REST_FAILED']);
	assert.equal((await participant.sync()).phase, 'running');
});

test('the keystore is locked: nothing is refused or rejected meanwhile', async (t) => {
	const own = await openDaemon();
	t.after(() => own.close());
	const stage = await openStage(t, own);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	await participant.sync();
	await ada.serveWaiting(roomId);
	stage.server.before('subscriptions.getOne', () => own.admin.call('lock'));
	assert.deepEqual([(await participant.sync()).phase, participant.state.reason], ['troubled', 'LOCKED']);
	assert.ok(stage.kept(roomId).E2ESuggestedKey);
	await own.admin.call('unlock');
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
});

test('the client is closed, or its app is revoked: it stops', async (t) => {
	const stage = await openStage(t, house);
	const client = await stage.client();
	const participant = await stage.participant({ client });
	await participant.sync();
	await client.close();
	assert.deepEqual([(await participant.sync()).phase, participant.state.reason], ['stopped', 'CLOSED']);

	const second = await stage.participant();
	await second.sync();
	await stage.admin.call('revokeApp', { appId: stage.appId });
	assert.deepEqual([(await second.sync()).phase, second.state.reason], ['stopped', 'AUTHENTICATION_FAILED']);
});

test('what a listener throws is not taken for a failure of the pass', async (t) => {
	const stage = await openStage(t, house);
	const others = process.listeners('unhandledRejection');
	process.removeAllListeners('unhandledRejection');
	t.after(() => others.forEach((listener) => process.on('unhandledRejection', listener)));
	const thrown = new Promise((resolve) => process.once('unhandledRejection', resolve));
	const participant = await stage.participant({
		onChange: ({ phase }) => {
			if (phase === 'running') throw new Error('of the listener');
		},
	});
	assert.equal((await participant.sync()).phase, 'running');
	assert.equal((await thrown).message, 'of the listener'); // where an error in any callback goes
});

test('an event while a pass ends is not forgotten', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const room = stage.rc.createRoom('p', 'new', ada.user, [stage.bot], { encrypted: true });
	let granted;
	const participant = await stage.participant({
		intervalMs: NEVER,
		onChange: () => {
			granted ??= stage.grant(room._id);
		},
	});
	const offered = stage.rc.next('keysOffered');
	await stage.start(participant);
	await offered;
	assert.ok(room.e2eKeyId);
});
