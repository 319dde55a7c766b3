// The npm package as it would be published: what is in it, that its types resolve however they are looked for, what it weighs and needs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { SHIM } from './runtimes.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SMALL = 40_000;
const run = promisify(execFile);
const bin = (name) => join(HERE, 'node_modules/.bin', name);

// What a program that ends with a status other than 0 has printed is why.
const runs = (program, args, options) =>
	run(program, args, options).then(({ stdout }) => stdout, (error) => assert.fail(`${program} ${args.join(' ')}:\n${error.stdout}${error.stderr}`));

const textOf = (...path) => readFileSync(join(SHIM, ...path), 'utf8');

describe('the npm package', { timeout: 300_000 }, () => {
	let dir, tarball, files, unpacked;
	const manifest = JSON.parse(textOf('package.json'));

	before(async () => {
		dir = mkdtempSync(join(tmpdir(), 'e2eed-package-'));
		const [packed] = JSON.parse((await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dir], { cwd: SHIM })).stdout);
		tarball = join(dir, packed.filename);
		files = packed.files.map(({ path }) => path).sort();
		await run('tar', ['-xzf', tarball, '-C', dir]);
		unpacked = join(dir, 'package');
	});
	after(() => rmSync(dir, { recursive: true, force: true }));

	test('holds what is used, and nothing else', () => {
		const sources = readdirSync(join(SHIM, 'src'), { recursive: true }).map(String).filter((name) => name.endsWith('.ts')).map((name) => name.replace(/\.ts$/, ''));
		const entries = ['index', 'apps-engine/index'];
		assert.deepEqual(files, [
			'LICENSE', 'README.md', 'apps-engine/package.json', 'package.json',
			...entries.flatMap((name) => [`dist/${name}.js`, `dist/${name}.mjs`]),
			...sources.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.d.mts`]),
		].sort());
	});

	test('has no dependencies, and one version', () => {
		assert.deepEqual(manifest.dependencies ?? {}, {});
		assert.deepEqual(Object.keys(manifest.peerDependencies), Object.keys(manifest.peerDependenciesMeta).filter((name) => manifest.peerDependenciesMeta[name].optional));
		assert.equal(textOf('src/version.ts').match(/VERSION = '(.*)'/)[1], manifest.version);
		assert.equal(textOf('../Makefile').match(/^VERSION := (.*)$/m)[1], manifest.version);
	});

	test('publint and attw find nothing', async () => {
		await runs(bin('publint'), ['run', '--strict', tarball]);
		await runs(bin('attw'), [tarball]); // under node10, node16 from CommonJS and from ESM, bundler
	});

	for (const [name, { file = 'consumer.ts', module, moduleResolution }] of Object.entries({
		'node16 from CommonJS': { file: 'consumer.cts', module: 'node16', moduleResolution: 'node16' },
		'node16 from ESM': { file: 'consumer.mts', module: 'node16', moduleResolution: 'node16' },
		bundler: { module: 'esnext', moduleResolution: 'bundler' },
		'classic node, as Rocket.Chat\'s compiler': { module: 'commonjs', moduleResolution: 'node10' },
	}))
		test(`types: ${name}`, async () => {
			const app = mkdtempSync(join(dir, 'consumer-'));
			const modules = join(app, 'node_modules');
			mkdirSync(join(modules, '@types'), { recursive: true });
			cpSync(unpacked, join(modules, 'e2eed-client'), { recursive: true });
			symlinkSync(join(HERE, 'node_modules/@types/node'), join(modules, '@types/node'));
			symlinkSync(join(SHIM, 'node_modules/@rocket.chat'), join(modules, '@rocket.chat'));
			copyFileSync(join(HERE, 'consumer/consumer.ts'), join(app, file));
			writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({
				compilerOptions: { target: 'es2022', module, moduleResolution, strict: true, noEmit: true, skipLibCheck: false, types: ['node'], lib: ['es2022'] },
				files: [file],
			}));
			await runs(bin('tsc'), ['-p', app]);
		});

	for (const entry of ['index', 'apps-engine/index'])
		test(`${entry}: is small, and needs only net and crypto`, async () => {
			for (const [extension, prefix] of [['js', ''], ['mjs', 'node:']]) {
				const { outputFiles: [{ contents }], metafile } = await build({
					entryPoints: [join(unpacked, `dist/${entry}.${extension}`)], bundle: true, minify: true, write: false, metafile: true, platform: 'node',
					external: [`../index.${extension}`], format: extension === 'js' ? 'cjs' : 'esm', logLevel: 'silent',
				});
				assert.ok(contents.length < SMALL, `${contents.length} bytes, minified`);
				const needs = Object.values(metafile.outputs)[0].imports.map(({ path }) => path);
				const allowed = [`${prefix}net`, `${prefix}crypto`, ...(entry === 'index' ? [] : [`../index.${extension}`])];
				assert.deepEqual(needs.filter((name) => !allowed.includes(name)), []);
			}
			const text = readFileSync(join(unpacked, `dist/${entry}.js`), 'utf8');
			assert.doesNotMatch(text, /\bglobalThis\b/, 'apps have none');
			assert.doesNotMatch(text, /["']node:/, 'apps cannot require it under that name');
		});

	test('both forms give the same names, one E2eedError each, and open nothing when they are loaded', async () => {
		const cjs = join(unpacked, 'dist'), require = createRequire(join(unpacked, 'package.json'));
		const names = (module) => Object.keys(module).filter((name) => name !== 'default' && name !== 'module.exports').sort();
		for (const entry of ['index', 'apps-engine/index']) {
			const [common, esm] = [require(join(cjs, `${entry}.js`)), await import(join(cjs, `${entry}.mjs`))];
			assert.deepEqual(names(esm), names(common));
			assert.ok(names(esm).includes('E2eedError'));
		}
		assert.equal(require(join(cjs, 'index.js')).E2eedError, require(join(cjs, 'apps-engine/index.js')).E2eedError);
		assert.equal((await import(join(cjs, 'index.mjs'))).E2eedError, (await import(join(cjs, 'apps-engine/index.mjs'))).E2eedError);
		const loads = `const net = require('net'); for (const name of Object.keys(net)) net[name] = () => { throw new Error(name); };
			for (const entry of ['index', 'apps-engine/index']) require(${JSON.stringify(cjs)} + '/' + entry + '.js');`;
		await runs(process.execPath, ['-e', loads]); // which ends, too: a timer would keep the process
	});
});
