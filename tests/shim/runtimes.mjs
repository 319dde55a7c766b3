// The runtimes that the client meets, and how each is started: plainly, or with the very flags that Rocket.Chat starts an app's process with.
//
//   for (const runtime of RUNTIMES) start(runtime, script)   -> the child process; its stdin and stdout are pipes
//
// `lets` says what a runtime lets through: unix (by path), abstract, tcp (listening included). Rocket.Chat gives its Deno processes the net
// where the app's manifest lists `networking` or lists nothing; its Node process has no such flag, and Node asks for one since 25.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { denoProgram, hasDeno, nodeProgram } from './programs.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
export const SHIM = join(HERE, '../../shim');
const READABLE = [join(HERE, 'client'), join(SHIM, 'dist')]; // where a script and what it imports may lie; no socket does

const EVERYTHING = { unix: true, abstract: true, tcp: true };
const NOTHING = { unix: false, abstract: false, tcp: false };

const denoFolder = mkdtempSync(join(tmpdir(), 'e2eed-deno-'));
process.on('exit', () => rmSync(denoFolder, { recursive: true, force: true }));

const node = (version, flags = [], lets = EVERYTHING) => ({
	name: ['Node', version, ...flags].join(' '), form: flags.length ? 'cjs' : 'esm', lets,
	program: () => nodeProgram(version),
	args: flags.length ? [...flags, ...READABLE.map((folder) => `--allow-fs-read=${folder}`)] : [],
	env: {},
});

const deno = (version, flags, lets) => ({
	name: `Deno ${version} ${flags.includes('--allow-all') ? '--allow-all' : flags.includes('--allow-net') ? 'with networking' : 'without networking'}`,
	form: flags.includes('--allow-all') ? 'esm' : 'cjs', lets,
	program: () => denoProgram(version),
	args: ['run', ...flags],
	env: { DENO_DIR: denoFolder },
});
const SANDBOX = ['--cached-only', `--allow-read=${READABLE.join(',')}`, '--allow-env=NODE_EXTRA_CA_CERTS'];
const sandboxes = (version, lets) => !hasDeno(version) ? [] : [deno(version, [...SANDBOX, '--allow-net'], lets), deno(version, SANDBOX, NOTHING)];

/** form: how the script gets the client: `esm` imports it, `cjs` is given its text, to be run where only the sandbox's modules can be required */
export const RUNTIMES = [
	node('18', [], { ...EVERYTHING, abstract: false }), // its libuv does not know them
	node('20'),
	{ ...node('20'), name: 'Node 20 CommonJS', form: 'cjs' },
	node('22'),
	node('20', ['--experimental-permission']),
	node('22', ['--permission']),
	node('24', ['--permission']),
	...(process.arch === 'x64' ? [node('25', ['--permission'], NOTHING), node('25', ['--permission', '--allow-net'])] : []), // no other is on npm
	...sandboxes('1', { unix: false, abstract: false, tcp: true }), // 1.46.3: the oldest on npm; Rocket.Chat 7 ships 1.37 to 1.43
	...sandboxes('2.0', { unix: false, abstract: false, tcp: true }),
	...sandboxes('2.3', { unix: false, abstract: false, tcp: true }), // as Rocket.Chat 8.4 asks for
	...sandboxes('2', { unix: false, abstract: true, tcp: true }), // the newest
	deno('2', ['--allow-all'], EVERYTHING),
];

/** Starts @script, a file in client/, under @runtime. */
export function start(runtime, script) {
	const program = runtime.program();
	assert.ok(script.startsWith(join(HERE, 'client')), 'a sandbox reads nothing else');
	return spawn(program, [...runtime.args, script], { env: { PATH: process.env.PATH, ...runtime.env }, stdio: ['pipe', 'pipe', 'pipe'] });
}
