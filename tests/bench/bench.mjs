// `make bench`: what the keystore costs, files, and the TypeScript client, in figures. Runs the built daemon on keystores of many sizes, prints tables as it goes,
// and writes docs/performance/ (JSON and plots) and the generated parts of docs/performance.md. Nothing passes or fails.
//
//   node tests/bench/bench.mjs              everything; a few minutes
//   node tests/bench/bench.mjs open group   these sections only; prints, and writes nothing: figures of one run stay together
import { execFile, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import os from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startDaemon, ROOT } from '../e2e/lib/daemon.mjs';
import { makeIdentity } from '../e2e/lib/rc.mjs';
import { calls } from './calls.mjs';
import { describe, insert } from './report.mjs';

const PROGRAMS = join(ROOT, 'build/release/bench');
const DOCS = join(ROOT, 'docs');
const APPS = 16; // load.c knows this number
const KEYS_PER_ROOM = 10;
const SIZES = [1, 1_000, 10_000, 100_000, 300_000]; // room keys
const ONE_ROOM = 50_000;
const REPEATS = 3; // of what is quick; the fastest counts, since nothing but the rest of the machine makes one slower
const SLOW_SECONDS = 5;

const say = (text = '') => console.log(text);
const run = async (program, ...args) => JSON.parse((await promisify(execFile)(join(PROGRAMS, program), args.map(String))).stdout);

// With @secret on standard input, since tokens have no place on a command line.
async function runWith(secret, program, ...args) {
	const child = spawn(join(PROGRAMS, program), args.map(String), { stdio: ['pipe', 'pipe', 'inherit'] });
	let text = '';
	child.stdout.setEncoding('utf8').on('data', (more) => (text += more));
	child.stdin.end(`${secret}\n`);
	const [code] = await once(child, 'close');
	if (code !== 0) throw new Error(`${program} ended with ${code}`);
	return JSON.parse(text);
}

// ---- folders: one that costs no disk, for what is only read, and one on the disk that appends are measured on -----

const STORES_BYTES = 2 ** 29; // all of them together take less

function fileSystem(path) {
	const [newest] = execFileSync('findmnt', ['-n', '-b', '-o', 'FSTYPE,AVAIL', '-T', path], { encoding: 'utf8' }).trim().split('\n').slice(-1);
	const [type, available] = newest.trim().split(/\s+/);
	return { type, available: Number(available) };
}

function memoryFolder() {
	const { type, available } = fileSystem('/dev/shm');
	return type === 'tmpfs' && available >= STORES_BYTES ? '/dev/shm' : os.tmpdir();
}

function folder(base) {
	const dir = mkdtempSync(join(base, 'e2eed-bench-')); // mode 0700
	process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
	return dir;
}

mkdirSync(join(ROOT, 'build/bench'), { recursive: true });
const inMemory = folder(memoryFolder());
const onDisk = folder(join(ROOT, 'build/bench'));

const storeIn = (dir) => [join(dir, 'keystore'), join(dir, 'keystore.key')];

// Each shape of keystore is made once: { dir, apps, rooms, keys, records, bytes }
const made = new Map();

async function keystore(keys, rooms = Math.max(1, Math.ceil(keys / KEYS_PER_ROOM)), apps = APPS) {
	const name = `${apps}-${rooms}-${keys}`;
	if (!made.has(name)) {
		const dir = join(inMemory, name);
		mkdirSync(dir, { mode: 0o700 });
		say(`  making a keystore: ${keys} room keys, ${rooms} rooms, ${apps} apps`);
		made.set(name, { ...await run('store', 'fill', ...storeIn(dir), apps, rooms, keys), dir, rooms });
	}
	return made.get(name);
}

// A copy on the disk, to be written to; call drop() when it is done with.
function copyOf({ dir }) {
	const copy = mkdtempSync(join(onDisk, 'store-'));
	for (const [i, file] of storeIn(dir).entries()) copyFileSync(file, storeIn(copy)[i]);
	return { dir: copy, drop: () => rmSync(copy, { recursive: true }) };
}

// ---- the daemon --------------------------------------------------------------------------------------------------

// Started until it answers: { seconds, daemon, admin, status }
async function start(dir, wrap = []) {
	const before = performance.now();
	const daemon = await startDaemon({ dir, wrap });
	const admin = await daemon.admin();
	const status = await admin.call('getStatus');
	return { seconds: (performance.now() - before) / 1000, daemon, admin, status };
}

// The fastest of some runs of @measure, which gives seconds; of one, where that is slow.
async function fastest(measure) {
	const all = [await measure()];
	while (all.length < REPEATS && all[0] < SLOW_SECONDS) all.push(await measure());
	return Math.min(...all);
}

async function startSeconds(dir) {
	const { seconds, daemon } = await start(dir);
	await daemon.terminate();
	return seconds;
}

// ---- what is measured --------------------------------------------------------------------------------------------

async function open() {
	const rows = [];
	const stores = [...SIZES.map((keys) => [keys]), [ONE_ROOM, 1, 1]];
	for (const shape of stores) {
		const { dir, rooms, keys, records, bytes } = await keystore(...shape);
		const replaySeconds = await fastest(async () => (await run('store', 'open', ...storeIn(dir))).seconds);
		rows.push({ keys, rooms, records, bytes, replaySeconds, startSeconds: await fastest(() => startSeconds(dir)) });
		say(`  ${keys} room keys in ${rooms} rooms: ${rows.at(-1).startSeconds.toFixed(3)} s`);
	}
	return rows;
}

const ROUNDS = 500;

async function append() {
	const rows = [];
	for (const keys of [0, 1_000, 10_000, 30_000, 100_000]) {
		const store = await keystore(keys);
		const probe = join(onDisk, 'probe');
		const first = copyOf(store), second = copyOf(store);
		const { before, grantBytes, floor, grant, key } = await run('store', 'append', ...storeIn(first.dir), probe, ROUNDS);
		const { daemon } = await start(second.dir);
		const load = await run('load', daemon.adminSocket, probe, grantBytes, 1, ROUNDS, 1, 1);
		await daemon.terminate();
		first.drop();
		second.drop();
		rows.push({ keys, records: before.records, recordBytes: grantBytes, floor, grant, key, socketFloor: load.floor, socket: load.answer });
		say(`  ${before.records} records: floor ${floor.p50us} µs, over the socket ${load.answer.p50us} µs`);
	}
	return rows;
}

const SLICES = 40;

async function group() {
	const store = await keystore(10_000);
	const rows = [];
	for (const connections of [1, 2, 4, 8, 16, 32, 64]) {
		const { dir, drop } = copyOf(store);
		const { daemon, admin, status } = await start(dir);
		await admin.call('authorizeRoom', { appId: 'app-000000', roomId: 'size-000000', permissions: ['read'] });
		const recordBytes = (await admin.call('getStatus')).keystore.bytes - status.keystore.bytes;
		const { perSecond, answer, floor } = await run('load', daemon.adminSocket, join(onDisk, 'probe'), recordBytes, connections,
			SLICES, Math.max(50, 10 * connections), 40);
		await daemon.terminate();
		drop();
		rows.push({ connections, perSecond, floorPerSecond: floor.n / floor.seconds, answer, floor });
		say(`  ${connections} connections: ${perSecond} mutations/s`);
	}
	return rows;
}

// Root may lock without limit, and the daemon then locks its whole address space, which tells nothing. So it is run as most run it:
// under the limit that the machine sets. Where that is too small, lockedBytes stays below what should be locked, so that is taken
// from the store alone: the arena is all that is locked then.
const LIMITED = process.getuid() === 0 ? ['setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock', '--'] : [];

function processMemory(pid) {
	const status = readFileSync(`/proc/${pid}/status`, 'utf8');
	const bytes = (name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1]) * 1024;
	return { rssBytes: bytes('VmRSS'), peakBytes: bytes('VmHWM') };
}

async function memory() {
	const rows = [];
	for (const size of SIZES) {
		const { dir, keys } = await keystore(size);
		const { arenaMappedBytes, arenaUsedBytes } = await run('store', 'open', ...storeIn(dir));
		const { daemon, status } = await start(dir, LIMITED);
		rows.push({ keys, ...processMemory(status.pid), arenaMappedBytes, arenaUsedBytes, ...status.memory });
		await daemon.terminate();
		say(`  ${keys} room keys: ${rows.at(-1).rssBytes} bytes resident, ${rows.at(-1).lockedBytes} locked`);
	}
	return rows;
}

const FILE_CHUNKS = 2048; // of 512 KiB

// With a daemon of its own, so that the peak is of this file alone.
async function oneFile(mode, depth) {
	const dir = mkdtempSync(join(inMemory, 'files-'));
	const { daemon, admin, status } = await start(dir, LIMITED);
	const { token } = await admin.call('createApp', { appId: 'files', rooms: [{ roomId: 'room', permissions: ['read', 'write'] }] });
	const { rssBytes } = processMemory(status.pid);
	const row = await runWith(token, 'files', daemon.appSocket, 'files', 'room', mode, FILE_CHUNKS, depth);
	const { peakBytes } = processMemory(status.pid);
	await daemon.terminate();
	rmSync(dir, { recursive: true });
	return { ...row, rssBytes, peakBytes };
}

async function files() {
	const rows = [];
	for (const mode of ['encrypt', 'decrypt']) {
		for (const depth of [1, 8]) {
			const all = [];
			while (all.length < REPEATS) all.push(await oneFile(mode, depth));
			const [quickest] = all.sort((a, b) => a.seconds - b.seconds);
			rows.push({ ...quickest, floorMibPerSecond: Math.max(...all.map((row) => row.floorMibPerSecond)),
				peakBytes: Math.max(...all.map((row) => row.peakBytes)) });
			say(`  ${mode}, ${depth} under way: ${quickest.mibPerSecond} MiB/s`);
		}
	}
	return rows;
}

const REWRITES = ['verifyKeystore', 'backupKeystore', 'compactKeystore', 'rekeyKeystore'];

async function rewrite() {
	const rows = [];
	let methods;
	for (const size of SIZES.filter((n) => n > 1)) {
		const store = await keystore(size);
		const { dir, drop } = copyOf(store);
		const { daemon, admin } = await start(dir);
		const offered = (await admin.call('rpc.discover')).methods.map(({ name }) => name);
		const seconds = {};
		methods = REWRITES.filter((name) => offered.includes(name));
		for (const name of methods) {
			const before = performance.now();
			await admin.call(name, name === 'backupKeystore' ? { path: join(dir, 'backup') } : {});
			seconds[name] = (performance.now() - before) / 1000;
		}
		await daemon.terminate();
		drop();
		rows.push({ keys: store.keys, bytes: store.bytes, seconds });
		say(`  ${size} room keys: ${methods.map((name) => `${name} ${seconds[name].toFixed(3)} s`).join(', ') || 'no such methods'}`);
	}
	return { methods, rows };
}

const SUBSCRIBERS = 50, CHANGES = 10_000, UNDER_WAY = 64;

// An admin's connection that counts what it is told; it parses nothing, since there is one process for all of them.
function subscriber(daemon, since) {
	const socket = connect(daemon.adminSocket);
	let lines = 0, wanted = Infinity, arrived;
	socket.on('data', (chunk) => {
		for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
		if (lines >= wanted) arrived();
	});
	socket.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscribe', params: { since } })}\n`);
	const told = (n) => new Promise((resolve) => {
		[wanted, arrived] = [n + 1, resolve]; // the answer is a line, too
		if (lines >= wanted) arrived();
	});
	return { told, socket };
}

async function events() {
	const rows = [];
	const dir = mkdtempSync(join(inMemory, 'events-'));
	let { daemon, admin } = await start(dir);
	await admin.call('createApp', { appId: 'app' });
	for (const subscribers of [0, 1, SUBSCRIBERS]) {
		const { keystore: { seq } } = await admin.call('getStatus');
		const all = Array.from({ length: subscribers }, () => subscriber(daemon, seq));
		await Promise.all(all.map(({ told }) => told(0)));
		const before = performance.now();
		let left = CHANGES;
		const told = Promise.all(all.map((one) => one.told(CHANGES)));
		await Promise.all(Array.from({ length: UNDER_WAY }, async () => {
			while (left-- > 0) await admin.call('authorizeRoom', { appId: 'app', roomId: `room-${left}`, permissions: ['read'] });
		}));
		const changed = performance.now();
		await told;
		const seconds = (performance.now() - before) / 1000;
		rows.push({ what: 'as they happen', subscribers, events: CHANGES, seconds, changesPerSecond: CHANGES / ((changed - before) / 1000) });
		for (const { socket } of all) socket.destroy();
	}
	await daemon.terminate();
	({ daemon, admin } = await start(dir));
	const { keystore: { seq } } = await admin.call('getStatus');
	for (const subscribers of [1, SUBSCRIBERS]) {
		const before = performance.now();
		const all = Array.from({ length: subscribers }, () => subscriber(daemon, seq - CHANGES));
		await Promise.all(all.map(({ told }) => told(CHANGES)));
		rows.push({ what: 'out of the log', subscribers, events: CHANGES, seconds: (performance.now() - before) / 1000 });
		for (const { socket } of all) socket.destroy();
	}
	await daemon.terminate();
	rmSync(dir, { recursive: true });
	for (const row of rows) say(`  ${row.what}, ${row.subscribers} subscribers: ${Math.round((row.subscribers * row.events) / row.seconds)} events/s`);
	return rows;
}

const RECIPIENTS = 100, WRAPPED_KEYS = 10, WRAP_ROUNDS = 100;

async function wrap() {
	const rows = [];
	const pairs = await Promise.all(Array.from({ length: 10 }, () => makeIdentity()));
	const recipients = Array.from({ length: RECIPIENTS }, (_, i) => ({ _id: `user-${i}`, public_key: pairs[i % pairs.length].publicText }));
	for (const threads of [1, 2]) {
		const daemon = await startDaemon({ config: { workers: { threads } } });
		const admin = await daemon.admin();
		const { token } = await admin.call('createApp', { appId: 'app', rooms: [{ roomId: 'room', permissions: ['create', 'distribute'] }] });
		const client = await daemon.app('app', token);
		for (let i = 0; i < WRAPPED_KEYS; i++) await client.call('createRoomKey', { roomId: 'room' });
		const seconds = [];
		for (let i = 0; i < WRAP_ROUNDS; i++) {
			const before = performance.now();
			await client.call('wrapRoomKey', { roomId: 'room', recipients });
			seconds.push((performance.now() - before) / 1000);
		}
		await daemon.stop();
		seconds.sort((a, b) => a - b);
		rows.push({ threads, recipients: RECIPIENTS, keys: WRAPPED_KEYS, fastestSeconds: seconds[0], medianSeconds: seconds[WRAP_ROUNDS / 2] });
		say(`  ${threads} workers: ${(1000 * seconds[0]).toFixed(1)} ms`);
	}
	return rows;
}

async function machine() {
	const { dir } = await keystore(1);
	const { daemon, status } = await start(dir);
	await daemon.terminate();
	return {
		date: new Date().toISOString().slice(0, 10),
		version: status.version,
		cores: os.cpus().length,
		cpu: os.cpus()[0].model,
		memoryBytes: os.totalmem(),
		kernel: os.release().match(/^\d+\.\d+/)[0], // what a distribution adds tells more of the machine than of the figures
		memoryFileSystem: fileSystem(inMemory).type,
		diskFileSystem: fileSystem(onDisk).type,
	};
}

// ---- run and report ----------------------------------------------------------------------------------------------

const client = () => calls(say);

const sections = { machine, open, append, group, memory, rewrite, wrap, events, files, client };
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !Object.hasOwn(sections, name));
if (unknown.length) {
	console.error(`bench: no section ${unknown.join(', ')}; there are ${Object.keys(sections).join(', ')}`);
	process.exit(64);
}

const figures = {}, described = {};
for (const name of asked.length ? asked : Object.keys(sections)) {
	say(`${name}:`);
	figures[name] = await sections[name]();
	described[name] = describe(name, figures[name]);
	say(`\n${described[name].text}\n`);
}
if (asked.length === 0) {
	const page = join(DOCS, 'performance.md');
	mkdirSync(join(DOCS, 'performance'), { recursive: true });
	writeFileSync(page, insert(readFileSync(page, 'utf8'), Object.fromEntries(Object.entries(described).map(([name, { text, plot }]) =>
		[name, plot ? `${text}\n\n![${name}](performance/${name}.svg)` : text]))));
	writeFileSync(join(DOCS, 'performance/results.json'), `${JSON.stringify(figures, null, '\t')}\n`);
	for (const [name, { plot }] of Object.entries(described)) if (plot) writeFileSync(join(DOCS, `performance/${name}.svg`), plot);
	say('written: docs/performance.md, docs/performance/');
}
