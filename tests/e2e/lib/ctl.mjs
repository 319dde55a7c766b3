// e2eectl run to its end: without a terminal, or on one, where it asks its questions.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { E2EED } from './daemon.mjs';

export const CTL = process.env.E2EECTL_BIN ?? join(dirname(E2EED), 'e2eectl');

// input: for standard input; secret: for descriptor 3. In a session of its own, so that nobody can be asked.
export function ctl(args, { input, secret } = {}) {
	const stdio = [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'];
	if (secret !== undefined) stdio.push('pipe');
	const proc = spawn(CTL, args, { stdio, detached: true });
	let stdout = '', stderr = '';
	proc.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
	proc.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
	if (input !== undefined) proc.stdin.end(input);
	if (secret !== undefined) proc.stdio[3].on('error', () => {}).end(secret);
	return new Promise((resolve, reject) => {
		proc.once('error', reject);
		proc.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
	});
}

// A child whose output can be waited for; shows() looks at all of standard output so far, says() at standard error.
export function following(args) {
	const proc = spawn(CTL, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
	const text = { stdout: '', stderr: '' }, looks = new Set();
	for (const name of ['stdout', 'stderr']) {
		proc[name].setEncoding('utf8').on('data', (more) => {
			text[name] += more;
			for (const look of [...looks]) look();
		});
	}
	const ended = new Promise((resolve) => proc.once('close', (code, signal) => resolve({ code, signal, ...text })));
	const waitFor = (name, pattern) => new Promise((resolve, reject) => {
		const look = () => {
			if (!pattern.test(text[name])) return;
			looks.delete(look);
			resolve(text[name]);
		};
		looks.add(look);
		ended.then(() => reject(new Error(`ended without ${pattern}:\n${text.stdout}${text.stderr}`)));
		look();
	});
	return { proc, shows: (pattern) => waitFor('stdout', pattern), says: (pattern) => waitFor('stderr', pattern), ended };
}

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

// On a terminal of its own. answers: [pattern, what to type (or a function to call)] in turn, each when the text so far
// matches. Resolves with all that showed, the exit status, and whether the terminal echoes afterwards.
export function terminal(args, answers = []) {
	const script = `trap : INT; ${[CTL, ...args].map(quoted).join(' ')}; echo "status=$?"; stty -a </dev/tty | grep -o -- '-\\?echo '`;
	const proc = spawn('script', ['-qec', script, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, SHELL: '/bin/sh' } });
	let text = '', from = 0;
	const rest = [...answers];
	proc.stdin.on('error', () => {});
	proc.stdout.setEncoding('utf8').on('data', (more) => {
		text += more;
		while (rest.length && rest[0][0].test(text.slice(from))) {
			const [, what] = rest.shift();
			from = text.length;
			if (typeof what === 'function') what();
			else proc.stdin.write(what);
		}
	});
	return new Promise((resolve, reject) => {
		proc.once('error', reject);
		proc.once('close', () => {
			const end = text.match(/status=(\d+)\r\n(-?echo) /);
			if (rest.length || !end) reject(new Error(`${rest[0]?.[0] ?? 'the end'} did not show:\n${text}`));
			else resolve({ code: Number(end[1]), echo: end[2] === 'echo', text: text.slice(0, end.index).replaceAll('\r\n', '\n') });
		});
	});
}

// The cells of a table, split where two or more spaces stand.
export const cells = (text) => text.trimEnd().split('\n').map((line) => line.trim().split(/ {2,}/));

export function succeeded(result) {
	assert.deepEqual({ code: result.code, signal: result.signal, stderr: result.stderr }, { code: 0, signal: null, stderr: '' });
	return result.stdout;
}

export function failed(result, code, pattern) {
	assert.equal(result.code, code, result.stderr);
	assert.equal(result.stdout, '');
	assert.match(result.stderr, pattern);
	return result.stderr;
}

// Errors with --json, and of rpc and call: the error object on one line.
export function failedJson(result, reason) {
	const text = failed(result, 1, /^\{.*\}\n$/);
	const error = JSON.parse(text);
	assert.equal(error.data.reason, reason);
	assert.equal(typeof error.code, 'number');
	assert.equal(typeof error.message, 'string');
	return error;
}
