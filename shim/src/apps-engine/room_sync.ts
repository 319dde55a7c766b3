// One room's key, between what the server keeps for the bot user and what the daemon holds for the app.
//
// Each step looks at the server's state as it is now and moves on from there, so it does not matter who took the step before: this process, one
// that died in the midst, or the same app on another server.
import { type Calls, E2eedError, type OldRoomKey, type Result, type RoomKeyState } from '../index';
import type { Rest } from './rest';

export type RoomClient = Pick<Calls, 'createRoomKey' | 'getEncryptedRoomKey' | 'importRoomKey' | 'importRoomKeys' | 'listRoomKeys'>;

export type RoomPhase =
	/** the app has the key that the room uses */
	| 'ready'
	/** another member's client has to give it the key */
	| 'waiting'
	/** e2eed does not let the app into the room */
	| 'no-grant'
	/** see `why` */
	| 'failed';

export interface RoomState {
	phase: RoomPhase;
	/** of the key that the room uses */
	keyId?: string;
	why?: string;
}

/** What is used of a subscription. */
export interface Subscription {
	rid: string;
	E2EKey?: string;
	E2ESuggestedKey?: string;
	oldRoomKeys?: OldRoomKey[];
	suggestedOldRoomKeys?: OldRoomKey[];
}

const WRAPPED_CHARS = 344; // base64 of an RSA-2048 ciphertext, at the end of an E2EKey (interop.md, section 1)
const UUID_CHARS = 36; // only such ids belong to one key each

const prefixOf = (key: string): string => key.slice(0, Math.max(0, key.length - WRAPPED_CHARS));

/** Errors that say of the key itself that it is of no use. */
const UNUSABLE = new Set(['KEY_UNWRAP_FAILED', 'INVALID_KEY', 'INVALID_PARAMS', 'MALFORMED_ENVELOPE']);

const unusable = (error: unknown): boolean => error instanceof E2eedError && UNUSABLE.has(error.reason);
const refusedWith = (error: unknown, errorType: string): boolean => error instanceof E2eedError && error.data['errorType'] === errorType;

export class RoomSync {
	readonly roomId: string;
	#client: RoomClient;
	#rest: Rest;
	#create: boolean;
	#made: { kid: string; key: string } | undefined; // a key made for the room, of which the server may not know yet
	#history = ''; // what was imported of it

	constructor(roomId: string, client: RoomClient, rest: Rest, create: boolean) {
		this.roomId = roomId;
		this.#client = client;
		this.#rest = rest;
		this.#create = create;
	}

	/** Brings both sides together. @keyId: of the room, as just read. Rejects where the pass cannot go on: see Participant. */
	async step(keyId: string | undefined): Promise<RoomState> {
		const subscription = await this.#subscription();

		if (!subscription) return { phase: 'failed', keyId, why: 'the bot user is not a member' };
		await this.#importHistory(subscription);
		if (keyId === undefined) return this.#makeKey();
		if (subscription.E2EKey && (await this.#adopt(subscription.E2EKey, keyId))) {
			if (subscription.E2ESuggestedKey) await this.#weigh(subscription.E2ESuggestedKey, keyId);
			return { phase: 'ready', keyId };
		}
		if (subscription.E2ESuggestedKey && (await this.#tryOn(subscription.E2ESuggestedKey, keyId))) return this.#accept(keyId);
		if (await this.#holds(keyId)) return this.#publishOwn(keyId);
		return subscription.E2EKey
			? { phase: 'failed', keyId, why: 'the key stored for the bot user does not open: another key pair was its once. A reset of the room key mends it' }
			: { phase: 'waiting', keyId };
	}

	/** Stores the room's key for the bot user anew, wrapped for the app's present key pair. */
	async republish(keyId: string): Promise<void> {
		if (await this.#holds(keyId)) await this.#publishOwn(keyId);
	}

	async #subscription(): Promise<Subscription | undefined> {
		return (await this.#rest.get('subscriptions.getOne', { roomId: this.roomId })).subscription ?? undefined;
	}

	async #importHistory({ oldRoomKeys = [], suggestedOldRoomKeys = [] }: Subscription): Promise<void> {
		const keys = [...oldRoomKeys, ...suggestedOldRoomKeys].map(({ e2eKeyId, E2EKey, ts }) => ({ e2eKeyId, E2EKey, ts }));
		const now = JSON.stringify(keys);
		if (keys.length === 0 || now === this.#history) return;
		await this.#client.importRoomKeys({ roomId: this.roomId, keys }); // what does not open was wrapped for a former key pair
		this.#history = now;
	}

	/** A room that has none. The server lets one member set the id; the key of a member who comes too late is used by nobody. */
	async #makeKey(): Promise<RoomState> {
		if (!this.#create) return { phase: 'waiting', why: 'no member has made a key yet' };
		try {
			this.#made ??= await this.#client.createRoomKey({ roomId: this.roomId });
		} catch (error) {
			if (error instanceof E2eedError && error.reason === 'ROOM_NOT_AUTHORIZED') return { phase: 'waiting', why: 'no member has made a key yet, and the app may not' };
			throw error;
		}
		const { kid, key } = this.#made;
		try {
			await this.#rest.post('e2e.setRoomKeyID', { rid: this.roomId, keyID: kid });
		} catch (error) {
			if (!refusedWith(error, 'error-room-e2e-key-already-exists')) throw error; // the next pass sees whether it was set
			this.#made = undefined;
			return { phase: 'waiting', why: 'another member was faster to make a key' };
		}
		this.#made = undefined;
		await this.#store(key);
		await this.#adopt(key, kid); // another server may have made one since, which the daemon then took for the current one
		return { phase: 'ready', keyId: kid };
	}

	async #store(key: string): Promise<void> {
		await this.#rest.post('e2e.updateGroupKey', { uid: this.#rest.userId, rid: this.roomId, key });
	}

	/** The time is that of the first import: servers want to be told one for each key of a history. */
	#import(key: string, kid: string, makeCurrent: boolean): Promise<Result<'importRoomKey'>> {
		return this.#client.importRoomKey({ roomId: this.roomId, key, kid, makeCurrent, ts: new Date().toISOString() });
	}

	/** Has the daemon encrypt with @key from now on. Gives whether it opens. */
	async #adopt(key: string, keyId: string): Promise<boolean> {
		try {
			await this.#import(key, keyId, true);
			return true;
		} catch (error) {
			if (unusable(error)) return false;
			throw error;
		}
	}

	/** What an offered key is, if it is for this room key and opens; a trial puts it into the history at most. What does not is sent back. */
	async #tryOn(offered: string, keyId: string): Promise<RoomKeyState | undefined> {
		const prefix = prefixOf(offered);
		if (prefix === keyId || prefix === '')
			try {
				return (await this.#import(offered, keyId, false)).state;
			} catch (error) {
				if (!unusable(error)) throw error;
			}
		await this.#reject();
		return undefined;
	}

	/** An offer to one who has the key: the same key is taken, so that the offer is off the table; another one must not replace it. */
	async #weigh(offered: string, keyId: string): Promise<void> {
		const state = await this.#tryOn(offered, keyId);
		if (state === 'current') await this.#accept(keyId);
		else if (state === 'old') await this.#reject();
	}

	async #accept(keyId: string): Promise<RoomState> {
		try {
			await this.#rest.post('e2e.acceptSuggestedGroupKey', { rid: this.roomId });
		} catch (error) {
			if (!refusedWith(error, 'error-no-suggested-key-available')) throw error; // accepted by another server, or withdrawn
		}
		// the server has taken what was offered by then, which need not be what was looked at
		const stored = (await this.#subscription())?.E2EKey;
		if (stored && (await this.#adopt(stored, keyId))) return { phase: 'ready', keyId };
		return (await this.#holds(keyId)) ? this.#publishOwn(keyId) : { phase: 'waiting', keyId };
	}

	async #reject(): Promise<void> {
		try {
			await this.#rest.post('e2e.rejectSuggestedGroupKey', { rid: this.roomId });
		} catch (error) {
			if (!refusedWith(error, 'error-no-suggested-key-available')) throw error;
		}
	}

	/** Whether the daemon has the key with this id. Ids of before Rocket.Chat 7.13 belong to many keys, so of these it is not known. */
	async #holds(keyId: string): Promise<boolean> {
		if (keyId.length !== UUID_CHARS) return false;
		return (await this.#client.listRoomKeys({ roomId: this.roomId })).keys.some(({ kid }) => kid === keyId);
	}

	async #publishOwn(keyId: string): Promise<RoomState> {
		const { key } = await this.#client.getEncryptedRoomKey({ roomId: this.roomId, kid: keyId });
		await this.#store(key);
		await this.#adopt(key, keyId);
		return { phase: 'ready', keyId };
	}
}
