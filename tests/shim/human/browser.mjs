// People in a real browser: each is a page of headless Chromium with its own Member in it, so keys are made and used by the browser's crypto.subtle,
// and what crosses the network is what a page sends.
import { build } from 'esbuild';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = fileURLToPath(new URL('.', import.meta.url));
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
	'--disable-dev-shm-usage'];

// path -> [type, text], to be served beside the server's API.
export async function pages() {
	const globals = `${here}browser_globals.mjs`;
	const { outputFiles } = await build({
		stdin: { contents: "import { Member } from './member.mjs'; window.Member = Member;", resolveDir: here }, bundle: true, write: false, format: 'iife', platform: 'browser',
		alias: { 'node:crypto': globals, 'node:fs': globals }, inject: [globals], logLevel: 'warning',
	});
	return { '/human': ['text/html', '<!doctype html><title>member</title><script src="/human.js"></script>'], '/human.js': ['text/javascript', outputFiles[0].text] };
}

export class Browser {
	static async open() {
		if (!CHROMIUM) throw new Error('no Chromium: `make deps-test` installs it');
		return Object.assign(new Browser(), { chromium: await chromium.launch({ executablePath: CHROMIUM, args: FLAGS }) });
	}

	// A person whose calls are those of Member: `await ada.send(roomId, text)`.
	async person({ url, user, token }) {
		const context = await this.chromium.newContext();
		const page = await context.newPage();
		await page.goto(`${url}/human`);
		await page.evaluate((who) => {
			window.member = new window.Member(who);
		}, { url, userId: user._id, authToken: token, username: user.username });
		const call = (method) => (...args) => page.evaluate(([name, given]) => window.member[name](...given), [method, args]);
		return new Proxy({ user, close: () => context.close() }, { get: (own, name) => (name in own || name === 'then' ? own[name] : call(name)) });
	}

	close() {
		return this.chromium.close();
	}
}
