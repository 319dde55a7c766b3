// Makes the app: evaluates its one file with what the sandbox gives, and constructs the class that it exports.
import { AppObjectRegistry } from 'runtime/AppObjectRegistry.ts';
import { AppAccessorsInstance } from 'runtime/lib/accessors/mod.ts';
import { sanitizeDeprecatedUsage } from 'runtime/lib/sanitizeDeprecatedUsage.ts';
import { require } from './require.mjs';

const ALLOWED = ['path', 'url', 'crypto', 'buffer', 'stream', 'net', 'http', 'https', 'zlib', 'util', 'punycode', 'os', 'querystring', 'fs', 'uuid', '@rocket.chat/apps-engine'];

function sandboxRequire(name) {
	const plain = name.replace(/^node:/, '');
	if (!ALLOWED.some((allowed) => plain.startsWith(allowed))) throw new Error(`Module ${name} is not allowed`);
	return require(plain);
}

// stdout carries the messages to the server
const console = Object.fromEntries(['log', 'error', 'debug', 'info', 'warn'].map((name) => [name, globalThis.console.error.bind(globalThis.console)]));

export default async function handleConstructApp({ params: [{ info, files }], context }) {
	const module = { exports: {} };
	const AsyncFunction = (async () => {}).constructor;
	await new AsyncFunction('exports', 'module', 'require', 'console', 'globalThis', sanitizeDeprecatedUsage(files[info.classFile]))(
		module.exports, module, sandboxRequire, console, undefined);
	AppObjectRegistry.set('id', info.id);
	const [AppClass] = Object.values(module.exports);
	AppObjectRegistry.set('app', new AppClass(info, context.logger, AppAccessorsInstance.getDefaultAppAccessors()));
	return true;
}
