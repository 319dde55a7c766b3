// A scene for the tests of whole conversations: a server, e2eed beside it, an app in one of its sandboxes, and people.
import { startDaemon } from '../e2e/lib/daemon.mjs';
import { ALL } from '../e2e/lib/actors.mjs';
import { serve } from './double/rest.mjs';
import { RocketChat } from './double/server.mjs';
import { pages } from './human/browser.mjs';

const APP = 'echo-bot'; // in e2eed
const INFO = { id: 'b2e6c1d4-7a53-4c1e-9f0b-3d8a5e4c2f17' }; // the example's app.json
export const variable = (name) => `RC_APPS_${INFO.id.toUpperCase().replace(/-/g, '_')}_${name}`;

export class Scene {
	// @sandbox: of engine/sandboxes.mjs. @zip: the example app. @browser: of human/browser.mjs.
	static async open(sandbox, zip, browser) {
		const scene = Object.assign(new Scene(), { sandbox, zip, browser, people: [] });
		scene.rc = new RocketChat({ version: sandbox.server });
		scene.api = await serve(scene.rc, { pages: await pages() });
		scene.daemon = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } });
		scene.admin = await scene.daemon.admin();
		const { token } = await scene.admin.call('createApp', { appId: APP, name: 'Echo' });
		scene.bot = scene.rc.createUser('echo', { type: 'bot' });
		scene.environment = { [variable('E2EED_TOKEN')]: token, [variable('E2EED_USER_ID')]: scene.bot._id, [variable('E2EED_AUTH_TOKEN')]: scene.rc.createToken(scene.bot) };
		scene.host = await sandbox.open(scene.rc, { environment: scene.environment });
		const published = scene.rc.next('accountKeys', (userId) => userId === scene.bot._id);
		await scene.host.install(zip, { settings: {
			e2eed_app_id: APP, e2eed_host: '127.0.0.1', e2eed_port: scene.daemon.tcpPort, e2eed_socket_path: scene.daemon.appSocket, server_url: scene.api.url,
		} });
		await published;
		return scene;
	}

	async person(username, roles = ['user', 'admin']) { // an administrator is not held to the few calls a minute of others
		const user = this.rc.createUser(username, { roles });
		const person = await this.browser.person({ url: this.api.url, user, token: this.rc.createToken(user) });
		this.people.push(person);
		return person;
	}

	grant(roomId, permissions = ALL) {
		return this.admin.call('authorizeRoom', { appId: APP, roomId, permissions });
	}

	// What the app does by itself every few seconds, now.
	tend() {
		return this.host.runJob(INFO.id, 'tend');
	}

	// The app's next answer.
	answer() {
		return this.rc.next('messageSaved', (message, _, { as }) => as === 'app' && message.t === 'e2e').then(([message]) => message);
	}

	// The next words that the app says to a user in clear.
	notice() {
		return new Promise((resolve) => this.host.once('notified', (user, message) => resolve(message.text)));
	}

	answers() {
		return [...this.rc.messages.values()].filter(({ t, u }) => t === 'e2e' && u._id === this.bot._id);
	}

	async restart(how) {
		const tcp = `127.0.0.1:${this.daemon.tcpPort}`; // the same again
		await this.daemon[how](); // 'terminate' or 'kill'
		await this.daemon.restart({ config: { listen: { tcp } } });
		this.admin = await this.daemon.admin();
	}

	async close() {
		for (const person of this.people) await person.close();
		await this.host.close();
		await this.daemon.stop();
		await this.api.close();
	}
}
