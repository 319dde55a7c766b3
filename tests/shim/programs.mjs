// Where npm has put the programs that apps run in: each package holds one version for one platform, and no install script is run.
import { accessSync, chmodSync, constants } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = join(dirname(fileURLToPath(import.meta.url)), 'node_modules');

export function denoProgram(version) {
	const program = join(modules, `deno-${version}-${process.arch}`, 'deno');
	try {
		accessSync(program, constants.X_OK);
	} catch {
		chmodSync(program, 0o755); // the oldest comes without
	}
	return program;
}

export const nodeProgram = (version) => join(modules, `node-${version}-${process.arch}`, 'bin', 'node');
