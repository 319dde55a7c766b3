// Handing room keys to members who wait for them, as every member's client does.
import { type Calls, E2eedError, type Result, type Timestamp } from '../index';
import { isRefusal, type Rest } from './rest';

const ROOMS_AT_ONCE = 10;
const RECIPIENTS_AT_ONCE = 100; // the daemon's limit
const RECIPIENTS_A_PASS = 200;
const LEFT_ALONE_MS = 5 * 60_000;

type Wrapped = Result<'wrapRoomKey'>['users'][number];

/** The server wants a time with each old key, as text; it orders nothing by it, so where none is known now does. */
function forServer({ oldKeys, ...user }: Wrapped): object {
	const text = (ts: Timestamp | undefined) => (typeof ts === 'string' ? ts : (ts ? new Date(ts.$date) : new Date()).toISOString());
	return { ...user, ...(oldKeys && { oldKeys: oldKeys.map((key) => ({ ...key, ts: text(key.ts) })) }) };
}

/** A room whose key the app has. */
export interface ServedRoom {
	roomId: string;
	keyId: string;
	/** somebody is in the room's queue */
	queue: boolean;
}

export class Serving {
	#client: Pick<Calls, 'wrapRoomKey'>;
	#rest: Rest;
	#next = 0; // rooms without a queue come in turn: the queue holds 50 at most, and may miss one
	#leftAlone = new Map<string, number>(); // room -> until when
	#hopeless = new Map<string, string>(); // room and user -> public key that cannot be wrapped for

	constructor(client: Pick<Calls, 'wrapRoomKey'>, rest: Rest) {
		this.#client = client;
		this.#rest = rest;
	}

	/** Grants have changed. */
	forget(roomId: string): void {
		this.#leftAlone.delete(roomId);
	}

	/** Gives how many members were handed a key. */
	async pass(rooms: ServedRoom[]): Promise<number> {
		const chosen = this.#choose(rooms.filter(({ roomId }) => (this.#leftAlone.get(roomId) ?? 0) <= Date.now()));
		if (chosen.length === 0) return 0;
		const roomIds = chosen.map(({ roomId }) => roomId);
		const { usersWaitingForE2EKeys = {} } = await this.#rest.get('e2e.fetchUsersWaitingForGroupKey', { roomIds });
		const { oldKeys } = await this.#rest.server();
		let left = RECIPIENTS_A_PASS;
		let served = 0;

		for (const { roomId, keyId } of chosen) {
			const waiting = this.#waitingIn(roomId, usersWaitingForE2EKeys[roomId]).slice(0, left);
			left -= waiting.length;
			for (let start = 0; start < waiting.length; start += RECIPIENTS_AT_ONCE)
				served += await this.#serve(roomId, keyId, waiting.slice(start, start + RECIPIENTS_AT_ONCE), oldKeys);
		}
		return served;
	}

	#choose(rooms: ServedRoom[]): ServedRoom[] {
		const queued = rooms.filter(({ queue }) => queue);
		const others = rooms.filter(({ queue }) => !queue);
		const turn = others.length > 0 ? this.#next++ * ROOMS_AT_ONCE % others.length : 0;
		return [...queued, ...others.slice(turn), ...others.slice(0, turn)].slice(0, ROOMS_AT_ONCE);
	}

	#waitingIn(roomId: string, users: unknown): { _id: string; public_key: string }[] {
		return (Array.isArray(users) ? users : [])
			.filter(({ _id, public_key }) => typeof _id === 'string' && typeof public_key === 'string')
			.map(({ _id, public_key }) => ({ _id, public_key }))
			.filter(({ _id, public_key }) => this.#hopeless.get(`${roomId}/${_id}`) !== public_key);
	}

	async #serve(roomId: string, keyId: string, recipients: { _id: string; public_key: string }[], history: boolean): Promise<number> {
		try {
			const wrapped = await this.#client.wrapRoomKey({ roomId, recipients, history });
			for (const { _id } of wrapped.failed) {
				const recipient = recipients.find((each) => each._id === _id);
				if (recipient) this.#hopeless.set(`${roomId}/${_id}`, recipient.public_key);
			}
			// the room may have been given another key since it was looked at, by this app or by others: the wrong one would be taken for it
			const users = wrapped.users.filter(({ key }) => key.startsWith(keyId)).map(forServer);
			if (users.length === 0 || (await this.#rest.get('rooms.info', { roomId })).room?.e2eKeyId !== keyId) return 0;
			await this.#rest.post('e2e.provideUsersSuggestedGroupKeys', { usersSuggestedGroupKeys: { [roomId]: users } });
			return users.length;
		} catch (error) {
			// without `distribute`, or refused by the server: this room is left to its people
			if (!(error instanceof E2eedError) || !(error.reason === 'ROOM_NOT_AUTHORIZED' || isRefusal(error))) throw error;
			this.#leftAlone.set(roomId, Date.now() + LEFT_ALONE_MS);
			return 0;
		}
	}
}
