// What an app asks its server for, over the double: the bridges of both hosts, as plain methods.
//
// Everything that an app hands over passes the double's watch: messages, notices, persistence, and what it asks to be fetched.
import { messageFromApp, messageToApp, roomToApp, userToApp } from './convert.mjs';

const LOOPBACK = /^https?:\/\/(127\.|localhost|\[::1\])/;

// @host: { rc, appUsers, environment, serverSettings, ssrfAllowlist, persistence, processors, jobs, statuses, keys }, an emitter.
export function bridgeMethods(host) {
	const { rc } = host;
	const look = (value, where) => rc.watch.look(value, `an app's ${where}`);
	const senderOf = (message, appId) => rc.users.get(message.sender?.id) ?? host.appUsers.get(appId);
	return {
		Message: {
			async create(message, appId) {
				look(message, 'message');
				return rc.sendMessage(senderOf(message, appId), messageFromApp(message), { as: 'app' })._id;
			},
			async update(message, appId) {
				look(message, 'change of a message');
				rc.updateMessage(rc.users.get(message.editor?.id) ?? host.appUsers.get(appId), rc.messages.get(message.id), messageFromApp(message, { partial: rc.atLeast(7, 4) }));
			},
			getById: async (id) => rc.messages.has(id) ? messageToApp(rc, rc.messages.get(id)) : undefined,
			async notifyUser(user, message) {
				look(message, 'notice to a user');
				host.emit('notified', user, message);
			},
			notifyRoom: async (room, message) => look(message, 'notice to a room'),
			typing: async () => {},
		},
		Room: {
			getById: async (id) => roomToApp(rc, rc.rooms.get(id)),
			getByName: async (name) => roomToApp(rc, [...rc.rooms.values()].find((room) => room.name === name)),
			getMembers: async (id) => rc.subscriptionsOf(id).map(({ u }) => userToApp(rc.users.get(u._id))),
			getMessages: async (id) => rc.messagesOf(id).filter(({ t }) => t === undefined).map((message) => messageToApp(rc, message)),
		},
		User: {
			getById: async (id) => userToApp(rc.users.get(id)),
			getByUsername: async (username) => userToApp([...rc.users.values()].find((user) => user.username === username)),
			getAppUser: async (appId) => userToApp(host.appUsers.get(appId)),
			async create(data, appId) {
				const user = rc.createUser(data.username, { type: 'app' });
				host.appUsers.set(appId, user);
				return user._id;
			},
			remove: async () => true,
			deleteUsersCreatedByApp: async () => true,
			update: async () => true,
		},
		EnvironmentalVariable: {
			async getValueByName(name, appId) {
				if (!name.startsWith(`RC_APPS_${appId.toUpperCase().replace(/-/g, '_')}`)) throw new Error(`The environmental variable "${name}" is not readable.`);
				return host.environment[name];
			},
			isReadable: async (name, appId) => name.startsWith(`RC_APPS_${appId.toUpperCase().replace(/-/g, '_')}`),
			isSet: async (name) => name in host.environment,
		},
		Http: {
			async call({ method, url, request = {} }) {
				look({ url, ...request }, 'request to be made');
				if (rc.atLeast(8, 1) && LOOPBACK.test(url) && !host.ssrfAllowlist.some((allowed) => url.startsWith(allowed))) throw new Error('error-ssrf-validation-failed');
				const query = request.params ? `?${new URLSearchParams(request.params)}` : '';
				const body = request.content ?? (request.data !== undefined ? JSON.stringify(request.data) : undefined);
				const answer = await fetch(url + query, { method: method.toUpperCase(), headers: request.headers, body });
				const bytes = Buffer.from(await answer.arrayBuffer());
				const content = request.encoding === null ? bytes : bytes.toString(request.encoding);
				let data;
				try {
					data = JSON.parse(bytes.toString());
				} catch {
					// no JSON: no data
				}
				return { url, method, statusCode: answer.status, headers: Object.fromEntries(answer.headers), content, data };
			},
		},
		Persistence: {
			purge: async (appId) => host.persistence.delete(appId),
			async createWithAssociations(data, associations, appId) {
				look(data, 'persistence');
				const entries = host.persistence.get(appId) ?? [];
				host.persistence.set(appId, [...entries, { data, associations }]);
				host.emit('persisted', data);
				return String(entries.length);
			},
			readByAssociations: async (associations, appId) => (host.persistence.get(appId) ?? []).filter((entry) => JSON.stringify(entry.associations) === JSON.stringify(associations)).map(({ data }) => data),
			async updateByAssociations(associations, data, upsert, appId) {
				look(data, 'persistence');
				const others = (host.persistence.get(appId) ?? []).filter((entry) => JSON.stringify(entry.associations) !== JSON.stringify(associations));
				host.persistence.set(appId, [...others, { data, associations }]);
				host.emit('persisted', data);
				return '0';
			},
		},
		Scheduler: {
			async registerProcessors(processors, appId) {
				for (const processor of processors) host.processors.set(`${appId}/${processor.id}`, processor);
			},
			scheduleRecurring: async (job, appId) => (host.jobs.push({ appId, ...job }), job.id),
			scheduleOnce: async (job, appId) => (host.jobs.push({ appId, ...job }), job.id),
			cancelJob: async (id, appId) => { host.jobs = host.jobs.filter((job) => job.id !== id || job.appId !== appId); },
			cancelAllJobs: async (appId) => { host.jobs = host.jobs.filter((job) => job.appId !== appId); },
		},
		ServerSetting: {
			getOneById: async (id) => ({ id, value: host.serverSettings[id] }),
			isReadableById: async () => true,
		},
		Internal: { doGetUsernamesOfRoomById: async (id) => rc.subscriptionsOf(id).map(({ u }) => u.username), doGetUsernamesOfRoomByIdSync: (id) => rc.subscriptionsOf(id).map(({ u }) => u.username) },
		InternalFederation: { getPrivateKey: async () => host.keys.privateKey, getPublicKey: async () => host.keys.publicKey },
		AppActivation: {
			appAdded: async () => {}, appUpdated: async () => {}, appRemoved: async () => {}, actionsChanged: async () => {}, appStatusChanged: async (app, status) => host.statuses.push(status),
		},
		AppDetailChanges: { onAppSettingsChange: () => {} },
		Command: { doesCommandExist: async () => false, registerCommand: async () => {}, unregisterCommand: async () => {}, enableCommand: async () => {}, disableCommand: async () => {} },
		Api: { registerApi: async () => {}, unregisterApis: async () => {} },
		Listener: { messageEvent: async () => {}, roomEvent: async () => {}, uiKitInteractionEvent: async () => {} },
		Thread: { getById: async (id) => rc.messagesOf(rc.messages.get(id)?.rid).filter(({ tmid }) => tmid === id).map((message) => messageToApp(rc, message)) },
		VideoConference: { registerProvider: async () => {}, unRegisterProvider: async () => {} },
		OAuthApps: { purge: async () => {} },
	};
}
