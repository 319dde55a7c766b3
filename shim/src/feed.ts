// Events for any number of takers over one subscription. Each taker has a place, the seq of the last event that it took; after a reconnect, or
// when a taker that could not keep up has room again, the subscription begins anew at the lowest place, and who is further along skips
// what it has had. So nobody misses an event and nobody gets one twice.
import { E2eedError } from './errors';
import type { E2eedEvent } from './protocol';

/** What a feed needs of its client. */
export interface Source {
	/** @begun is called as the answer comes, before any event behind it is delivered */
	subscribe(since: number | undefined, begun: (seq: number) => void): Promise<void>;
	unsubscribe(): Promise<unknown>;
	/** a subscription did not come about, and somebody wants one: begin() is to be called again */
	refused(): void;
	connected(): boolean;
}

export interface Taker {
	/** false: no room; the event is given again after resume() */
	take(event: E2eedEvent): boolean;
	/** events after this taker's place are kept no longer: learn the state anew; what is newer comes */
	gap(error: E2eedError): void;
	fail(error: E2eedError): void;
}

interface Place {
	taker: Taker;
	/** undefined: from whatever is newest when the subscription begins */
	last: number | undefined;
	/** live: gets what comes. opening: waits for the subscription to begin at its place. full: has no room. */
	state: 'live' | 'opening' | 'full';
}

export class Feed {
	#source: Source;
	#places: Place[] = [];
	#beginning: Promise<number> | undefined;
	#newest: number | undefined; // seen on the subscription that is on; undefined without one

	constructor(source: Source) {
		this.#source = source;
	}

	get wanted(): boolean {
		return this.#places.length > 0;
	}

	has(taker: Taker): boolean {
		return this.#places.some((place) => place.taker === taker);
	}

	/**
	 * Adds a taker, or moves it; it gets the events after @since, or after the newest of now. Gives the newest seq. If that fails the taker is
	 * added only if @keep says so.
	 */
	async add(taker: Taker, since: number | undefined, keep: boolean): Promise<number> {
		const place: Place = { taker, last: since, state: 'opening' };
		this.#places = [...this.#places.filter((other) => other.taker !== taker), place];
		if (since === undefined && this.#newest !== undefined) {
			place.state = 'live';
			place.last = this.#newest;
			return this.#newest;
		}
		try {
			return await this.begin();
		} catch (error) {
			if (!keep) this.#places = this.#places.filter((other) => other !== place);
			throw error;
		}
	}

	/** The daemon is told when it was the last one. */
	async remove(taker: Taker): Promise<void> {
		const wanted = this.wanted;
		this.#places = this.#places.filter((place) => place.taker !== taker);
		if (this.wanted || !wanted) return;
		this.#newest = undefined;
		if (this.#source.connected()) await this.#source.unsubscribe();
	}

	/** @taker has room again. */
	resume(taker: Taker): void {
		const place = this.#places.find((other) => other.taker === taker);
		if (place?.state !== 'full') return;
		place.state = 'opening';
		this.begin().catch(() => undefined); // it is tried again
	}

	/** The connection is gone; begin() on the next one. */
	lost(): void {
		this.#newest = undefined;
		for (const place of this.#places) if (place.state === 'live') place.state = 'opening';
	}

	/** Subscribes, at the lowest place, until every taker with room gets what comes. One at a time. */
	begin(): Promise<number> {
		if (this.#beginning) return this.#beginning;
		const beginning = this.#begin().finally(() => {
			this.#beginning = undefined;
		});
		this.#beginning = beginning;
		beginning.catch(() => {
			if (this.wanted) this.#source.refused();
		});
		return beginning;
	}

	async #begin(): Promise<number> {
		let newest = 0;
		do {
			const open = this.#places.filter(({ state }) => state !== 'full');
			const known = open.map(({ last }) => last).filter((last): last is number => last !== undefined);
			const since = known.length > 0 ? Math.min(...known) : undefined;
			try {
				await this.#source.subscribe(since, (seq) => {
					newest = seq;
					if (this.wanted) this.#begun(since, seq);
				});
			} catch (error) {
				if (!(error instanceof E2eedError) || error.reason !== 'SEQ_TOO_OLD') throw error;
				for (const place of open)
					if (place.last !== undefined && (place.last === since || place.last < Number(error.data['oldest']))) {
						place.last = undefined; // goes on from the newest, and is told
						place.state = 'opening';
						place.taker.gap(error);
					}
			}
		} while (this.#places.some(({ state }) => state === 'opening'));
		return newest;
	}

	/** Events behind @since come, or those behind @seq, the newest, without it. */
	#begun(since: number | undefined, seq: number): void {
		this.#newest = seq;
		for (const place of this.#places) {
			if (place.state === 'full' || (place.last !== undefined && place.last < (since ?? seq))) continue; // that one was added meanwhile
			place.state = 'live';
			place.last ??= seq;
			if (place.last <= seq) continue;
			place.last = seq;
			place.taker.gap(new E2eedError('SEQ_TOO_OLD', 'subscribe: the keystore is an older one than before; its numbers tell of other events'));
		}
	}

	deliver(event: E2eedEvent): void {
		if (this.#newest !== undefined && event.seq > this.#newest) this.#newest = event.seq;
		for (const place of [...this.#places]) {
			if (place.state !== 'live' || (place.last !== undefined && event.seq <= place.last)) continue;
			if (place.taker.take(event)) place.last = event.seq;
			else place.state = 'full';
		}
	}

	fail(error: E2eedError): void {
		for (const { taker } of this.#places.splice(0)) taker.fail(error);
	}
}

const ROOM = 1024; // events kept for a loop that does not come round

/** The events as an async iterator's. */
export class EventQueue implements Taker, AsyncIterableIterator<E2eedEvent> {
	#events: E2eedEvent[] = [];
	#waiting: { resolve(step: IteratorResult<E2eedEvent>): void; reject(error: unknown): void }[] = [];
	#error: E2eedError | undefined;
	#done = false;
	#feed: Feed;
	#full = false;

	constructor(feed: Feed, since?: number) {
		this.#feed = feed;
		feed.add(this, since, false).catch((error) => this.fail(error));
	}

	take(event: E2eedEvent): boolean {
		if (this.#events.length >= ROOM) {
			this.#full = true;
			return false;
		}
		const waiting = this.#waiting.shift();
		if (waiting) waiting.resolve({ done: false, value: event });
		else this.#events.push(event);
		return true;
	}

	gap(error: E2eedError): void {
		this.fail(error); // who iterates has to learn the state anew, and then iterates anew
	}

	fail(error: E2eedError): void {
		if (this.#done || this.#error) return;
		this.#leave();
		this.#error = error;
		for (const { reject } of this.#waiting.splice(0)) {
			reject(error);
			this.#done = true;
		}
	}

	next(): Promise<IteratorResult<E2eedEvent>> {
		const event = this.#events.shift();
		if (this.#full && this.#events.length < ROOM / 2) {
			this.#full = false;
			this.#feed.resume(this);
		}
		if (event) return Promise.resolve({ done: false, value: event });
		if (this.#done) return Promise.resolve({ done: true, value: undefined });
		if (this.#error) {
			this.#done = true;
			return Promise.reject(this.#error);
		}
		return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
	}

	return(): Promise<IteratorResult<E2eedEvent>> {
		this.#done = true;
		this.#events = [];
		this.#leave();
		for (const { resolve } of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
		return Promise.resolve({ done: true, value: undefined });
	}

	#leave(): void {
		this.#feed.remove(this).catch(() => undefined); // what it would still get, nobody takes
	}

	[Symbol.asyncIterator](): this {
		return this;
	}
}
