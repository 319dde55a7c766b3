// The bot user as a member of the key exchange: what a person's client does in the background, done for a user who has none.
//
// sync() is one pass over account and rooms. It may be called by a timer, by the app's scheduler, by several servers at once: every pass starts
// from what the server and the daemon say now. start() calls it every few seconds. A token that the server does not accept ends it for good: a reset of
// the account's keys removes all tokens, and whoever goes on asking is only noise.
import { type Calls, E2eedError, type E2eedEvent, type Reason } from '../index';
import { Account } from './account';
import { EncryptedFiles } from './files';
import { Rest, type RestOptions } from './rest';
import { type RoomState, RoomSync } from './room_sync';
import { Serving } from './serving';

/** What is used of a Client. */
export type ParticipantClient = Calls & {
	on(name: 'event', listener: (event: E2eedEvent) => void): unknown;
	off(name: 'event', listener: (event: E2eedEvent) => void): unknown;
};

export interface ParticipantOptions extends RestOptions {
	client: ParticipantClient;
	/** makes a key for a room that has none (true by default; needs the grant's `create`) */
	createRoomKeys?: boolean;
	/** hands keys to members who wait (true by default; needs `distribute`) */
	serveMembers?: boolean;
	/** puts the app's key pair in the place of one that is not the app's (false by default) */
	replaceAccountKey?: boolean;
	/** of a file, sent or read; 100 MiB by default */
	maxFileBytes?: number;
	/** between passes; 10,000 by default, as people's clients have it */
	intervalMs?: number;
	/** the state has changed */
	onChange?: (state: ParticipantState) => void;
}

export interface ParticipantState {
	/**
	 * idle: no pass yet. running: in order. troubled: the last pass did not come to its end (`reason`), the next may. blocked: somebody has to
	 * decide (ACCOUNT_KEY_CONFLICT). stopped: for good, nothing is asked any more; make a new Participant with a new token.
	 */
	phase: 'idle' | 'running' | 'troubled' | 'blocked' | 'stopped';
	reason?: Reason;
	/** for whoever administers it */
	message?: string;
	warnings: string[];
	/** encrypted rooms, by id */
	rooms: { [roomId: string]: RoomState };
}

interface Room {
	_id: string;
	t?: string;
	encrypted?: boolean;
	e2eKeyId?: string;
	usersWaitingForE2EKeys?: { userId: string }[];
	_updatedAt?: unknown;
}

const INTERVAL_MS = 10_000;
const LONGEST_WAIT_MS = 5 * 60_000;
const ASK_AGAIN_MS = 5 * 60_000; // for keys, and rooms without a grant
const OVERLAP_MS = 1000; // of what is asked for again

/** Errors that say of this room alone that it does not work. */
const OF_ROOM = new Set<Reason>(['INVALID_PARAMS', 'NO_ROOM_KEY', 'KEY_UNWRAP_FAILED', 'INVALID_KEY', 'FORBIDDEN', 'TOO_LARGE']);

/** Collections of which the server tells what has changed since. */
class Mirror<T extends { _updatedAt?: unknown }> {
	readonly items = new Map<string, T>();
	#path: string;
	#idOf: (item: any) => string | undefined;
	#since: number | undefined;

	constructor(path: string, idOf: (item: any) => string | undefined) {
		this.#path = path;
		this.#idOf = idOf;
	}

	async refresh(rest: Rest): Promise<void> {
		const updatedSince = this.#since === undefined ? undefined : new Date(this.#since - OVERLAP_MS).toISOString();
		const { update = [], remove = [] } = await rest.get(this.#path, { updatedSince });
		const byDocument = new Map<string, string>();
		let newest = this.#since;
		for (const item of update) {
			const id = this.#idOf(item);
			const at = Date.parse(String(item._updatedAt));
			if (id === undefined) continue;
			this.items.set(id, item);
			byDocument.set(item._id, id);
			if (at > (newest ?? 0)) newest = at;
		}
		// what is removed is named by the document's own id; a room that was left and joined again has a new one
		for (const { _id } of remove)
			for (const [id, item] of this.items) if ((item as { _id?: string })._id === _id && !byDocument.has(_id)) this.items.delete(id);
		this.#since = newest;
	}

	/** All of it is asked for the next time. */
	forget(): void {
		this.#since = undefined;
		this.items.clear();
	}
}

export class Participant {
	readonly rest: Rest;
	/** files, sent and read as the bot user */
	readonly files: EncryptedFiles;
	#client: ParticipantClient;
	#options: ParticipantOptions;
	#account: Account;
	#serving: Serving;
	#rooms = new Mirror<Room>('rooms.get', (room) => room._id);
	#subscriptions = new Mirror<any>('subscriptions.get', (subscription) => subscription.rid);
	#syncs = new Map<string, RoomSync>();
	#settled = new Map<string, string>(); // room -> what it looked like when it was last ready
	#askAgain = new Map<string, number>(); // room without a grant -> time
	#askedForKeys = 0;
	#state: ParticipantState = { phase: 'idle', warnings: [], rooms: {} };
	#introduced = false;
	#pass: Promise<ParticipantState> | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#started = false;
	#failures = 0;

	constructor(options: ParticipantOptions) {
		this.#options = options;
		this.#client = options.client;
		this.rest = new Rest(options);
		this.files = new EncryptedFiles({ client: options.client, rest: this.rest, maxBytes: options.maxFileBytes });
		this.#account = new Account(options.client, this.rest, options.replaceAccountKey ?? false);
		this.#serving = new Serving(options.client, this.rest);
	}

	get state(): ParticipantState {
		return { ...this.#state, warnings: [...this.#state.warnings], rooms: { ...this.#state.rooms } };
	}

	/** Passes from now on, the first at once. */
	start(): void {
		if (this.#started || this.#state.phase === 'stopped') return;
		this.#started = true;
		this.#client.on('event', this.#onEvent);
		this.#soon(0);
	}

	/** No more passes; resolves when the one under way has ended. */
	async stop(): Promise<void> {
		this.#started = false;
		clearTimeout(this.#timer);
		this.#client.off('event', this.#onEvent);
		await this.#pass;
	}

	/** One pass; a call while one is under way gives that one. Never rejects: the state says how it went. */
	sync(): Promise<ParticipantState> {
		this.#pass ??= this.#run().finally(() => {
			this.#pass = undefined;
		});
		return this.#pass;
	}

	#onEvent = (event: E2eedEvent): void => {
		if (event.type === 'room.authorized' && event.roomId) {
			this.#askAgain.delete(event.roomId);
			this.#settled.delete(event.roomId);
			this.#serving.forget(event.roomId);
		}
		if (['room.authorized', 'room.deauthorized', 'identity.rotated'].includes(event.type)) this.#soon(0);
	};

	#soon(waitMs: number): void {
		if (!this.#started) return;
		clearTimeout(this.#timer);
		this.#timer = setTimeout(() => {
			// behind a pass under way, which may be past what this one is for
			void (this.#pass ?? Promise.resolve()).then(() => this.sync()).then(() => this.#soon(this.#wait()));
		}, waitMs);
	}

	#wait(): number {
		const { intervalMs = INTERVAL_MS } = this.#options;
		const spread = 0.8 + Math.random() * 0.4; // several servers do not come at once
		if (this.#retryAfterMs !== undefined) return this.#retryAfterMs + intervalMs * (spread - 0.8);
		return Math.min(LONGEST_WAIT_MS, intervalMs * 2 ** Math.min(this.#failures, 8)) * spread;
	}

	#retryAfterMs: number | undefined;

	async #run(): Promise<ParticipantState> {
		if (this.#state.phase === 'stopped') return this.state;
		const rooms: ParticipantState['rooms'] = {};
		this.#retryAfterMs = undefined;
		try {
			await this.#introduce();
			await this.#rooms.refresh(this.rest);
			await this.#subscriptions.refresh(this.rest);
			const encrypted = [...this.#rooms.items.values()].filter(
				({ _id, t, encrypted }) => encrypted === true && (t === 'p' || t === 'd') && this.#subscriptions.items.has(_id),
			);
			const replaced = await this.#account.settle(encrypted.map(({ _id }) => _id));
			if (replaced) this.#settled.clear();
			for (const room of encrypted) {
				if (replaced && room.e2eKeyId) await this.#inRoom(room, (sync) => sync.republish(room.e2eKeyId!).then(() => undefined));
				rooms[room._id] = await this.#syncRoom(room);
			}
			for (const roomId of this.#syncs.keys()) if (!(roomId in rooms)) this.#leave(roomId);
			await this.#ask(rooms);
			if (this.#options.serveMembers !== false) await this.#serve(encrypted, rooms);
			this.#failures = 0;
			this.#set({ phase: 'running', rooms, warnings: this.#state.warnings });
		} catch (error) {
			if (!(error instanceof E2eedError)) throw error;
			this.#failed(error, { ...this.#state.rooms, ...rooms });
		}
		return this.state;
	}

	/** Whether the token is good, and its user exempt from the rate limit. */
	async #introduce(): Promise<void> {
		if (this.#introduced) return;
		const { roles } = await this.rest.get('me');
		if (!Array.isArray(roles) || !roles.includes('bot'))
			this.#state.warnings = ['the user has no role "bot": its REST calls are limited to a few a minute, and keys will come late'];
		this.#introduced = true;
	}

	/** @work in a room; what is wrong with the room alone becomes its state. */
	async #inRoom(room: Room, work: (sync: RoomSync) => Promise<RoomState | undefined>): Promise<RoomState | undefined> {
		let sync = this.#syncs.get(room._id);
		if (!sync) this.#syncs.set(room._id, (sync = new RoomSync(room._id, this.#client, this.rest, this.#options.createRoomKeys ?? true)));
		try {
			return await work(sync);
		} catch (error) {
			if (!(error instanceof E2eedError)) throw error;
			const keyId = room.e2eKeyId;
			if (error.reason === 'ROOM_NOT_AUTHORIZED') {
				this.#askAgain.set(room._id, Date.now() + ASK_AGAIN_MS);
				return { phase: 'no-grant', keyId, why: error.message };
			}
			if (OF_ROOM.has(error.reason) || (error.reason === 'REST_FAILED' && error.data['status'] >= 400 && error.data['status'] < 500))
				return { phase: 'failed', keyId, why: error.message };
			throw error;
		}
	}

	async #syncRoom(room: Room): Promise<RoomState> {
		const { E2EKey, E2ESuggestedKey } = this.#subscriptions.items.get(room._id);
		const looks = JSON.stringify([room.e2eKeyId, E2EKey, E2ESuggestedKey]);
		const former = this.#state.rooms[room._id];

		if (former?.phase === 'ready' && this.#settled.get(room._id) === looks) return former;
		if (former?.phase === 'no-grant' && (this.#askAgain.get(room._id) ?? 0) > Date.now()) return former;
		const state = (await this.#inRoom(room, (sync) => sync.step(room.e2eKeyId)))!;
		if (state.phase === 'ready' && state.keyId === room.e2eKeyId) this.#settled.set(room._id, looks);
		return state;
	}

	#leave(roomId: string): void {
		this.#syncs.delete(roomId);
		this.#settled.delete(roomId);
		this.#askAgain.delete(roomId);
	}

	/** Lets members' clients know that keys are missing; they look by themselves, too. */
	async #ask(rooms: ParticipantState['rooms']): Promise<void> {
		if (!Object.values(rooms).some(({ phase, keyId }) => phase === 'waiting' && keyId) || Date.now() - this.#askedForKeys < ASK_AGAIN_MS) return;
		this.#askedForKeys = Date.now();
		const method = 'e2e.requestSubscriptionKeys';
		await this.rest.post(`method.call/${method}`, { message: JSON.stringify({ msg: 'method', id: '1', method, params: [] }) });
	}

	async #serve(encrypted: Room[], rooms: ParticipantState['rooms']): Promise<void> {
		await this.#serving.pass(
			encrypted
				.filter(({ _id, e2eKeyId }) => e2eKeyId && rooms[_id]?.phase === 'ready')
				.map(({ _id, e2eKeyId, usersWaitingForE2EKeys = [] }) => ({
					roomId: _id, keyId: e2eKeyId!, queue: usersWaitingForE2EKeys.some(({ userId }) => userId !== this.rest.userId),
				})),
		);
	}

	#failed(error: E2eedError, rooms: ParticipantState['rooms']): void {
		const { reason } = error;
		const state = (phase: ParticipantState['phase'], message = error.message) => this.#set({ phase, reason, message, rooms, warnings: this.#state.warnings });

		this.#failures++;
		this.#rooms.forget();
		this.#subscriptions.forget();
		switch (reason) {
			case 'REST_UNAUTHORIZED':
				state('stopped', "the server does not accept the bot user's access token any more (a reset of the account's encryption keys removes all tokens): make a new one");
				break;
			case 'AUTHENTICATION_FAILED':
			case 'CLOSED':
				state('stopped');
				break;
			case 'ACCOUNT_KEY_CONFLICT':
				state('blocked');
				break;
			default:
				this.#retryAfterMs = Number(error.data['retryAfterMs']) || undefined;
				state('troubled');
		}
		if (this.#state.phase === 'stopped') {
			this.#started = false;
			clearTimeout(this.#timer);
			this.#client.off('event', this.#onEvent);
		}
	}

	#set(state: ParticipantState): void {
		const changed = JSON.stringify(state) !== JSON.stringify(this.#state);
		this.#state = state;
		if (changed) this.#options.onChange?.(this.state);
	}
}
