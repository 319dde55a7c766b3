// The client's cases (client/*.mjs) under every runtime of runtimes.mjs, each with a daemon of its own. A runtime is a test, a case a subtest.
import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ALL, encryptFor, newApp } from '../e2e/lib/actors.mjs';
import { startDaemon } from '../e2e/lib/daemon.mjs';
import * as rc from '../e2e/lib/rc.mjs';
import { SHIM, RUNTIMES, start } from './runtimes.mjs';

const MAIN = fileURLToPath(new URL('client/main.mjs', import.meta.url));
const ONLY = process.env.E2EED_RUNTIME; // a part of a runtime's name: while you work
const SAID = { msg: 'hello ☃', mentions: [] };

const listening = (server, ...where) => new Promise((resolve) => server.listen(...where, () => resolve(server)));

// A port that was somebody's a moment ago, so that nobody listens there.
async function closedPort() {
	const server = await listening(createServer(), 0, '127.0.0.1');
	const { port } = server.address();
	await new Promise((resolve) => server.close(resolve));
	return port;
}

// A socket file that nobody listens at.
async function deadSocket(path) {
	const server = await listening(createServer(), `${path}.live`);
	renameSync(`${path}.live`, path);
	await new Promise((resolve) => server.close(resolve));
	return path;
}

async function newAppWithContent(daemon, admin) {
	const app = await newApp(daemon, admin);
	const { content } = await encryptFor(app, SAID);
	const { appId, token, roomId } = app;
	return { appId, token, roomId, content, said: SAID };
}

// What is done for the sandboxed side: a daemon at a path and at TCP, a second one at an abstract socket and at TCP.
class Host {
	#daemons = [];

	static async start() {
		const host = new Host();
		host.daemon = await host.#start({ tcp: `127.0.0.1:${await closedPort()}` }); // the same port after a restart
		host.admin = await host.daemon.admin();
		return host;
	}

	async #start(listen) {
		const daemon = await startDaemon({ config: { listen } });
		this.#daemons.push(daemon);
		return daemon;
	}

	async setUp() {
		const abstract = await this.#start({ app_socket: `@e2eed-test-${rc.uuid()}`, tcp: '127.0.0.1:0' });
		const { appId, token } = await newAppWithContent(abstract, await abstract.admin());
		return {
			app: await newAppWithContent(this.daemon, this.admin),
			where: {
				unix: this.daemon.appSocket, port: this.daemon.tcpPort,
				abstract: abstract.config.listen.app_socket, abstractPort: abstract.tcpPort, abstractApp: { appId, token },
				closedPort: await closedPort(), deadSocket: await deadSocket(join(this.daemon.dir, 'dead.sock')),
			},
		};
	}

	async stop() {
		for (const daemon of this.#daemons) await daemon.stop();
	}

	answers = {
		newApp: () => newAppWithContent(this.daemon, this.admin),
		port: () => this.daemon.tcpPort,
		admin: ({ method, params }) => this.admin.call(method, params),
		newRoom: async ({ appId }) => {
			const roomId = `room-${rc.uuid()}`;
			await this.admin.call('authorizeRoom', { appId, roomId, permissions: ALL });
			return { roomId };
		},
		identity: async () => ({ publicKey: (await rc.makeIdentity()).publicText }),
		otherDaemon: async () => (await this.#start({ tcp: '127.0.0.1:0' })).tcpPort,
		restart: async () => {
			await this.daemon.restart();
			this.admin = await this.daemon.admin();
		},
		kill: async () => {
			await this.daemon.kill();
		},
		start: async () => {
			await this.daemon.start();
			this.admin = await this.daemon.admin();
		},
	};
}

async function* linesOf(stream) {
	let unread = '';
	for await (const text of stream.setEncoding('utf8')) {
		const lines = (unread + text).split('\n');
		unread = lines.pop();
		yield* lines;
	}
	if (unread) yield unread;
}

async function runIn(runtime, t) {
	const host = await Host.start();
	const child = start(runtime, MAIN);
	const tell = (line) => child.stdin.write(`${JSON.stringify(line)}\n`);
	const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
	let words = '', done = false;
	child.stderr.setEncoding('utf8').on('data', (text) => (words += text));
	child.stdin.on('error', () => {}); // it has ended, and says why
	try {
		tell({
			form: runtime.form, lets: runtime.lets, inDeno: runtime.name.startsWith('Deno'),
			...(runtime.form === 'cjs' && { clientText: readFileSync(join(SHIM, 'dist/index.js'), 'utf8') }),
			...await host.setUp(),
		});
		for await (const text of linesOf(child.stdout)) {
			const line = JSON.parse(text);
			if (line.done) done = true;
			else if (line.ask) {
				const outcome = await Promise.resolve(host.answers[line.ask](line.params)).then((result) => ({ result }), ({ message }) => ({ error: message }));
				tell({ id: line.id, ...outcome });
			} else
				await t.test(line.name, () => {
					if (line.error) assert.fail(line.error);
				});
		}
		assert.deepEqual(await ended, { code: 0, signal: null }, words);
		assert.ok(done, words);
	} finally {
		child.kill('SIGKILL');
		await host.stop();
	}
}

describe('the client', { concurrency: 2, timeout: 600_000 }, () => {
	for (const runtime of RUNTIMES) if (!ONLY || runtime.name.includes(ONLY)) test(runtime.name, (t) => runIn(runtime, t));
});
