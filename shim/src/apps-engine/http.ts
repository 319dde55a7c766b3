// The two ways an app has to the server's REST API: Apps-Engine's IHttp, which the server itself performs, and a `fetch`.
//
// IHttp carries text only: a body that is not UTF-8 would be changed on its way, so uploads need fetch. What comes back may be binary with both.
import { E2eedError } from '../index';

/** What is used of IHttp. */
export interface AppsHttp {
	get(url: string, options?: any): Promise<AppsHttpResponse>;
	post(url: string, options?: any): Promise<AppsHttpResponse>;
}

export interface AppsHttpResponse {
	statusCode: number;
	headers?: { [name: string]: string };
	content?: any;
	data?: any;
}

/** What is used of fetch(). */
export type Fetch = (
	url: string,
	init?: { method?: string; headers?: { [name: string]: string }; body?: any; redirect?: 'manual' },
) => Promise<{ status: number; headers: { get(name: string): string | null }; arrayBuffer(): Promise<ArrayBuffer> }>;

export type Http = AppsHttp | Fetch;

export interface HttpRequest {
	method: 'GET' | 'POST';
	url: string;
	headers: { [name: string]: string };
	/** text, or bytes where the way carries them */
	body?: string | Uint8Array;
}

export interface HttpResponse {
	status: number;
	header(name: string): string | undefined;
	body: Uint8Array;
}

/** One request over either way. */
export interface Wire {
	/** whether request bodies may be bytes */
	binary: boolean;
	send(request: HttpRequest): Promise<HttpResponse>;
}

function bytesOf(content: unknown): Uint8Array {
	if (typeof content === 'string') return Buffer.from(content, 'utf8');
	if (ArrayBuffer.isView(content)) return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
	return new Uint8Array(0);
}

function overAppsHttp(http: AppsHttp): Wire {
	return {
		binary: false,
		async send({ method, url, headers, body }) {
			if (body !== undefined && typeof body !== 'string') throw new E2eedError('UNSUPPORTED', "Apps-Engine's http cannot carry binary bodies: give `fetch` as http to upload files");
			const options = { headers, encoding: null, ...(body !== undefined && { content: body }) };
			const answer = await (method === 'GET' ? http.get(url, options) : http.post(url, options));
			if (!answer) throw new E2eedError('REST_FAILED', "the server gave the app no answer: its app.json must list the permission \"networking\"");
			const given = answer.headers ?? {};
			return {
				status: answer.statusCode,
				header: (name) => Object.entries(given).find(([other]) => other.toLowerCase() === name)?.[1],
				body: answer.content === undefined && answer.data !== undefined ? Buffer.from(JSON.stringify(answer.data)) : bytesOf(answer.content),
			};
		},
	};
}

function overFetch(fetch: Fetch): Wire {
	return {
		binary: true,
		async send({ method, url, headers, body }) {
			// fetch would take our headers along to wherever it is sent
			const answer = await fetch(url, { method, headers, redirect: 'manual', ...(body !== undefined && { body }) });
			return { status: answer.status, header: (name) => answer.headers.get(name) ?? undefined, body: new Uint8Array(await answer.arrayBuffer()) };
		},
	};
}

export function wireOf(http: Http): Wire {
	return typeof http === 'function' ? overFetch(http) : overAppsHttp(http);
}
