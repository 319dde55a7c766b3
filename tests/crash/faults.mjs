// The test's side of faults.c: plans what happens at which call, reads what was counted, and takes the power away.
//
//   const faults = new Faults(folder)          -> the folder whose files are watched; give `faults.env` to the daemon
//   faults.arm([{ kinds, nth, action, ... }])  -> stages, one after the other; the count starts now
//   faults.disarm()
//   faults.withdraw(), faults.busy()           -> nothing new fires; and not busy: nothing does any more
//   faults.progress()                          -> { stage, kind, name }: stages that are over, the call of the last one
//   faults.seen()                              -> calls of each kind so far
//   faults.losePower(rng, { names, data })     -> makes the folder what a disk shows after a loss of power; says how
import assert from 'node:assert/strict';
import { closeSync, existsSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, realpathSync, rmSync, statSync,
	writeFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../e2e/lib/daemon.mjs';

const LIBRARY = process.env.E2EED_FAULTS_LIBRARY ?? join(ROOT, 'build/release/faults.so');

// faults.c: enum kind, enum action, flags, struct control
export const KINDS = ['write', 'fsync', 'fdatasync', 'folder', 'rename', 'link', 'unlink', 'truncate', 'create', 'allocate'];
export const ACTIONS = { before: 1, half: 2, after: 3, fail: 4 };
const ONWARD = 1, SHORT = 2, STAGES_MAX = 4, STAGE = 20;
const AT = { generation: 0, stages: 4, followed: 88, stage: 92, kind: 112, name: 116, seen: 180, busy: 220 };
const CONTROL_BYTES = 4096;
const SECTOR = 512;

const maskOf = (kinds) => (kinds ?? KINDS).reduce((mask, kind) => mask | (1 << KINDS.indexOf(kind)), 0);

export class Faults {
	#generation = 0;

	constructor(folder) {
		assert.ok(existsSync(LIBRARY), `${LIBRARY} is missing: make build/release/faults.so`);
		mkdirSync(folder, { recursive: true, mode: 0o700 });
		this.folder = realpathSync(folder);
		writeFileSync(`${this.folder}.faults`, Buffer.alloc(CONTROL_BYTES), { mode: 0o600 });
		this.fd = openSync(`${this.folder}.faults`, 'r+');
		this.env = {
			E2EED_FAULTS: this.folder,
			LD_PRELOAD: LIBRARY,
			ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`,
		};
	}

	close() {
		closeSync(this.fd);
	}

	#read(at, n = 4) {
		const bytes = Buffer.alloc(n);
		readSync(this.fd, bytes, 0, n, at);
		return bytes;
	}

	#write(at, ...numbers) {
		writeSync(this.fd, Buffer.from(Uint32Array.from(numbers).buffer), 0, numbers.length * 4, at);
	}

	// kinds: a list of KINDS, all unless given; nth: from 1; action: of ACTIONS; error: 'ENOSPC' and the like, with
	// onward: from then on; short: a short write comes first.
	arm(stages) {
		assert.ok(stages.length <= STAGES_MAX);
		this.#write(AT.generation, 0);
		stages.forEach(({ kinds, nth = 1, action, error, onward = false, short = false }, i) => {
			this.#write(AT.stages + 4 + i * STAGE, maskOf(kinds), nth, ACTIONS[action], error ? constants.errno[error] : 0,
				(onward ? ONWARD : 0) | (short ? SHORT : 0));
		});
		this.#write(AT.stages, stages.length);
		this.#write(AT.generation, ++this.#generation);
	}

	disarm() {
		this.arm([]);
	}

	withdraw() {
		this.#write(AT.generation, 0);
	}

	busy() {
		return this.#read(AT.busy).readUInt32LE() !== 0;
	}

	progress() {
		if (this.#read(AT.followed).readUInt32LE() !== this.#generation) return { stage: 0 };
		const name = this.#read(AT.name, 64).toString('utf8');
		return {
			stage: this.#read(AT.stage).readUInt32LE(),
			kind: KINDS[this.#read(AT.kind).readUInt32LE()],
			name: name.slice(0, name.indexOf('\0')),
		};
	}

	seen() {
		const counts = this.#read(AT.seen, KINDS.length * 4);
		return Object.fromEntries(KINDS.map((kind, i) => [kind, counts.readUInt32LE(i * 4)]));
	}

	// The folder was changed by hand: all that is there counts as synced.
	forget() {
		rmSync(`${this.folder}.disk`, { recursive: true, force: true });
	}

	// How much of what was not synced got to the disk by itself is chance: none of it, the new sizes but no data, or data up to some
	// sector; and of the names, none or all.
	losePower(rng, { names = rng.pick(['synced', 'synced', 'latest']), data = rng.pick(['none', 'zeros', 'sectors', 'sectors']) } = {}) {
		const inodes = join(`${this.folder}.disk`, 'inode'), durable = join(`${this.folder}.disk`, 'names');
		const inodeOf = (path) => String(statSync(path).ino);
		const liveOf = new Map(readdirSync(inodes).map((number) => [inodeOf(join(inodes, number)), number])); // by the content's own inode
		const live = readdirSync(this.folder).map((name) => ({ name, ino: inodeOf(join(this.folder, name)) }));
		const entries = names === 'latest' ? live
			: readdirSync(durable).map((name) => ({ name, ino: liveOf.get(inodeOf(join(durable, name))), content: join(durable, name) }));

		const files = entries.map(({ name, ino, content = join(inodes, ino) }) => {
			const synced = existsSync(content) ? readFileSync(content) : Buffer.alloc(0);
			const now = live.find((file) => file.ino === ino)?.name;
			const bytes = now === undefined ? synced : afterPowerLoss(synced, readFileSync(join(this.folder, now)), data, rng);
			return { name, bytes, file: existsSync(content) ? inodeOf(content) : ino };
		});
		for (const { name } of live) rmSync(join(this.folder, name));
		for (const { name, bytes, file } of files) {
			const first = files.find((other) => other.file === file);
			if (first.name !== name) linkSync(join(this.folder, first.name), join(this.folder, name)); // two names of one file
			else writeFileSync(join(this.folder, name), bytes, { mode: 0o600 });
		}
		this.forget();
		return `names ${names}, data ${data}`;
	}
}

// What a disk has of a file whose content was @synced and is @live.
function afterPowerLoss(synced, live, data, rng) {
	let same = 0;
	while (same < synced.length && same < live.length && synced[same] === live[same]) same++;
	if (data === 'none' || (same === synced.length && same === live.length)) return synced;
	if (same === live.length) return rng.chance(0.5) ? synced : live; // cut
	const first = Math.floor(same / SECTOR), last = Math.ceil(live.length / SECTOR);
	const cut = data === 'zeros' ? same : Math.min(live.length, Math.max(same, rng.between(first, last) * SECTOR));
	const grown = data === 'zeros' || rng.chance(0.5); // the size came to the disk before the data
	const rest = grown ? Buffer.alloc(Math.max(live.length, synced.length) - cut) : Buffer.alloc(Math.max(0, synced.length - cut));
	synced.subarray(cut).copy(rest);
	return Buffer.concat([live.subarray(0, cut), rest]);
}
