// The app's side of Rocket.Chat's Node runtime, which npm does not have: a process under Node's permission model, in which the app's one file runs with a
// `require` that knows the modules that apps may have, and without globalThis. What it asks the server for goes to node_host.mjs.
'use strict';
const { createRequire } = require('node:module');

const ALLOWED = ['path', 'url', 'crypto', 'buffer', 'stream', 'net', 'http', 'https', 'zlib', 'util', 'punycode', 'os', 'querystring', 'fs'];

let engine; // a require of the engine's package
let app;
let serial = 0;
const waiting = new Map();

const ask = (bridge, method, ...args) => new Promise((resolve, reject) => {
	waiting.set(++serial, { resolve, reject });
	process.send({ ask: serial, bridge, method, args });
});

function appRequire(name) {
	if (name.startsWith('@rocket.chat/apps-engine/')) return engine(`./${name.slice('@rocket.chat/apps-engine/'.length)}`);
	const bare = name.startsWith('node:') ? name.slice(5) : name;
	if (ALLOWED.some((allowed) => bare === allowed || bare.startsWith(`${allowed}/`))) return require(bare);
	throw new Error(`Module ${name} is not allowed`);
}

const settings = { getValueById: (id) => ask('settings', 'value', id), getById: (id) => ask('settings', 'one', id) };
const environment = {
	getSettings: () => settings,
	getServerSettings: () => ({ getValueById: async (id) => (await ask('ServerSetting', 'getOneById', id)).value, getOneById: (id) => ask('ServerSetting', 'getOneById', id) }),
	getEnvironmentVariables: () => ({ getValueByName: (name) => ask('EnvironmentalVariable', 'getValueByName', name), isReadable: (name) => ask('EnvironmentalVariable', 'isReadable', name), isSet: (name) => ask('EnvironmentalVariable', 'isSet', name) }),
};
const read = {
	getEnvironmentReader: () => environment,
	getUserReader: () => ({ getAppUser: () => ask('User', 'getAppUser'), getById: (id) => ask('User', 'getById', id), getByUsername: (name) => ask('User', 'getByUsername', name) }),
	getRoomReader: () => ({ getById: (id) => ask('Room', 'getById', id), getMembers: (id) => ask('Room', 'getMembers', id) }),
	getMessageReader: () => ({ getById: (id) => ask('Message', 'getById', id) }),
	getPersistenceReader: () => ({ readByAssociation: (association) => ask('Persistence', 'readByAssociations', [association]) }),
};
const builder = (data) => ({ data, getMessage: () => data, setText: (text) => builder(Object.assign(data, { text })), setSender: (sender) => builder(Object.assign(data, { sender })) });
const modify = {
	getCreator: () => ({ startMessage: (data = {}) => builder({ ...data }), finish: ({ data: { id, ...message } }) => ask('Message', 'create', message) }),
	getUpdater: () => ({ message: async (id) => builder(await ask('Message', 'getById', id)), finish: ({ data }) => ask('Message', 'update', data) }),
	getNotifier: () => ({ notifyUser: (user, message) => ask('Message', 'notifyUser', user, message), notifyRoom: (room, message) => ask('Message', 'notifyRoom', room, message) }),
	getScheduler: () => ({ scheduleRecurring: (job) => ask('Scheduler', 'scheduleRecurring', job), scheduleOnce: (job) => ask('Scheduler', 'scheduleOnce', job), cancelJob: (id) => ask('Scheduler', 'cancelJob', id) }),
};
const http = Object.fromEntries(['get', 'post', 'put', 'del', 'patch'].map((method) => [method, (url, request) => ask('Http', 'call', { method: method === 'del' ? 'delete' : method, url, request })]));
const persistence = {
	createWithAssociation: (data, association) => ask('Persistence', 'createWithAssociations', data, [association]),
	updateByAssociation: (association, data, upsert) => ask('Persistence', 'updateByAssociations', [association], data, upsert),
};
const processors = new Map();
const configuration = {
	settings: { provideSetting: (setting) => ask('settings', 'provide', setting) },
	scheduler: { registerProcessors: async (given) => given.forEach((processor) => processors.set(processor.id, processor)) },
	slashCommands: { provideSlashCommand: async () => {} }, api: { provideApi: async () => {} }, ui: { registerButton: async () => {} }, http: {},
};
const log = (method) => (...args) => process.send({ log: { method, args: args.map(String) } });
const logger = Object.fromEntries(['debug', 'info', 'log', 'warn', 'error', 'success'].map((name) => [name, log(name)]));

const CALLS = {
	construct({ source, info, engineFolder }) {
		engine = createRequire(`${engineFolder}/package.json`);
		const module = { exports: {} };
		// as the runtime has it: what an app must not see is shadowed
		new Function('exports', 'module', 'require', 'globalThis', 'Deno', 'console', source)(module.exports, module, appRequire, undefined, undefined, logger);
		const [Class] = Object.values(module.exports).filter((each) => typeof each === 'function');
		app = new Class(info, logger, { environmentReader: environment, environmentWriter: {}, reader: read, http, providedApiEndpoints: [] });
	},
	initialize: () => app.initialize(configuration, environment),
	onEnable: () => app.onEnable(environment, configuration),
	onDisable: () => app.onDisable(configuration),
	onSettingUpdated: (setting) => app.onSettingUpdated?.(setting, configuration, read, http),
	listener: (method, message) => app[method]?.(message, read, http, persistence, modify),
	job: (id) => processors.get(id).processor({}, read, modify, http, persistence),
};

process.on('message', async ({ call, name, args, answer, result, error }) => {
	if (answer) {
		const { resolve, reject } = waiting.get(answer);
		waiting.delete(answer);
		return error === undefined ? resolve(result) : reject(new Error(error));
	}
	try {
		process.send({ answer: call, result: (await CALLS[name](...args)) ?? null });
	} catch (failure) {
		process.send({ answer: call, error: String(failure?.stack ?? failure) });
	}
});
