// The example app's package: what is in it, the same each time; and what Rocket.Chat's own packager makes of the app.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { packExample } from '../../shim/example/package.mjs';
import { RocketChat } from './double/server.mjs';
import { EngineHost } from './engine/host.mjs';
import { packOfficially } from './official/pack.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const AdmZip = createRequire(join(root, 'tests/shim/official/package.json'))('adm-zip');
const manifestOf = (bytes) => JSON.parse(new AdmZip(bytes).readAsText('app.json'));

let zip;
before(async () => {
	zip = await packExample();
});

test('it holds the app in one file, and the manifest that a compiler writes', () => {
	const files = new AdmZip(zip.bytes);
	assert.equal(zip.name, 'encrypted-echo_0.1.0.zip');
	assert.deepEqual(files.getEntries().map(({ entryName }) => entryName), ['app.json', 'EncryptedEchoApp.js', 'icon.png', 'i18n/en.json']);
	for (const entry of files.getEntries()) assert.ok(entry.getData().length > 0); // throws where the checksum is not right
	const { classFile, implements: events, permissions } = manifestOf(zip.bytes);
	assert.equal(classFile, 'EncryptedEchoApp.js');
	assert.deepEqual(events, ['IPostMessageSent', 'IPostSystemMessageSent']);
	assert.deepEqual(permissions.map(({ name }) => name), ['networking', 'message.write', 'user.read', 'env.read', 'scheduler']);

	const code = files.readAsText('EncryptedEchoApp.js');
	const required = [...code.matchAll(/require\("([^"]+)"\)/g)].map(([, name]) => name).filter((name) => !name.startsWith('@rocket.chat/apps-engine/'));
	assert.deepEqual([...new Set(required)].sort(), ['crypto', 'net']);
	assert.ok(!code.includes('globalThis') && !code.includes(root));
	const texts = JSON.parse(files.readAsText('i18n/en.json'));
	for (const [, id] of code.matchAll(/"((?:e2eed|server)_[a-z_]+)"/g)) assert.ok(id in texts, `no text for ${id}`);
});

test('it is the same bytes each time, wherever it is made', async (t) => {
	const folder = mkdtempSync(join(tmpdir(), 'e2eed-example-'));
	t.after(() => rmSync(folder, { recursive: true, force: true }));
	cpSync(join(root, 'shim/example'), folder, { recursive: true, filter: (path) => !/node_modules|example\/dist/.test(path) });
	symlinkSync(join(root, 'shim/example/node_modules'), join(folder, 'node_modules'));
	const elsewhere = await (await import(pathToFileURL(join(folder, 'package.mjs')))).packExample();
	assert.ok(zip.bytes.equals(elsewhere.bytes));
});

test('the official packager makes a package of it that the engines enable', async (t) => {
	const official = packOfficially(zip.bytes);
	const { implements: events, permissions, classFile } = manifestOf(official);
	const ours = manifestOf(zip.bytes);
	assert.deepEqual([events, permissions], [ours.implements, ours.permissions]);
	assert.ok(new AdmZip(official).getEntry(classFile.replace(/\.ts$/, '.js')));

	for (const [version, deno] of [['7.0', '1'], ['7.9', '2']])
		await t.test(`Apps-Engine of Rocket.Chat ${version}`, async (t) => {
			const host = await EngineHost.open(new RocketChat(), { version, deno });
			t.after(() => host.close());
			const app = await host.install(official);
			assert.equal(await app.getStatus(), 'manually_enabled');
			assert.match(JSON.stringify(host.logs), /no connection to e2eed: the app has no token for e2eed/);
		});
});
