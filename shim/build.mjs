// Makes dist/: for each entry CommonJS and ESM, with the types of both. The entry for apps takes the other one as it lies beside it,
// so that there is one E2eedError, whichever way it came.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');

// Rocket.Chat's Deno sandbox knows 'net' and not 'node:net'; Deno itself, in ESM, the other way round.
const surroundings = (format) => ({
	name: 'surroundings',
	setup({ onResolve }) {
		onResolve({ filter: /^(net|crypto)$/ }, ({ path }) => ({ path: format === 'esm' ? `node:${path}` : path, external: true }));
		onResolve({ filter: /^\.\.\/index$/ }, () => ({ path: format === 'esm' ? '../index.mjs' : '../index.js', external: true }));
	},
});

rmSync(dist, { recursive: true, force: true });
for (const [format, extension] of [['cjs', '.js'], ['esm', '.mjs']])
	await build({
		absWorkingDir: here, entryPoints: { index: 'src/index.ts', 'apps-engine/index': 'src/apps-engine/index.ts' },
		outdir: dist, outExtension: { '.js': extension }, format, bundle: true, platform: 'neutral', target: 'es2022', charset: 'utf8',
		legalComments: 'none', plugins: [surroundings(format)], logLevel: 'warning',
	});

execFileSync(process.execPath, [createRequire(import.meta.url).resolve('typescript/bin/tsc')], { cwd: here, stdio: 'inherit' });
for (const name of readdirSync(dist, { recursive: true }).map(String).filter((file) => file.endsWith('.d.ts'))) {
	const text = readFileSync(join(dist, name), 'utf8');
	const named = (extension) => text.replace(/((?:from|import\() ?['"]\.{1,2}(?:\/[^'"]*)?)(['"])/g, (all, path, quote) => `${path}${extension}${quote}`);
	writeFileSync(join(dist, name.replace(/\.ts$/, '.mts')), named('.mjs'));
}
