// Participant hands keys to members who wait for them, as people's clients do: whom, with what, how many at once, and whom not.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { crypto, openDaemon, openStage, test } from './lib/stage.mjs';

let house;
before(async () => {
	house = await openDaemon();
});
after(() => house.close());

const offers = (stage, roomId) => stage.rc.subscriptionsOf(roomId).filter(({ E2ESuggestedKey }) => E2ESuggestedKey).map(({ u }) => u.username).sort();

// A room that ada and the bot share, and @names, whose clients are not open.
async function open(t, names, { permissions, options, stage: stageOptions } = {}) {
	const stage = await openStage(t, house, stageOptions);
	const ada = await stage.person('ada');
	const participant = await stage.participant(options);
	const roomId = await stage.sharedRoom(participant, ada);
	if (permissions) await stage.grant(roomId, permissions);
	const members = await Promise.all(names.map((name) => stage.person(name)));
	for (const { user } of members) stage.rc.addUserToRoom(stage.room(roomId), user);
	return { stage, ada, participant, roomId, members };
}

test('several members who wait are given the key, and read what was said before they came', async (t) => {
	const { stage, ada, participant, roomId } = await open(t, []);
	const first = await ada.send(roomId, stage.say('under the first key'));
	await ada.resetRoomKey(roomId);
	await ada.serveWaiting(roomId);
	await participant.sync();
	const second = await ada.send(roomId, stage.say('under the second key'));
	const members = await Promise.all(['bob', 'cid', 'dot'].map((name) => stage.person(name)));
	for (const { user } of members) stage.rc.addUserToRoom(stage.room(roomId), user);
	stage.asked();
	await participant.sync();
	assert.equal(stage.asked()['e2e.provideUsersSuggestedGroupKeys'], 1, 'all at once');
	for (const member of members) {
		assert.ok(await member.acceptOffered(roomId));
		assert.equal((await member.read(second)).text, 'under the second key');
		assert.equal((await member.read(first)).text, 'under the first key');
	}
	await participant.sync();
	assert.equal(stage.asked()['e2e.provideUsersSuggestedGroupKeys'], undefined);
});

test('history goes only where the server knows of it', async (t) => {
	const { stage, participant, roomId, members: [bob] } = await open(t, ['bob'], { stage: { version: '6.13.0' } });
	await participant.sync();
	assert.equal(stage.rc.subscription(roomId, bob.userId).suggestedOldRoomKeys, undefined);
	assert.ok(await bob.acceptOffered(roomId));
});

test('a member whose key cannot be wrapped for is passed over, and tried again with another key', async (t) => {
	const { stage, participant, roomId, members: [bob, cid] } = await open(t, ['bob', 'cid']);
	const good = bob.user.e2e.public_key;
	bob.user.e2e.public_key = (await crypto.makeIdentity({ modulusLength: 4096 })).publicText;
	await participant.sync();
	assert.deepEqual(offers(stage, roomId), ['cid']);
	await cid.acceptOffered(roomId);
	bob.user.e2e.public_key = good;
	await participant.sync();
	assert.deepEqual(offers(stage, roomId), ['bob']);
});

for (const [why, how] of Object.entries({ 'without the permission to': { permissions: ['read', 'write'] }, 'when told not to': { options: { serveMembers: false } } }))
	test(`${why} members are left to people`, async (t) => {
		const { stage, participant, roomId } = await open(t, ['bob'], how);
		assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
		assert.deepEqual(offers(stage, roomId), []);
		if (!how.permissions) return;
		const started = await stage.participant({ intervalMs: 3_600_000 });
		await started.sync();
		await stage.start(started);
		const offered = stage.rc.next('keysOffered');
		await stage.grant(roomId); // told by the event
		await offered;
		assert.deepEqual(offers(stage, roomId), ['bob']);
	});

test('who came through no queue is served too', async (t) => {
	const { stage, participant, roomId } = await open(t, ['bob']);
	stage.room(roomId).usersWaitingForE2EKeys = [];
	await participant.sync();
	assert.deepEqual(offers(stage, roomId), ['bob']);
});

test('in many rooms: those with a queue first, ten at once, the others in turn', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const rooms = await Promise.all(Array.from({ length: 25 }, async (_, i) => {
		const room = stage.rc.createRoom('p', `room ${i}`, ada.user, [stage.bot], { encrypted: true });
		await stage.grant(room._id);
		return room;
	}));
	const served = () => rooms.filter(({ _id }) => offers(stage, _id).length > 0).length;
	await participant.sync(); // makes the keys; ada waits everywhere, in no queue
	for (const expected of [10, 20, 25]) {
		if (served() < expected) await participant.sync();
		assert.equal(served(), expected);
	}
	const bob = await stage.person('bob');
	stage.rc.addUserToRoom(rooms[24], bob.user);
	await participant.sync();
	assert.deepEqual(offers(stage, rooms[24]._id), ['ada', 'bob']);
});

test('nobody is given the former key when the room is reset meanwhile', async (t) => {
	const { stage, ada, participant, roomId, members: [bob] } = await open(t, ['bob']);
	stage.server.after('e2e.fetchUsersWaitingForGroupKey', () => ada.resetRoomKey(roomId));
	await participant.sync();
	assert.equal(stage.rc.subscription(roomId, bob.userId).E2ESuggestedKey, undefined);
});

test('a room in which the server refuses keys does not keep the others from being served', async (t) => {
	const stage = await openStage(t, house);
	const [ada, bob] = [await stage.person('ada'), await stage.person('bob')];
	const participant = await stage.participant();
	const rooms = [await stage.sharedRoom(participant, ada), await stage.sharedRoom(participant, ada)];
	for (const roomId of rooms) stage.rc.addUserToRoom(stage.room(roomId), bob.user);
	stage.server.failNext('e2e.provideUsersSuggestedGroupKeys', { status: 400, data: { success: false, errorType: 'invalid-params' } });
	assert.equal((await participant.sync()).phase, 'running');
	assert.deepEqual(rooms.map((roomId) => offers(stage, roomId).length).sort(), [0, 1]);
	stage.asked();
	await participant.sync();
	assert.equal(stage.asked()['e2e.provideUsersSuggestedGroupKeys'], undefined, 'not at every pass');
});
