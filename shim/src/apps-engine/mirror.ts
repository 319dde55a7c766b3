// What the server says of the user's rooms or subscriptions, kept up to date by asking what has changed.
import { E2eedError } from '../index';
import type { Rest } from './rest';

/** Of what is asked for again: the clocks of a cluster's servers differ, and what they write becomes visible a while after its time. */
const OVERLAP_MS = 60_000;
/** Now and then all of it is asked for: what is removed is remembered by the server for a while only. */
const WHOLE_MS = 10 * 60_000;

export interface Document {
	_id: string;
	_updatedAt?: unknown;
}

export class Mirror<T extends Document> {
	/** by room */
	readonly items = new Map<string, T>();
	#path: string;
	#roomIdOf: (item: T) => unknown;
	#newest: number | undefined;
	#wholeAt = 0;

	constructor(path: string, roomIdOf: (item: T) => unknown) {
		this.#path = path;
		this.#roomIdOf = roomIdOf;
	}

	async refresh(rest: Rest): Promise<void> {
		const whole = this.#newest === undefined || Date.now() - this.#wholeAt > WHOLE_MS;
		const query = whole ? {} : { updatedSince: new Date(this.#newest! - OVERLAP_MS).toISOString() };
		const { update, remove = [] } = await rest.get(this.#path, query);
		if (!Array.isArray(update) || !Array.isArray(remove))
			throw new E2eedError('REST_FAILED', `${this.#path}: not the answer of a Rocket.Chat server`, { data: { status: 200 } });
		if (whole) {
			this.items.clear();
			this.#wholeAt = Date.now();
		}
		// by the document's own id: a room that was left and joined again has another subscription, which is among the changes
		const gone = new Set(remove.map(({ _id }) => _id));
		for (const [roomId, { _id }] of this.items) if (gone.has(_id)) this.items.delete(roomId);
		for (const item of update) {
			const roomId = this.#roomIdOf(item);
			const at = Date.parse(String(item._updatedAt));
			if (typeof roomId !== 'string') continue;
			this.items.set(roomId, item);
			if (at > (this.#newest ?? 0)) this.#newest = at;
		}
	}

	/** All of it is asked for the next time. */
	forget(): void {
		this.#newest = undefined;
	}
}
