// One connection that has authenticated: requests go out, answers come back to who asked, and it ends once.
//
// A client uses one session after the other; what outlives a connection (waiting calls, subscription, back-off) is the client's.
import * as crypto from 'crypto';
import type { Socket } from 'net';
import { E2eedError, type Reason } from './errors';
import { FrameSplitter, requestText } from './frames';
import { VERSION } from './version';

/** What the daemon allows one connection. */
export interface Limits {
	maxFrameBytes: number;
	maxBatch: number;
	maxInFlight: number;
}

export interface Hello {
	protocol: number;
	server: string;
	challenge: string;
	capabilities: string[];
	limits: Limits;
}

/** A request under way. Exactly one of `answer` and `refuse` is called for each that was sent on a session that has not ended. */
export interface Outgoing {
	id: number;
	method: string;
	/** JSON text of its params */
	params: string;
	answer(result: any): void;
	refuse(error: E2eedError): void;
}

export interface SessionEvents {
	event(params: any): void;
	/** the peer takes more again, or an answer has made room */
	room(): void;
	/** once; @error says why, requests that were under way are in @unanswered, in the order sent */
	end(error: E2eedError, unanswered: Outgoing[]): void;
}

const TOKEN_PREFIX = 'e2eed1_';
const TOKEN_BYTES = 32;
const WRITE_CHARS = 64 * 1024; // a longer text takes longer to put together and encode than another write does
const STRANGER_CEILING = 64 * 1024;
const DAEMON_CEILING = 256 * 1024 * 1024; // a batch of answers; the contract bounds what the daemon receives, not what it says

/** The key within a token's text. Throws INVALID_PARAMS. */
export function tokenKey(token: string): Buffer {
	const key = typeof token === 'string' && token.startsWith(TOKEN_PREFIX) ? Buffer.from(token.slice(TOKEN_PREFIX.length), 'base64url') : undefined;
	if (key?.length !== TOKEN_BYTES) throw new E2eedError('INVALID_PARAMS', `token: not a token of e2eed; one begins with ${TOKEN_PREFIX}`);
	return key;
}

/** What either side shows that it knows the token by (docs/protocol.md, section 2). */
function proof(side: 'client' | 'server', key: Buffer, appId: string, challenge: string, nonce: string): Buffer {
	return crypto.createHmac('sha256', key).update(`e2eed-v1 ${side}\n${appId}\n${challenge}\n${nonce}`, 'utf8').digest();
}

export function errorOf(error: any, method: string): E2eedError {
	const reason: Reason = typeof error?.data?.reason === 'string' ? error.data.reason : 'PROTOCOL_ERROR';
	const { reason: _, ...data } = error?.data ?? {};
	return new E2eedError(reason, `${method}: ${error?.message ?? 'an error without a text'}`, { code: Number(error?.code) || 0, data });
}

export class Session {
	hello!: Hello;
	#socket: Socket;
	#splitter = new FrameSplitter(STRANGER_CEILING);
	#underWay = new Map<number, Outgoing>();
	#handshakeId = 0; // below every client's first
	#on: SessionEvents;
	#full = false; // the socket has more than it wants to hold
	#cause: E2eedError | undefined;
	#ended = false;

	private constructor(socket: Socket, on: SessionEvents) {
		this.#socket = socket;
		this.#on = on;
		socket.on('data', (chunk: Buffer) => this.#feed(chunk));
		socket.on('drain', () => {
			this.#full = false;
			if (!this.#ended) on.room();
		});
		socket.on('error', (error: any) => {
			this.#cause ??= new E2eedError('CONNECTION_LOST', `the connection to e2eed broke (${error?.code ?? 'unknown error'})`);
		});
		socket.on('close', () => this.#end());
	}

	/**
	 * Shakes hands on a fresh connection; each side shows the other that it knows the token, which does not cross the socket.
	 * Rejects with AUTHENTICATION_FAILED, SERVER_NOT_TRUSTED, UNSUPPORTED_PROTOCOL, RATE_LIMITED, LOCKED, ...; the socket is then closed.
	 */
	static async start(socket: Socket, appId: string, token: string, timeoutMs: number, on: SessionEvents): Promise<Session> {
		let started = false;
		const session = new Session(socket, {
			...on,
			end: (error, unanswered) => {
				if (started) on.end(error, unanswered);
				else for (const request of unanswered) request.refuse(error);
			},
		});
		const late = setTimeout(() => session.end(new E2eedError('TIMEOUT', `what listens did not shake hands within ${timeoutMs} ms`)), timeoutMs);
		try {
			await session.#shakeHands(appId, token);
			started = true;
			return session;
		} catch (error) {
			session.end(error as E2eedError);
			throw error;
		} finally {
			clearTimeout(late);
		}
	}

	async #shakeHands(appId: string, token: string): Promise<void> {
		const key = tokenKey(token);
		try {
			const hello: Hello = await this.#ask('hello', { protocol: [1], client: `e2eed-client/${VERSION}` });
			const { maxFrameBytes, maxBatch, maxInFlight } = hello?.limits ?? {};
			if (hello?.protocol !== 1 || typeof hello.challenge !== 'string' || ![maxFrameBytes, maxBatch, maxInFlight].every((limit) => Number(limit) > 0))
				throw new E2eedError('PROTOCOL_ERROR', 'what answers does not greet as e2eed does');
			const nonce = crypto.randomBytes(TOKEN_BYTES).toString('base64');
			const answer = await this.#ask('authenticate', { appId, nonce, proof: proof('client', key, appId, hello.challenge, nonce).toString('hex') });
			const shown = Buffer.from(String(answer?.serverProof ?? ''), 'hex');
			const expected = proof('server', key, appId, hello.challenge, nonce);
			if (shown.length !== expected.length || !crypto.timingSafeEqual(shown, expected))
				throw new E2eedError('SERVER_NOT_TRUSTED', "who answers does not know the app's token: it is not the app's e2eed, and was told nothing");
			this.hello = hello;
			this.#splitter.ceiling = DAEMON_CEILING;
		} finally {
			key.fill(0);
		}
	}

	#ask(method: string, params: object): Promise<any> {
		return new Promise((answer, refuse) => {
			this.send([{ id: --this.#handshakeId, method, params: JSON.stringify(params), answer, refuse }]);
		});
	}

	get ended(): boolean {
		return this.#ended || this.#cause !== undefined;
	}

	/** How many more requests may be sent now. */
	get room(): number {
		return this.ended || this.#full ? 0 : (this.hello?.limits.maxInFlight ?? 1) - this.#underWay.size;
	}

	/** Sends requests: each of @frames a frame of its own, an array as one batch. */
	send(frames: (Outgoing | Outgoing[])[]): void {
		let text = '';
		const write = () => {
			if (!this.#socket.write(text)) this.#full = true;
			text = '';
		};
		const put = (request: Outgoing) => {
			this.#underWay.set(request.id, request);
			text += requestText(request.id, request.method, request.params);
		};
		for (const frame of frames) {
			if (Array.isArray(frame)) {
				frame.forEach((request, i) => {
					text += i === 0 ? '[' : ',';
					put(request);
				});
				text += ']\n';
			} else {
				put(frame);
				text += '\n';
			}
			if (text.length > WRITE_CHARS) write();
		}
		if (text !== '') write();
	}

	/** Closes it; what is under way is handed to `end` with @error as the cause. */
	end(error: E2eedError): void {
		this.#cause ??= error;
		this.#socket.destroy();
	}

	#end(): void {
		if (this.#ended) return;
		this.#ended = true;
		const unanswered = [...this.#underWay.values()];
		this.#underWay.clear();
		this.#on.end(this.#cause ?? new E2eedError('CONNECTION_LOST', 'e2eed closed the connection'), unanswered);
	}

	#feed(chunk: Buffer): void {
		if (this.ended) return;
		try {
			for (const frame of this.#splitter.feed(chunk)) {
				if (Array.isArray(frame)) for (const answer of frame) this.#take(answer);
				else this.#take(frame);
			}
		} catch (error) {
			return this.end(error as E2eedError);
		}
		this.#on.room();
	}

	#take(message: any): void {
		if (message?.method === 'event') return this.#on.event(message.params);
		const request = this.#underWay.get(message?.id);
		if (request) {
			this.#underWay.delete(request.id);
			if ('result' in message) request.answer(message.result);
			else request.refuse(errorOf(message.error, request.method));
		} else if (message?.error) {
			// to nobody's request: a subscriber that was too slow is told so, and cut off
			throw errorOf(message.error, 'e2eed');
		} else throw new E2eedError('PROTOCOL_ERROR', 'what answers was not asked: it is not e2eed');
	}
}
