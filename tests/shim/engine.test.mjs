// The sandboxes that the other tests run apps in are what they claim to be: Rocket.Chat's own engine with its own Deno runtime, and the Node runtime; an app in
// each says what it sees.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RocketChat } from './double/server.mjs';
import { packApp } from './engine/pack.mjs';
import { FEW, SANDBOXES } from './engine/sandboxes.mjs';
import { fileURLToPath } from 'node:url';

const PROBE = fileURLToPath(new URL('engine/probe', import.meta.url));
const CONTENT = { algorithm: 'rc.v2.aes-sha2', kid: 'k', iv: 'i', ciphertext: 'c' };
const VARIABLE = 'RC_APPS_0D5B8A4E_6C5E_4A53_9A55_5D6F0D3C7A11_WORD';

describe('sandboxes', { timeout: 120_000 }, () => {
	for (const { name, server, runtime, open } of SANDBOXES)
		test(name, async (t) => {
			const rc = new RocketChat({ version: server, settings: { E2E_Allow_Unencrypted_Messages: true } });
			const host = await open(rc, { environment: { [VARIABLE]: 'word' } });
			t.after(() => host.close());
			await host.install(await packApp(PROBE));
			const ada = rc.createUser('ada');
			const room = rc.createRoom('p', 'room', ada, [], { encrypted: true });
			const found = (event) => new Promise((resolve) => host.on('persisted', (data) => data.event === event && resolve(data)));

			const plain = found('IPostMessageSent');
			rc.sendMessage(ada, { rid: room._id, msg: 'plain' });
			const { modules, globals, own, others, runtime: its, text } = await plain;
			assert.equal(text, 'plain');
			assert.ok(its === 'hidden' || its.startsWith(runtime), its);
			assert.equal(own, 'word');
			assert.equal(others, 'refused');
			for (const given of ['net', 'crypto', 'buffer', 'http']) assert.equal(modules[given], 'given', given);
			for (const refused of ['tls', 'events', 'child_process', 'worker_threads', 'timers']) assert.equal(modules[refused], 'refused', refused);
			assert.deepEqual([globals.globalThis, globals.Deno, globals.Buffer, globals.setTimeout], ['undefined', 'undefined', 'function', 'function']);

			const event = rc.atLeast(7, 4) ? 'IPostSystemMessageSent' : 'IPostMessageSent';
			const encrypted = found(event), answered = rc.next('messageSaved', (message, _, { as }) => as === 'app');
			rc.sendMessage(ada, { rid: room._id, t: 'e2e', e2e: 'pending', content: CONTENT });
			const { type, unmapped, room: roomFields } = await encrypted;
			assert.deepEqual(unmapped.content, CONTENT);
			assert.equal(type ?? unmapped.t, 'e2e');
			assert.equal(type === 'e2e', rc.atLeast(7, 4));
			assert.equal(roomFields.encrypted, true);
			const [sent] = await answered; // through _unmappedProperties_ alone
			assert.deepEqual([sent.t, sent.e2e, sent.msg, sent.content], ['e2e', 'pending', '', CONTENT]);
			assert.deepEqual(host.errors, []);
		});

	for (const { name, server, open } of FEW) {
		test(`${name}: an app whose process is killed goes on in another`, async (t) => {
			const rc = new RocketChat({ version: server });
			const host = await open(rc);
			t.after(() => host.close());
			await host.install(await packApp(PROBE));
			const [controller] = host.controllers, former = controller.deno.pid;

			const last = rc.atLeast(7, 4) ? 'runtime:restart' : 'app:initialize'; // of what the engine does then
			const restarted = new Promise((resolve) => host.on('logged', ({ method }) => method === last && resolve()));
			controller.deno.kill('SIGKILL');
			await restarted;
			assert.notEqual(controller.deno.pid, former);
			const found = new Promise((resolve) => host.once('persisted', resolve));
			const ada = rc.createUser('ada');
			rc.sendMessage(ada, { rid: rc.createRoom('p', 'room', ada)._id, msg: 'again' });
			assert.equal((await found).text, 'again');
		});

		test(`${name}: an app that cannot be made is refused, and leaves nothing running`, async () => {
			const host = await open(new RocketChat({ version: server }));
			try {
				await assert.rejects(host.install(await packApp(PROBE, { info: { classFile: 'broken.js', implements: [] } })), { message: 'Module child_process is not allowed' });
			} finally {
				await host.close();
			}
			assert.deepEqual(host.controllers.map(({ deno }) => deno), [undefined]); // the engine's way to say that the process is gone
		});
	}
});
