// A keystore loses nothing that was answered and keeps nothing that was refused: not when the daemon is killed, at any moment or at
// any one of its steps, not when the disk is full or fails, and not when the power goes and takes what was not synced.
//
//   E2EED_KILLS  how often the daemon is killed at least, all tests together (500 and more: every step in every way; 1000 and more: also
//                where that takes minutes)
//   E2EED_SEED   repeats a run's random choices; each test prints its own
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ALL, random } from '../e2e/lib/actors.mjs';
import { ConnectionClosed, RpcError } from '../e2e/lib/client.mjs';
import { configText, removeFolder, run, startDaemon, temporaryFolder } from '../e2e/lib/daemon.mjs';
import { Faults } from './faults.mjs';
import { makeMaterial, Model, Thing } from './model.mjs';

const KILLS = Number(process.env.E2EED_KILLS ?? 250);
const THOROUGH = KILLS >= 500;
const EXHAUSTIVE = KILLS >= 1000;
const BRIEF = KILLS < 200;
const ROOMS = ['room-0', 'room-1', 'room-2', 'room-3'];

// of all tests together, printed at the end
const figures = {
	kills: new Map(), failures: new Map(), powerLosses: 0, restarts: 0, decrypted: 0,
	acknowledged: 0, refused: 0, unanswered: 0, wrong: 0,
};
const count = (map, what) => map.set(what, (map.get(what) ?? 0) + 1);
const total = (map) => [...map.values()].reduce((sum, n) => sum + n, 0);
const lines = (map) => [...map].sort().map(([what, n]) => `${what} ${n}`).join(', ');

// One daemon on a folder whose disk can fail, and the model of what it must know.
class Bench {
	model = null;
	backups = new Map(); // name -> bytes: those that were answered
	kept = new Set(['keystore', 'keystore.key', 'anchor']); // what may be in the folder after a start

	constructor(rng, template, anchored) {
		const dir = temporaryFolder();
		Object.assign(this, { rng, template, dir, anchored, faults: new Faults(join(dir, 'store')) });
	}

	async open() {
		const { folder } = this.faults;
		this.restore();
		this.daemon = await startDaemon({
			dir: this.dir,
			env: this.faults.env,
			config: {
				keystore: {
					path: join(folder, 'keystore'),
					key_file: join(folder, 'keystore.key'),
					anchor: this.anchored ? join(folder, 'anchor') : null,
				},
				workers: { loops: 2, threads: 2 },
				security: { mlock: 'off' }, // so that `degraded` speaks of the keystore
			},
		});
		this.admin = await this.daemon.admin();
		return this;
	}

	// While no daemon runs.
	empty() {
		for (const name of readdirSync(this.faults.folder)) rmSync(join(this.faults.folder, name));
		this.faults.forget();
		this.backups.clear();
	}

	// Back to the keystore that all tests begin with.
	restore() {
		const { folder } = this.faults;
		this.empty();
		if (!this.template) return;
		for (const name of readdirSync(this.template.folder)) copyFileSync(join(this.template.folder, name), join(folder, name));
		this.model = this.template.model.copy();
		this.model.rng = this.rng;
		this.slots = null;
	}

	async close() {
		await this.daemon?.kill();
		this.faults.close();
		removeFolder(this.dir);
	}

	// Has the plan been followed? It is withdrawn, so that work in the background follows it no later.
	async fired() {
		this.faults.withdraw();
		while (this.faults.busy() && this.isRunning()) await new Promise(setImmediate);
		return this.faults.progress().stage > 0;
	}

	// An end that was planned: by the shim at one of its calls. @power: false, or what of losePower() is not left to chance.
	async died(how, power) {
		const { signal, stderr } = await this.daemon.exited();
		const { kind, name } = this.faults.progress();
		assert.equal(signal, 'SIGKILL', stderr);
		await this.daemon.kill();
		count(figures.kills, `${how} ${kind}`);
		this.story = `killed ${how} ${kind} of ${name}`;
		if (!power) return;
		figures.powerLosses++;
		this.story += `, then the power went (${this.faults.losePower(this.rng, power)})`;
	}

	// Start on what is left, and look.
	async recover() {
		this.faults.disarm();
		try {
			await this.daemon.start();
			figures.restarts++;
			this.admin = await this.daemon.admin();
			await this.check();
			assert.equal((await this.admin.call('getStatus')).state, 'ready');
			for (const name of readdirSync(this.faults.folder)) assert.ok(this.kept.has(name), `${name} was left behind`);
			for (const [name, bytes] of this.backups) assert.equal(statSync(join(this.faults.folder, name)).size, bytes, name);
			if (this.newBackup && existsSync(join(this.faults.folder, this.newBackup.name))) await this.openBackup(this.newBackup);
			this.newBackup = null;
		} catch (error) {
			figures.wrong++;
			error.message = `seed ${this.rng.seed}${this.anchored ? ', anchored' : ''}: after it was ${this.story}: ${error.message}`;
			throw error;
		}
	}

	async check() {
		await this.model?.check(this.daemon, this.admin);
		if (!this.slots) return;
		const seen = (await this.admin.call('listSlots')).slots.map((slot) => slot.slot);
		this.slots.settle(seen, (now, state) => assert.deepEqual(now, state, 'slots'), 'slots');
	}

	// While a failure lasts, what is in memory is what was answered.
	async checkAlive() {
		try {
			await this.check();
		} catch (error) {
			figures.wrong++;
			error.message = `seed ${this.rng.seed}: while it was ${this.story}: ${error.message}`;
			throw error;
		}
	}

	// The disk is well again: it takes mutations, unless it has said that it will not before a restart.
	async goesOn() {
		const { state } = await this.admin.call('getStatus');
		if (state === 'ready') {
			const app = this.model.apps.get('rooms-a');
			const done = await this.model.authorizeRoom({ admin: this.admin, app }, app.rooms[3]);
			assert.ok(done.result, `${this.story}, it refuses more than that, and says that it is ready`);
		}
		this.story += `; ${state}`;
	}

	isRunning() {
		return this.daemon.proc.exitCode === null && this.daemon.proc.signalCode === null;
	}

	// A clean end or a kill, unless it has ended itself: what is on the disk is to be the same.
	async endSomehow() {
		if (!this.isRunning() || this.rng.chance(0.5)) {
			await this.daemon.kill();
			this.story += '; killed';
		} else {
			await this.daemon.terminate();
			this.story += '; stopped';
		}
	}

	async addSlot() {
		this.slots ??= new Thing((await this.admin.call('listSlots')).slots.map((slot) => slot.slot));
		return this.model.mutate(this.slots, () => this.admin.call('addSlot', { seal: 'recovery' }),
			(answer, slots) => [...slots, answer.slot ?? answer.at(-1)]); // what is seen later is the list
	}

	removeSlot() {
		const slot = this.slots.state.at(-1);
		return this.model.mutate(this.slots, () => this.admin.call('removeSlot', { slot }), (_, slots) => slots.slice(0, -1));
	}

	// A backup that has its name is whole: recover() opens it.
	async backup(name) {
		this.kept.add(name);
		this.newBackup = { name, model: this.model.copy() };
		const done = await orClosed(ask(this, 'backupKeystore', { path: join(this.faults.folder, name) }));
		if (done.result) this.backups.set(name, done.result.bytes);
		return done;
	}

	async openBackup({ name, model }) {
		const dir = temporaryFolder();
		copyFileSync(join(this.faults.folder, name), join(dir, 'keystore'));
		copyFileSync(join(this.faults.folder, 'keystore.key'), join(dir, 'keystore.key'));
		const daemon = await startDaemon({ dir }); // without an anchor, which knows more than a backup
		try {
			await model.check(daemon, await daemon.admin());
		} finally {
			await daemon.stop();
		}
	}

	async at(app) {
		return { admin: this.admin, app, client: await this.daemon.app(app.appId, app.state.token) };
	}
}

// Mutations from several connections until @over() or the end of the daemon; @answered hears of each answer. Gives whether it ended.
async function load(bench, { over = () => false, answered = () => {} }) {
	const { model, daemon, rng } = bench, lanes = [];
	const lane = async (app, mutate) => lanes.push({ at: { admin: await daemon.admin(), app, client: await daemon.app(app.appId, app.state.token) }, mutate });
	for (const id of ['rooms-a', 'rooms-b']) {
		const app = model.apps.get(id);
		for (const rooms of [app.rooms.slice(0, 2), app.rooms.slice(2)]) await lane(app, (at) => model.mutateRoom(at, rng.pick(rooms)));
	}
	await lane(model.apps.get('tokens'), (at) => model.resetToken(at));
	await lane(model.apps.get('identities'), (at) => model.mutateIdentities(at));
	const closed = await Promise.all(lanes.map(async ({ at, mutate }) => {
		try {
			while (!over()) answered(await mutate(at));
			return false;
		} catch (error) {
			if (!(error instanceof ConnectionClosed)) throw error;
			return true;
		}
	}));
	return closed.includes(true);
}

// An anchor that is ahead of its keystore would stop a start: no crash may bring that about.
async function knowsAnchors() {
	const dir = temporaryFolder(), config = join(dir, 'e2eed.conf');
	writeFileSync(config, configText({ keystore: { anchor: join(dir, 'anchor') } }), { mode: 0o600 });
	const { code } = await run(['--config', config, '--check-config']);
	removeFolder(dir);
	return code === 0;
}

// A keystore with something of everything in it; all tests begin with copies.
async function fill(bench) {
	const model = new Model({ rng: bench.rng, material: await makeMaterial(), figures });
	bench.model = model;
	for (const id of ['rooms-a', 'rooms-b', 'tokens', 'identities', 'revoked']) await model.createApp(bench, id, ROOMS);
	for (const id of ['identities', 'revoked']) {
		const at = await bench.at(model.apps.get(id));
		await model.plantProbe(at, at.app.rooms[0]);
	}
	let answers = 0;
	const counted = bench.faults.seen();
	await load(bench, { over: () => answers >= 60, answered: () => answers++ });
	const seen = Object.entries(bench.faults.seen()).filter(([kind, n]) => n > counted[kind]).map(([kind]) => kind);
	await bench.check();
	await bench.daemon.terminate();
	return { model, seen };
}

// ---- one mutation, step by step ----

const WAYS_TO_KILL = [{ action: 'before' }, { action: 'after' }, { action: 'half', kinds: ['write'] }]
	.flatMap((stage) => [{ ...stage, power: false }, { ...stage, power: {} }]);
const ALL_LOST = { names: 'synced', data: 'none' };
const WAYS_TO_FAIL = [{ error: 'EIO' }, { error: 'EIO', onward: true }, { error: 'ENOSPC' },
	{ error: 'ENOSPC', onward: true, kinds: ['write', 'create', 'link', 'rename', 'allocate'] },
	{ error: 'ENOSPC', short: true, kinds: ['write'] }];

// All of them, or some; the first is one that every call counts for. @slow: what has many steps, and key pairs to make.
function waysToKill(rng, slow = false) {
	if (slow ? EXHAUSTIVE : THOROUGH) return WAYS_TO_KILL;
	const first = rng.pick(WAYS_TO_KILL.slice(0, 4));
	if (BRIEF && slow) return [first];
	return [first, rng.pick(WAYS_TO_KILL.filter((way) => way !== first && !way.power !== !first.power))];
}

const waysToFail = (rng, slow = false) => ((slow ? EXHAUSTIVE : THOROUGH) ? WAYS_TO_FAIL : [rng.pick(WAYS_TO_FAIL.slice(0, 2)), rng.pick(WAYS_TO_FAIL.slice(2))]);

// The room is empty and everything is allowed in it.
async function emptyRoom(bench, at, room = at.app.rooms[0]) {
	if (room.state.perms) await bench.model.deauthorizeRoom(at, room, true);
	await bench.model.authorizeRoom(at, room, ALL);
}

const onRoom = (method) => ({ prepare: emptyRoom, act: (bench, at) => bench.model[method](at, at.app.rooms[0]) });

// A method that changes nothing an app can see.
async function ask(bench, method, params = {}) {
	try {
		return { result: await bench.admin.call(method, params) };
	} catch (error) {
		if (error instanceof RpcError && error.reason === 'STORAGE_ERROR') return { refused: true };
		throw error;
	}
}

let serial = 0;

// Rotated, and the former key destroyed by the keeper when its time is up.
async function expireKey(bench, at) {
	const done = await bench.model.rotateBriefly(at);
	const expired = bench.daemon.logged(new RegExp(`destroyed: ${done.result?.previousKeyId}`));
	return done.result ? expired.then(() => done, () => ({ closed: true })) : done;
}

const SUBJECTS = {
	authorizeRoom: onRoom('authorizeRoom'),
	deauthorizeRoom: onRoom('deauthorizeRoom'),
	createRoomKey: onRoom('createRoomKey'),
	importRoomKey: onRoom('importRoomKey'),
	importRoomKeys: onRoom('importRoomKeys'),
	resetToken: { act: (bench, at) => bench.model.resetToken(at) },
	importIdentity: { app: 'identities', act: (bench, at) => bench.model.importIdentity(at) },
	rotate: { app: 'identities', act: (bench, at) => bench.model.rotate(at) },
	'rotate without grace': { app: 'identities', slow: true, act: (bench, at) => bench.model.rotateAtOnce(at) },
	'the end of a grace': { app: 'identities', lasts: true, act: expireKey },
	revokeKey: {
		app: 'identities',
		slow: true,
		prepare: async (bench, at) => {
			if (at.app.state.identities.length < 2) await bench.model.rotate(at);
		},
		act: (bench, at) => bench.model.revokeKey(at),
	},
	setEscrow: {
		app: 'revoked',
		slow: true,
		restore: true,
		prepare: (bench, at) => bench.model.setEscrow(at, 'the former one'),
		act: (bench, at) => bench.model.setEscrow(at, 'the new one'),
	},
	createApp: { act: (bench, at) => bench.model.createApp(at, `new-${serial++}`, ROOMS.slice(0, 1)) },
	revokeApp: { app: 'revoked', restore: true, act: (bench, at) => bench.model.revokeApp(at) },
	compactKeystore: { act: (bench) => ask(bench, 'compactKeystore') },
	rekeyKeystore: { act: (bench) => ask(bench, 'rekeyKeystore') },
	addSlot: {
		prepare: async (bench) => {
			if (bench.slots?.state.length > 1) await bench.removeSlot();
		},
		act: (bench) => bench.addSlot(),
	},
	removeSlot: {
		prepare: async (bench) => {
			if (!(bench.slots?.state.length > 1)) await bench.addSlot();
		},
		act: (bench) => bench.removeSlot(),
	},
	backupKeystore: { act: (bench) => bench.backup(`backup-${serial++}`) },
};

async function prepare(bench, { app = 'rooms-b', prepare: first, restore }) {
	if (restore) {
		await bench.daemon.terminate();
		bench.restore();
		await bench.recover();
	}
	const at = await bench.at(bench.model.apps.get(app));
	await first?.(bench, at);
	return at;
}

const orClosed = (promise) => promise.catch((error) => {
	if (!(error instanceof ConnectionClosed)) throw error;
	return { closed: true };
});

async function killAtEachStep(t, bench, subject) {
	let steps = 0;
	for (let n = 1, fired = true; fired; n++) {
		fired = false;
		for (const { power, ...stage } of subject.lasts ? [bench.rng.pick(WAYS_TO_KILL.slice(0, 4))] : waysToKill(bench.rng, subject.slow)) {
			const at = await prepare(bench, subject);
			bench.faults.arm([{ nth: n, ...stage }]);
			const done = await orClosed(subject.act(bench, at));
			if (!await bench.fired()) {
				assert.ok(done.result, 'nothing failed, and yet it was not done');
				continue;
			}
			fired = true;
			steps = n;
			await bench.died(stage.action, power);
			await bench.recover();
		}
	}
	assert.ok(steps > 1, 'a mutation writes and syncs');
	await answeredThenLost(bench);
	t.diagnostic(`${steps} steps`);
}

// What is answered is on the disk, under its name: the power goes before the next change has done anything.
async function answeredThenLost(bench, at = bench.model.apps.get('rooms-a')) {
	const lane = await bench.at(at), [room] = at.rooms;
	assert.ok((await bench.model.authorizeRoom(lane, room)).result);
	bench.faults.arm([{ action: 'before' }]);
	await assert.rejects(bench.model.authorizeRoom(lane, room), ConnectionClosed);
	await bench.died('before', ALL_LOST);
	await bench.recover();
}

async function failAtEachStep(t, bench, subject) {
	let refused = 0;
	for (let n = 1, fired = true; fired; n++) {
		fired = false;
		for (const way of waysToFail(bench.rng, subject.slow)) {
			const at = await prepare(bench, subject);
			bench.faults.arm([{ nth: n, action: 'fail', ...way }]);
			const done = await orClosed(subject.act(bench, at));
			const { stage, kind, name } = bench.faults.progress();
			if (stage === 0 && !await bench.fired()) {
				assert.ok(done.result, 'nothing failed, and yet it was not done');
				continue;
			}
			fired = true;
			if (done.refused) refused++;
			count(figures.failures, `${way.error} ${kind}`);
			bench.story = `refused a ${kind} of ${name} (${JSON.stringify(way)})`;
			if (done.closed) await bench.daemon.exited(); // rather than to say what it cannot know
			else await bench.checkAlive();
			bench.faults.disarm();
			if (!done.closed) await bench.goesOn();
			await bench.endSomehow();
			await bench.recover();
		}
	}
	assert.ok(refused > 0, 'the disk failed, and nobody was told');
}

async function diesAtStart(bench, { action }, power) {
	bench.daemon.spawn();
	const ready = await bench.daemon.logged(/\bready\b/).then(() => true, () => false);
	if (!ready) {
		await bench.died(action, power);
		return true;
	}
	assert.equal(await bench.fired(), false, 'it went on after it was killed');
	bench.story = 'started';
	await bench.daemon.kill();
	return false;
}

// ---- under load ----

async function killedAtAMoment(bench) {
	const last = bench.rng.between(1, 40);
	let answers = 0;
	await load(bench, {
		answered: () => {
			if (++answers === last) bench.daemon.signal('SIGKILL');
		},
	});
	await bench.daemon.exited();
	await bench.daemon.kill();
	count(figures.kills, 'at any moment');
	bench.story = `killed after ${last} answers`;
	await bench.recover();
}

// Any call, or one of a kind that is seen under load.
const someKinds = (rng, template) => (rng.chance(0.5) ? undefined : [rng.pick(template.seen)]);

async function killedAtAPoint(bench, template) {
	const { rng, faults } = bench;
	const action = rng.pick(['before', 'half', 'after']);
	faults.arm([{ action, nth: rng.between(1, 40), kinds: action === 'half' ? ['write'] : someKinds(rng, template) }]);
	await load(bench, {});
	await bench.died(action, rng.chance(0.6) && {});
	await bench.recover();
}

// A failure, once or for good; then either it is looked at while it lasts, or the daemon is killed close after it.
async function failsUnderLoad(bench, template) {
	const { rng, faults } = bench, short = rng.chance(0.3), killed = rng.chance(0.5);
	const failure = { action: 'fail', nth: rng.between(1, 40), error: rng.pick(['EIO', 'ENOSPC']), onward: rng.chance(0.5), short,
		kinds: short ? ['write'] : someKinds(rng, template) };
	const action = rng.pick(['before', 'after']);
	let later = 0;
	faults.arm(killed ? [failure, { action, nth: rng.between(1, 6) }] : [failure]);
	const closed = await load(bench, { over: () => later > (killed ? 200 : 20), answered: () => (later += faults.progress().stage) });
	const { stage, kind } = faults.progress();
	count(figures.failures, `${failure.error} ${kind}`);
	bench.story = `refused a ${kind} (${JSON.stringify(failure)})`;
	if (stage === 2) {
		await bench.died(action, rng.chance(0.6) && {});
	} else {
		if (closed) await bench.daemon.exited();
		else await bench.checkAlive();
		faults.disarm();
		await bench.endSomehow();
	}
	await bench.recover();
}

describe('crash', { timeout: 3_600_000 }, () => {
	let template;
	before(async () => {
		const anchored = await knowsAnchors(), bench = await new Bench(random(1), null, anchored).open();
		template = { bench, anchored, folder: bench.faults.folder };
		Object.assign(template, await fill(bench));
	});
	after(() => template?.bench.close());

	const withBench = async (t, fn) => {
		const rng = random();
		t.diagnostic(`seed ${rng.seed}`);
		const bench = await new Bench(rng, template, template.anchored && rng.chance(0.5)).open();
		try {
			await fn(bench);
		} finally {
			await bench.close();
		}
	};

	describe('killed at each step, and the power gone', () => {
		for (const [name, subject] of Object.entries(SUBJECTS)) {
			test(name, async (t) => {
				return withBench(t, (bench) => killAtEachStep(t, bench, subject));
			});
		}
	});

	describe('refused at each step by a disk that is full or fails', () => {
		for (const [name, subject] of Object.entries(SUBJECTS).filter(([, { lasts }]) => !lasts)) {
			test(name, async (t) => {
				return withBench(t, (bench) => failAtEachStep(t, bench, subject));
			});
		}
	});

	test('killed at each step of the first start', (t) => withBench(t, async (bench) => {
		await bench.daemon.kill();
		bench.model = null;
		for (let n = 1, fired = true; fired; n++) {
			fired = false;
			for (const { power, ...stage } of waysToKill(bench.rng)) {
				bench.empty();
				bench.faults.arm([{ nth: n, ...stage }]);
				fired = await diesAtStart(bench, stage, power) || fired;
				await bench.recover();
				assert.deepEqual((await bench.admin.call('listApps')).apps, []);
				await bench.daemon.kill();
			}
		}
	}));

	test('refused at each step of the first start', (t) => withBench(t, async (bench) => {
		await bench.daemon.kill();
		bench.model = null;
		for (let n = 1, fired = true; fired; n++) {
			fired = false;
			// the last is what a file system without nameless files says, and no reason to give up
			for (const way of [...WAYS_TO_FAIL, { error: 'EOPNOTSUPP', kinds: ['create'] }]) {
				bench.empty();
				bench.faults.arm([{ nth: n, action: 'fail', ...way }]);
				bench.daemon.spawn();
				const ready = await bench.daemon.logged(/\bready\b/).then(() => true, () => false);
				const { stage, kind } = bench.faults.progress();
				if (stage) count(figures.failures, `${way.error} ${kind}`);
				fired ||= stage > 0;
				bench.story = `refused a ${kind} (${way.error})`;
				if (!ready) {
					const { code, stderr } = await bench.daemon.exited();
					assert.ok(stage && code > 0, `exit status ${code}: ${stderr}`);
					assert.match(stderr, /cannot [^\n]*(keystore|anchor)/, 'says what could not be done');
				}
				await bench.daemon.kill();
				await bench.recover();
				await bench.daemon.kill();
			}
		}
	}));

	// What a crash leaves is put right at the next start: which may be cut short in its turn.
	test('killed at each step of a start that mends the file', (t) => withBench(t, async (bench) => {
		for (let n = 1, fired = true; fired; n++) {
			fired = false;
			for (const { power, ...stage } of waysToKill(bench.rng)) {
				const app = bench.model.apps.get('rooms-a'), at = await bench.at(app);
				bench.faults.arm([{ kinds: ['write'], action: 'half' }]);
				await assert.rejects(bench.model.authorizeRoom(at, app.rooms[0]), ConnectionClosed);
				await bench.died('half', false);
				bench.faults.arm([{ nth: n, ...stage }]);
				fired = await diesAtStart(bench, stage, power) || fired;
				await bench.recover();
			}
		}
		assert.ok(bench.faults.seen().truncate > 0, 'nothing was ever cut');
	}));

	test('the first answer of a new keystore, and the power gone', (t) => withBench(t, async (bench) => {
		await bench.daemon.kill();
		for (const error of [null, 'EOPNOTSUPP']) { // the latter: a file system without nameless files
			bench.empty();
			bench.faults.arm(error ? [{ kinds: ['create'], action: 'fail', error }, { kinds: ['create'], nth: 2, action: 'fail', error }] : []);
			await bench.daemon.start();
			bench.admin = await bench.daemon.admin();
			bench.model = new Model(bench.model);
			await bench.model.createApp(bench, 'first', ROOMS);
			await answeredThenLost(bench, bench.model.apps.get('first'));
			await bench.daemon.kill();
		}
	}));

	// What is written and not synced when the daemon dies is still there for the next one, which shows it, and says of a key that it
	// is known: then it has to be durable.
	test('what a restart has shown, the loss of power does not take', (t) => withBench(t, async (bench) => {
		for (const name of ['authorizeRoom', 'importRoomKey', 'importRoomKeys', 'resetToken']) {
			const subject = SUBJECTS[name];
			await prepare(bench, subject);
			const at = await prepare(bench, subject);
			bench.faults.arm([{ kinds: ['write'], action: 'after' }]);
			await assert.rejects(subject.act(bench, at), ConnectionClosed);
			await bench.died('after', false);
			await bench.recover();
			bench.faults.arm([{ kinds: ['write'], action: 'before' }]);
			const again = await bench.at(at.app);
			await assert.rejects(bench.model.authorizeRoom(again, at.app.rooms[1]), ConnectionClosed);
			await bench.died('before', ALL_LOST);
			await bench.recover();
		}
	}));

	test('killed at any moment, under load', (t) => withBench(t, async (bench) => {
		const modes = { moment: killedAtAMoment, point: killedAtAPoint, failure: failsUnderLoad };
		for (let round = 0; round < Math.max(20, KILLS / 4) || total(figures.kills) < KILLS; round++) {
			const roll = bench.rng.next();
			await modes[roll < 0.3 ? 'moment' : roll < 0.75 ? 'point' : 'failure'](bench, template);
			if (round % 25 < 24) continue;
			await bench.daemon.terminate(); // the log has grown long enough
			bench.restore();
			await bench.recover();
		}
	}));

	after(() => {
		const say = (line) => console.log(`figures: ${line}`);
		say(`kills: ${total(figures.kills)} (${lines(figures.kills)})`);
		say(`of them with loss of power: ${figures.powerLosses}`);
		say(`calls that failed: ${total(figures.failures)} (${lines(figures.failures)})`);
		say(`restarts looked at: ${figures.restarts}, messages decrypted after one: ${figures.decrypted}`);
		say(`mutations: ${figures.acknowledged} acknowledged, ${figures.refused} refused, ${figures.unanswered} unanswered`);
		say(`looks that found something lost, half done or left behind: ${figures.wrong}`);
	});
});
