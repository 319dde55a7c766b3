// Where secrets are in the daemon's memory, as the kernel shows it: in the arena and nowhere else. The memory is searched for any
// eight bytes of each secret, with connections open, after they have closed, and in what the kernel would write into a core file.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { newApp, refused } from '../e2e/lib/actors.mjs';
import * as rc from '../e2e/lib/rc.mjs';
import { atRest, load, noteKeystore } from './lib/load.mjs';
import { describe as listing, isArena, isSecretmem, mappings, searchProcess } from './lib/procmem.mjs';
import { dumpCore, startScene } from './lib/scene.mjs';
import { Secrets, search } from './lib/secrets.mjs';

// protected: what getStatus calls memory.mlock; locked: whether the arena's pages must be
const SCENES = [
	{ title: 'an ordinary user with memfd_secret', protected: 'arena', locked: true },
	{ title: 'an ordinary user without memfd_secret', secretmem: false, protected: 'arena', locked: true },
	{ title: 'an ordinary user who may lock next to nothing', limit: 65536, protected: 'none', locked: false },
	{ title: 'a user who may lock all memory', user: 'root', secretmem: false, protected: 'all', locked: true },
];

const isPlaintext = (hit) => hit.what.startsWith('plaintext');
const none = (hits, where) => assert.equal(hits.length, 0, `${where}: ${listing(hits)}`);

for (const scene of SCENES) {
	describe(scene.title, () => {
		let daemon, admin, secrets, apps;

		before(async () => {
			daemon = await startScene(scene);
			admin = await daemon.admin();
			secrets = new Secrets();
			apps = await load(daemon, admin, secrets);
		}, { timeout: 300_000 });
		after(() => daemon?.stop());

		// Secret memory cannot be searched, so there the other tests tell where keys are not, and this one tells nothing.
		test('the search finds what is there', { skip: scene.secretmem !== false && scene.locked }, () => {
			const found = new Set(searchProcess(daemon.pid, secrets).hits.map(({ owner, what }) => `${owner}: ${what}`));
			for (const { appId } of apps) {
				for (const what of ['p as words', 'q as words', 'dp as words', 'token', 'room key', 'room key as base64url'])
					assert.ok(found.has(`${appId}: ${what}`), `${appId}: ${what} was not found, though the daemon works with it`);
			}
		});

		test('memory is protected as far as it was allowed', async () => {
			const { memory, problems } = await admin.call('getStatus');
			assert.equal(memory.mlock, scene.protected);
			assert.equal(problems.length, scene.locked ? 0 : 1);
			const arena = mappings(daemon.pid).filter(isArena).filter((m) => m.readable);
			assert.ok(arena.length > 0);
			assert.equal(arena.every(isSecretmem), scene.secretmem !== false && scene.locked);
			for (const m of arena) assert.equal(m.flags.has('lo'), scene.locked, [...m.flags].join(' '));
			for (const m of arena) assert.ok(m.flags.has('dd'), [...m.flags].join(' '));
		});

		const nothingOutside = (when) => {
			const { hits, searched } = searchProcess(daemon.pid, secrets);
			assert.ok(searched > 1 << 20);
			none(hits.filter((hit) => !isArena(hit.mapping) || isPlaintext(hit)), when);
		};

		test('with connections open, secrets are in the arena alone and plaintext is nowhere', () => nothingOutside('open'));

		test('a core file holds none', () => {
			const core = readFileSync(dumpCore(daemon.pid, daemon.dir));
			assert.ok(core.length > 1 << 20);
			none(search(secrets, core), 'core');
		});

		test('with connections closed, the same', async () => {
			for (const { clients } of apps) for (const client of clients) await client.close();
			await atRest(admin, 1);
			nothingOutside('closed');
		});

		test('after a restart, the same: what a replay leaves', async () => {
			await daemon.restart();
			admin = await daemon.admin();
			noteKeystore(daemon, secrets);
			await atRest(admin, 1);
			nothingOutside('restarted');
		});

		test('of a revoked app nothing is left', async () => {
			const [{ appId }] = apps;
			const client = await daemon.app(appId, apps[0].token);
			await client.call('getStatus');
			await admin.call('revokeApp', { appId });
			await client.closed;
			await atRest(admin, 1);
			none(searchProcess(daemon.pid, secrets).hits.filter((hit) => hit.owner === appId), 'revoked');
		});

		test('in a locked daemon nothing is left', async () => {
			await admin.call('lock');
			await atRest(admin, 1);
			none(searchProcess(daemon.pid, secrets).hits, 'locked');
			await admin.call('unlock');
			const client = await daemon.app(apps[1].appId, apps[1].token);
			assert.ok((await client.call('getStatus')).roomKeys > 0);
		});
	});
}

// Stopped when the test has ended, however it did.
async function scene(t, options) {
	const daemon = await startScene(options);
	t.after(() => daemon.stop());
	return daemon;
}

test('require starts where memory can be locked', async (t) => {
	const daemon = await scene(t, { mlock: 'require' });
	const { memory, problems } = await (await daemon.admin()).call('getStatus');
	assert.deepEqual([memory.mlock, problems], ['arena', []]);
	assert.ok(memory.lockedBytes >= 1 << 20 && memory.lockedBytes <= memory.lockLimitBytes);
});

test('require refuses to start where it cannot, and says what to do', async (t) => {
	const { code, stderr } = await startScene({ mlock: 'require', limit: 65536, expectExit: true });
	assert.equal(code, 78, stderr);
	assert.match(stderr, /security\.mlock = require.*LimitMEMLOCK/);
});

test('auto starts all the same, and its status says so', async (t) => {
	const daemon = await scene(t, { limit: 65536 });
	const status = await (await daemon.admin()).call('getStatus');
	assert.deepEqual([status.memory.mlock, status.memory.lockedBytes, status.memory.lockLimitBytes], ['none', 0, 65536]);
	assert.equal(status.state, 'degraded');
	assert.match(status.problems[0], /not locked.*LimitMEMLOCK/);
});

test('off locks nothing and does not call that a problem', async (t) => {
	const daemon = await scene(t, { mlock: 'off' });
	const status = await (await daemon.admin()).call('getStatus');
	assert.deepEqual([status.memory.mlock, status.memory.lockedBytes, status.state], ['none', 0, 'ready']);
});

// One chunk of the arena fits under this limit, and a second one does not. What more is asked for is refused as what it is: a key that
// finds no room must not be called a bad one.
test('require under a limit that is used up refuses the request, and says why', { timeout: 120_000 }, async (t) => {
	const daemon = await scene(t, { mlock: 'require', limit: 1 << 20 });
	const admin = await daemon.admin();
	const app = await newApp(daemon, admin);
	for (const length of [1500, 100, 10, 1]) { // nearer and nearer, so that each part of the work is the one that finds none left
		let refusal;
		for (let i = 0; !refusal && i < 1000; i++) {
			const keys = Array.from({ length }, () => ({ e2eKeyId: rc.uuid(), E2EKey: app.key.e2eKey.slice(-344) }));
			const answer = await app.client.request({ method: 'importRoomKeys', params: { roomId: app.roomId, keys } });
			refusal = answer.error;
			assert.deepEqual(answer.result?.failed ?? [], []);
		}
		assert.equal(refusal?.data.reason, 'OVERLOADED');
	}
	await refused(admin.call('createApp', { appId: 'one-more' }), 'OVERLOADED');
	const { memory } = await admin.call('getStatus');
	assert.deepEqual([memory.mlock, memory.lockedBytes], ['arena', 1 << 20]);
});

// Stretching a passphrase takes time, and all that time it must be where the other secrets are.
test('a passphrase at work is in the arena alone', { timeout: 120_000 }, async (t) => {
	const daemon = await scene(t, { secretmem: false, threads: 1 });
	const admin = await daemon.admin(), other = await daemon.admin();
	const secrets = new Secrets();
	const pass = `pä"ss ${Buffer.from(rc.randomBytes(24)).toString('base64url')}`; // with an escape, so that it is decoded too
	const { publicText, privateText } = await rc.makeIdentity();
	const envelope = JSON.parse(await rc.sealPrivateKey(privateText, { passphrase: pass, userId: 'u', encoding: 'utf8' }));
	secrets.text('a', 'passphrase', pass.slice(4));
	await admin.call('createApp', { appId: 'a' });
	let answered = false;
	const answer = admin.request({ method: 'importIdentity', params: { appId: 'a', userId: 'u', public_key: publicText,
		private_key: JSON.stringify({ ...envelope, iterations: 2_000_000 }), passphrase: pass } }).finally(() => (answered = true));
	let outside, inside;
	do { // it is only read once a worker has taken the request
		await other.call('ping');
		const { hits } = searchProcess(daemon.pid, secrets);
		inside = hits.filter((hit) => isArena(hit.mapping));
		outside = hits.filter((hit) => !isArena(hit.mapping));
		await other.call('ping'); // an answer that was there before is noticed now
	} while ((outside.length || !inside.length) && !answered);
	none(outside, 'while the passphrase is stretched');
	assert.ok(inside.length > 0 && !answered, 'the passphrase was not found at work');
	assert.equal((await answer).error.data.reason, 'DECRYPT_FAILED'); // as 2,000,000 rounds are not what it was sealed with
});
