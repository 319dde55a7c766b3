// Participants of one app on several servers, and people's clients, all at once in one room, in many orders: whatever the order, they end with one key.
// E2EED_SEED repeats the case that a failure names; E2EED_CASES scales how many there are.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { cases } from '../e2e/lib/daemon.mjs';
import { Random, SEED } from '../e2e/lib/random.mjs';
import { Interleaved } from './lib/interleaved.mjs';
import { crypto, openDaemon, openStage, test } from './lib/stage.mjs';

const METHODS = ['getIdentity', 'getKeyPublication', 'listRoomKeys', 'importRoomKey', 'importRoomKeys', 'createRoomKey', 'wrapRoomKey', 'getEncryptedRoomKey'];
let house;
before(async () => {
	house = await openDaemon();
});
after(() => house.close());

const mayFail = (...errorTypes) => (error) => {
	if (!errorTypes.includes(error.errorType)) throw error;
};

// What people's clients do by themselves, each time they look. @careful: they do not take a key of before a reset, as those of Rocket.Chat may.
async function clientLooks(person, roomId, room, careful) {
	if (!room.e2eKeyId && !careful) await person.makeRoomKey(roomId).catch(mayFail('error-room-e2e-key-already-exists'));
	const { subscription } = await person.api('GET', 'subscriptions.getOne', { roomId });
	const former = careful && subscription.E2ESuggestedKey && subscription.E2ESuggestedKey.slice(0, -344) !== room.e2eKeyId;
	if (former) await person.api('POST', 'e2e.rejectSuggestedGroupKey', { rid: roomId }).catch(mayFail('error-no-suggested-key-available'));
	else await person.acceptOffered(roomId).catch(mayFail('error-no-suggested-key-available'));
	const { current } = await person.roomKeys(roomId);
	if (current?.kid === room.e2eKeyId) await person.serveWaiting(roomId);
}

// One case. @happenings: one of them happens in each round, beside the passes.
async function play(t, stage, seed, people, happenings) {
	const rnd = new Random(seed);
	const { rc, bot } = stage;
	const room = rc.createRoom('p', `room ${seed}`, people[0].user, [bot, ...people.slice(1).map(({ user }) => user)], { encrypted: true });
	const roomId = room._id;
	await stage.grant(roomId);
	const race = new Interleaved(rnd);
	const resets = happenings === RESETS;
	const fetched = race.stepped((url) => new URL(url).pathname.replace('/api/v1/', ''), (url, init) => stage.fetch(url, init));
	globalThis.fetch = fetched;
	const servers = await Promise.all(['one', 'two', 'three'].slice(0, rnd.between(2, 3)).map(async (name, i) => ({
		name, participant: await stage.participant({ client: race.client(stage.clients[i], METHODS), http: fetched }),
	})));

	try {
		// who has seen the account before a rotation knows its key pair as the app's own; who has not needs a room key to tell
		if (happenings === ROTATIONS || rnd.chance(0.5)) for (const { participant } of servers) await participant.sync();
		for (let round = 0; round < 2; round++) {
			for (const { name, participant } of servers) race.act(`server ${name}`, () => participant.sync());
			const happens = rnd.pick(happenings);
			for (const person of people)
				race.act(person.username, async () => {
					if (rnd.chance(0.7)) await clientLooks(person, roomId, room, resets);
					if (person === people[0]) await happens?.(stage, roomId, person, rnd);
				});
			await race.run();
		}
		// then it becomes quiet
		for (let round = 0; round < 4; round++) {
			for (const { participant } of servers) await participant.sync();
			for (const person of people) await clientLooks(person, roomId, room, resets);
		}
		for (const { name, participant } of servers) assert.deepEqual(participant.state.rooms[roomId], { phase: 'ready', keyId: room.e2eKeyId }, `server ${name}`);
		for (const { E2EKey, E2ESuggestedKey, u } of rc.subscriptionsOf(roomId)) {
			assert.equal(E2EKey?.slice(0, -344), room.e2eKeyId, u.username);
			assert.equal(E2ESuggestedKey, undefined, `an offer to ${u.username} lies about`);
		}
		const [client] = stage.clients;
		const { content } = await client.encrypt({ roomId, payload: { msg: 'from the bot' } });
		assert.equal(content.kid, room.e2eKeyId);
		const id = rc.sendMessage(bot, { rid: roomId, t: 'e2e', e2e: 'pending', content })._id;
		for (const person of people) {
			assert.equal((await person.read(id)).text, 'from the bot', person.username);
			// under each id that they know the daemon has the same key, if any
			const held = new Set((await client.listRoomKeys({ roomId })).keys.map(({ kid }) => kid));
			for (const { kid, jwkText } of (await person.roomKeys(roomId)).all.filter((key) => held.has(key.kid))) {
				const { payload, keyState } = await client.decrypt({ roomId, content: await crypto.encryptV2(jwkText, kid, { msg: kid }) });
				assert.deepEqual([payload.msg, keyState], [kid, kid === room.e2eKeyId ? 'current' : 'old']);
			}
		}
	} catch (error) {
		error.message += `\nE2EED_SEED=${seed}; the order was\n  ${race.log.join('\n  ')}`;
		throw error;
	} finally {
		globalThis.fetch = stage.fetch;
		for (const { participant } of servers) await participant.stop();
		for (const { user } of people) rc.removeUserFromRoom(room, user);
		rc.removeUserFromRoom(room, bot);
	}
}

const RESETS = [undefined, async (stage, roomId, ada) => {
	if (stage.room(roomId).e2eKeyId) await ada.resetRoomKey(roomId);
}];

const ROTATIONS = [undefined, async (stage) => {
	await stage.admin.call('rotate', { appId: stage.appId });
}];

const HAPPENINGS = {
	'as they are': [undefined],
	'while a member resets the key': RESETS,
	'while the identity is rotated': ROTATIONS,
	'while somebody offers the bot nonsense, in and out of season': [async (stage, roomId, ada, rnd) => {
		const { e2eKeyId = crypto.uuid() } = stage.room(roomId);
		const key = rnd.pick([`${e2eKeyId}${'A'.repeat(344)}`, await crypto.wrapRoomKey(stage.publicKey, crypto.uuid(), (await crypto.makeRoomKey()).jwkText)]);
		await ada.api('POST', 'e2e.updateGroupKey', { uid: stage.bot._id, rid: roomId, key });
	}],
};

for (const [what, happenings] of Object.entries(HAPPENINGS))
	test(`servers of one app and people at once, ${what}`, async (t) => {
		const stage = await openStage(t, house, { rateLimit: false });
		stage.fetch = globalThis.fetch;
		stage.clients = await Promise.all([stage.client(), stage.client(), stage.client()]);
		const people = await Promise.all(['ada', 'bob'].map((name) => stage.person(name)));
		const once = process.env.E2EED_SEED !== undefined;
		for (let i = 0; i < (once ? 1 : cases(happenings === ROTATIONS ? 10 : 25)); i++) await play(t, stage, SEED + i, people, happenings);
	}, { timeout: 600_000 });
