// The client: typed calls over one session after the other.
//
// A call becomes a request in a queue; the queue is sent when the current tick's calls are all in, as batches of what the daemon serves at once
// and single frames of what takes long (a batch is answered as a whole, so one slow member would hold up the rest). When a session ends, calls that
// may be carried out twice without harm go back to the head of the queue, the others fail with CONNECTION_LOST; then a new session is
// made, with back-off, and the subscription goes on where it was. AUTHENTICATION_FAILED ends the client: the daemon counts failures
// against everybody behind the same address.
import { E2eedError } from './errors';
import { Emitter } from './emitter';
import { EventQueue, Feed, type Taker } from './feed';
import type { E2eedEvent, Method, Params, Result } from './protocol';
import { type Outgoing, Session, tokenKey } from './session';
import { type Attempt, open, targetsOf, type Target, unreachable, type Where } from './transport';

export interface ConnectOptions extends Where {
	appId: string;
	/** the text that `e2eectl app create` showed once, or a function that fetches it, asked again when the daemon refuses the former one */
	token: string | (() => string | Promise<string>);
	/** how long a call may take, waiting for a connection included; 30,000 by default */
	timeoutMs?: number;
	/** for a connection and the handshake; 10,000 by default */
	connectTimeoutMs?: number;
	/** false: a connection that is lost ends the client; otherwise the bounds of the waits between tries (100 and 5,000 by default) */
	reconnect?: false | { minMs?: number; maxMs?: number };
	/** calls that wait to be sent; 65,536 by default, one more fails with QUEUE_FULL */
	maxQueued?: number;
	/** gives up connecting */
	signal?: Abort;
}

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

export type Calls = {
	[M in Method]: Record<string, never> extends Params<M>
		? (params?: Params<M>, options?: CallOptions) => Promise<Result<M>>
		: (params: Params<M>, options?: CallOptions) => Promise<Result<M>>;
};

export type ClientState = 'connected' | 'connecting' | 'closed';

export type ClientEvents = {
	event: [event: E2eedEvent];
	/** events were lost, since the daemon keeps them no longer: learn the state anew (listRoomKeys, getIdentity) */
	gap: [error: E2eedError];
	connect: [];
	/** calls wait; a new connection is being made */
	disconnect: [error: E2eedError];
	/** for good: by close(), or because of @error */
	close: [error: E2eedError | undefined];
};

/**
 * alone: in a frame of its own. once: must not be sent again when nobody knows whether it was carried out. verbatim: holds a payload, in which
 * the daemon takes every text that JavaScript has.
 */
const METHODS: { [M in Method]: { alone?: true; once?: true; verbatim?: true } } = {
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
	encrypt: { verbatim: true },
	decryptMessage: { verbatim: true },
	encryptMessage: { verbatim: true },
	fileOpen: { alone: true },
	fileUpdate: { alone: true, once: true }, // the open file ended with its connection
	fileClose: { alone: true, once: true },
	getStatus: {},
	subscribe: { alone: true },
	unsubscribe: { alone: true },
};

const BATCH_CHARS = 64 * 1024; // beyond, a batch gains nothing, and the daemon hands frames of over 256 KiB to slower hands
const BATCH_CALLS = 64;
const ENVELOPE_BYTES = 128; // of a request around its params
const UNREADABLE = /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/; // as JSON.stringify writes them; anywhere but in a payload no frame may hold them
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_MIN_MS = 100;
const DEFAULT_MAX_MS = 5_000;
const DEFAULT_QUEUED = 65_536;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const tooLarge = (method: Method, limit: number) =>
	new E2eedError('TOO_LARGE', `${method}: more than the ${limit} bytes that the daemon takes in one frame`, { code: -32014, data: { limit } });

interface Request extends Outgoing {
	method: Method;
	settled: boolean;
}

export interface Client extends Calls {}

export class Client extends Emitter<ClientEvents> {
	#options: ConnectOptions;
	#targets: Target[];
	#session: Session | undefined;
	#draining = false; // the daemon has said SHUTTING_DOWN: what waits is for the next session
	#target: Target | undefined;
	#queue: Request[] = [];
	#flushing = false;
	#serial = 0;
	#over: E2eedError | undefined; // why every further call fails
	#retry: ReturnType<typeof setTimeout> | undefined;
	#token: string | undefined;
	#feed: Feed;
	#listeners: Taker;

	/** @internal use connect() */
	constructor(options: ConnectOptions) {
		super();
		this.#options = options;
		this.#targets = targetsOf(options);
		if (typeof options.appId !== 'string' || options.appId === '') throw new E2eedError('INVALID_PARAMS', 'appId: the id that the app has in e2eed');
		this.#feed = new Feed({
			subscribe: (since, begun) => this.#send('subscribe', since === undefined ? {} : { since }, {}, ({ seq }) => begun(seq)).then(() => undefined),
			unsubscribe: () => this.#send('unsubscribe', {}, {}),
			connected: () => this.state === 'connected',
		});
		this.#listeners = {
			take: (event) => {
				this.emit('event', event);
				return true;
			},
			gap: (error) => this.emit('gap', error),
			fail: () => undefined, // 'close' tells
		};
	}

	get state(): ClientState {
		if (this.#over) return 'closed';
		return this.#session ? 'connected' : 'connecting';
	}

	/** What it is connected by, such as `tcp:127.0.0.1:7438`. */
	get transport(): string | undefined {
		return this.#session && this.#target?.name;
	}

	/** The daemon's name and version, such as `e2eed/0.1.0`. */
	get server(): string | undefined {
		return this.#session?.hello.server;
	}

	/** What the daemon can do, such as `files`. */
	get capabilities(): string[] {
		return this.#session?.hello.capabilities ?? [];
	}

	/** Calls @method. Rejects with an E2eedError, or with JSON.stringify's TypeError for params that are no JSON. */
	call<M extends Method>(method: M, params: Params<M>, options: CallOptions = {}): Promise<Result<M>> {
		if (method === 'subscribe') return this.#subscribe(params as Params<'subscribe'>) as Promise<any>;
		if (method === 'unsubscribe') return this.#unsubscribe() as Promise<any>;
		return this.#send(method, params, options);
	}

	/** The first listener for 'event' subscribes, from now on; subscribe({ since }) begins elsewhere. */
	override on<K extends keyof ClientEvents>(name: K, listener: (...args: ClientEvents[K]) => void): this {
		super.on(name, listener);
		if (name === 'event' && this.listenerCount('event') === 1) this.#subscribe({}).catch((error) => this.#session?.end(error)); // the next session tries anew
		return this;
	}

	/** Without a listener for 'event' left, unsubscribes. */
	override off<K extends keyof ClientEvents>(name: K, listener: (...args: ClientEvents[K]) => void): this {
		super.off(name, listener);
		if (name === 'event' && this.listenerCount('event') === 0) this.#unsubscribe().catch(() => undefined); // what still comes has no taker
		return this;
	}

	/** The events after @since, or from now on, for `for await`; ends by `break`, or throws when events were lost or the client ends. */
	events({ since }: { since?: number } = {}): AsyncIterableIterator<E2eedEvent> {
		return new EventQueue(this.#feed, since);
	}

	/** Ends the client; calls that have no answer yet fail with CLOSED. Resolves when the connection is gone. */
	close(): Promise<void> {
		const gone = new Promise<void>((resolve) => (this.#session ? this.once('close', () => resolve()) : resolve()));
		this.#end(new E2eedError('CLOSED', 'the client was closed'));
		return gone;
	}

	async #subscribe({ since }: Params<'subscribe'>): Promise<{ seq: number }> {
		await this.#unsubscribe();
		return { seq: await this.#feed.add(this.#listeners, since) };
	}

	async #unsubscribe(): Promise<Record<string, never>> {
		await this.#feed.remove(this.#listeners);
		return {};
	}

	// ---- calls ---------------------------------------------------------------------------------------------------------

	/** @early sees the result as it arrives, before what came behind it is looked at. */
	#send<M extends Method>(method: M, params: Params<M>, options: CallOptions, early?: (result: Result<M>) => void): Promise<Result<M>> {
		return new Promise((resolve, reject) => {
			const { timeoutMs = this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS, signal } = options;
			const text = JSON.stringify(params ?? {});
			const refusal = this.#over ?? this.#refusal(method, text, signal);
			if (refusal) return reject(refusal);

			const timer = setTimeout(() => {
				request.refuse(new E2eedError('TIMEOUT', `${method}: no answer within ${timeoutMs} ms`, { data: { timeoutMs } }));
			}, Math.min(timeoutMs, LONGEST_TIMER_MS));
			const abort = () => request.refuse(new E2eedError('ABORTED', `${method}: aborted`));
			const settle = (): boolean => {
				if (request.settled) return false;
				request.settled = true;
				clearTimeout(timer);
				signal?.removeEventListener('abort', abort);
				return true;
			};
			const request: Request = {
				id: ++this.#serial, method, params: text, settled: false,
				answer: (result) => {
					if (!settle()) return;
					early?.(result);
					resolve(result);
				},
				refuse: (error) => {
					if (request.settled) return;
					if (error.reason === 'SHUTTING_DOWN' && this.#options.reconnect !== false && !this.#over) {
						this.#draining = true; // not carried out: the next session's
						this.#queue.push(request);
					} else if (settle()) reject(error);
				},
			};
			signal?.addEventListener('abort', abort);
			this.#queue.push(request);
			this.#flushSoon();
		});
	}

	#refusal(method: Method, text: string, signal: Abort | undefined): E2eedError | undefined {
		if (signal?.aborted) return new E2eedError('ABORTED', `${method}: aborted`);
		if (this.#queue.length >= (this.#options.maxQueued ?? DEFAULT_QUEUED))
			return new E2eedError('QUEUE_FULL', `${method}: ${this.#queue.length} calls wait already`, { data: { limit: this.#queue.length } });
		if (!METHODS[method].verbatim && UNREADABLE.test(text))
			return new E2eedError('INVALID_PARAMS', `${method}: a text with U+0000 or half a surrogate pair`);
		return undefined;
	}

	/** Behind all calls of this tick. */
	#flushSoon(): void {
		if (this.#flushing) return;
		this.#flushing = true;
		void Promise.resolve().then(() => {
			this.#flushing = false;
			this.#flush();
		});
	}

	#flush(): void {
		const session = this.#session;
		let room = session && !this.#draining ? session.room : 0;
		const frames: (Request | Request[])[] = [];
		let batch: Request[] = [];
		let chars = 0;
		let taken = 0;

		if (!session || room <= 0) return;
		const { maxBatch, maxFrameBytes } = session.hello.limits;
		const calls = Math.min(BATCH_CALLS, maxBatch);
		const longest = Math.min(BATCH_CHARS, maxFrameBytes / 4);
		const close = () => {
			if (batch.length > 0) frames.push(batch.length === 1 ? batch[0]! : batch);
			batch = [];
			chars = 0;
		};
		for (const request of this.#queue) {
			if (room <= 0) break;
			taken++;
			if (request.settled) continue;
			if (request.params.length * 3 > maxFrameBytes - ENVELOPE_BYTES && Buffer.byteLength(request.params) > maxFrameBytes - ENVELOPE_BYTES) {
				request.refuse(tooLarge(request.method, maxFrameBytes));
				continue;
			}
			room--;
			if (METHODS[request.method].alone) {
				close();
				frames.push(request);
				continue;
			}
			if (batch.length >= calls || chars + request.params.length > longest) close();
			batch.push(request);
			chars += request.params.length;
		}
		close();
		this.#queue.splice(0, taken);
		if (frames.length > 0) session.send(frames);
	}

	// ---- sessions ------------------------------------------------------------------------------------------------------

	/** @internal one try at every target, the one that worked last first. Throws what connect() rejects with. */
	async open(): Promise<void> {
		const attempts: Attempt[] = [];
		const targets = this.#target ? [this.#target, ...this.#targets.filter((target) => target !== this.#target)] : this.#targets;
		const timeoutMs = this.#options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;

		this.#token ??= await this.#fetchToken();
		for (const target of targets) {
			const opened = await open(target, timeoutMs);
			if ('attempt' in opened) {
				attempts.push(opened.attempt);
				continue;
			}
			if (this.#over) {
				opened.socket.destroy();
				throw this.#over;
			}
			const session = await Session.start(opened.socket, this.#options.appId, this.#token, timeoutMs, {
				event: (params) => this.#feed.deliver(params),
				room: () => {
					if (this.#queue.length > 0) this.#flushSoon();
				},
				end: (error, unanswered) => this.#lost(error, unanswered as Request[]),
			});
			if (this.#over) {
				session.end(this.#over);
				throw this.#over;
			}
			this.#target = target;
			this.#session = session;
			this.#draining = false;
			if (this.#feed.wanted) this.#feed.begin().catch((error) => session.end(error)); // the next session tries anew
			this.#flushSoon();
			this.emit('connect');
			return;
		}
		throw unreachable(attempts);
	}

	async #fetchToken(): Promise<string> {
		const { token } = this.#options;
		const text = typeof token === 'function' ? await token() : token;
		tokenKey(text).fill(0); // throws on what is none
		return text;
	}

	#lost(error: E2eedError, unanswered: Request[]): void {
		this.#session = undefined;
		this.#feed.lost();
		if (this.#over) {
			for (const request of unanswered) request.refuse(this.#over);
			return this.#closed();
		}
		// a frame that the daemon cannot read would be no better on the next connection
		const lost = error.code === 0 || error.reason === 'OVERLOADED' ? undefined : error;
		const again = unanswered.filter((request) => {
			if (!lost && !METHODS[request.method].once && this.#options.reconnect !== false) return true;
			request.refuse(
				lost ?? new E2eedError('CONNECTION_LOST', `${request.method}: ${error.message}; it may or may not have been carried out`),
			);
			return false;
		});
		if (this.#options.reconnect === false) return this.#end(error);
		this.#queue.unshift(...again);
		this.emit('disconnect', error);
		this.#openLater(0);
	}

	/** @tries: made in vain since the last session */
	#openLater(tries: number): void {
		const { minMs = DEFAULT_MIN_MS, maxMs = DEFAULT_MAX_MS } = this.#options.reconnect || {};
		const waitMs = Math.min(maxMs, minMs * 2 ** Math.min(tries, 16)) * (0.5 + Math.random() / 2);
		this.#retry = setTimeout(() => {
			this.open().catch((error) => this.#failed(error, tries));
		}, waitMs);
	}

	async #failed(error: unknown, tries: number): Promise<void> {
		if (this.#over) return;
		if (!(error instanceof E2eedError)) return this.#end(new E2eedError('CONNECTION_LOST', `no connection: ${String(error)}`));
		switch (error.reason) {
			case 'AUTHENTICATION_FAILED': {
				const former = this.#token;
				try {
					this.#token = await this.#fetchToken();
				} catch {
					return this.#end(error);
				}
				return this.#token === former ? this.#end(error) : this.#openLater(tries + 1);
			}
			case 'UNSUPPORTED_PROTOCOL':
			case 'INVALID_PARAMS':
			case 'NO_TRANSPORT':
				return this.#end(error);
			default: // nobody there yet, a stranger in its place, locked, too many tries, ...
				return this.#openLater(tries + 1);
		}
	}

	/** Once; every call fails from now on. */
	#end(error: E2eedError): void {
		if (this.#over) return;
		this.#over = error;
		clearTimeout(this.#retry);
		for (const request of this.#queue.splice(0)) request.refuse(error);
		this.#feed.fail(error);
		if (this.#session) this.#session.end(error);
		else this.#closed();
	}

	#closed(): void {
		this.emit('close', this.#over?.reason === 'CLOSED' ? undefined : this.#over);
	}
}

for (const method of Object.keys(METHODS) as Method[])
	Object.defineProperty(Client.prototype, method, {
		value(this: Client, params: any = {}, options: CallOptions = {}) {
			return this.call(method, params, options);
		},
		writable: true, configurable: true,
	});

/**
 * Connects to e2eed as an app. Each side shows the other that it knows the app's token.
 *
 * Rejects with an E2eedError: UNREACHABLE or NO_TRANSPORT (`data.attempts`), AUTHENTICATION_FAILED, SERVER_NOT_TRUSTED, INVALID_PARAMS,
 * ABORTED, TIMEOUT, or what the daemon says. Later losses of the connection are mended behind the scenes.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
	const { signal } = options;
	const client = new Client(options);
	const aborted = () => new E2eedError('ABORTED', 'connecting was aborted');

	if (signal?.aborted) throw aborted();
	return new Promise((resolve, reject) => {
		const abort = () => {
			void client.close();
			reject(aborted());
		};
		signal?.addEventListener('abort', abort);
		client
			.open()
			.then(() => resolve(client), reject)
			.finally(() => signal?.removeEventListener('abort', abort));
	});
}
