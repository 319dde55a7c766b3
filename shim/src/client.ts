// The client: typed calls over one session after the other.
//
// A call goes into the outbox, which is emptied when the current tick's calls are all in. When a session ends, calls that may be carried
// out twice without harm go back to its head, the others fail with CONNECTION_LOST; then a new session is made, with back-off, and the
// subscription goes on where it was. AUTHENTICATION_FAILED ends the client: the daemon counts failures against everybody behind the
// same address.
import { type Abort, Call, type CallOptions } from './call';
import { E2eedError, type Reason } from './errors';
import { Emitter } from './emitter';
import { EventQueue, Feed, type Taker } from './feed';
import { METHODS, Outbox } from './outbox';
import { paramsText } from './params';
import type { E2eedEvent, Method, Params, Result } from './protocol';
import { Session, tokenKey } from './session';
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

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_MIN_MS = 100;
const DEFAULT_MAX_MS = 5_000;
const DEFAULT_QUEUED = 65_536;
// A connection that ends with one of these got a frame that the daemon cannot read. It would be no better on the next.
const OUR_FRAME: Reason[] = ['PARSE_ERROR', 'INVALID_REQUEST', 'TOO_LARGE'];

export interface Client extends Calls {}

export class Client extends Emitter<ClientEvents> {
	#options: ConnectOptions;
	#targets: Target[];
	#session: Session | undefined;
	#draining = false; // the daemon has ended the session, or is about to: what waits is for the next one
	#target: Target | undefined;
	#giveUp: (() => void) | undefined; // the connection that is being made
	#outbox = new Outbox();
	#flushing = false;
	#serial = 0;
	#over: E2eedError | undefined; // why every further call fails
	#retry: ReturnType<typeof setTimeout> | undefined;
	#subscribing: ReturnType<typeof setTimeout> | undefined;
	#refusals = 0; // of subscriptions, one after the other
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
			subscribe: async (since, begun) => {
				await this.#send('subscribe', since === undefined ? {} : { since }, {}, ({ seq }) => begun(seq));
				this.#refusals = 0;
			},
			unsubscribe: () => this.#send('unsubscribe', {}, {}),
			refused: () => this.#subscribeLater(),
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

	/** The first listener for 'event' subscribes, from now on, unless subscribe() has done so already; subscribe({ since }) begins elsewhere. */
	override on<K extends keyof ClientEvents>(name: K, listener: (...args: ClientEvents[K]) => void): this {
		super.on(name, listener);
		if (name === 'event' && !this.#over && !this.#feed.has(this.#listeners)) this.#subscribe({}).catch(() => undefined); // it is tried again
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
		if (this.#over) throw this.#over;
		return { seq: await this.#feed.add(this.#listeners, since, this.listenerCount('event') > 0) };
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
			const { maxQueued = DEFAULT_QUEUED } = this.#options;

			if (!Object.hasOwn(METHODS, method)) throw new E2eedError('METHOD_NOT_FOUND', `${method}: not one of the methods that apps have`);
			if (this.#over) throw this.#over;
			if (signal?.aborted) throw new E2eedError('ABORTED', `${method}: aborted`);
			if (this.#outbox.length >= maxQueued)
				throw new E2eedError('QUEUE_FULL', `${method}: ${maxQueued} calls wait already`, { data: { limit: maxQueued } });
			const text = paramsText(method, params, METHODS[method].verbatim);
			this.#outbox.push(new Call(++this.#serial, method, text, timeoutMs, signal, this.#caller, { resolve, reject, early }));
			this.#flushSoon();
		});
	}

	#caller = {
		postponed: (call: Call, error: E2eedError) => {
			if (this.#options.reconnect === false || this.#over) return false;
			this.#draining = true;
			this.#outbox.push(call);
			if (error.reason === 'UNAUTHENTICATED') this.#session?.end(error);
			return true;
		},
		givenUp: () => this.#outbox.givenUp(),
	};

	/** Behind all calls of this tick. */
	#flushSoon(): void {
		if (this.#flushing) return;
		this.#flushing = true;
		void Promise.resolve().then(() => {
			this.#flushing = false;
			const session = this.#session;
			if (!session || this.#draining || session.room <= 0) return;
			const frames = this.#outbox.take(session.room, session.hello.limits);
			if (frames.length > 0) session.send(frames);
		});
	}

	// ---- sessions ------------------------------------------------------------------------------------------------------

	/** @internal one try at every target, the one that worked last first. Throws what connect() rejects with. */
	async open(): Promise<void> {
		const attempts: Attempt[] = [];
		const targets = this.#target ? [this.#target, ...this.#targets.filter((target) => target !== this.#target)] : this.#targets;
		const timeoutMs = this.#options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;

		this.#token ??= await this.#fetchToken();
		for (const target of targets) {
			if (this.#over) throw this.#over;
			const opened = await open(target, timeoutMs, (cancel) => (this.#giveUp = cancel));
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
					if (this.#outbox.length > 0) this.#flushSoon();
				},
				end: (error, unanswered) => this.#lost(error, unanswered as Call[]),
			});
			if (this.#over) {
				session.end(this.#over);
				throw this.#over;
			}
			this.#target = target;
			this.#session = session;
			this.#giveUp = undefined;
			this.#draining = false;
			this.#beginFeed();
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

	#beginFeed(): void {
		if (this.#feed.wanted) this.#feed.begin().catch(() => undefined); // the feed says so itself
	}

	/** A subscription was refused, by a locked keystore, say, which is no reason to leave the connection. */
	#subscribeLater(): void {
		clearTimeout(this.#subscribing);
		if (this.#session) this.#subscribing = setTimeout(() => this.#beginFeed(), this.#waitMs(this.#refusals++));
	}

	#lost(error: E2eedError, unanswered: Call[]): void {
		this.#session = undefined;
		clearTimeout(this.#subscribing);
		this.#feed.lost();
		if (this.#over) {
			for (const request of unanswered) request.refuse(this.#over);
			return this.#closed();
		}
		const ours = OUR_FRAME.includes(error.reason) ? error : undefined;
		const again = unanswered.filter((request) => {
			if (!ours && !METHODS[request.method].once && this.#options.reconnect !== false) return true;
			request.refuse(
				ours ?? new E2eedError('CONNECTION_LOST', `${request.method}: ${error.message}; it may or may not have been carried out`),
			);
			return false;
		});
		if (this.#options.reconnect === false) return this.#end(error);
		this.#outbox.putBack(again);
		this.emit('disconnect', error);
		this.#openLater(0);
	}

	/** @tries: made in vain since the last session */
	#openLater(tries: number): void {
		this.#retry = setTimeout(() => {
			this.open().catch((error) => this.#failed(error, tries));
		}, this.#waitMs(tries));
	}

	#waitMs(tries: number): number {
		const { minMs = DEFAULT_MIN_MS, maxMs = DEFAULT_MAX_MS } = this.#options.reconnect || {};
		return Math.min(maxMs, minMs * 2 ** Math.min(tries, 16)) * (0.5 + Math.random() / 2);
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
		clearTimeout(this.#subscribing);
		this.#giveUp?.();
		this.#outbox.refuseAll(error);
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
