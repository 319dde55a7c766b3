// Calls that wait to be sent, and how they are put into frames: batches of what the daemon serves at once, single frames of what takes
// long (a batch is answered as a whole, so one slow member would hold up the rest).
import type { Call } from './call';
import { E2eedError } from './errors';
import type { Method } from './protocol';
import type { Limits } from './session';

/**
 * alone: in a frame of its own. once: must not be sent again when nobody knows whether it was carried out. verbatim: the member that is a
 * payload or holds one.
 */
export const METHODS: { [M in Method]: { alone?: true; once?: true; verbatim?: 'payload' | 'message' } } = {
	ping: {},
	getIdentity: {},
	getKeyPublication: { alone: true },
	importRoomKey: { alone: true },
	importRoomKeys: { alone: true },
	createRoomKey: { alone: true, once: true },
	getEncryptedRoomKey: { alone: true },
	listRoomKeys: {},
	wrapRoomKey: { alone: true },
	decrypt: {},
	encrypt: { verbatim: 'payload' },
	decryptMessage: { verbatim: 'message' },
	encryptMessage: { verbatim: 'message' },
	fileOpen: { alone: true },
	fileUpdate: { alone: true, once: true }, // the open file ended with its connection
	fileClose: { alone: true, once: true },
	getStatus: {},
	subscribe: { alone: true },
	unsubscribe: { alone: true },
};

const BATCH_CHARS = 64 * 1024; // beyond, a batch gains nothing, and the daemon hands frames of over 256 KiB to slower hands
const BATCH_CALLS = 64;
const ENVELOPE_BYTES = 128; // of a request around its params, a little more than it takes
const BYTES_PER_CHAR = 3; // at most, in UTF-8

const tooLarge = (method: Method, limit: number) =>
	new E2eedError('TOO_LARGE', `${method}: more than the ${limit} bytes that the daemon takes in one frame`, { code: -32014, data: { limit } });

export class Outbox {
	#calls: Call[] = [];
	#stale = 0; // of them, those that have settled

	get length(): number {
		return this.#calls.length - this.#stale;
	}

	push(call: Call): void {
		call.waits = true;
		this.#calls.push(call);
	}

	/** Before all others, in this order. */
	putBack(calls: Call[]): void {
		for (const call of calls) call.waits = true;
		this.#stale += calls.filter(({ settled }) => settled).length;
		this.#calls = calls.concat(this.#calls);
	}

	/** One that waits has settled. They are not kept for as long as there is no connection. */
	givenUp(): void {
		this.#stale++;
		if (this.#stale * 2 <= this.#calls.length) return;
		this.#calls = this.#calls.filter(({ settled }) => !settled);
		this.#stale = 0;
	}

	/** Takes out up to @room calls, as frames. */
	take(room: number, { maxBatch, maxFrameBytes }: Limits): (Call | Call[])[] {
		const calls = Math.min(BATCH_CALLS, maxBatch);
		const longest = Math.min(BATCH_CHARS, maxFrameBytes / BYTES_PER_CHAR);
		const most = maxFrameBytes - ENVELOPE_BYTES;
		const frames: (Call | Call[])[] = [];
		let batch: Call[] = [];
		let chars = 0;
		let taken = 0;

		const close = () => {
			if (batch.length > 0) frames.push(batch.length === 1 ? batch[0]! : batch);
			batch = [];
			chars = 0;
		};
		for (const call of this.#calls) {
			if (room <= 0) break;
			taken++;
			call.waits = false;
			if (call.settled) {
				this.#stale--;
				continue;
			}
			if (call.params.length * BYTES_PER_CHAR > most && Buffer.byteLength(call.params) > most) {
				call.refuse(tooLarge(call.method, maxFrameBytes));
				continue;
			}
			room--;
			if (METHODS[call.method].alone) {
				close();
				frames.push(call);
				continue;
			}
			const weight = call.params.length + ENVELOPE_BYTES;
			if (batch.length >= calls || chars + weight > longest) close();
			batch.push(call);
			chars += weight;
		}
		close();
		this.#calls.splice(0, taken);
		return frames;
	}

	/** Empties it. */
	refuseAll(error: E2eedError): void {
		const calls = this.#calls.splice(0);
		this.#stale = 0;
		for (const call of calls) {
			call.waits = false;
			call.refuse(error);
		}
	}
}
