// Apps at work on many connections while admins take things away from them and give them back: what was revoked is refused to each
// request that was sent after the revocation had been acknowledged, and nothing else is refused to anybody.
//
//   E2EED_RACE_S  how many seconds (6)
//   E2EED_SEED    what a run printed: the same choices, though never the same race
//
// What is known is kept as facts, each true, false, or open while a request that changes it is under way. A request is judged by the
// facts that stayed as they were from when it was sent until its answer came; by an open one it may be refused, but need not be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALL, random } from '../e2e/lib/actors.mjs';
import { ConnectionClosed, RpcError } from '../e2e/lib/client.mjs';
import { startDaemon } from '../e2e/lib/daemon.mjs';
import * as rc from '../e2e/lib/rc.mjs';

const SECONDS = Number(process.env.E2EED_RACE_S ?? 6);
const SLOTS = 3; // apps at a time
const ROOMS = 3; // of each
const ROTATIONS = 6; // retired keys of an app

class Fact {
	// meanwhile: what it may be refused with, too, while the fact is open
	constructor(reasons, value, meanwhile = []) {
		Object.assign(this, { reasons, value, meanwhile, version: 0 });
	}

	set(value) {
		this.value = value; // undefined: open
		this.version++;
	}

	// Gives a function that tells what has held all the while since now.
	watch() {
		const { value, version } = this;
		return () => (this.version === version ? value : undefined);
	}
}

const turn = () => new Promise(setImmediate);

// A request that is let in a moment before its app is revoked finds the app's rooms and keys gone.
const newSession = () => new Fact(['UNAUTHENTICATED', 'ConnectionClosed'], true, ['ROOM_NOT_AUTHORIZED', 'NO_ROOM_KEY', 'KEY_UNWRAP_FAILED']);

test(`revocations hold, and rotations fail nothing, for ${SECONDS} s`, { timeout: SECONDS * 1000 + 600_000 }, async (t) => {
	const rng = random();
	t.diagnostic(`seed ${rng.seed}`);
	const daemon = await startDaemon({ config: { workers: { loops: 2, threads: 2 }, listen: { tcp: '127.0.0.1:0' } } });
	const unlocked = new Fact(['LOCKED'], true);
	const counts = { served: 0, refused: 0, undecided: 0, closed: 0 };
	const done = {}; // method -> how often it succeeded
	const members = await Promise.all(Array.from({ length: 2 }, () => rc.makeIdentity()));
	const end = Date.now() + SECONDS * 1000;
	const isOver = () => Date.now() >= end;

	// ---- a request, and whether it was answered as it had to be ----

	async function judged(what, facts, request, check) {
		const watched = [...facts, unlocked].map((fact) => ({ fact, held: fact.watch() }));
		const answer = await request().then((result) => ({ result }), (error) => {
			if (error instanceof RpcError) return { reason: error.reason };
			if (error instanceof ConnectionClosed) return { reason: error.name };
			throw error;
		});
		const found = watched.map(({ fact, held }) => ({ fact, value: held() }));
		const tell = () => `${what}: ${answer.reason ?? 'served'}, seed ${rng.seed}; ${found.map(({ fact, value }) => `${fact.reasons[0]} ${value}`).join(', ')}`;
		const mayBe = ({ fact, value }) => (value === true ? [] : [...fact.reasons, ...(value === undefined ? fact.meanwhile : [])]);
		if (answer.reason) assert.ok(found.some((one) => mayBe(one).includes(answer.reason)), tell());
		else assert.ok(found.every(({ value }) => value !== false), tell());
		if (answer.reason === 'ConnectionClosed') counts.closed++;
		else if (found.some(({ value }) => value === false)) counts.refused++;
		else if (found.every(({ value }) => value === true)) counts.served++;
		else counts.undecided++;
		if (!answer.reason) await check?.(answer.result);
		return answer;
	}

	// ---- apps: { appId, token, session, identities: [{ keyId, publicKey, usable }] (current first), rooms, clients } ----

	let serial = 0;
	const newIdentity = (keyId, publicKey) => ({ keyId, publicKey, usable: new Fact(['KEY_UNWRAP_FAILED'], true) });

	// Repeated while the keystore is locked, since then nothing was done.
	async function insist(call) {
		for (;;) {
			try {
				return await call();
			} catch (error) {
				if (!(error instanceof RpcError && error.reason === 'LOCKED')) throw error;
			}
		}
	}

	async function connect(app) {
		const clients = await Promise.all([daemon.stranger(), daemon.stranger(), daemon.connect({ host: '127.0.0.1', port: daemon.tcpPort })]);
		for (const client of clients) await insist(() => client.authenticate(app.appId, app.token));
		const { session } = app;
		app.clients = clients.map((client) => ({ client, app, session }));
	}

	async function newApp(admin) {
		const appId = `app-${++serial}`;
		const rooms = Array.from({ length: ROOMS }, (_, i) => ({ roomId: `room-${i}`, granted: new Fact(['ROOM_NOT_AUTHORIZED'], true),
			hasKey: new Fact(['NO_ROOM_KEY'], undefined) }));
		const made = await insist(() => admin.call('createApp', { appId, rooms: rooms.map(({ roomId }) => ({ roomId, permissions: ALL })) }));
		const app = { appId, token: made.token, session: newSession(), rooms,
			identities: [newIdentity(made.keyId, made.publicKey)] };
		await connect(app);
		for (const room of rooms) await giveKey(app, room);
		return app;
	}

	// The room has a current key that we know, unless the app is revoked in the meantime.
	async function giveKey(app, room) {
		const key = await rc.makeRoomKey();
		const sealed = await rc.encryptV2(key.jwkText, key.kid, { msg: key.kid });
		while (!app.over) {
			const { result } = await importKey(rng.pick(app.clients), room, app.identities[0], key, true);
			if (result) {
				Object.assign(room, { key, sealed });
				room.hasKey.set(true);
				return;
			}
			await turn();
		}
	}

	// ---- what apps do ----

	const call = ({ client, session }, room, method, params, { facts = [], check } = {}) =>
		judged(method, [session, room.granted, ...facts], () => client.call(method, params), check);

	const importKey = async (connection, room, identity, key, makeCurrent) => {
		const wrapped = await rc.wrapRoomKey(identity.publicKey, key.kid, key.jwkText);
		return call(connection, room, 'importRoomKey', { roomId: room.roomId, key: wrapped, makeCurrent }, { facts: [identity.usable] });
	};

	const withKey = (room, check) => ({ facts: [room.hasKey], check });

	const requests = {
		decrypt: (connection, room) => {
			const { roomId, sealed: content, key } = room;
			return call(connection, room, 'decrypt', { roomId, content }, withKey(room, ({ payload }) => assert.equal(payload.msg, key.kid)));
		},
		decryptMessage: (connection, room) => {
			const { roomId: rid, sealed: content, key } = room;
			return call(connection, room, 'decryptMessage', { message: { _id: 'm', rid, t: 'e2e', e2e: 'pending', msg: '', content } },
				withKey(room, ({ message }) => assert.equal(message.msg, key.kid)));
		},
		encrypt: (connection, room) => {
			const { roomId, key } = room, payload = { msg: rc.uuid() };
			return call(connection, room, 'encrypt', { roomId, payload }, withKey(room, async ({ content }) => {
				if (content.kid === key.kid && rng.chance(0.1)) assert.equal(await rc.decryptContent(key.jwkText, content), JSON.stringify(payload));
			}));
		},
		importRoomKey: async (connection, room) => {
			const identity = rng.pick(connection.app.identities);
			return importKey(connection, room, identity, rng.chance(0.7) ? room.key : await rc.makeRoomKey(), false);
		},
		getEncryptedRoomKey: (connection, room) => call(connection, room, 'getEncryptedRoomKey', { roomId: room.roomId }, withKey(room)),
		wrapRoomKey: (connection, room) => {
			const recipients = Array.from({ length: rng.between(1, 20) }, (_, i) => ({ _id: `u${i}`, public_key: members[i % 2].publicText }));
			const { key, roomId } = room;
			return call(connection, room, 'wrapRoomKey', { roomId, recipients }, withKey(room, async ({ users }) => {
				assert.equal(users.length, recipients.length);
				const { kid, jwkText } = await rc.unwrapE2EKey(members[0].privateText, users[0].key);
				if (kid === key.kid) assert.equal(jwkText, key.jwkText);
			}));
		},
	};
	const fast = ['decrypt', 'decryptMessage', 'encrypt']; // the loops serve them, so they do not wait behind the others
	const slow = Object.keys(requests).filter((name) => !fast.includes(name));

	// slot: { app, renewed: a promise, until its app or its connections are others }
	const newSlot = (app) => {
		const slot = { app };
		slot.renew = () => {
			slot.wake?.();
			slot.renewed = new Promise((resolve) => (slot.wake = resolve));
		};
		slot.renew();
		return slot;
	};

	async function hammer(slot, which, names) {
		while (!isOver()) {
			const connection = slot.app.clients[which];
			const { reason } = await requests[rng.pick(names)](connection, rng.pick(slot.app.rooms));
			if (reason === 'ConnectionClosed' && connection === slot.app.clients[which]) await slot.renewed;
		}
	}

	// Right after an acknowledgement, on every connection, each way to use what is gone.
	const burst = (app, rooms, names = Object.keys(requests)) =>
		Promise.all(app.clients.flatMap((connection) => rooms.flatMap((room) => names.map((name) => requests[name](connection, room)))));

	// ---- what admins do ----

	// facts: [[fact, what it is afterwards]]. Gives the result; null where it was refused, since the app or the keystore was closed.
	async function mutate(admin, app, method, params, facts) {
		const before = facts.map(([fact]) => fact.value);
		const [alive, open] = [app.session.watch(), unlocked.watch()];
		for (const [fact] of facts) fact.set(undefined);
		try {
			const result = await admin.call(method, { appId: app.appId, ...params });
			for (const [fact, value] of facts) fact.set(value);
			done[method] = (done[method] ?? 0) + 1;
			return result;
		} catch (error) {
			const { reason } = error;
			const expected = (reason === 'LOCKED' && open() !== true) || (reason === 'FORBIDDEN' && alive() !== true);
			if (!expected) throw error;
			for (const [i, [fact]] of facts.entries()) fact.set(before[i]);
			return null;
		}
	}

	async function changeRooms(slot) {
		const admin = await daemon.admin();
		while (!isOver()) {
			const { app } = slot;
			const room = rng.pick(app.rooms), { roomId } = room;
			const purgeKeys = rng.chance(0.4);
			const gone = await mutate(admin, app, 'deauthorizeRoom', { roomId, purgeKeys },
				[[room.granted, false], ...(purgeKeys ? [[room.hasKey, undefined]] : [])]);
			if (!gone) continue;
			await burst(app, [room]);
			while (!app.over && !await mutate(admin, app, 'authorizeRoom', { roomId, permissions: ALL }, [[room.granted, true]]));
			if (purgeKeys) await giveKey(app, room);
		}
	}

	const identityChanges = {
		look: async (admin, { app }) => {
			const { identities } = await insist(() => admin.call('getApp', { appId: app.appId }));
			assert.equal(identities.find(({ state }) => state === 'current').keyId, app.identities[0].keyId);
		},
		rotate: async (admin, slot) => {
			const { app } = slot, [previous] = app.identities;
			if (app.identities.length > ROTATIONS) return;
			const graceSeconds = rng.chance(0.3) ? 0 : 3600;
			const rotated = await mutate(admin, app, 'rotate', { graceSeconds }, graceSeconds ? [] : [[previous.usable, false]]);
			if (!rotated) return;
			assert.equal(rotated.previousKeyId, previous.keyId);
			app.identities.unshift(newIdentity(rotated.keyId, rotated.publicKey));
			if (!graceSeconds) {
				await burst(app, app.rooms, ['importRoomKey', 'importRoomKey']);
				app.identities.splice(1, 1);
			}
		},
		revokeKey: async (admin, slot) => {
			const { app } = slot;
			if (app.identities.length < 2) return;
			const identity = rng.pick(app.identities.slice(1));
			if (!await mutate(admin, app, 'revokeKey', { keyId: identity.keyId }, [[identity.usable, false]])) return;
			await Promise.all(app.clients.flatMap((connection) => app.rooms.map((room) => importKey(connection, room, identity, room.key, false))));
			app.identities.splice(app.identities.indexOf(identity), 1);
		},
		resetToken: async (admin, slot) => {
			const { app } = slot;
			const reset = await mutate(admin, app, 'resetToken', {}, [[app.session, false]]);
			if (!reset) return;
			await burst(app, app.rooms);
			Object.assign(app, { token: reset.token, session: newSession() });
			await connect(app);
		},
		revokeApp: async (admin, slot) => {
			const { app } = slot;
			if (!await mutate(admin, app, 'revokeApp', {}, [[app.session, false]])) return;
			app.over = true;
			await burst(app, app.rooms);
			await Promise.all(app.clients.map(({ client }) => client.closed));
			slot.app = await newApp(admin);
		},
	};
	// mostly cheap ones, between which the apps get something done
	const changes = [...Array(40).fill('look'), 'rotate', 'rotate', 'rotate', 'revokeKey', 'revokeKey', 'resetToken', 'revokeApp'];

	async function changeIdentities(slot) {
		const admin = await daemon.admin();
		while (!isOver()) {
			await identityChanges[rng.pick(changes)](admin, slot);
			slot.renew();
		}
	}

	async function changeKeystore() {
		const admin = await daemon.admin();
		while (!isOver()) {
			if (rng.chance(0.005)) {
				unlocked.set(undefined);
				await admin.call('lock');
				unlocked.set(false);
				await Promise.all(slots.map(({ app }) => burst(app, app.rooms)));
				unlocked.set(undefined);
				await admin.call('unlock');
				unlocked.set(true);
				done.lock = (done.lock ?? 0) + 1;
			} else if (rng.chance(0.02)) {
				await admin.call('compactKeystore');
			} else {
				await admin.call('getStatus');
			}
		}
	}

	// ---- all of it at once ----

	const slots = [];
	try {
		const admin = await daemon.admin();
		for (let i = 0; i < SLOTS; i++) slots.push(newSlot(await newApp(admin)));
		await Promise.all([
			...slots.flatMap((slot) => slot.app.clients.flatMap((_, i) => [fast, fast, slow].map((names) => hammer(slot, i, names)))),
			...slots.map(changeRooms),
			...slots.map(changeIdentities),
			changeKeystore(),
		]);
		t.diagnostic(`figures: ${JSON.stringify({ seconds: SECONDS, ...counts, ...done })}`);
		assert.ok(counts.served > 0 && counts.refused > 0, 'nothing was decided');
		for (const method of ['deauthorizeRoom', 'authorizeRoom']) assert.ok(done[method] > 0, `${method} never succeeded`);
		await daemon.terminate();
		assert.doesNotMatch(daemon.stderr(), /^(<3>|\S+ error: )/m);
	} finally {
		await daemon.stop();
	}
});
