// A real daemon on a folder of its own. It counts as started when it says "ready", and each one a test leaves behind is
// killed when the test process ends.
//
//   E2EED_BIN    the program (default: build/e2eed of this tree)
//   E2EED_WRAP   a command line to run it under, e.g. "valgrind -q --error-exitcode=99"
//   E2EED_CASES  how many random cases a test runs where its own measure is 1000
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from './client.mjs';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const E2EED = process.env.E2EED_BIN ?? join(ROOT, 'build/e2eed');
const WRAP = (process.env.E2EED_WRAP ?? '').split(/\s+/).filter(Boolean);

const SCALE = Number(process.env.E2EED_CASES ?? 1000) / 1000;
export const cases = (n = 1000) => Math.max(1, Math.round(n * SCALE));

const REPORTS = /ERROR: (?:Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:|^==\d+== /m;

const running = new Set();
const folders = new Set();
process.on('exit', () => {
	for (const proc of running) proc.kill('SIGKILL');
	for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

export function temporaryFolder() {
	const dir = mkdtempSync(join(tmpdir(), 'e2eed-'));
	chmodSync(dir, 0o700);
	folders.add(dir);
	return dir;
}

export function removeFolder(dir) {
	rmSync(dir, { recursive: true, force: true });
	folders.delete(dir);
}

// { section: { key: value } } as INI text; a value of null leaves the key at the daemon's default.
export function configText(config) {
	const sections = Object.entries(config).map(([name, keys]) => {
		const lines = Object.entries(keys).filter(([, value]) => value !== null).map(([key, value]) => `${key} = ${value}`);
		return [`[${name}]`, ...lines, ''].join('\n');
	});
	return sections.join('\n');
}

const merged = (a, b) =>
	Object.fromEntries([...new Set([...Object.keys(a), ...Object.keys(b)])].map((s) => [s, { ...a[s], ...b[s] }]));

// Run the program to its end, for what needs no sockets.
export function run(args, { env = {}, wrap = [] } = {}) {
	const [file, ...rest] = [...WRAP, ...wrap, E2EED, ...args];
	const proc = spawn(file, rest, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
	let stdout = '', stderr = '';
	running.add(proc);
	proc.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
	proc.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
	return new Promise((resolve, reject) => {
		proc.once('error', reject);
		proc.once('close', (code, signal) => {
			running.delete(proc);
			resolve({ code, signal, stdout, stderr });
		});
	});
}

class Daemon {
	#exit;
	#stderr = '';
	#watchers = new Set(); // functions to call with the log so far
	#clients = new Set();

	constructor({ config, dir, env, args, wrap }) {
		this.dir = dir ?? temporaryFolder();
		this.env = env;
		this.args = args;
		this.wrap = wrap;
		this.configPath = join(this.dir, 'e2eed.conf');
		this.config = {};
		this.configure(merged({
			listen: { app_socket: join(this.dir, 'app.sock'), admin_socket: join(this.dir, 'admin.sock') },
			keystore: { path: join(this.dir, 'keystore'), key_file: join(this.dir, 'keystore.key') },
		}, config));
	}

	// Changes the configuration file; the daemon learns of it by SIGHUP or by restart().
	configure(config) {
		this.config = merged(this.config, config);
		writeFileSync(this.configPath, configText(this.config), { mode: 0o600 });
	}

	get appSocket() {
		return this.config.listen.app_socket.replace(/^@/, '\0');
	}

	get adminSocket() {
		return this.config.listen.admin_socket.replace(/^@/, '\0');
	}

	get keystorePath() {
		return this.config.keystore.path;
	}

	get pid() {
		return this.proc.pid;
	}

	// What the daemon has logged since it was started last.
	stderr() {
		return this.#stderr;
	}

	spawn() {
		const [file, ...rest] = [...WRAP, ...this.wrap, E2EED, '--config', this.configPath, ...this.args];
		this.#stderr = '';
		this.proc = spawn(file, rest, { env: { ...process.env, ...this.env }, stdio: ['ignore', 'ignore', 'pipe'] });
		const { proc } = this;
		running.add(proc);
		proc.stderr.setEncoding('utf8').on('data', (text) => {
			this.#stderr += text;
			for (const look of [...this.#watchers]) look();
		});
		this.#exit = new Promise((resolve, reject) => {
			proc.once('error', reject);
			proc.once('close', (code, signal) => {
				running.delete(proc);
				resolve({ code, signal, stderr: this.#stderr });
			});
		});
	}

	// Resolves with the match when the log holds @pattern; rejects when the daemon ends without it.
	logged(pattern) {
		return new Promise((resolve, reject) => {
			const look = () => {
				const match = this.#stderr.match(pattern);
				if (match) {
					this.#watchers.delete(look);
					resolve(match);
				}
				return match;
			};
			if (look()) return;
			this.#watchers.add(look);
			this.#exit.then(({ code, signal, stderr }) => {
				this.#watchers.delete(look);
				reject(new Error(`e2eed ended (${signal ?? code}) without logging ${pattern}:\n${stderr}`));
			}, reject);
		});
	}

	exited() {
		return this.#exit;
	}

	async start() {
		this.spawn();
		await this.logged(/\bready\b/);
		const tcp = this.#stderr.match(/listening on tcp \S*:(\d+)/);
		this.tcpPort = tcp ? Number(tcp[1]) : undefined;
		return this;
	}

	async connect(target) {
		const client = await Client.connect(target);
		this.#clients.add(client);
		client.closed.then(() => this.#clients.delete(client));
		return client;
	}

	// A connection to the app socket that has said nothing yet.
	stranger() {
		return this.connect(this.appSocket);
	}

	admin() {
		return this.connect(this.adminSocket);
	}

	async app(appId, token) {
		const client = await this.stranger();
		await client.authenticate(appId, token);
		return client;
	}

	signal(name) {
		this.proc.kill(name);
	}

	noReports(stderr = this.#stderr) {
		assert.doesNotMatch(stderr, REPORTS, 'a sanitizer or valgrind reported something');
	}

	// SIGTERM, and all that is expected of a clean end.
	async terminate(signal = 'SIGTERM') {
		this.proc.kill(signal);
		const exit = await this.#exit;
		this.#dropClients();
		this.noReports(exit.stderr);
		assert.deepEqual({ code: exit.code, signal: exit.signal }, { code: 0, signal: null }, `exit status; log:\n${exit.stderr}`);
		return exit;
	}

	// Ends the daemon and removes its folder.
	async stop() {
		try {
			if (this.#isRunning()) await this.terminate();
			else this.noReports();
		} finally {
			await this.kill();
			removeFolder(this.dir);
		}
	}

	async kill() {
		if (this.#isRunning()) this.proc.kill('SIGKILL');
		const exit = await this.#exit;
		this.#dropClients();
		return exit;
	}

	// Starts again on the same folder, after a clean end if it still runs.
	async restart({ config = {} } = {}) {
		if (this.#isRunning()) await this.terminate();
		else this.noReports();
		this.configure(config);
		return this.start();
	}

	#isRunning() {
		return running.has(this.proc);
	}

	#dropClients() {
		for (const client of this.#clients) client.socket.destroy();
	}
}

// expectExit: the daemon is expected to end by itself; gives { code, signal, stderr } and removes the folder, unless @dir
// was given. wait: false returns before it is ready.
export async function startDaemon({ config = {}, dir, env = {}, args = [], wrap = [], wait = true, expectExit = false } = {}) {
	const daemon = new Daemon({ config, dir, env, args, wrap });
	if (expectExit) {
		daemon.spawn();
		const started = daemon.logged(/\bready\b/).then(() => true, () => false);
		if (await started) {
			await daemon.kill();
			throw new Error(`e2eed was expected to end, but it runs:\n${daemon.stderr()}`);
		}
		const exit = await daemon.exited();
		daemon.noReports();
		if (!dir) removeFolder(daemon.dir);
		return exit;
	}
	if (!wait) {
		daemon.spawn();
		return daemon;
	}
	return daemon.start();
}

// A daemon with an admin's connection for as long as @body takes.
export async function withDaemon(options, body) {
	const daemon = await startDaemon(options);
	try {
		await body(daemon, await daemon.admin());
	} finally {
		await daemon.stop();
	}
}
