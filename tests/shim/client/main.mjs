// Runs the client's cases inside the runtime under test. It has no files, no arguments and no environment to itself: who started it tells it
// by standard input what it needs, one JSON text a line, and does for it what a sandboxed app could not (admin calls, restarts). What it finds
// goes out in lines as well:
//
//   in   { form, clientText?, inDeno, lets, where: { unix, abstract, port, ... }, app }, then answers: { id, result } or { id, error }
//   out  { id, ask, params }, { name, error? } for each case, { done: true }
import { Buffer } from 'node:buffer';
import * as crypto from 'node:crypto';
import * as net from 'node:net';
import process from 'node:process';
import { blame, runAll } from './check.mjs';
import './calls.mjs';
import './errors.mjs';
import './events.mjs';
import './methods.mjs';
import './recovery.mjs';
import './session.mjs';
import './transports.mjs';

const asked = new Map();
let begin;
const setUp = new Promise((resolve) => (begin = resolve));
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

let unread = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text) => {
	const lines = (unread + text).split('\n');
	unread = lines.pop();
	for (const line of lines.map((text) => JSON.parse(text))) {
		if (!('id' in line)) begin(line);
		else if ('error' in line) asked.get(line.id).reject(new Error(line.error));
		else asked.get(line.id).resolve(line.result);
	}
});

/** What only the outside can do: see client.test.mjs. */
const host = (ask, params = {}) =>
	new Promise((resolve, reject) => {
		const id = asked.size + 1;
		asked.set(id, { resolve, reject });
		say({ id, ask, params });
	});

// What a promise was rejected with and nobody handled: the case that waits for it gets it, any other has failed.
let taker;
const uncaught = () => new Promise((resolve) => (taker = resolve));
function unhandled(error) {
	if (taker) taker(error);
	else blame(error);
	taker = undefined;
}

// As Rocket.Chat's runtimes run an app's bundle, but for their other modules: the client must not ask for more than these two.
function inSandbox(text) {
	const module = { exports: {} };
	const require = (name) => {
		if (name === 'net') return net;
		if (name === 'crypto') return crypto;
		throw new Error(`Module ${name} is not allowed`);
	};
	new Function('require', 'module', 'exports', 'globalThis', 'Deno', 'Buffer', text)(require, module, module.exports, undefined, undefined, Buffer);
	return module.exports;
}

const { form, clientText, lets, where, app, inDeno } = await setUp;
const client = form === 'cjs' ? inSandbox(clientText) : await import('../../../shim/dist/index.mjs');
if (inDeno)
	addEventListener('unhandledrejection', (event) => {
		event.preventDefault();
		unhandled(event.reason);
	});
else process.on('unhandledRejection', unhandled);
await runAll(lets, say, { ...client, host, lets, where, app, inDeno, uncaught });
say({ done: true });
process.stdin.destroy();
process.exit(0); // a sandboxed stdin of some Deno keeps the process
