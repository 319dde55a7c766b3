// The example app in each of Rocket.Chat's sandboxes, in a room with people in a real browser: what an operator and the members of a room go through. The
// server sees no word of it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FEW as SANDBOXES } from './engine/sandboxes.mjs';
import { Browser } from './human/browser.mjs';
import { Scene } from './story.mjs';

const SECRETS = ['the quick brown fox jumps', 'a word among friends', 'after the reset of the key', 'quarterly-figures.txt', 'revenue rose by eleven percent', 'welcome to the room', 'now it reads otherwise'];

let browser, zip;
before(async () => {
	zip = readFileSync(fileURLToPath(new URL('../../shim/example/dist/encrypted-echo_0.1.0.zip', import.meta.url)));
	browser = await Browser.open();
});
after(() => browser?.close());

const opened = async (t, sandbox) => {
	const scene = await Scene.open(sandbox, zip, browser);
	t.after(() => scene.close());
	for (const secret of SECRETS) scene.rc.watch.forbid(secret);
	return scene;
};

// A room of @ada's that she encrypts, with the bot in it, which has the key.
async function room(scene, ada) {
	const { group } = await ada.api('POST', 'groups.create', { name: 'friends' });
	await ada.encryptRoom(group._id);
	await ada.makeRoomKey(group._id);
	await scene.grant(group._id);
	await ada.invite(group._id, scene.bot._id);
	assert.deepEqual(await ada.serveWaiting(group._id), [scene.bot._id]);
	await scene.tend();
	return group._id;
}

const ask = async (scene, person, roomId, text, options) => {
	const answered = scene.answer();
	const asked = await person.send(roomId, text, options);
	return { asked, message: await person.read((await answered)._id) };
};

describe('the story', { timeout: 300_000 }, () => {
	for (const sandbox of SANDBOXES)
		test(sandbox.name, async (t) => {
			const scene = await opened(t, sandbox);
			const { rc } = scene;
			const ada = await scene.person('ada');
			await ada.enableEncryption('ada has a passphrase');
			const roomId = await room(scene, ada);

			const { asked, message } = await ask(scene, ada, roomId, '!echo the quick brown fox jumps');
			assert.deepEqual([message.text, message.by], ['the quick brown fox jumps', 'echo']);
			const { message: inThread } = await ask(scene, ada, roomId, '!echo a word among friends', { tmid: asked });
			assert.deepEqual([inThread.text, inThread.tmid], ['a word among friends', asked]);

			// the key is reset: until the bot has the new one it says so, and in clear it says no more
			await ada.resetRoomKey(roomId);
			const noticed = scene.notice();
			await ada.send(roomId, '!echo after the reset of the key');
			assert.match(await noticed, /encryption key/);
			assert.deepEqual(await ada.serveWaiting(roomId), [scene.bot._id]);
			await scene.tend();
			const { message: again } = await ask(scene, ada, roomId, '!echo after the reset of the key');
			assert.equal(again.text, 'after the reset of the key');
			assert.notEqual(again.kid, message.kid);

			const file = Buffer.from('revenue rose by eleven percent');
			const uploaded = rc.next('messageSaved');
			await ada.sendFile(roomId, 'quarterly-figures.txt', 'text/plain', [...file], 'a word among friends');
			await uploaded;
			const { message: told } = await ask(scene, ada, roomId, '!file');
			assert.ok(told.text.includes('quarterly-figures.txt') && told.text.includes(createHash('sha256').update(file).digest('hex')), told.text);

			// a second person, who gets the keys from the bot
			const bob = await scene.person('bob');
			await bob.enableEncryption('bob has another');
			await ada.invite(roomId, bob.user._id);
			const offered = rc.next('keysOffered', (_, userId) => userId === bob.user._id);
			await scene.tend();
			await offered;
			assert.ok(await bob.acceptOffered(roomId));
			assert.equal((await bob.read(asked)).text, '!echo the quick brown fox jumps'); // from before the reset
			assert.equal((await bob.read(again.id)).text, 'after the reset of the key');
			const { message: welcome } = await ask(scene, bob, roomId, '!echo welcome to the room');
			assert.equal((await ada.read(welcome.id)).text, 'welcome to the room');

			await bob.send(roomId, 'the quick brown fox jumps');
			const { message: summary } = await ask(scene, bob, roomId, '!summary');
			assert.match(summary.text, /ada: \d+ message/);
			assert.match(summary.text, /bob: 1 message/);

			const changed = rc.next('messageUpdated');
			if (rc.atLeast(7, 13)) {
				await bob.send(roomId, '!amend now it reads otherwise');
				const [{ _id }] = await changed;
				const amended = await ada.read(_id);
				assert.deepEqual([amended.text, amended.edited], ['now it reads otherwise', true]);
			} else assert.match((await ask(scene, bob, roomId, '!amend now it reads otherwise')).message.text, /cannot do that/);

			assert.deepEqual(rc.watch.leaks, []);
			assert.deepEqual(scene.host.errors, []);
		});
});

describe('in the middle of a conversation', { timeout: 300_000 }, () => {
	const sandboxes = SANDBOXES.filter(({ runtime }) => runtime !== 'deno 2.0');

	for (const sandbox of sandboxes) {
		test(`${sandbox.name}: e2eed is restarted and killed: every question has one answer`, async (t) => {
			const scene = await opened(t, sandbox);
			const ada = await scene.person('ada');
			await ada.enableEncryption('ada has a passphrase');
			const roomId = await room(scene, ada);
			let questions = 0;
			const say = async () => {
				questions++;
				const { message } = await ask(scene, ada, roomId, `!echo the quick brown fox jumps ${questions}`);
				assert.equal(message.text, `the quick brown fox jumps ${questions}`);
			};
			await say();
			for (const how of ['terminate', 'kill', 'terminate', 'kill']) {
				await scene.restart(how);
				await say();
			}
			// asked while it is away: answered when it is back
			await scene.daemon.kill();
			const answered = scene.answer();
			await ada.send(roomId, '!echo a word among friends');
			await scene.restart('kill');
			assert.equal((await ada.read((await answered)._id)).text, 'a word among friends');
			assert.equal(scene.answers().length, questions + 1);
			assert.deepEqual(scene.rc.watch.leaks, []);
		});

		test(`${sandbox.name}: its token is reset, the app revoked: it says so and sends nothing`, async (t) => {
			const scene = await opened(t, sandbox);
			const ada = await scene.person('ada');
			await ada.enableEncryption('ada has a passphrase');
			const roomId = await room(scene, ada);
			await ask(scene, ada, roomId, '!echo the quick brown fox jumps');

			await scene.admin.call('resetToken', { appId: 'echo-bot' });
			const noticed = scene.notice();
			await ada.send(roomId, '!echo a word among friends');
			assert.match(await noticed, /access to e2eed has ended/);
			assert.equal(scene.answers().length, 1);

			await scene.admin.call('revokeApp', { appId: 'echo-bot' });
			assert.equal(scene.answers().length, 1);
			assert.deepEqual(scene.rc.watch.leaks, []);
		});
	}
});
