// The Node runtime of Rocket.Chat, as far as an app can tell: node_runtime.cjs under the flags that the server gives it, and over it the same bridges
// that the Deno hosts have.
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bridgeMethods } from './bridges.mjs';
import { messageToApp } from './convert.mjs';
import { engineOf } from './prepare.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const AdmZip = createRequire(join(engineOf('7.9'), 'package.json'))('adm-zip');

// Emits: persisted(data), logged({ method, args }).
export class NodeHost extends EventEmitter {
	appUsers = new Map();
	persistence = new Map();
	processors = new Map();
	jobs = [];
	logs = [];
	statuses = [];
	settings = new Map();
	errors = [];
	#serial = 0;
	#waiting = new Map();

	// @node: the program; @flags: instead of those of the runtime (the permission model is spelt differently in Node 20).
	static async open(rc, { node = process.execPath, environment = {}, serverSettings = {}, networking = true } = {}) {
		const host = Object.assign(new NodeHost(), { rc, node, environment, serverSettings, ssrfAllowlist: [], networking });
		host.bridges = bridgeMethods(host);
		rc.on('messageSaved', (host.saved = (message) => host.#fire(message.t && rc.atLeast(7, 4) ? 'executePostSystemMessageSent' : 'executePostMessageSent', message)));
		rc.on('messageUpdated', (host.updated = (message) => host.#fire('executePostMessageUpdated', message)));
		return host;
	}

	#fire(method, message) {
		if (this.app) this.#call('listener', method, messageToApp(this.rc, message)).catch((error) => this.errors.push(error));
	}

	#call(name, ...args) {
		return new Promise((resolve, reject) => {
			this.#waiting.set(++this.#serial, { resolve, reject });
			this.process.send({ call: this.#serial, name, args });
		});
	}

	async #serve({ ask, bridge, method, args }) {
		try {
			let result;
			if (bridge === 'settings') result = this.#setting(method, args[0]);
			else {
				const last = { getAppUser: [this.info.id], call: [] }[method] ?? [this.info.id];
				result = await this.bridges[bridge][method](...args, ...last);
			}
			this.process.send({ answer: ask, result });
		} catch (error) {
			this.process.send({ answer: ask, error: error.message });
		}
	}

	#setting(method, given) {
		if (method === 'provide') return void this.settings.set(given.id, { ...given, value: given.value ?? given.packageValue });
		const setting = this.settings.get(given);
		return method === 'value' ? setting?.value ?? setting?.packageValue : setting;
	}

	async install(zip, { settings = {} } = {}) {
		const entries = new AdmZip(zip);
		this.info = JSON.parse(entries.readAsText('app.json'));
		const major = Number(/\d+/.exec(await version(this.node)));
		const flags = [major < 22 ? '--experimental-permission' : '--permission', `--allow-fs-read=${here}*`, `--allow-fs-read=${engineOf('7.9')}/*`, ...(major >= 25 && this.networking ? ['--allow-net'] : [])];
		this.process = spawn(this.node, [...flags, '--no-warnings', join(here, 'node_runtime.cjs')], { env: { PATH: process.env.PATH }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'], serialization: 'advanced' });
		this.process.on('message', (message) => {
			if (message.ask) return this.#serve(message);
			if (message.log) {
				this.rc.watch.look(message.log, "an app's log");
				this.logs.push(message.log);
				return this.emit('logged', message.log);
			}
			const { resolve, reject } = this.#waiting.get(message.answer);
			this.#waiting.delete(message.answer);
			return message.error === undefined ? resolve(message.result) : reject(new Error(message.error));
		});
		await this.bridges.User.create({ username: `${this.info.nameSlug}.bot` }, this.info.id);
		await this.#call('construct', { source: entries.readAsText(this.info.classFile), info: this.info, engineFolder: engineOf('7.9') });
		await this.#call('initialize');
		for (const [id, value] of Object.entries(settings)) {
			if (!this.settings.has(id)) throw new Error(`the app has no setting ${id}`);
			this.settings.get(id).value = value;
		}
		if (!(await this.#call('onEnable'))) throw new Error('the app does not want to be enabled');
		this.app = this.info.id;
		return this.app;
	}

	runJob(appId, id) {
		return this.#call('job', id);
	}

	async close() {
		this.rc.off('messageSaved', this.saved);
		this.rc.off('messageUpdated', this.updated);
		if (!this.process || this.process.exitCode !== null) return;
		if (this.app) await this.#call('onDisable');
		this.app = undefined;
		const ended = once(this.process, 'exit');
		this.process.kill();
		await ended;
	}
}

async function version(node) {
	const process = spawn(node, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] });
	let text = '';
	for await (const chunk of process.stdout) text += chunk;
	return text;
}
