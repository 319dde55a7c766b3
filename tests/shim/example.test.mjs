// The example app in each sandbox: installed from its package, it answers in an encrypted room, encrypted, and says in clear only what may be.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { packExample } from '../../shim/example/package.mjs';
import { EngineHost } from './engine/host.mjs';
import { NodeHost } from './engine/node_host.mjs';
import { openDaemon, openStage } from './lib/stage.mjs';

const APP = 'b2e6c1d4-7a53-4c1e-9f0b-3d8a5e4c2f17';
const VARIABLES = `RC_APPS_${APP.toUpperCase().replace(/-/g, '_')}_E2EED`;

const SANDBOXES = [
	{ name: 'Apps-Engine 1.46, Deno 1.46', version: '7.0.3', open: (rc, options) => EngineHost.open(rc, { version: '7.0', deno: '1', ...options }) },
	{ name: 'Apps-Engine 1.62, Deno 2.0', version: '7.10.0', open: (rc, options) => EngineHost.open(rc, { version: '7.9', deno: '2.0', ...options }) },
	{ name: 'Apps-Engine 1.62, Deno 2.9', version: '7.13.0', open: (rc, options) => EngineHost.open(rc, { version: '7.9', deno: '2', ...options }) },
	{ name: 'the Node runtime', version: '8.3.0', open: (rc, options) => NodeHost.open(rc, options) },
];

let house, zip;
before(async () => {
	house = await openDaemon();
	zip = (await packExample()).bytes;
});
after(() => house.close());

// The app in a sandbox, on a server of its own; its secrets come from @secrets: 'environment' or 'settings'.
async function openApp(t, { version, open }, { secrets = 'environment', settings = {}, serverSettings } = {}) {
	const stage = await openStage(t, house, { version, settings: serverSettings });
	const given = { TOKEN: stage.token, USER_ID: stage.bot._id, AUTH_TOKEN: stage.botToken };
	const host = await open(stage.rc, { environment: secrets === 'environment' ? Object.fromEntries(Object.entries(given).map(([name, value]) => [`${VARIABLES}_${name}`, value])) : {} });
	t.after(() => host.close());
	for (const secret of [stage.token, stage.botToken]) stage.say(secret); // neither may be in what the app hands over
	const ada = await stage.person('ada');
	if (!stage.rc.atLeast(7, 13)) ada.makesKeys('v1');

	return Object.assign(stage, {
		host, ada,
		install: () => host.install(zip, {
			settings: {
				e2eed_app_id: stage.appId, e2eed_port: house.daemon.tcpPort, server_url: stage.server.url,
				...(secrets === 'settings' && { e2eed_token: given.TOKEN, e2eed_user_id: given.USER_ID, e2eed_auth_token: given.AUTH_TOKEN }), ...settings,
			},
		}),
		tend: () => host.runJob(APP, 'tend'),

		// A room of ada's with the bot in it, which has its key.
		async shared(options) {
			const roomId = await stage.encryptedRoom(ada, options);
			await ada.invite(roomId, stage.bot._id);
			await this.tend();
			await ada.serveWaiting(roomId);
			await this.tend();
			return roomId;
		},

		// Says @text and gives the app's answer, as ada's client reads it.
		async ask(roomId, text, options) {
			const answered = stage.rc.next('messageSaved', (message, _, { as }) => as === 'app' && message.rid === roomId);
			await ada.send(roomId, stage.say(text), options);
			const [{ _id, msg, u }] = await answered;
			assert.deepEqual([msg, u._id], ['', stage.bot._id]);
			return ada.read(_id);
		},
	});
}

const logOf = ({ host }) => JSON.stringify(host.logs);

describe('the example app', { timeout: 180_000 }, () => {
	for (const sandbox of SANDBOXES)
		test(`answers in ${sandbox.name}`, async (t) => {
			const app = await openApp(t, sandbox);
			await app.install();
			const roomId = await app.shared();

			assert.equal((await app.ask(roomId, '!echo The quick brown fox')).text, app.say('The quick brown fox'));
			assert.match((await app.ask(roomId, '!help')).text, /I read everything that is said in this room/);

			for (const text of ['foxes jump over dogs', 'dogs sleep while foxes jump']) await app.ada.send(roomId, app.say(text));
			const { text: summary } = await app.ask(roomId, '!summary 2');
			assert.equal(summary, ['The last 2 messages, by 1 member:', 'ada: 2 messages, 9 words', 'Most frequent: dogs (2), foxes (2), jump (2)'].join('\n'));

			const head = await app.ada.send(roomId, app.say('here begins a thread'));
			const reply = await app.ask(roomId, '!echo within the thread', { tmid: head });
			assert.deepEqual([reply.text, reply.tmid], ['within the thread', head]);

			const bytes = Buffer.from(app.say('what the file says'));
			assert.equal((await app.ask(roomId, '!file')).text, 'There is no encrypted file here.');
			await app.ada.sendFile(roomId, app.say('Notes of ada.txt'), 'text/plain', [...bytes]);
			assert.equal((await app.ask(roomId, '!file')).text, `Notes of ada.txt: text/plain, 18 bytes, SHA-256 ${createHash('sha256').update(bytes).digest('hex')}`);

			const former = await app.ask(roomId, '!echo to be amended');
			if (app.rc.atLeast(7, 13)) {
				const amended = app.rc.next('messageUpdated', ({ _id }) => _id === former.id);
				await app.ada.send(roomId, app.say('!amend It was amended'));
				await amended;
				assert.equal((await app.ada.read(former.id)).text, app.say('It was amended'));
			} else assert.equal((await app.ask(roomId, '!amend It was amended')).text, 'This server cannot do that.');

			assert.match(logOf(app), /connected to e2eed\/\S+ by tcp:127\.0\.0\.1/);
			assert.match(logOf(app), new RegExp(`key exchange running; ${roomId} ready`));
			assert.deepEqual(app.host.errors, []);
		});
});
