// Rocket.Chat's Node runtime for apps (8.x of mid-2026, opt-in). No package has it, but it is the Deno runtime with another ground to stand on: the same
// handlers, accessors and messages. So it is made here of the runtime that the engine's package does have: its sources, bundled for Node, with four
// modules of ours in place of what knows Deno, and started with the flags of Rocket.Chat's own controller.
//
// As there: any module whose name begins with an allowed one can be required; `globalThis` is shadowed; `Buffer` is Node's own.
import { build } from 'esbuild';
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeProgram } from '../../programs.mjs';

const here = dirname(fileURLToPath(import.meta.url));

// What stands in place of which module of the Deno runtime.
const OURS = { 'lib/require.ts': 'require.mjs', 'error-handlers.ts': 'errors.mjs', 'handlers/app/construct.ts': 'construct.mjs' };

function ground(engine, std) {
	const runtime = join(engine, 'deno-runtime');
	return {
		name: 'ground',
		setup(bundler) {
			bundler.onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
				const file = OURS[relative(runtime, join(resolveDir, path))];
				return file && { path: join(here, file) };
			});
			bundler.onResolve({ filter: /^runtime\// }, ({ path }) => ({ path: join(runtime, relative('runtime', path)) }));
			bundler.onResolve({ filter: /^@std\// }, ({ path }) => ({ path: join(std, `${path.split('/').at(-1).replaceAll('-', '_')}.ts`) }));
			bundler.onResolve({ filter: /^@rocket\.chat\/apps-engine\/.*\.ts$/ }, ({ path }) => ({ path: path.replace(/\.ts$/, '.js'), external: true }));
		},
	};
}

// Builds the runtime of the engine installed at @engine into @folder. Gives the path of its main.js.
async function buildRuntime(engine, folder) {
	const outfile = join(folder, 'node-runtime', 'main.js');
	mkdirSync(dirname(outfile), { recursive: true });
	await build({
		entryPoints: [join(engine, 'deno-runtime', 'main.ts')], outfile, bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'warning',
		inject: [join(here, 'deno.mjs')], define: { ENGINE: JSON.stringify(engine) }, plugins: [ground(engine, join(here, '..', 'std'))],
		// outside of the engine's folder its own package must still be found
		banner: { js: `require = require('module').createRequire(${JSON.stringify(join(engine, 'package.json'))});` },
	});
	return outfile;
}

// Makes @manager, which has just been made of the engine installed at @engine, start its apps in Node @major.
export async function useNode(manager, { engine, folder, major }) {
	const require = createRequire(join(engine, 'package.json'));
	const { AppRuntimeManager } = require('./server/managers/AppRuntimeManager');
	const { DenoRuntimeSubprocessController } = require('./server/runtime/deno/AppsEngineDenoRuntime');
	const main = await buildRuntime(engine, folder);

	class NodeRuntimeSubprocessController extends DenoRuntimeSubprocessController {
		spawnProcess() {
			const readable = [folder, dirname(dirname(engine)), engine];
			const args = [
				major === '20' ? '--experimental-permission' : '--permission', ...readable.map((path) => `--allow-fs-read=${path}`),
				main, '--subprocess', this.getAppId(), '--spawnId', String(this.spawnId++),
			];
			this.deno = spawn(nodeProgram(major), args, { env: { PATH: process.env.PATH } }); // the name by which the class knows its process
			this.messenger.setReceiver(this.deno);
			this.livenessManager.attach(this.deno);
			this.setupListeners();
		}
	}
	manager.runtime = new AppRuntimeManager(manager, (...given) => new NodeRuntimeSubprocessController(...given));
}
