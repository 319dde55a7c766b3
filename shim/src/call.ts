// One call, from when it is made until it is answered, refused, given up or too late: it settles once, whatever comes first.
import { E2eedError } from './errors';
import type { Method } from './protocol';
import type { Outgoing } from './session';

/** What is used of an AbortSignal. */
export interface Abort {
	readonly aborted: boolean;
	addEventListener(type: 'abort', listener: () => void): void;
	removeEventListener(type: 'abort', listener: () => void): void;
}

export interface CallOptions {
	timeoutMs?: number;
	/** the answer is then not waited for; what was sent may still be carried out */
	signal?: Abort;
}

/** Who made it. */
export interface Caller {
	/** The daemon did not carry it out, since it is ending, or has ended the session. True: the call will be sent to the next one. */
	postponed(call: Call, error: E2eedError): boolean;
	/** It has settled while it waited to be sent. */
	givenUp(): void;
}

export interface Outcome {
	resolve(result: any): void;
	reject(error: E2eedError): void;
	/** sees the result as it arrives, before what came behind it is looked at */
	early?(result: any): void;
}

// One listener a signal, however many calls have it: Node warns of a leak from the eleventh on.
const bySignal = new WeakMap<Abort, { calls: Set<Call>; abort(): void }>();

function watch(signal: Abort, call: Call): void {
	let watched = bySignal.get(signal);
	if (!watched) {
		const calls = new Set<Call>();
		watched = { calls, abort: () => [...calls].forEach((each) => each.abort()) };
		bySignal.set(signal, watched);
		signal.addEventListener('abort', watched.abort);
	}
	watched.calls.add(call);
}

function unwatch(signal: Abort, call: Call): void {
	const watched = bySignal.get(signal);
	if (!watched?.calls.delete(call) || watched.calls.size > 0) return;
	bySignal.delete(signal);
	signal.removeEventListener('abort', watched.abort);
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Call implements Outgoing {
	readonly id: number;
	readonly method: Method;
	readonly params: string;
	/** it stands in the queue of calls that were not sent yet */
	waits = false;
	settled = false;
	#caller: Caller;
	#outcome: Outcome;
	#refused = false; // as unauthenticated
	#timer: ReturnType<typeof setTimeout>;
	#signal: Abort | undefined;

	constructor(id: number, method: Method, params: string, timeoutMs: number, signal: Abort | undefined, caller: Caller, outcome: Outcome) {
		this.id = id;
		this.method = method;
		this.params = params;
		this.#caller = caller;
		this.#outcome = outcome;
		this.#timer = setTimeout(() => {
			this.refuse(new E2eedError('TIMEOUT', `${method}: no answer within ${timeoutMs} ms`, { data: { timeoutMs } }));
		}, Math.min(timeoutMs, LONGEST_TIMER_MS));
		this.#signal = signal;
		if (signal) watch(signal, this);
	}

	abort(): void {
		this.refuse(new E2eedError('ABORTED', `${this.method}: aborted`));
	}

	answer(result: any): void {
		if (this.settled) return;
		this.#settle();
		this.#outcome.early?.(result);
		this.#outcome.resolve(result);
	}

	refuse(error: E2eedError): void {
		if (this.settled) return;
		if (this.#isPostponed(error)) return;
		this.#settle();
		this.#outcome.reject(error);
	}

	#isPostponed(error: E2eedError): boolean {
		// the latter once: it says that the app's token was reset, and the next session settles that
		if (error.reason !== 'SHUTTING_DOWN' && (error.reason !== 'UNAUTHENTICATED' || this.#refused)) return false;
		this.#refused ||= error.reason === 'UNAUTHENTICATED';
		return this.#caller.postponed(this, error);
	}

	#settle(): void {
		this.settled = true;
		clearTimeout(this.#timer);
		if (this.#signal) unwatch(this.#signal, this);
		if (this.waits) this.#caller.givenUp();
	}
}
