// Where npm has put the programs that apps run in: each package holds one version for one platform, and no install script is run. Of some versions there is
// none for every platform; package.json must not name what does not exist, or `npm ci` finds the lock file wanting.
import { accessSync, chmodSync, constants, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');

const denoPath = (version) => join(modules, `deno-${version}-${process.arch}`, 'deno');
export const hasDeno = (version) => existsSync(denoPath(version));

export function denoProgram(version) {
	const program = denoPath(version);
	try {
		accessSync(program, constants.X_OK);
	} catch {
		chmodSync(program, 0o755); // the oldest comes without
	}
	return program;
}

export const nodeProgram = (version) => join(modules, `node-${version}-${process.arch}`, 'bin', 'node');
