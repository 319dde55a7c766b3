// Keys of files in the daemon's memory: in the arena while the file is open, and nowhere once it is closed, its connection has ended,
// or the daemon is locked.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { newApp, refused } from '../e2e/lib/actors.mjs';
import * as rc from '../e2e/lib/rc.mjs';
import { atRest } from './lib/load.mjs';
import { describe as listing, isArena, searchProcess } from './lib/procmem.mjs';
import { startScene } from './lib/scene.mjs';
import { Secrets } from './lib/secrets.mjs';

// No secret memory: that cannot be searched, and so would hide what is left.
for (const scene of [{ title: 'an ordinary user' }, { title: 'a user who may lock all memory', user: 'root' }]) {
	describe(`keys of files: ${scene.title}`, { timeout: 300_000 }, () => {
		let daemon, admin, app, secrets, connections;
		before(async () => {
			daemon = await startScene({ ...scene, secretmem: false });
			admin = await daemon.admin();
			app = await newApp(daemon, admin);
			connections = 2;
		});
		after(() => daemon?.stop());

		const note = (owner, { k }) => {
			secrets.text(owner, 'key as base64url', k);
			secrets.aesKey(owner, 'key', Buffer.from(k, 'base64url'));
		};

		// One file each way, with a chunk that ends within a block, on a connection of its own: { client, ids }
		async function openBoth() {
			secrets = new Secrets();
			const client = await daemon.app(app.appId, app.token);
			const { roomId } = app;
			const plain = new Uint8Array(randomBytes(300_011));
			const file = await rc.encryptFile('x', plain);
			secrets.add('either', 'plaintext', plain.subarray(0, 4000));
			secrets.add('either', 'plaintext', plain.subarray(-4000));
			secrets.text('either', 'plaintext as base64', rc.toBase64(plain.subarray(0, 3000)));
			const read = await client.call('fileOpen', { roomId, mode: 'decrypt', key: file.key, iv: file.iv, sha256: file.sha256 });
			const written = await client.call('fileOpen', { roomId, mode: 'encrypt', name: 'x' });
			note('read', file.key);
			note('written', written.key);
			await client.call('fileUpdate', { fileId: read.fileId, data: rc.toBase64(file.cipher) });
			await client.call('fileUpdate', { fileId: written.fileId, data: rc.toBase64(plain) });
			await atRest(admin, connections + 1);
			return { client, ids: [read.fileId, written.fileId] };
		}

		const hits = () => searchProcess(daemon.pid, secrets).hits;
		const none = (found, when) => assert.equal(found.length, 0, `${when}: ${listing(found)}`);

		test('open: in the arena alone', async () => {
			const { client, ids } = await openBoth();
			const found = hits();
			none(found.filter((hit) => !isArena(hit.mapping)), 'open');
			for (const owner of ['read', 'written'])
				assert.ok(found.some((hit) => hit.owner === owner), `the key of the file that is ${owner} was not found, though it is at work`);
			for (const fileId of ids) await client.call('fileClose', { fileId });
			await client.close();
			await atRest(admin, connections);
		});

		test('closed: nowhere', async () => {
			const { client, ids } = await openBoth();
			for (const fileId of ids) await client.call('fileClose', { fileId });
			await atRest(admin, connections + 1);
			none(hits(), 'closed');
			await client.close();
			await atRest(admin, connections);
		});

		test('its hash differs: nowhere', async () => {
			const { client, ids: [fileId, other] } = await openBoth();
			await client.call('fileUpdate', { fileId, data: 'AA==' });
			await refused(client.call('fileClose', { fileId }), 'HASH_MISMATCH');
			await atRest(admin, connections + 1);
			none(hits().filter((hit) => hit.owner === 'read'), 'refused');
			await client.call('fileClose', { fileId: other });
			await client.close();
			await atRest(admin, connections);
		});

		test('the connection has ended: nowhere', async () => {
			const { client } = await openBoth();
			await client.close();
			await atRest(admin, connections);
			none(hits(), 'ended');
		});

		test('the room was taken away: nowhere, once the app has noticed', async () => {
			const { client, ids } = await openBoth();
			const { appId, roomId } = app;
			await admin.call('deauthorizeRoom', { appId, roomId });
			for (const fileId of ids) await refused(client.call('fileClose', { fileId }), 'ROOM_NOT_AUTHORIZED');
			await atRest(admin, connections + 1);
			none(hits(), 'deauthorized');
			await admin.call('authorizeRoom', { appId, roomId, permissions: ['read', 'write'] });
			await client.close();
			await atRest(admin, connections);
		});

		test('locked: nowhere, with the connection open', async () => {
			const { client, ids: [fileId] } = await openBoth();
			await admin.call('lock');
			await atRest(admin, connections + 1);
			none(hits(), 'locked');
			await admin.call('unlock');
			await refused(client.call('fileClose', { fileId }), 'NOT_FOUND');
		});
	});
}
