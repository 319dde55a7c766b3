// Makes the engines that npm has installed runnable without a network: what their Deno runtime imports goes into Deno's cache, as it does when
// Rocket.Chat's image is built. Of the runtime itself nothing is changed but its configuration: where the import map points, and that no lock file is kept.
//
// The package was built to be run out of Rocket.Chat's own tree: src/ is not in it, and JSR is out of reach here. So the import map gets the three functions
// that the runtime takes from there (std/), and the one module that it takes from src/ is made of the package's own JavaScript.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { denoProgram, hasDeno } from '../programs.mjs';

const here = dirname(fileURLToPath(import.meta.url));

// With the Denos that can run them, as far as there are such for this processor.
export const ENGINES = { '7.0': ['1'].filter(hasDeno), '7.9': ['2.0', '2.3', '2'].filter(hasDeno) };

const installed = (version) => join(here, version, 'node_modules', '@rocket.chat', 'apps-engine');
// The oldest runs its runtime out of its own folder, which a Deno newer than the 1.37 of its day does nowhere below a node_modules: so it is moved out.
export const engineOf = (version) => (version === '7.0' ? join(here, version, 'unpacked', 'apps-engine') : installed(version));
export const cacheOf = (version, deno) => (version === '7.0' ? join(engineOf(version), '.deno-cache') : join(here, version, 'node_modules', '.deno-cache', deno));

const STD = { '@std/io': 'io.ts', '@std/streams': 'streams.ts', '@std/cli/parse-args': 'parse_args.ts', 'https://deno.land/std@0.216.0/io/write_all.ts': 'io.ts' };

function pointImports(version) {
	const engine = engineOf(version), path = join(engine, 'deno-runtime', 'deno.jsonc');
	const config = JSON.parse(readFileSync(path, 'utf8'));
	for (const [name, file] of Object.entries(STD)) config.imports[name] = join(here, 'std', file);
	config.lock = false; // it would name what was just replaced, and each Deno would write it in a form that the older ones do not read
	writeFileSync(path, JSON.stringify(config, null, '\t'));
	if (version === '7.0') return;
	const source = join(engine, 'src', 'definition', 'exceptions');
	mkdirSync(source, { recursive: true });
	writeFileSync(join(source, 'AppsEngineException.ts'),
		"import { createRequire } from 'node:module';\nexport const { AppsEngineException } = createRequire(import.meta.url)('../../../definition/exceptions/AppsEngineException.js');\n");
}

for (const [version, denos] of process.argv[1] === fileURLToPath(import.meta.url) ? Object.entries(ENGINES) : []) {
	if (engineOf(version) !== installed(version)) {
		rmSync(engineOf(version), { recursive: true, force: true });
		cpSync(installed(version), engineOf(version), { recursive: true });
	}
	pointImports(version);
	const runtime = join(engineOf(version), 'deno-runtime');
	for (const deno of denos) {
		// outside of node_modules, as the engine does it for the same reason: Deno 2 runs nothing from there
		const outside = join(here, version, 'deno-runtime');
		rmSync(outside, { force: true });
		symlinkSync(runtime, outside, 'dir');
		execFileSync(denoProgram(deno), ['cache', '--quiet', `--config=${join(runtime, 'deno.jsonc')}`, join(version === '7.0' ? runtime : outside, 'main.ts')],
			{ env: { ...process.env, DENO_DIR: cacheOf(version, deno), DENO_NO_UPDATE_CHECK: '1', DENO_TLS_CA_STORE: 'system' }, stdio: ['ignore', 'ignore', 'inherit'] });
		rmSync(outside, { force: true });
	}
}
if (process.argv[1] === fileURLToPath(import.meta.url) && hasDeno('1')) {
	// where the oldest engine looks for its Deno
	const bin = join(here, '7.0', 'node_modules', 'deno-bin', 'bin');
	mkdirSync(bin, { recursive: true });
	rmSync(join(bin, 'deno'), { force: true });
	symlinkSync(denoProgram('1'), join(bin, 'deno'));
}
