// The bot user as a member of the key exchange: what a person's client does in the background, done for a user who has none.
//
// sync() is one pass over account and rooms. It may be called by a timer, by the app's scheduler, by several servers at once: every pass starts
// from what the server and the daemon say now. start() calls it every few seconds. A token that the server does not accept ends it for good: a reset of
// the account's keys removes all tokens, and whoever goes on asking is only noise.
import { type Calls, E2eedError, type E2eedEvent, type Reason } from '../index';
import { Account } from './account';
import { EncryptedFiles } from './files';
import { type Document, Mirror } from './mirror';
import { isRefusal, Rest, type RestOptions } from './rest';
import { type RoomState, RoomSync, type Subscription } from './room_sync';
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
	 * idle: no pass yet, or not since stop(). running: in order. troubled: the last pass did not come to its end (`reason`), the next may.
	 * blocked: somebody has to decide (ACCOUNT_KEY_CONFLICT). stopped: for good, nothing is asked any more; make a new Participant with a
	 * new token.
	 */
	phase: 'idle' | 'running' | 'troubled' | 'blocked' | 'stopped';
	reason?: Reason;
	/** for whoever administers it */
	message?: string;
	warnings: string[];
	/** encrypted rooms, by id */
	rooms: { [roomId: string]: RoomState };
}

interface Room extends Document {
	t?: string;
	encrypted?: boolean;
	e2eKeyId?: string;
	usersWaitingForE2EKeys?: { userId: string }[];
}

const INTERVAL_MS = 10_000;
const LONGEST_WAIT_MS = 5 * 60_000;
const ASK_AGAIN_MS = 5 * 60_000; // for keys
const LOOK_AGAIN_MS = 5 * 60_000; // at rooms where nothing seems to have changed

/** Errors that say of this room alone that it does not work. */
const OF_ROOM = new Set<Reason>(['INVALID_PARAMS', 'NO_ROOM_KEY', 'KEY_UNWRAP_FAILED', 'INVALID_KEY', 'FORBIDDEN', 'TOO_LARGE']);

export class Participant {
	readonly rest: Rest;
	/** files, sent and read as the bot user */
	readonly files: EncryptedFiles;
	#client: ParticipantClient;
	#options: ParticipantOptions;
	#account: Account;
	#serving: Serving;
	#rooms = new Mirror<Room>('rooms.get', (room) => room._id);
	#subscriptions = new Mirror<Subscription & Document>('subscriptions.get', (subscription) => subscription.rid);
	#syncs = new Map<string, RoomSync>();
	#settled = new Map<string, { looks: string; until: number }>(); // room -> what it looked like when there was nothing left to do
	#rewrap = new Set<string>(); // rooms whose key is stored for a former key pair
	#askedForKeys = 0;
	#state: ParticipantState = { phase: 'idle', warnings: [], rooms: {} };
	#introduced = false;
	#pass: Promise<ParticipantState> | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	#started = false;
	#failures = 0;
	#dueAt = Infinity; // of #timer
	#notBefore = 0; // the server has asked for patience

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
		this.#end();
		await this.#pass;
		if (this.#state.phase !== 'stopped') this.#set({ ...this.#state, phase: 'idle' });
	}

	/**
	 * One pass; a call while one is under way gives that one, and while the server has asked for patience there is none. Never rejects: the state
	 * says how it went.
	 */
	sync(): Promise<ParticipantState> {
		this.#pass ??= this.#run().finally(() => {
			this.#pass = undefined;
		});
		return this.#pass;
	}

	#onEvent = (event: E2eedEvent): void => {
		if (event.roomId) this.#settled.delete(event.roomId);
		if (event.type === 'room.authorized') this.#serving.forget(event.roomId!);
		if (['room.authorized', 'room.deauthorized', 'identity.rotated'].includes(event.type)) this.#soon(0);
	};

	/** A pass in @waitMs, or earlier where one is due earlier. */
	#soon(waitMs: number): void {
		const at = Math.max(this.#notBefore, Date.now() + waitMs);
		if (!this.#started || at >= this.#dueAt) return;
		clearTimeout(this.#timer);
		this.#dueAt = at;
		this.#timer = setTimeout(() => {
			this.#dueAt = Infinity;
			// behind a pass under way, which may be past what this one is for
			void (this.#pass ?? Promise.resolve()).then(() => this.sync()).then(() => this.#soon(this.#wait()));
		}, Math.max(0, at - Date.now()));
	}

	#wait(): number {
		const { intervalMs = INTERVAL_MS } = this.#options;
		const spread = 0.8 + Math.random() * 0.4; // several servers do not come at once
		return Math.min(LONGEST_WAIT_MS, intervalMs * 2 ** Math.min(this.#failures, 8)) * spread;
	}

	#end(): void {
		clearTimeout(this.#timer);
		this.#dueAt = Infinity;
		if (this.#started) this.#client.off('event', this.#onEvent);
		this.#started = false;
	}

	async #run(): Promise<ParticipantState> {
		if (this.#state.phase === 'stopped' || Date.now() < this.#notBefore) return this.state;
		const rooms: ParticipantState['rooms'] = {};
		try {
			await this.#introduce();
			await this.#rooms.refresh(this.rest);
			await this.#subscriptions.refresh(this.rest);
			const encrypted = [...this.#rooms.items.values()].filter(
				({ _id, t, encrypted }) => encrypted === true && (t === 'p' || t === 'd') && this.#subscriptions.items.has(_id),
			);
			if (await this.#account.settle(encrypted.map(({ _id }) => _id))) for (const { _id } of encrypted) this.#rewrap.add(_id);
			for (const room of encrypted) rooms[room._id] = await this.#syncRoom(room);
			for (const roomId of this.#syncs.keys()) if (!(roomId in rooms)) this.#leave(roomId);
			await this.#ask(rooms);
			if (this.#options.serveMembers !== false) await this.#serve(encrypted, rooms);
			this.#failures = 0;
			this.#set({ phase: 'running', rooms, warnings: this.#state.warnings });
		} catch (error) {
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

	/** A room's step, where something has changed since there was nothing left to do. What is wrong with the room alone becomes its state. */
	async #syncRoom(room: Room): Promise<RoomState> {
		const { _id: roomId, e2eKeyId: keyId } = room;
		const former = this.#state.rooms[roomId];
		const settled = this.#settled.get(roomId);
		const fresh = former !== undefined && settled !== undefined && settled.until > Date.now();
		let sync = this.#syncs.get(roomId);

		if (!sync) this.#syncs.set(roomId, (sync = new RoomSync(roomId, this.#client, this.rest, this.#options.createRoomKeys ?? true)));
		if (fresh && former.phase === 'no-grant') return former;
		const settle = (looks: string) => this.#settled.set(roomId, { looks, until: Date.now() + LOOK_AGAIN_MS });
		try {
			const { E2EKey, E2ESuggestedKey } = this.#subscriptions.items.get(roomId)!;
			const looks = JSON.stringify([keyId, E2EKey, E2ESuggestedKey, await sync.currentKid()]);
			const rewrap = this.#rewrap.has(roomId);
			if (fresh && settled.looks === looks && !rewrap) return former;
			const state = await sync.step(keyId, rewrap);
			this.#rewrap.delete(roomId);
			this.#settled.delete(roomId);
			// an offer that was dealt with may come again, and looks the same
			if (!E2ESuggestedKey && (state.phase === 'ready' || state.phase === 'waiting')) settle(looks);
			return state;
		} catch (error) {
			if (!(error instanceof E2eedError)) throw error;
			if (error.reason === 'ROOM_NOT_AUTHORIZED') {
				settle('');
				return { phase: 'no-grant', keyId, why: error.message };
			}
			if (!OF_ROOM.has(error.reason) && !isRefusal(error)) throw error;
			return { phase: 'failed', keyId, why: error.message };
		}
	}

	#leave(roomId: string): void {
		this.#syncs.delete(roomId);
		this.#settled.delete(roomId);
		this.#rewrap.delete(roomId);
	}

	/** Lets members' clients know that keys are missing; they look by themselves, too. */
	async #ask(rooms: ParticipantState['rooms']): Promise<void> {
		const missing = Object.values(rooms).some(({ phase, keyId }) => phase === 'waiting' && keyId);
		if (!missing || Date.now() - this.#askedForKeys < ASK_AGAIN_MS) return;
		this.#askedForKeys = Date.now();
		const method = 'e2e.requestSubscriptionKeys';
		try {
			await this.rest.post(`method.call/${method}`, { message: JSON.stringify({ msg: 'method', id: '1', method, params: [] }) });
		} catch (error) {
			if (!isRefusal(error)) throw error; // a server that knows no such method has clients that look by themselves
		}
	}

	async #serve(encrypted: Room[], rooms: ParticipantState['rooms']): Promise<void> {
		await this.#serving.pass(
			encrypted
				.filter(({ _id }) => rooms[_id]?.phase === 'ready')
				.map(({ _id, usersWaitingForE2EKeys = [] }) => ({
					roomId: _id, keyId: rooms[_id]!.keyId!, queue: usersWaitingForE2EKeys.some(({ userId }) => userId !== this.rest.userId),
				})),
		);
	}

	#failed(thrown: unknown, rooms: ParticipantState['rooms']): void {
		// whatever else is thrown comes of an answer that is none of Rocket.Chat's
		const error = thrown instanceof E2eedError ? thrown : new E2eedError('INTERNAL', `the pass has failed (${String(thrown)})`);
		const { reason } = error;
		const state = (phase: ParticipantState['phase'], message = error.message) =>
			this.#set({ phase, reason, message, rooms, warnings: this.#state.warnings });

		this.#failures++;
		this.#rooms.forget();
		this.#subscriptions.forget();
		switch (reason) {
			case 'REST_UNAUTHORIZED':
				state('stopped', `${error.message} any more (a reset of the account's encryption keys removes all its tokens): make a new one`);
				break;
			case 'AUTHENTICATION_FAILED':
			case 'CLOSED':
				state('stopped');
				break;
			case 'ACCOUNT_KEY_CONFLICT':
				state('blocked');
				break;
			default:
				this.#notBefore = Date.now() + (Number(error.data['retryAfterMs']) || 0);
				state('troubled');
		}
		if (this.#state.phase === 'stopped') this.#end();
	}

	#set(state: ParticipantState): void {
		const changed = JSON.stringify(state) !== JSON.stringify(this.#state);
		this.#state = state;
		if (!changed) return;
		try {
			this.#options.onChange?.(this.state);
		} catch (error) {
			void Promise.reject(error); // goes where an error in any callback goes, not into the pass
		}
	}
}
