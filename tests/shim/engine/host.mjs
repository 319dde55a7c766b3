// Rocket.Chat's own Apps-Engine, running apps for the double: the real AppManager with the real Deno subprocess, under exactly the flags that the engine
// gives it; or with the Node subprocess of newer servers (node/runtime.mjs). Ours are the bridges (what an app asks the server for) and the storages, in memory; logs pass the double's watch.
import { generateKeyPairSync } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { mkdtempSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bridgeMethods } from './bridges.mjs';
import { messageToApp } from './convert.mjs';
import { denoProgram } from '../programs.mjs';
import { useNode } from './node/runtime.mjs';
import { cacheOf, engineOf } from './prepare.mjs';

// The bridges under the engine's own classes; @load gives the class of a name.
function bridgesOf(host, load) {
	const bases = { InternalFederation: undefined, Internal: undefined, Listener: undefined };
	const made = Object.fromEntries(Object.entries(bridgeMethods(host)).map(([name, methods]) =>
		[name, name in bases ? methods : Object.assign(new (class extends load(`${name}Bridge`) {})(), methods)]));
	const unused = (what) => new Proxy({}, { get: (_, name) => (name === 'then' ? undefined : () => { throw new Error(`${what}.${String(name)}: the double has none`); }) });
	return new Proxy(new (class extends load('AppBridges') {})(), {
		get(target, name) {
			const [, which] = /^get(\w+)Bridge$/.exec(String(name)) ?? [];
			return which ? () => made[which] ?? unused(which) : Reflect.get(target, name);
		},
	});
}

const copy = (value) => structuredClone(value);

function storagesOf(host, { storage }) {
	const items = new Map(), sources = new Map();
	const metadata = new (class extends storage.AppMetadataStorage {
		async create(item) {
			const saved = { ...copy(item), _id: item._id ?? item.id, createdAt: new Date(), updatedAt: new Date() };
			items.set(saved.id, saved);
			return copy(saved);
		}
		async retrieveOne(id) { return items.has(id) ? copy(items.get(id)) : null; }
		async retrieveAll() { return new Map([...items].map(([id, item]) => [id, copy(item)])); }
		async retrieveAllPrivate() { return this.retrieveAll(); }
		async update(item) { return this.#put(item); }
		async remove(id) { return { success: items.delete(id) }; }
		async updatePartialAndReturnDocument(item) { return this.#put({ ...items.get(item.id ?? [...items.values()].find(({ _id }) => _id === item._id)?.id), ...item }); }
		async updateStatus(_id, status) { return this.#change(_id, (item) => { item.status = status; }); }
		async updateSetting(_id, setting) { return this.#change(_id, (item) => { item.settings[setting.id] = copy(setting); }); }
		async updateAppInfo(_id, info) { return this.#change(_id, (item) => { item.info = copy(info); }); }
		async updateMarketplaceInfo() { return true; }
		#put(item) {
			items.set(item.id, { ...copy(item), updatedAt: new Date() });
			return copy(items.get(item.id));
		}
		#change(_id, change) {
			const item = [...items.values()].find((each) => each._id === _id || each.id === _id);
			change(item);
			return true;
		}
	})('memory');
	const logs = new (class extends storage.AppLogStorage {
		async find() { return host.logs; }
		async findPaginated() { return { logs: host.logs, total: host.logs.length }; }
		async storeEntries(...given) {
			const entry = given.at(-1);
			host.rc.watch.look(entry, "an app's log");
			host.logs.push(entry);
			host.emit('logged', entry);
			return entry;
		}
		async getEntriesFor() { return host.logs; }
		async removeEntriesFor() {}
	})('memory');
	const source = new (class extends storage.AppSourceStorage {
		async store(item, zip) { sources.set(item.id, zip); return item.id; }
		async fetch(item) { return sources.get(item.id); }
		async update(item, zip) { sources.set(item.id, zip); return item.id; }
		async remove(item) { sources.delete(item.id); }
	})();
	return { metadataStorage: metadata, logStorage: logs, sourceStorage: source };
}

// Emits: persisted(data), logged(entry), which has the name of the app's method that ran.
export class EngineHost extends EventEmitter {
	appUsers = new Map();
	persistence = new Map();
	processors = new Map();
	jobs = [];
	logs = [];
	statuses = [];
	environment = {};
	serverSettings = {};
	ssrfAllowlist = [];
	errors = [];
	controllers = []; // of the apps' processes
	#underWay = new Set(); // events that apps have not handled yet
	keys = generateKeyPairSync('rsa', { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });

	// @version: '7.0' or '7.9', of the engine. @deno: the version of the Deno that it starts; @node: the major version of the Node instead.
	static async open(rc, { version = '7.9', deno = '2', node, environment = {}, serverSettings = {} } = {}) {
		const host = new EngineHost();
		const require = createRequire(join(engineOf(version), 'server', 'index.js'));
		const load = (name) => require(`./${name}`);
		host.folder = mkdtempSync(join(tmpdir(), 'e2eed-engine-'));
		mkdirSync(join(host.folder, 'bin'));
		symlinkSync(denoProgram(deno), join(host.folder, 'bin', 'deno'));
		host.formerEnvironment = { PATH: process.env.PATH, DENO_DIR: process.env.DENO_DIR };
		process.env.PATH = `${join(host.folder, 'bin')}:${process.env.PATH}`;
		process.env.DENO_DIR = cacheOf(version, deno);
		Object.assign(host, { rc, version, environment, serverSettings });
		const { AppManager } = load('AppManager');
		const { AppInterface } = require('../definition/metadata');
		host.AppManager = AppManager;
		host.manager = new AppManager({ ...storagesOf(host, { storage: load('storage') }), bridges: bridgesOf(host, (name) => load(`bridges/${name}`)[name]), tempFilePath: host.folder });
		if (node) await useNode(host.manager, { engine: engineOf(version), folder: host.folder, major: node });
		host.#watchRuntimes();
		await host.manager.load();
		rc.on('messageSaved', (host.saved = (message) => host.#fire(message.t && rc.atLeast(7, 4) ? AppInterface.IPostSystemMessageSent : AppInterface.IPostMessageSent, message)));
		rc.on('messageUpdated', (host.updated = (message) => host.#fire(AppInterface.IPostMessageUpdated, message)));
		return host;
	}

	// Keeps every controller that the engine makes, of apps that do not start as well: the engine forgets those, but goes on restarting them.
	#watchRuntimes() {
		this.manager.getRuntime().subprocesses = new Proxy({}, {
			set: (all, appId, controller) => {
				this.controllers.push(controller);
				controller.livenessManager.options.pingFrequencyInMS = 100; // the oldest engine's timer for the next ping outlives the app, by 10 s else
				return Reflect.set(all, appId, controller);
			},
		});
	}

	// As on a server, nobody waits for what apps do after the fact; only close() does.
	#fire(event, message) {
		const handled = this.manager.getListenerManager().executeListener(event, messageToApp(this.rc, message))
			.catch((error) => this.errors.push(error))
			.finally(() => this.#underWay.delete(handled));
		this.#underWay.add(handled);
	}

	// Installs and enables the app in @zip. Gives the engine's ProxiedApp.
	async install(zip, { settings = {} } = {}) {
		const { info } = await this.manager.getParser().unpackageApp(zip);
		const user = { id: 'admin', username: 'admin' };
		const installed = await this.manager.add(zip, { enable: false, permissionsGranted: info.permissions, user });
		const errors = [installed.getStorageError?.(), installed.hasStorageError?.() ? installed.getStorageError() : undefined, installed.getLicenseValidationResult?.().hasErrors].filter(Boolean);
		if (errors.length > 0) throw new Error(`the engine refuses the app: ${errors}`);
		const app = installed.getApp();
		for (const [id, value] of Object.entries(settings)) {
			const setting = app.getStorageItem().settings[id];
			if (!setting) throw new Error(`the app has no setting ${id}`);
			await this.manager.getSettingsManager().updateAppSetting(info.id, { ...setting, value });
		}
		await this.manager.enable(info.id);
		return app;
	}

	// Runs what the app has scheduled under @id, as the server's scheduler would.
	async runJob(appId, id) {
		const processor = this.processors.get(`${appId}/${id}_${appId}`); // as the engine names it
		if (!processor) throw new Error(`no processor ${id}`);
		await processor.processor({});
	}

	async close() {
		this.rc.off('messageSaved', this.saved);
		this.rc.off('messageUpdated', this.updated);
		await Promise.all(this.#underWay); // the engine waits long for what a process that was ended will not answer
		for (const { livenessManager } of this.controllers) livenessManager.options.maxRestarts = 0;
		// the engine does not wait for its subprocesses to end
		const processes = this.controllers.map(({ deno }) => deno).filter((each) => each && each.exitCode === null && each.signalCode === null);
		const ended = processes.map((each) => once(each, 'exit'));
		for (const { stdin } of processes) stdin.on('error', () => {}); // a ping of the engine's that comes just after the end
		await this.manager.unload(false);
		await Promise.all([...this.controllers.map((controller) => controller.stopApp()), ...ended]);
		this.AppManager.Instance = undefined;
		for (const [name, value] of Object.entries(this.formerEnvironment)) if (value === undefined) delete process.env[name]; else process.env[name] = value;
		rmSync(this.folder, { recursive: true, force: true });
	}
}
