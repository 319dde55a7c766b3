// The sandboxes that the other tests run apps in are what they claim to be: Rocket.Chat's own engine with its own Deno runtime, and the Node runtime; an app in
// each says what it sees.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RocketChat } from './double/server.mjs';
import { packApp } from './engine/pack.mjs';
import { SANDBOXES } from './engine/sandboxes.mjs';
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
});
