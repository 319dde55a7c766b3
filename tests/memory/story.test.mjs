// The story of an app (tests/e2e/lib/story.mjs) in a daemon whose memory can be searched: of the revoked app nothing is found.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newApp } from '../e2e/lib/actors.mjs';
import { play } from '../e2e/lib/story.mjs';
import * as rc from '../e2e/lib/rc.mjs';
import { atRest } from './lib/load.mjs';
import { describe as listing, searchProcess } from './lib/procmem.mjs';
import { startScene } from './lib/scene.mjs';
import { Secrets } from './lib/secrets.mjs';

async function scene(t) {
	const daemon = await startScene({ secretmem: false }); // secret memory cannot be searched
	t.after(() => daemon.stop());
	return daemon;
}

const find = (daemon, secrets) => searchProcess(daemon.pid, secrets).hits;
const none = (hits) => assert.equal(hits.length, 0, listing(hits));

test('the app is revoked, and nothing that it held is found', { timeout: 120_000 }, async (t) => {
	const daemon = await scene(t);
	const admin = await daemon.admin();
	const secrets = new Secrets();
	const memory = {
		async know({ token, rooms, privateText, passphrase }) {
			secrets.token('archive', token);
			for (const { jwkText } of rooms) secrets.roomKey('archive', jwkText);
			secrets.privateKey('archive', privateText);
			secrets.passphrase('archive', passphrase);
			assert.ok(find(daemon, secrets).length > 0, 'the search finds what is there');
		},
		async search() {
			await atRest(admin, 1);
			none(find(daemon, secrets));
		},
	};
	await play({ daemon, admin, connect: (appId, token) => daemon.app(appId, token), step: (text) => t.diagnostic(text), memory });
});

// @end: what ends the retired key @keyId
const ENDS = {
	'a revoked identity key': ({ admin, keyId }) => admin.call('revokeKey', { appId: 'a', keyId }),
	'an identity key whose grace was none': () => {},
	'an identity key whose grace has ended': ({ daemon }) => daemon.logged(/identity key has expired and is destroyed/),
};
const GRACE = { 'an identity key whose grace was none': { graceSeconds: 0 }, 'an identity key whose grace has ended': { graceSeconds: 1 } };

for (const [what, end] of Object.entries(ENDS)) {
	test(`${what} is not found`, { timeout: 120_000 }, async (t) => {
		const daemon = await scene(t);
		const admin = await daemon.admin();
		const secrets = new Secrets();
		const { publicText, privateText } = await rc.makeIdentity();
		await newApp(daemon, admin, { appId: 'a' });
		const private_key = await rc.sealPrivateKey(privateText, { passphrase: 'p', userId: 'u' });
		secrets.privateKey('a', privateText);
		const { keyId } = await admin.call('importIdentity', { appId: 'a', userId: 'u', public_key: publicText, private_key, passphrase: 'p' });
		assert.ok(find(daemon, secrets).length > 0, 'the search finds what is there');
		await admin.call('rotate', { appId: 'a', ...GRACE[what] });
		await end({ daemon, admin, keyId });
		await atRest(admin, 2);
		none(find(daemon, secrets));
	});
}

test('a passphrase in escrow that was replaced or taken back is not found', { timeout: 120_000 }, async (t) => {
	const daemon = await scene(t);
	const admin = await daemon.admin();
	const phrases = ['jacaranda pith oxbow', 'quincunx vellum fjord'];
	const { client: app } = await newApp(daemon, admin, { appId: 'a' });
	for (const [i, passphrase] of [...phrases, null].entries()) {
		await admin.call('setEscrow', { appId: 'a', passphrase });
		await app.call('getKeyPublication', { userId: 'u' });
		const secrets = new Secrets();
		for (const former of phrases.slice(0, i)) secrets.passphrase('a', former);
		await atRest(admin, 2);
		none(find(daemon, secrets));
		if (passphrase === null) continue;
		secrets.passphrase('a', passphrase);
		assert.ok(find(daemon, secrets).length > 0, 'the search finds what is there');
	}
});
