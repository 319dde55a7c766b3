// What the example app does beyond the story (story.test.mjs): the words of its answers, how it comes to a connection and what it does without one, and
// what it keeps to itself.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, connect as dial } from 'node:net';
import { after, before, test } from 'node:test';
import { packExample } from '../../shim/example/package.mjs';
import { EngineHost } from './engine/host.mjs';
import { openDaemon, openStage } from './lib/stage.mjs';
import { variable } from './story.mjs';

const APP = 'b2e6c1d4-7a53-4c1e-9f0b-3d8a5e4c2f17';
const DENO = { version: '7.13.0', open: (rc, options) => EngineHost.open(rc, { version: '7.9', deno: '2', ...options }) };
const OLD_DENO = { version: '7.0.3', open: (rc, options) => EngineHost.open(rc, { version: '7.0', deno: '1', ...options }) };
const NODE = { version: '8.3.0', open: (rc, options) => EngineHost.open(rc, { node: '22', ...options }) };

let house, zip;
before(async () => {
	house = await openDaemon();
	zip = (await packExample()).bytes;
});
after(() => house?.close());

// The app in a sandbox, on a server of its own, with ada. @environment: names of what it gets there; the rest is in @settings or missing.
async function open(t, { version, open: openHost } = NODE, { environment = ['E2EED_TOKEN', 'E2EED_USER_ID', 'E2EED_AUTH_TOKEN'], settings = {} } = {}) {
	const stage = await openStage(t, house, { version });
	const secrets = { E2EED_TOKEN: stage.token, E2EED_USER_ID: stage.bot._id, E2EED_AUTH_TOKEN: stage.botToken };
	const host = await openHost(stage.rc, { environment: Object.fromEntries(environment.map((name) => [variable(name), secrets[name]])) });
	t.after(async () => {
		await host.close();
		assert.deepEqual(host.errors, []);
		for (const secret of [stage.token, stage.botToken]) assert.ok(!JSON.stringify(host.logs).includes(secret), 'a secret in the log');
	});
	const ada = await stage.person('ada');
	if (!stage.rc.atLeast(7, 13)) ada.makesKeys('v1');
	return Object.assign(stage, {
		host, ada,
		settings: { e2eed_app_id: stage.appId, e2eed_port: house.daemon.tcpPort, e2eed_transport: 'tcp', server_url: stage.server.url, ...settings },
		secretSettings: { e2eed_token: stage.token, e2eed_user_id: stage.bot._id, e2eed_auth_token: stage.botToken },
		install: () => host.install(zip, { settings: stage.settings }),
		tend: () => host.runJob(APP, 'tend'),
		log: () => JSON.stringify(host.logs),
		notice: () => new Promise((resolve) => host.once('notified', (user, message) => resolve({ to: user.username, ...message }))),

		// A room of ada's with the bot in it, which has its key.
		async shared() {
			const accepted = stage.rc.next('keysAccepted', (_, userId) => userId === stage.bot._id);
			const roomId = await stage.encryptedRoom(stage.ada);
			await stage.tend(); // by now the bot has an account key
			await stage.ada.invite(roomId, stage.bot._id);
			assert.deepEqual(await stage.ada.serveWaiting(roomId), [stage.bot._id]);
			for (let pass = 0; pass < 2; pass++) await stage.tend(); // it joins one that is under way, which may be from before the offer
			await accepted;
			return roomId;
		},

		// Has ada say @text; gives the app's answer as she reads it.
		async ask(roomId, text, options) {
			const answered = stage.rc.next('messageSaved', (message, _, { as }) => as === 'app' && message.rid === roomId);
			await stage.ada.send(roomId, text, options);
			return stage.ada.read((await answered)[0]._id);
		},
	});
}

test('the words of its answers', async (t) => {
	const app = await open(t);
	await app.install();
	const { ada } = app;
	const roomId = await app.shared();

	assert.match((await app.ask(roomId, '!help')).text, /I read everything that is said in this room/);
	assert.equal((await app.ask(roomId, '!echo  two\nlines ')).text, 'two\nlines');
	assert.equal((await app.ask(roomId, '!file')).text, 'There is no encrypted file here.');

	for (const text of [app.say('Foxes jump over dogs'), app.say('dogs sleep, while foxes jump'), 'Übung macht den Meister']) await ada.send(roomId, text);
	assert.equal((await app.ask(roomId, '!summary')).text, [
		'The last 3 messages, by 1 member:', 'ada: 3 messages, 13 words', 'Most frequent: dogs (2), foxes (2), jump (2)',
	].join('\n')); // its own answers, and what was asked of it, do not count
	assert.equal((await app.ask(roomId, '!summary 1')).text, 'The last 1 message, by 1 member:\nada: 1 message, 4 words');

	const head = await ada.send(roomId, app.say('here begins a thread'));
	assert.equal((await app.ask(roomId, '!amend nothing yet', { tmid: head })).text, 'There is no answer of mine here.');
	await ada.send(roomId, 'one more', { tmid: head });
	assert.match((await app.ask(roomId, '!summary', { tmid: head })).text, /^The last 1 message,/); // of the thread

	const bytes = Buffer.from(app.say('what the file says'));
	await ada.sendFile(roomId, app.say('Notes of ada.txt'), 'text/plain', [...bytes]);
	assert.equal((await app.ask(roomId, '!file')).text, `Notes of ada.txt: text/plain, 18 bytes, SHA-256 ${createHash('sha256').update(bytes).digest('hex')}`);
	const upload = [...app.rc.uploads.values()].at(-1);
	upload.bytes = Buffer.from(upload.bytes).fill(0, 0, 1);
	assert.equal((await app.ask(roomId, '!file')).text, 'That file is not what its sender sent.');
});

test('what is no command has no answer, and what is said stays out of the log', async (t) => {
	const app = await open(t);
	await app.install();
	const roomId = await app.shared();
	for (const text of [app.say('good morning everybody'), '!', '!nonsense', '!constructor', '! echo spaced', '!ECHO loud', '!echo', '!amend']) await app.ada.send(roomId, text);
	assert.equal((await app.ask(roomId, '!echo the last of them')).text, 'the last of them');
	assert.equal(app.rc.messagesOf(roomId).filter(({ t: type, u }) => type === 'e2e' && u._id === app.bot._id).length, 1);
	await app.tend();
	assert.match(app.log(), /connected to e2eed\/\S+ by tcp:127\.0\.0\.1/);
	assert.match(app.log(), new RegExp(`key exchange running; ${roomId} ready`));
});

for (const sandbox of [OLD_DENO, DENO]) test(`without settings it is enabled and says what is missing; once they are made it connects (${sandbox.version})`, async (t) => {
	const app = await open(t, sandbox, { environment: [] });
	const { manager } = app.host;
	await app.install();
	assert.match(app.log(), /no token for e2eed: set RC_APPS_B2E6C1D4_7A53_4C1E_9F0B_3D8A5E4C2F17_E2EED_TOKEN/);

	const set = (id, value) => manager.getSettingsManager().updateAppSetting(APP, { ...manager.getSettingsManager().getAppSetting(APP, id), value });
	await set('e2eed_token', app.secretSettings.e2eed_token);
	assert.match(app.log(), /needs a bot user/);
	await Promise.all(Object.entries(app.secretSettings).map(([id, value]) => set(id, value))); // as the form has them saved: all at once
	const roomId = await app.shared();
	assert.equal((await app.ask(roomId, '!echo by the settings')).text, 'by the settings');
});

// A way to the daemon that can be shut; counts who came.
async function gateOf(t, { shut = false } = {}) {
	const gate = { shut, came: 0 };
	const server = createServer((socket) => {
		gate.came++;
		if (gate.shut) return socket.destroy();
		const through = dial(house.daemon.tcpPort, '127.0.0.1');
		socket.pipe(through).pipe(socket);
		for (const each of [socket, through]) each.on('error', () => {}).on('close', () => (socket.destroy(), through.destroy()));
	});
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.after(() => server.close());
	return Object.assign(gate, { port: server.address().port });
}

test('e2eed that comes after the app is found by the scheduler', async (t) => {
	const gate = await gateOf(t, { shut: true });
	const app = await open(t, NODE, { settings: { e2eed_port: gate.port } });
	await app.install();
	assert.match(app.log(), /no connection to e2eed/);

	gate.shut = false;
	const roomId = await app.shared();
	assert.equal((await app.ask(roomId, '!echo found it after all')).text, 'found it after all');
});

test('a token that was refused is not tried again until there is another', async (t) => {
	const gate = await gateOf(t);
	const app = await open(t, DENO, {
		environment: ['E2EED_USER_ID', 'E2EED_AUTH_TOKEN'], settings: { e2eed_token: `e2eed1_${'A'.repeat(43)}`, e2eed_port: gate.port },
	});
	await app.install();
	assert.match(app.log(), /AUTHENTICATION_FAILED/);
	await app.tend();
	await app.tend();
	assert.equal(gate.came, 1);

	const settings = app.host.manager.getSettingsManager();
	await settings.updateAppSetting(APP, { ...settings.getAppSetting(APP, 'e2eed_token'), value: app.token });
	const roomId = await app.shared();
	assert.equal((await app.ask(roomId, '!echo with the right one')).text, 'with the right one');
});

test('what is wrong is told to whoever wrote, once; in rooms without the bot nothing is', async (t) => {
	const app = await open(t);
	await app.install();
	const { ada } = app;
	const notices = [];
	app.host.on('notified', (user, { text, room }) => notices.push([user.username, room.id, text]));
	const roomId = await app.shared();
	const foreign = await app.encryptedRoom(ada, { permissions: null });

	await app.admin.call('deauthorizeRoom', { appId: app.appId, roomId });
	const noticed = app.notice();
	await ada.send(roomId, app.say('!echo who is not allowed to'));
	await ada.send(roomId, app.say('!echo and neither is this'));
	await ada.send(foreign, app.say('!echo among ourselves'));
	await noticed;
	await app.grant(roomId);
	assert.equal((await app.ask(roomId, '!echo it may again')).text, 'it may again');
	assert.deepEqual(notices, [['ada', roomId, 'I have not been allowed to take part in the encrypted conversations of this room. An administrator of e2eed can allow it.']]);

	await app.admin.call('deauthorizeRoom', { appId: app.appId, roomId });
	const again = app.notice();
	await ada.send(roomId, app.say('!echo and now it may not'));
	assert.equal((await again).to, 'ada');
});
