// Handing room keys to members who wait for them, as every member's client does.
import { type Calls, E2eedError, type OldRoomKey } from '../index';
import type { Rest } from './rest';

const ROOMS_AT_ONCE = 10;
const RECIPIENTS_AT_ONCE = 100; // the daemon's limit
const RECIPIENTS_A_PASS = 200;

/** A room whose key the app has. */
export interface ServedRoom {
	roomId: string;
	keyId: string;
	/** somebody is in the room's queue */
	queue: boolean;
}

/** The server takes no old key without a time, which is all that it is used for; where it is not known, that of now is as good as any. */
const dated = (key: OldRoomKey): OldRoomKey => ({ ...key, ts: key.ts ?? new Date().toISOString() });

export class Serving {
	#client: Pick<Calls, 'wrapRoomKey'>;
	#rest: Rest;
	#next = 0; // rooms without a queue come in turn: the queue holds 50 at most, and may miss one
	#forbidden = new Set<string>();
	#hopeless = new Map<string, string>(); // room and user -> public key that cannot be wrapped for

	constructor(client: Pick<Calls, 'wrapRoomKey'>, rest: Rest) {
		this.#client = client;
		this.#rest = rest;
	}

	/** Grants have changed. */
	forget(roomId: string): void {
		this.#forbidden.delete(roomId);
	}

	/** Gives how many members were handed a key. */
	async pass(rooms: ServedRoom[]): Promise<number> {
		const chosen = this.#choose(rooms.filter(({ roomId }) => !this.#forbidden.has(roomId)));
		if (chosen.length === 0) return 0;
		const { usersWaitingForE2EKeys = {} } = await this.#rest.get('e2e.fetchUsersWaitingForGroupKey', { roomIds: chosen.map(({ roomId }) => roomId) });
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
		let wrapped;
		try {
			wrapped = await this.#client.wrapRoomKey({ roomId, recipients, history });
		} catch (error) {
			if (!(error instanceof E2eedError) || error.reason !== 'ROOM_NOT_AUTHORIZED') throw error;
			this.#forbidden.add(roomId); // left to the room's people
			return 0;
		}
		for (const { _id } of wrapped.failed) {
			const recipient = recipients.find((each) => each._id === _id);
			if (recipient) this.#hopeless.set(`${roomId}/${_id}`, recipient.public_key);
		}
		// the key may have been replaced since the room was looked at
		const users = wrapped.users.filter(({ key }) => key.startsWith(keyId)).map((user) => ({ ...user, ...(user.oldKeys && { oldKeys: user.oldKeys.map(dated) }) }));
		if (users.length > 0) await this.#rest.post('e2e.provideUsersSuggestedGroupKeys', { usersSuggestedGroupKeys: { [roomId]: users } });
		return users.length;
	}
}
