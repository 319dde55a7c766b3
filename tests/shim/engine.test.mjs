// The sandboxes that the other tests run apps in are what they claim to be: Rocket.Chat's own engine with its own Deno runtime, and the Node runtime; an app in
// each says what it sees.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RocketChat } from './double/server.mjs';
import { EngineHost } from './engine/host.mjs';
import { NodeHost } from './engine/node_host.mjs';
import { packApp } from './engine/pack.mjs';
import { fileURLToPath } from 'node:url';

const PROBE = fileURLToPath(new URL('engine/probe', import.meta.url));
const CONTENT = { algorithm: 'rc.v2.aes-sha2', kid: 'k', iv: 'i', ciphertext: 'c' };
const VARIABLE = 'RC_APPS_0D5B8A4E_6C5E_4A53_9A55_5D6F0D3C7A11_WORD';

const HOSTS = [
	{ name: 'Apps-Engine 1.46 (Rocket.Chat 7.0), Deno 1.46', server: '7.0.3', runtime: /^deno 1|hidden/, open: (rc, options) => EngineHost.open(rc, { version: '7.0', deno: '1', ...options }) },
	{ name: 'Apps-Engine 1.62 (Rocket.Chat 7.4 and later), Deno 2.0', server: '7.10.0', runtime: /^deno 2\.0/, open: (rc, options) => EngineHost.open(rc, { version: '7.9', deno: '2.0', ...options }) },
	{ name: 'Apps-Engine 1.62 (Rocket.Chat 7.4 and later), Deno 2.9', server: '7.10.0', runtime: /^deno 2\.9/, open: (rc, options) => EngineHost.open(rc, { version: '7.9', deno: '2', ...options }) },
	{ name: 'the Node runtime', server: '8.3.0', runtime: /^node/, open: (rc, options) => NodeHost.open(rc, options) },
];

describe('sandboxes', { timeout: 120_000 }, () => {
	for (const { name, server, runtime, open } of HOSTS)
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
			assert.match(its, runtime);
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
});
