// A real daemon with an app on it, a server's double with the app's bot user, people, and Participants between them: what the tests of the Apps-Engine
// layer share. Whatever a test opens is closed when it ends, and then nothing that was said may have reached the server in clear.
import assert from 'node:assert/strict';
import { test as nodeTest } from 'node:test';
import { connect } from '../../../shim/dist/index.mjs';
import { Participant } from '../../../shim/dist/apps-engine/index.mjs';
import { startDaemon } from '../../e2e/lib/daemon.mjs';
import * as crypto from '../../e2e/lib/rc.mjs';
import { serve } from '../double/rest.mjs';
import { RocketChat } from '../double/server.mjs';
import { Member } from '../human/member.mjs';

export const ALL = ['read', 'write', 'create', 'distribute'];

let serial = 0;

// One that hangs fails.
export const test = (name, body, { timeout = 30_000 } = {}) => nodeTest(name, { timeout }, body);

// RSA pairs take long to make, and no test minds that a person of this name has had the same before.
const pairs = new Map();
const pairOf = (username) => {
	if (!pairs.has(username)) pairs.set(username, crypto.makeIdentity());
	return pairs.get(username);
};

// One daemon for all tests of a file.
export async function openDaemon() {
	const daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } });
	return { daemon, admin: await daemon.admin(), close: () => daemon.stop() };
}

class Stage {
	#t;
	#watchers = new Map(); // Participant -> functions to call with its state
	#clients = new Map();

	constructor(t, fields) {
		this.#t = t;
		Object.assign(this, fields);
	}

	async client() {
		const client = await connect({ appId: this.appId, token: this.token, transport: 'unix', socketPath: this.daemon.appSocket });
		this.#t.after(() => client.close());
		return client;
	}

	// One of the app's servers: a Participant with a client of its own.
	async participant(options = {}) {
		const watchers = new Set();
		const client = options.client ?? await this.client();
		const participant = new Participant({
			client, http: fetch, serverUrl: this.server.url, userId: this.bot._id, authToken: this.botToken,
			onChange: (state) => watchers.forEach((watch) => watch(state)), ...options,
		});
		this.#watchers.set(participant, watchers);
		this.#clients.set(participant, client);
		this.#t.after(() => participant.stop());
		return participant;
	}

	// Somebody with an account key of their own, unless they are @new here.
	async person(username, { isNew = false } = {}) {
		const user = this.rc.createUser(username);
		const member = new Member({ url: this.server.url, userId: user._id, authToken: this.rc.createToken(user), username });
		user.roles = ['user', 'admin']; // who would else be slowed by the server
		if (!isNew) await member.enableEncryption('correct horse', await pairOf(username));
		return Object.assign(member, { user });
	}

	grant(roomId, permissions = ALL) {
		return this.admin.call('authorizeRoom', { appId: this.appId, roomId, permissions });
	}

	// A room that @owner has made and encrypted with a key, in which the app has its grant; the bot is no member yet.
	async encryptedRoom(owner, { permissions = ALL } = {}) {
		const roomId = await owner.createEncryptedRoom(`room-${++serial}`);
		if (permissions) await this.grant(roomId, permissions);
		return roomId;
	}

	// As encryptedRoom(), with the bot in it, which has been given the key: { roomId, owner }.
	async sharedRoom(participant, owner) {
		const roomId = await this.encryptedRoom(owner);
		await owner.invite(roomId, this.bot._id);
		await participant.sync();
		await owner.serveWaiting(roomId);
		await participant.sync();
		const { rooms } = await participant.sync(); // one more, for which nothing is left to do
		assert.equal(rooms[roomId].phase, 'ready');
		return roomId;
	}

	room(roomId) {
		return this.rc.rooms.get(roomId);
	}

	// What the server keeps for the bot in a room.
	kept(roomId) {
		return this.rc.subscription(roomId, this.bot._id);
	}

	// Starts @participant; what happens from now on it is told.
	async start(participant) {
		participant.start();
		await this.#clients.get(participant).subscribe({});
	}

	// The state of @participant comes to match, looked at whenever it changes.
	async becomes(participant, matches) {
		if (matches(participant.state)) return participant.state;
		return new Promise((resolve) => {
			this.#watchers.get(participant).add((state) => matches(state) && resolve(state));
		});
	}

	// The daemon no longer has any key of the room.
	async forgetsKeys(roomId) {
		await this.admin.call('deauthorizeRoom', { appId: this.appId, roomId, purgeKeys: true });
		await this.grant(roomId);
	}

	say(text) {
		this.rc.watch.forbid(text);
		return text;
	}

	// How often each route was asked since the last call.
	asked() {
		const counts = {};
		for (const { path } of this.server.requests.splice(0)) counts[path] = (counts[path] ?? 0) + 1;
		return counts;
	}
}

// An app in @house with a bot user on a server of its own. @roles: the bot's; @version, @settings: the server's.
export async function openStage(t, house, { version = '7.13.0', settings, roles = ['bot'], ...serverOptions } = {}) {
	const rc = new RocketChat({ version, settings });
	const server = await serve(rc, serverOptions);
	const appId = `app-${++serial}`;
	const { token, publicKey } = await house.admin.call('createApp', { appId });
	const bot = rc.createUser('echo.bot', { type: 'bot', roles });

	t.after(async () => {
		await server.close();
		assert.deepEqual(rc.watch.leaks, []);
	});
	return new Stage(t, { ...house, rc, server, appId, token, publicKey, bot, botToken: rc.createToken(bot) });
}

// Apps-Engine's IHttp, as the server performs it: text out, whatever it is; bytes back with `encoding: null`.
export const appsHttp = Object.fromEntries(['get', 'post'].map((method) => [method, async (url, { headers, content, encoding } = {}) => {
	const answer = await fetch(url, { method: method.toUpperCase(), headers, ...(content !== undefined && { body: String(content) }) });
	const bytes = Buffer.from(await answer.arrayBuffer());
	return { url, method, statusCode: answer.status, headers: Object.fromEntries(answer.headers), content: encoding === null ? bytes : bytes.toString(encoding) };
}]));

// The promise rejects with an E2eedError of this reason, which is given; none of @secrets is in it.
export async function refused(promise, reason, ...secrets) {
	const error = await promise.then((value) => assert.fail(`expected ${reason}, got ${JSON.stringify(value)}`), (thrown) => thrown);
	assert.equal(error.name, 'E2eedError', error.stack);
	assert.equal(error.reason, reason, error.stack);
	for (const secret of secrets) assert.ok(!JSON.stringify([error.message, error.stack, error.data]).includes(secret), 'a secret in an error');
	return error;
}

export { crypto };
