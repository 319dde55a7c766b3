// Participant: the account's key pair, and how each room's key gets to the app, branch by branch, against the real daemon and a server's double.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { EncryptedRooms } from '../../shim/dist/apps-engine/index.mjs';
import { appsHttp, crypto, openDaemon, openStage, refused, test } from './lib/stage.mjs';

const modulus = (text) => JSON.parse(text).n;
let house;
before(async () => {
	house = await openDaemon();
});
after(() => house.close());

// What the app's messages are encrypted with now.
const currentKid = async (client, roomId) => (await client.encrypt({ roomId, payload: { msg: 'which key?' } })).content.kid;

// ---- account -----------------------------------------------------------------------------------------------------------

test("an account without keys gets the app's, and keeps them", async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant();
	const { phase, rooms, warnings } = await participant.sync();
	assert.deepEqual({ phase, rooms, warnings }, { phase: 'running', rooms: {}, warnings: [] });
	assert.equal(modulus(stage.bot.e2e.public_key), modulus(stage.publicKey));
	const stored = stage.bot.e2e;
	await participant.sync();
	assert.equal(stage.bot.e2e, stored);
});

test('the same public key is recognised when it was encoded twice', async (t) => {
	const stage = await openStage(t, house);
	stage.bot.e2e = { public_key: JSON.stringify(stage.publicKey), private_key: '{}' };
	assert.equal((await (await stage.participant()).sync()).phase, 'running');
	assert.equal(stage.bot.e2e.public_key, JSON.stringify(stage.publicKey));
});

test("another server publishes first: its publication stands, as it is the same key's", async (t) => {
	const stage = await openStage(t, house);
	const participant = await stage.participant();
	let stored;
	stage.server.after('e2e.fetchMyKeys', async () => { // which said that there are none
		assert.equal((await (await stage.participant()).sync()).phase, 'running');
		stored = stage.bot.e2e;
	});
	assert.equal((await participant.sync()).phase, 'running');
	assert.equal(stage.bot.e2e, stored);
});

test("somebody else's key pair is not replaced, until that is asked for", async (t) => {
	const stage = await openStage(t, house);
	const theirs = await crypto.makeIdentity();
	stage.bot.e2e = { public_key: theirs.publicText, private_key: '{}' };
	const { phase, reason, message } = await (await stage.participant()).sync();
	assert.deepEqual([phase, reason], ['blocked', 'ACCOUNT_KEY_CONFLICT']);
	assert.match(message, /e2eectl app import/);
	assert.match(message, /replaceAccountKey/);
	assert.equal(stage.bot.e2e.public_key, theirs.publicText);

	assert.equal((await (await stage.participant({ replaceAccountKey: true })).sync()).phase, 'running');
	assert.equal(modulus(stage.bot.e2e.public_key), modulus(stage.publicKey));
});

test('a conflict ends when an admin lets e2eed adopt the key pair', async (t) => {
	const stage = await openStage(t, house);
	const theirs = await crypto.makeIdentity();
	const private_key = await crypto.sealPrivateKey(theirs.privateText, { passphrase: 'correct horse', userId: stage.bot._id });
	stage.bot.e2e = { public_key: theirs.publicText, private_key };
	const participant = await stage.participant({ intervalMs: 3_600_000 });
	const blocked = stage.becomes(participant, ({ phase }) => phase === 'blocked');
	await stage.start(participant);
	await blocked;
	const running = stage.becomes(participant, ({ phase }) => phase === 'running');
	await stage.admin.call('importIdentity', { appId: stage.appId, userId: stage.bot._id, public_key: theirs.publicText, private_key, passphrase: 'correct horse' });
	await running; // told by the event
	assert.equal(stage.bot.e2e.public_key, theirs.publicText);
});

for (const [how, restarted] of [['while it runs', false], ['while it was away', true]])
	test(`the identity is rotated ${how}: the account follows, and the room keys are stored anew`, async (t) => {
		const stage = await openStage(t, house);
		const ada = await stage.person('ada');
		let participant = await stage.participant();
		const roomId = await stage.sharedRoom(participant, ada);
		const before = stage.kept(roomId).E2EKey;
		const { publicKey } = await stage.admin.call('rotate', { appId: stage.appId });
		if (restarted) participant = await stage.participant();
		const { phase, rooms } = await participant.sync();
		assert.deepEqual([phase, rooms[roomId].phase], ['running', 'ready']);
		assert.equal(modulus(stage.bot.e2e.public_key), modulus(publicKey));
		assert.notEqual(stage.kept(roomId).E2EKey, before);
		await stage.admin.call('revokeKey', { appId: stage.appId, keyId: (await (await stage.client()).getIdentity()).retired[0].keyId });
		await stage.forgetsKeys(roomId);
		assert.equal((await participant.sync()).rooms[roomId].phase, 'ready'); // by the new key pair
	});

test('a rotation of which the end was not reached is finished by a later pass', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.sharedRoom(participant, ada);
	const before = stage.kept(roomId).E2EKey;
	await stage.admin.call('rotate', { appId: stage.appId });
	stage.server.failNext('e2e.provideUsersSuggestedGroupKeys', 'hang up');
	const { phase, reason } = await participant.sync();
	assert.deepEqual([phase, reason], ['troubled', 'REST_FAILED']);
	await participant.sync();
	assert.notEqual(stage.kept(roomId).E2EKey, before);
});

test('a rotation without grace: the former key proves nothing', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const roomId = await stage.sharedRoom(await stage.participant(), ada);
	await stage.admin.call('rotate', { appId: stage.appId, graceSeconds: 0 });
	assert.equal((await (await stage.participant()).sync()).reason, 'ACCOUNT_KEY_CONFLICT');
	const participant = await stage.participant({ replaceAccountKey: true });
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready'); // the daemon has the room key
	await stage.forgetsKeys(roomId);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
});

test('the trial with the former key leaves no trace among the room keys', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const roomId = await stage.sharedRoom(await stage.participant(), ada);
	const client = await stage.client();
	const before = await client.listRoomKeys({ roomId });
	await stage.admin.call('rotate', { appId: stage.appId });
	await (await stage.participant()).sync();
	assert.deepEqual(await client.listRoomKeys({ roomId }), before);
});

test('a user without the role bot is warned of', async (t) => {
	const stage = await openStage(t, house, { roles: ['user'] });
	const { phase, warnings } = await (await stage.participant()).sync();
	assert.equal(phase, 'running');
	assert.match(warnings[0], /role "bot"/);
});

// ---- a room's key ------------------------------------------------------------------------------------------------------

test('a room without a key gets one, which members can use', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const room = stage.rc.createRoom('p', 'new', ada.user, [stage.bot], { encrypted: true });
	await stage.grant(room._id);
	const participant = await stage.participant();
	const { rooms } = await participant.sync();
	assert.deepEqual(rooms, { [room._id]: { phase: 'ready', keyId: room.e2eKeyId } });
	assert.equal(await currentKid(await stage.client(), room._id), room.e2eKeyId);
	await ada.acceptOffered(room._id); // the pass has served her
	const { content } = await (await stage.client()).encrypt({ roomId: room._id, payload: { msg: stage.say('from the bot to ada') } });
	assert.equal((await ada.read(stage.rc.sendMessage(stage.bot, { rid: room._id, t: 'e2e', e2e: 'pending', content })._id)).text, 'from the bot to ada');
});

for (const [why, { permissions, options = {}, server }] of Object.entries({
	'the app may not': { permissions: ['read', 'write'] }, 'it was told not to': { options: { createRoomKeys: false } },
	'clients do not know the form of its keys': { server: { version: '7.12.0' } },
}))
	test(`a room without a key waits for a member where ${why}`, async (t) => {
		const stage = await openStage(t, house, server);
		const ada = await stage.person('ada');
		const room = stage.rc.createRoom('p', 'new', ada.user, [stage.bot], { encrypted: true });
		await stage.grant(room._id, permissions);
		const participant = await stage.participant(options);
		assert.equal((await participant.sync()).rooms[room._id].phase, 'waiting');
		assert.equal(room.e2eKeyId, undefined);
		await ada.makeRoomKey(room._id);
		await ada.serveWaiting(room._id);
		assert.deepEqual((await participant.sync()).rooms[room._id], { phase: 'ready', keyId: room.e2eKeyId });
	});

test('a room where the app has no grant is left alone until it has one', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant({ intervalMs: 3_600_000 });
	const room = stage.rc.createRoom('p', 'new', ada.user, [stage.bot], { encrypted: true });
	const roomId = await stage.encryptedRoom(ada, { permissions: null });
	await ada.invite(roomId, stage.bot._id);
	await participant.sync();
	await ada.serveWaiting(roomId);
	const { rooms } = await participant.sync();
	assert.deepEqual([rooms[roomId].phase, rooms[room._id].phase], ['no-grant', 'no-grant']);
	assert.ok(stage.kept(roomId).E2ESuggestedKey);

	await stage.start(participant);
	const ready = stage.becomes(participant, ({ rooms: now }) => now[roomId]?.phase === 'ready');
	await stage.grant(roomId);
	await ready;
});

test('a grant that is taken away is seen, with and without the event', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.sharedRoom(participant, ada);
	await stage.admin.call('deauthorizeRoom', { appId: stage.appId, roomId });
	assert.equal((await participant.sync()).rooms[roomId].phase, 'no-grant');
});

test('an offered key is taken: the room uses it and the daemon too', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	assert.deepEqual((await participant.sync()).rooms[roomId], { phase: 'waiting', keyId: stage.room(roomId).e2eKeyId });
	await ada.serveWaiting(roomId);
	const offered = stage.kept(roomId).E2ESuggestedKey;
	assert.deepEqual((await participant.sync()).rooms[roomId], { phase: 'ready', keyId: stage.room(roomId).e2eKeyId });
	assert.equal(stage.kept(roomId).E2EKey, offered);
	assert.equal(await currentKid(await stage.client(), roomId), stage.room(roomId).e2eKeyId);

	await participant.sync(); // sees what it has done itself
	stage.asked();
	await participant.sync();
	assert.ok(!('subscriptions.getOne' in stage.asked()), 'nothing to do, nothing looked up');
});

test('the form of 7.0 to 7.12 does as well', async (t) => {
	const stage = await openStage(t, house, { version: '7.5.0' });
	const ada = await stage.person('ada');
	ada.makesKeys('v1');
	const client = await stage.client();
	const roomId = await stage.sharedRoom(await stage.participant({ client }), ada);
	const id = await ada.send(roomId, stage.say('in the form of old'));
	assert.equal((await new EncryptedRooms({ client }).decryptMessage(stage.rc.messages.get(id))).text, 'in the form of old');
});

test("an offer that does not open is sent back, and so is one for another room key's id", async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	await participant.sync();
	const { e2eKeyId } = stage.room(roomId);
	const { jwkText } = await crypto.makeRoomKey();
	const another = await crypto.makeIdentity();
	for (const key of [await crypto.wrapRoomKey(another.publicText, e2eKeyId, jwkText), await crypto.wrapRoomKey(stage.publicKey, crypto.uuid(), jwkText), `${e2eKeyId}AAAA`, 'x']) {
		await ada.api('POST', 'e2e.updateGroupKey', { uid: stage.bot._id, rid: roomId, key });
		assert.deepEqual((await participant.sync()).rooms[roomId], { phase: 'waiting', keyId: e2eKeyId });
		assert.equal(stage.kept(roomId).E2ESuggestedKey, undefined);
		assert.equal(stage.kept(roomId).E2EKey, undefined);
	}
	await ada.serveWaiting(roomId);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
});

test('an offered key of another content does not replace one that works', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.sharedRoom(participant, ada);
	const { E2EKey } = stage.kept(roomId);
	const { jwkText } = await crypto.makeRoomKey();
	await ada.api('POST', 'e2e.updateGroupKey', { uid: stage.bot._id, rid: roomId, key: await crypto.wrapRoomKey(stage.publicKey, stage.room(roomId).e2eKeyId, jwkText) });
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal(stage.kept(roomId).E2EKey, E2EKey);
	assert.equal(stage.kept(roomId).E2ESuggestedKey, undefined);
	const { content } = await client.encrypt({ roomId, payload: { msg: stage.say('still readable by ada') } });
	assert.equal((await ada.read(stage.rc.sendMessage(stage.bot, { rid: roomId, t: 'e2e', e2e: 'pending', content })._id)).text, 'still readable by ada');
});

test('the same key offered again is taken off the table', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.sharedRoom(participant, ada);
	const { current } = await ada.roomKeys(roomId);
	await ada.api('POST', 'e2e.updateGroupKey', { uid: stage.bot._id, rid: roomId, key: await crypto.wrapRoomKey(stage.publicKey, current.kid, current.jwkText) });
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal(stage.kept(roomId).E2ESuggestedKey, undefined);
});

// What is offered is exchanged between the look and the acceptance.
for (const [what, withKey] of [['while the app waits', false], ['while it has the key', true]])
	for (const kind of ['for another key pair', 'of another content'])
		test(`an offer is exchanged for one ${kind} ${what}: what the app ends with is what the server has`, async (t) => {
			const stage = await openStage(t, house);
			const ada = await stage.person('ada');
			const client = await stage.client();
			const participant = await stage.participant({ client });
			const roomId = await stage.encryptedRoom(ada);
			await ada.invite(roomId, stage.bot._id);
			await participant.sync();
			const { current } = await ada.roomKeys(roomId);
			const offer = async (publicKey, jwkText) => ada.api('POST', 'e2e.updateGroupKey', { uid: stage.bot._id, rid: roomId, key: await crypto.wrapRoomKey(publicKey, current.kid, jwkText) });
			await offer(stage.publicKey, current.jwkText);
			if (withKey) {
				await participant.sync();
				await offer(stage.publicKey, current.jwkText);
			}
			const other = kind === 'of another content' ? [stage.publicKey, (await crypto.makeRoomKey()).jwkText] : [(await crypto.makeIdentity()).publicText, current.jwkText];
			stage.server.before('e2e.acceptSuggestedGroupKey', () => offer(...other));
			assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
			const { E2EKey } = stage.kept(roomId);
			const { content } = await client.encrypt({ roomId, payload: { msg: 'which key?' } });
			const kept = await client.importRoomKey({ roomId, key: E2EKey });
			assert.equal(kept.state, 'current', 'what is stored for the app is what it encrypts with');
			if (withKey) assert.equal(JSON.parse(await crypto.decryptContent(current.jwkText, content)).msg, 'which key?');
		});

test('history that comes with a key is imported, broken entries or not', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.encryptedRoom(ada);
	const old = await ada.send(roomId, stage.say('before the bot was here'));
	await ada.resetRoomKey(roomId);
	await ada.invite(roomId, stage.bot._id);
	await participant.sync();
	await ada.serveWaiting(roomId);
	const { suggestedOldRoomKeys } = stage.kept(roomId);
	stage.kept(roomId).suggestedOldRoomKeys = [
		{ e2eKeyId: '', ts: new Date().toISOString(), E2EKey: 'x' }, { e2eKeyId: 'é', ts: new Date().toISOString(), E2EKey: suggestedOldRoomKeys[0].E2EKey },
		{ e2eKeyId: 'x'.repeat(65), ts: 'never', E2EKey: '' }, ...suggestedOldRoomKeys,
	];
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal((await new EncryptedRooms({ client }).decryptMessage(stage.rc.messages.get(old))).text, 'before the bot was here');
});

test("a room's key is reset: nothing is sent under the former one, and the app goes on with the new one", async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.sharedRoom(participant, ada);
	const rooms = new EncryptedRooms({ client, rest: participant.rest });
	const former = await ada.send(roomId, stage.say('under the former key'));
	await ada.resetRoomKey(roomId);

	const modify = { getCreator: () => ({ startMessage: (data) => data, finish: () => assert.fail('sent') }) };
	await refused(rooms.sendEncryptedMessage(modify, { id: roomId }, { text: 'x' }), 'ROOM_KEY_STALE');
	assert.deepEqual((await participant.sync()).rooms[roomId], { phase: 'waiting', keyId: stage.room(roomId).e2eKeyId });
	await refused(rooms.sendEncryptedMessage(modify, { id: roomId }, { text: 'x' }), 'ROOM_KEY_STALE');

	await ada.serveWaiting(roomId);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal(await currentKid(client, roomId), stage.room(roomId).e2eKeyId);
	assert.equal((await rooms.decryptMessage(stage.rc.messages.get(former))).text, 'under the former key');
});

// A reset between what a pass reads of the rooms and what it reads of the subscription.
test('a reset in the midst of a pass does not put a key under the id of another', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	await participant.sync();
	await ada.serveWaiting(roomId);
	const former = stage.room(roomId).e2eKeyId;
	const other = await stage.participant();
	stage.server.before('subscriptions.getOne', async () => {
		await ada.resetRoomKey(roomId);
		await ada.serveWaiting(roomId);
		await other.sync(); // another server has accepted it
	});
	await participant.sync();
	await participant.sync();
	const { keys } = await client.listRoomKeys({ roomId });
	// the former one came as history
	assert.deepEqual(keys.map(({ kid, state }) => [kid, state]), [[stage.room(roomId).e2eKeyId, 'current'], [former, 'old']]);
});

for (const [when, route] of [['as', 'e2e.setRoomKeyID'], ['before', 'e2e.provideUsersSuggestedGroupKeys'], ['after', 'e2e.provideUsersSuggestedGroupKeys'], ['before', 'e2e.acceptSuggestedGroupKey']])
	test(`a reset ${when} ${route}, while the bot's own key is stored, does not leave it with the former one`, async (t) => {
		const stage = await openStage(t, house);
		const ada = await stage.person('ada');
		const participant = await stage.participant({ serveMembers: false });
		const room = stage.rc.createRoom('p', 'new', ada.user, [stage.bot], { encrypted: true });
		await stage.grant(room._id);
		stage.server[when === 'before' ? 'before' : 'after'](route, () => ada.resetRoomKey(room._id));
		await participant.sync();
		assert.equal(stage.kept(room._id).E2EKey, undefined);
		await ada.serveWaiting(room._id);
		assert.deepEqual((await participant.sync()).rooms[room._id], { phase: 'ready', keyId: room.e2eKeyId });
	});

// Before 7.0 the id was the beginning of every key.
test('in a room of old, where the id says nothing of the key, keys go by what opens', async (t) => {
	const stage = await openStage(t, house, { version: '6.13.0' });
	const ada = await stage.person('ada');
	ada.makesKeys('v0');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.sharedRoom(participant, ada);
	assert.equal(stage.room(roomId).e2eKeyId, 'eyJhbGciOiJB');
	const { E2EKey } = stage.kept(roomId);
	const other = await crypto.makeRoomKey('A128CBC', { kid: 'constant' });
	await ada.api('POST', 'e2e.updateGroupKey', { uid: stage.bot._id, rid: roomId, key: await crypto.wrapRoomKey(stage.publicKey, other.kid, other.jwkText) });
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal(stage.kept(roomId).E2EKey, E2EKey);
	const { content } = await client.encrypt({ roomId, payload: { msg: stage.say('still the key of ada') } });
	assert.equal((await ada.read(stage.rc.sendMessage(stage.bot, { rid: roomId, t: 'e2e', e2e: 'pending', content })._id)).text, 'still the key of ada');

	// that the daemon has a key of this id does not make it the room's: it waits to be given one
	delete stage.kept(roomId).E2EKey;
	stage.kept(roomId)._updatedAt = new Date();
	assert.equal((await participant.sync()).rooms[roomId].phase, 'waiting');
});

test('an offer for the new key, read with the former id, is not sent back', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.sharedRoom(participant, ada);
	await ada.resetRoomKey(roomId);
	await participant.sync();
	stage.server.before('subscriptions.getOne', async () => {
		await ada.resetRoomKey(roomId);
		await ada.serveWaiting(roomId);
	});
	await ada.serveWaiting(roomId);
	stage.asked();
	await participant.sync();
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.ok(!('e2e.rejectSuggestedGroupKey' in stage.asked()));
});

test('a daemon that has lost the key, or uses another, gets it back from the server', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client });
	const roomId = await stage.sharedRoom(participant, ada);
	await stage.forgetsKeys(roomId);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal(await currentKid(client, roomId), stage.room(roomId).e2eKeyId);

	await client.createRoomKey({ roomId }); // a server of the app that was late to see the room's
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
	assert.equal(await currentKid(client, roomId), stage.room(roomId).e2eKeyId);
});

for (const lost of ['e2e.setRoomKeyID', 'e2e.provideUsersSuggestedGroupKeys', 'e2e.acceptSuggestedGroupKey'])
	for (const how of ['before', 'after'])
		test(`the connection goes ${how} ${lost} is carried out, while a key is made: the next pass finishes`, async (t) => {
			const stage = await openStage(t, house);
			const ada = await stage.person('ada');
			const room = stage.rc.createRoom('p', 'new', ada.user, [stage.bot], { encrypted: true });
			await stage.grant(room._id);
			const client = await stage.client();
			const participant = await stage.participant({ client, serveMembers: false });
			stage.server.failNext(lost, how === 'before' ? 'hang up' : 'carry out, then hang up');
			assert.equal((await participant.sync()).phase, 'troubled');
			assert.deepEqual((await participant.sync()).rooms[room._id], { phase: 'ready', keyId: room.e2eKeyId });
			assert.equal(stage.kept(room._id).E2EKey.slice(0, -344), room.e2eKeyId);
			assert.equal((await client.listRoomKeys({ roomId: room._id })).keys.length, 1, 'one key was made');
		});

test('a room that is left is left, one that is joined again is taken up again, one that is not encrypted does not count', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.sharedRoom(participant, ada);
	stage.rc.removeUserFromRoom(stage.room(roomId), stage.bot);
	assert.deepEqual((await participant.sync()).rooms, {});
	await ada.invite(roomId, stage.bot._id);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready'); // the key is the same
	stage.rc.setEncrypted(stage.room(roomId), ada.user, false);
	assert.deepEqual((await participant.sync()).rooms, {});
	stage.rc.setEncrypted(stage.room(roomId), ada.user, true);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
});

test('a room that does not work does not keep the others from working', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.encryptedRoom(ada);
	const second = stage.rc.createRoom('p', 'second', ada.user, [stage.bot], { encrypted: true });
	await stage.grant(second._id);
	await ada.invite(roomId, stage.bot._id);
	stage.server.failNext(`subscriptions.getOne?roomId=${roomId}`, { status: 400, data: { success: false, errorType: 'error-odd' } });
	const { phase, rooms } = await participant.sync();
	assert.equal(phase, 'running');
	assert.equal(rooms[roomId].phase, 'failed');
	assert.match(rooms[roomId].why, /error-odd/);
	assert.equal(rooms[second._id].phase, 'ready');
	await ada.serveWaiting(roomId);
	assert.equal((await participant.sync()).rooms[roomId].phase, 'ready');
});

test("while keys are missing, members' clients are asked, but not at every pass", async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	const asked = stage.rc.next('keyRequest', (rid) => rid === roomId);
	await participant.sync();
	await asked;
	await participant.sync();
	await participant.sync();
	assert.equal(stage.asked()['method.call/e2e.requestSubscriptionKeys'], 1);
});

test('a server that knows no such request does not trouble it', async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const participant = await stage.participant();
	const roomId = await stage.encryptedRoom(ada);
	await ada.invite(roomId, stage.bot._id);
	stage.server.failNext('e2e.requestSubscriptionKeys', { status: 404, data: { success: false } });
	assert.equal((await participant.sync()).phase, 'running');
});

test("everything works over Apps-Engine's http as well", async (t) => {
	const stage = await openStage(t, house);
	const ada = await stage.person('ada');
	const roomId = await stage.sharedRoom(await stage.participant({ http: appsHttp }), ada);
	assert.ok(stage.kept(roomId).E2EKey);
});
