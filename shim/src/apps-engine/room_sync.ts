// One room's key, between what the server keeps for the bot user and what the daemon holds for the app.
//
// Each step looks at the server's state as it is now and moves on from there, so it does not matter who took the step before: this process, one
// that died in the midst, or the same app on another server.
import { type Calls, E2eedError, type OldRoomKey, type RoomKeyState } from '../index';
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
const UNIQUE = /^[0-9a-f]{12}$|^.{36}$/; // a hash, a UUID; ids of before Rocket.Chat 7.0 belong to all keys (interop.md, section 2)

const prefixOf = (key: string): string => key.slice(0, Math.max(0, key.length - WRAPPED_CHARS));
/** Whether @key says of itself that it is the one with this id; some clients write none. */
const fits = (key: string, keyId: string | undefined): boolean => [keyId, ''].includes(prefixOf(key));
const wellFormed = ({ e2eKeyId, E2EKey, ts }: OldRoomKey): boolean =>
	typeof e2eKeyId === 'string' && /^[\x20-\x7e]{1,64}$/.test(e2eKeyId) && typeof E2EKey === 'string' && ['string', 'undefined'].includes(typeof ts);

const NOT_OURS =
	"the key stored for the bot user does not open: another key pair was its once, or another key the room's. A reset of the room key mends it";

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

	/** Of the key that the daemon encrypts with. Rejects with ROOM_NOT_AUTHORIZED. */
	async currentKid(): Promise<string | undefined> {
		return (await this.#client.listRoomKeys({ roomId: this.roomId })).keys.find(({ state }) => state === 'current')?.kid;
	}

	/**
	 * Brings both sides together. @known: the id of the room's key, as just read. @rewrap: the key is stored for a former key pair, to be stored anew.
	 * Rejects where the pass cannot go on: see Participant.
	 */
	async step(known: string | undefined, rewrap: boolean): Promise<RoomState> {
		const subscription = await this.#subscription();

		if (!subscription) return { phase: 'failed', keyId: known, why: 'the bot user is not a member' };
		const { E2EKey, E2ESuggestedKey } = subscription;
		await this.#importHistory(subscription);
		// the room may have been given another key since it was read: a key must not get the id of another
		const doubted = [E2EKey, E2ESuggestedKey].some((key) => key && !fits(key, known));
		const keyId = doubted ? await this.#keyId() : known;

		if (keyId === undefined) return this.#makeKey();
		if (E2EKey && (await this.#adopt(E2EKey, keyId))) {
			if (E2ESuggestedKey) await this.#weigh(E2ESuggestedKey, keyId, E2EKey);
			return rewrap ? this.#publishOwn(keyId) : { phase: 'ready', keyId };
		}
		if (E2ESuggestedKey) {
			if (await this.#tryOn(E2ESuggestedKey, keyId)) return this.#accept(E2ESuggestedKey, keyId);
			await this.#reject();
		}
		if (await this.#holds(keyId)) return this.#publishOwn(keyId);
		return E2EKey ? { phase: 'failed', keyId, why: NOT_OURS } : { phase: 'waiting', keyId };
	}

	async #keyId(): Promise<string | undefined> {
		return (await this.#rest.get('rooms.info', { roomId: this.roomId })).room?.e2eKeyId;
	}

	async #subscription(): Promise<Subscription | undefined> {
		return (await this.#rest.get('subscriptions.getOne', { roomId: this.roomId })).subscription ?? undefined;
	}

	async #importHistory({ oldRoomKeys = [], suggestedOldRoomKeys = [] }: Subscription): Promise<void> {
		const { roomId } = this;
		const keys = [...oldRoomKeys, ...suggestedOldRoomKeys].map(({ e2eKeyId, E2EKey, ts }) => ({ e2eKeyId, E2EKey, ts }));
		const now = JSON.stringify(keys);
		if (keys.length === 0 || now === this.#history) return;
		// what does not open was wrapped for a former key pair; what is not even of the right form spoils its own import alone
		for (const some of keys.every(wellFormed) ? [keys] : keys.map((key) => [key]))
			try {
				await this.#client.importRoomKeys({ roomId, keys: some });
			} catch (error) {
				if (!unusable(error)) throw error;
			}
		this.#history = now;
	}

	/** A room that has none. The server lets one member set the id; the key of a member who comes too late is used by nobody. */
	async #makeKey(): Promise<RoomState> {
		if (!this.#create) return { phase: 'waiting', why: 'no member has made a key yet' };
		if (!(await this.#rest.server()).uuidKeys)
			return { phase: 'waiting', why: "no member has made a key yet, and this server's clients do not know the form of those that e2eed makes" };
		try {
			this.#made ??= await this.#client.createRoomKey({ roomId: this.roomId });
		} catch (error) {
			if (!(error instanceof E2eedError) || error.reason !== 'ROOM_NOT_AUTHORIZED') throw error;
			return { phase: 'waiting', why: 'no member has made a key yet, and the app may not' };
		}
		const { kid, key } = this.#made;
		try {
			await this.#rest.post('e2e.setRoomKeyID', { rid: this.roomId, keyID: kid });
		} catch (error) {
			if (!refusedWith(error, 'error-room-e2e-key-already-exists')) throw error; // the next pass sees whether it was set
			this.#made = undefined; // nobody was given it
			const winner = await this.#keyId();
			if (winner === undefined) throw error;
			return this.step(winner, false); // the daemon takes the abandoned key for the current one, which is to end now
		}
		this.#made = undefined;
		return this.#publish(key, kid);
	}

	/**
	 * Stores @key for the bot user, as the key in use. By way of an offer to itself: a reset of the room key takes offers away, whereas what is stored
	 * at once may come behind the reset, and who has a key stored is offered no other. @again: whether to try once more where somebody else's offer
	 * was faster.
	 */
	async #publish(key: string, keyId: string, again = true): Promise<RoomState> {
		if ((await this.#keyId()) !== keyId) return { phase: 'waiting', keyId };
		const own = [{ _id: this.#rest.userId, key }];
		await this.#rest.post('e2e.provideUsersSuggestedGroupKeys', { usersSuggestedGroupKeys: { [this.roomId]: own } });
		await this.#adopt(key, keyId);
		return this.#accept(key, keyId, key, again);
	}

	/** Has the daemon encrypt with @key from now on. Gives whether it is this room key, and opens. */
	async #adopt(key: string, keyId: string): Promise<boolean> {
		return (await this.#import(key, keyId, true)) !== undefined;
	}

	/** What an offered key is, if it is for this room key and opens; a trial puts it into the history at most. */
	async #tryOn(offered: string, keyId: string): Promise<RoomKeyState | undefined> {
		return this.#import(offered, keyId, false);
	}

	async #import(key: string, kid: string, makeCurrent: boolean): Promise<RoomKeyState | undefined> {
		if (!fits(key, kid)) return undefined;
		try {
			// with a time, since the key will be handed on in somebody's history one day, where the server wants one
			return (await this.#client.importRoomKey({ roomId: this.roomId, key, kid, makeCurrent, ts: new Date().toISOString() })).state;
		} catch (error) {
			if (unusable(error)) return undefined;
			throw error;
		}
	}

	/** An offer to one who has the key: the same key is taken, so that the offer is off the table; another one must not replace it. */
	async #weigh(offered: string, keyId: string, working: string): Promise<void> {
		if ((await this.#tryOn(offered, keyId)) === 'current') await this.#accept(offered, keyId, working);
		else await this.#reject();
	}

	/** @working: what was stored before, and works; it is not given up for another key. */
	async #accept(offered: string, keyId: string, working?: string, again = true): Promise<RoomState> {
		// what was offered before a reset went with it, but somebody who has not seen the reset may have offered it since
		if ((await this.#keyId()) !== keyId) {
			await this.#reject();
			return { phase: 'waiting', keyId };
		}
		try {
			await this.#rest.post('e2e.acceptSuggestedGroupKey', { rid: this.roomId });
		} catch (error) {
			if (!refusedWith(error, 'error-no-suggested-key-available')) throw error; // accepted by another server, or withdrawn
		}
		const stored = (await this.#subscription())?.E2EKey;
		if (!stored || !fits(stored, keyId)) return { phase: 'waiting', keyId }; // the room was given another key meanwhile
		// the server has taken what was offered by then, which need not be what was looked at
		const state = stored === offered ? 'current' : await this.#tryOn(stored, keyId);
		if (state === 'current' || (state && !working)) {
			await this.#adopt(stored, keyId);
			return { phase: 'ready', keyId };
		}
		return again ? this.#publish(working ?? offered, keyId, false) : { phase: 'waiting', keyId };
	}

	async #reject(): Promise<void> {
		try {
			await this.#rest.post('e2e.rejectSuggestedGroupKey', { rid: this.roomId });
		} catch (error) {
			if (!refusedWith(error, 'error-no-suggested-key-available')) throw error;
		}
	}

	/** Whether the daemon has the key with this id. Where an id says nothing of the key, this is not known. */
	async #holds(keyId: string): Promise<boolean> {
		if (!UNIQUE.test(keyId)) return false;
		return (await this.#client.listRoomKeys({ roomId: this.roomId })).keys.some(({ kid }) => kid === keyId);
	}

	async #publishOwn(keyId: string): Promise<RoomState> {
		return this.#publish((await this.#client.getEncryptedRoomKey({ roomId: this.roomId, kid: keyId })).key, keyId);
	}
}
