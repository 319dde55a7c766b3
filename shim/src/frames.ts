// Frames in and out: one JSON text and one newline each (docs/protocol.md, section 1).
import { E2eedError } from './errors';

const NEWLINE = 10;

export class FrameSplitter {
	#parts: Buffer[] = [];
	#size = 0;
	/** of a frame, in bytes; raised when the peer is known to be the daemon */
	ceiling: number;

	constructor(ceiling: number) {
		this.ceiling = ceiling;
	}

	/** The frames that @chunk ends, parsed. Throws PROTOCOL_ERROR on what is no JSON text and on a frame above the ceiling. */
	feed(chunk: Buffer): unknown[] {
		const frames: unknown[] = [];
		let start = 0;

		for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
			this.#keep(chunk.subarray(start, end));
			frames.push(this.#take());
			start = end + 1;
		}
		if (start < chunk.length) this.#keep(chunk.subarray(start));
		return frames;
	}

	#keep(part: Buffer): void {
		this.#size += part.length;
		if (this.#size > this.ceiling) throw new E2eedError('PROTOCOL_ERROR', `what answers sent a frame of over ${this.ceiling} bytes: it is not e2eed`);
		this.#parts.push(part);
	}

	#take(): unknown {
		const text = (this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#size)).toString('utf8');
		this.#parts = [];
		this.#size = 0;
		try {
			return JSON.parse(text);
		} catch {
			throw new E2eedError('PROTOCOL_ERROR', 'what answers does not send JSON: it is not e2eed');
		}
	}
}

/** A request's own text, without the newline. @params is JSON text. */
export function requestText(id: number, method: string, params: string): string {
	return `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`;
}
