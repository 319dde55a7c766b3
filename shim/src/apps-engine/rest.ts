// Rocket.Chat's REST API as one of its users. Errors are E2eedErrors: what the server's error codes say, never its texts, since texts may hold
// what was sent.
import { E2eedError, type WireMessage } from '../index';
import { type Http, type HttpRequest, type HttpResponse, type Wire, wireOf } from './http';

export interface RestOptions {
	/** Apps-Engine's IHttp, or fetch */
	http: Http;
	/** such as http://127.0.0.1:3000 */
	serverUrl: string;
	/** the bot user, and a personal access token of its own */
	userId: string;
	authToken: string;
	/** for an answer to come; 60,000 by default, ten times as long for files */
	timeoutMs?: number;
}

/** What the server can do, by its version. */
export interface ServerAbilities {
	/** such as 7.10.0; '' where the server did not tell */
	version: string;
	/** room keys have a history that is handed on (7.0) */
	oldKeys: boolean;
	/** chat.update takes the content of an encrypted message (7.13) */
	editContent: boolean;
	/** clients know room keys of the form that e2eed makes: AES-256-GCM under a UUID (7.13) */
	uuidKeys: boolean;
}

type Query = Record<string, string | number | string[] | undefined>;

const DEFAULT_RETRY_MS = 60_000; // the server's default window
const LONGEST_RETRY_MS = 5 * 60_000; // its clock may be another than ours
const TIMEOUT_MS = 60_000;
const FILE_TIMES = 10;
const FILE = /^\/file-upload\/[\w-]+\/[^/\\?#]*$/;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

function atLeast(version: string, major: number, minor: number): boolean {
	const [theirMajor = 0, theirMinor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
	return theirMajor > major || (theirMajor === major && theirMinor >= minor);
}

function queryText(query: Query): string {
	const parts: string[] = [];
	for (const [name, value] of Object.entries(query)) {
		if (Array.isArray(value)) for (const each of value) parts.push(`${encodeURIComponent(`${name}[]`)}=${encodeURIComponent(each)}`);
		else if (value !== undefined) parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
	}
	return parts.length > 0 ? `?${parts.join('&')}` : '';
}

function retryAfterMs(answer: HttpResponse, text: string): number {
	const reset = Number(answer.header('x-ratelimit-reset'));
	const seconds = /(\d+) seconds/.exec(text)?.[1];
	const told = reset > 0 ? reset - Date.now() : seconds ? Number(seconds) * 1000 : DEFAULT_RETRY_MS;
	return Math.min(LONGEST_RETRY_MS, Math.max(1000, told));
}

/** The server has understood, and does not want to. */
export function isRefusal(error: unknown): boolean {
	return error instanceof E2eedError && error.reason === 'REST_FAILED' && error.data['status'] >= 400 && error.data['status'] < 500;
}

export class Rest {
	readonly userId: string;
	/** whether files can be uploaded this way */
	readonly binary: boolean;
	#wire: Wire;
	#base: string;
	#headers: { [name: string]: string };
	#timeoutMs: number;
	#abilities: Promise<ServerAbilities> | undefined;

	constructor({ http, serverUrl, userId, authToken, timeoutMs = TIMEOUT_MS }: RestOptions) {
		this.#timeoutMs = timeoutMs;
		this.#wire = wireOf(http);
		this.binary = this.#wire.binary;
		this.#base = serverUrl.replace(/\/+$/, '');
		this.userId = userId;
		this.#headers = { 'X-User-Id': userId, 'X-Auth-Token': authToken };
	}

	/** GET /api/v1/@path. Rejects with REST_UNAUTHORIZED, RATE_LIMITED (`data.retryAfterMs`), REST_FAILED (`data.status`, `data.errorType`). */
	async get(path: string, query: Query = {}): Promise<any> {
		return this.#call('GET', path, queryText(query));
	}

	async post(path: string, body: object): Promise<any> {
		return this.#call('POST', path, '', JSON.stringify(body), 'application/json');
	}

	/** As post(), with a body that is no JSON; UNSUPPORTED where bytes cannot be carried. */
	async postBytes(path: string, body: Uint8Array, contentType: string): Promise<any> {
		return this.#call('POST', path, '', body, contentType);
	}

	/**
	 * A file's bytes; @path as messages name it: /file-upload/ID/NAME. Whoever wrote the message chose it, so no other is taken: the request
	 * is made with the user's access token.
	 */
	async download(path: string): Promise<Uint8Array> {
		if (!FILE.test(path)) throw new E2eedError('INVALID_PARAMS', 'a file lies under /file-upload/ of the server');
		let answer = await this.#send('GET', path);
		const elsewhere = REDIRECTS.has(answer.status) ? answer.header('location') : undefined;
		// to where the server keeps its files, with a signature of its own: the token is not for that place
		if (elsewhere && /^https?:/.test(elsewhere)) answer = await this.#sendTo(elsewhere, path, { method: 'GET', headers: {} });
		if (answer.status !== 200) throw this.#errorOf(answer, 'file-upload', {});
		return answer.body;
	}

	/** A room's newest messages in the server's shape, the newest first. */
	async history(roomId: string, { count = 50, latest }: { count?: number; latest?: Date } = {}): Promise<WireMessage[]> {
		const { room } = await this.get('rooms.info', { roomId });
		const { messages } = await this.get(`${room?.t === 'd' ? 'im' : 'groups'}.history`, { roomId, count, latest: latest?.toISOString() });
		return Array.isArray(messages) ? messages : [];
	}

	/** A thread's replies in the server's shape, the oldest first. */
	async thread(tmid: string, { count = 100 }: { count?: number } = {}): Promise<WireMessage[]> {
		const { messages } = await this.get('chat.getThreadMessages', { tmid, count });
		return Array.isArray(messages) ? messages : [];
	}

	/** Asked once. A server that does not tell its version is taken for one that can do least. */
	server(): Promise<ServerAbilities> {
		this.#abilities ??= this.#askServer().catch((error) => {
			this.#abilities = undefined;
			throw error;
		});
		return this.#abilities;
	}

	async #askServer(): Promise<ServerAbilities> {
		const answer = await this.#send('GET', '/api/info');
		const info = this.#parse(answer);
		if (answer.status !== 200) throw this.#errorOf(answer, 'info', info);
		const told = info.version ?? info.info?.version;
		const version = typeof told === 'string' ? told : '';
		return { version, oldKeys: atLeast(version, 7, 0), editContent: atLeast(version, 7, 13), uuidKeys: atLeast(version, 7, 13) };
	}

	async #call(method: 'GET' | 'POST', path: string, query: string, body?: string | Uint8Array, contentType?: string): Promise<any> {
		const answer = await this.#send(method, `/api/v1/${path}${query}`, body, contentType);
		const data = this.#parse(answer);
		if (answer.status !== 200 || data.success !== true) throw this.#errorOf(answer, path, data);
		return data;
	}

	#send(method: 'GET' | 'POST', path: string, body?: string | Uint8Array, contentType?: string): Promise<HttpResponse> {
		const headers = contentType ? { ...this.#headers, 'Content-Type': contentType } : this.#headers;
		return this.#sendTo(this.#base + path, path, { method, headers, body });
	}

	async #sendTo(url: string, path: string, request: Omit<HttpRequest, 'url'>): Promise<HttpResponse> {
		const name = path.split('?')[0]!.replace('/api/v1/', '');
		const timeoutMs = this.#timeoutMs * (typeof request.body === 'object' || FILE.test(path) ? FILE_TIMES : 1);
		const unanswered = (why: string) => new E2eedError('REST_FAILED', `${name}: ${why}`, { data: { status: 0 } });
		let timer: ReturnType<typeof setTimeout> | undefined;
		const late = new Promise<never>((_, reject) => {
			timer = setTimeout(() => reject(unanswered(`no answer within ${timeoutMs} ms`)), timeoutMs);
		});
		try {
			return await Promise.race([this.#wire.send({ url, ...request }), late]);
		} catch (error: any) {
			if (error instanceof E2eedError) throw error;
			// not the error's own text: it is not ours, and may hold the request
			throw unanswered(`the server cannot be reached (${error?.cause?.code ?? error?.code ?? error?.name ?? 'unknown error'})`);
		} finally {
			clearTimeout(timer);
		}
	}

	#parse(answer: HttpResponse): any {
		try {
			const data = JSON.parse(Buffer.from(answer.body).toString('utf8'));
			return typeof data === 'object' && data !== null ? data : {};
		} catch {
			return {}; // refusals may be plain text
		}
	}

	#errorOf(answer: HttpResponse, path: string, data: any): E2eedError {
		const { status } = answer;
		const errorType = typeof data.errorType === 'string' ? data.errorType : undefined;
		if (status === 401) return new E2eedError('REST_UNAUTHORIZED', `${path}: the server does not accept the user's access token`, { data: { status } });
		if (status === 429) {
			const patience = { status, retryAfterMs: retryAfterMs(answer, String(data.error)) };
			return new E2eedError('RATE_LIMITED', `${path}: too many calls`, { data: patience });
		}
		let why = `refused (${errorType ?? `status ${status}`})`;
		if (REDIRECTS.has(status)) why = 'serverUrl is not the server itself: it refers to another address';
		else if (status === 200 && data.success === undefined) why = 'not the answer of a Rocket.Chat server';
		return new E2eedError('REST_FAILED', `${path}: ${why}`, { data: { status, errorType } });
	}
}
