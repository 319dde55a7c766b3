// A client of the daemon's sockets: frames out, frames in, answers matched to requests by id. It waits for frames and for
// the end of the connection, never for a time; a test that could hang carries node:test's `timeout`.
//
//   const c = await Client.connect(path | '\0name' | { host, port })
//   await c.call(method, params)        -> result, or throws RpcError { code, reason, data, message }
//   await c.callText(method, text)      -> the answer's frame as it came; `text` goes out as params byte for byte
//   await c.request({ method, params }) -> the whole answer; jsonrpc and id are added where they are missing
//   await c.batch([{ method }, ...])    -> the array that answers it
//   c.notify(method, params), c.send(raw), c.end()
//   await c.nextFrame(), c.nextRaw()    -> the next frame that answers no call, batch or request of this object
//   c.rawFrames()                       -> those waiting now, as text
//   c.lastRaw                           -> the text of the newest frame of either kind
//   await c.authenticate(appId, token)  -> hello and authenticate; checks the server's proof
//   await c.closed                      -> when the connection is gone
import { createHmac, randomBytes } from 'node:crypto';
import { connect } from 'node:net';

export class RpcError extends Error {
	constructor(error, method = '') {
		super(`${method ? `${method}: ` : ''}${error.data?.reason ?? error.code} (${error.message}) ${JSON.stringify(error.data)}`);
		this.name = 'RpcError';
		this.code = error.code;
		this.reason = error.data?.reason;
		this.data = error.data;
		this.error = error;
	}
}

export class ConnectionClosed extends Error {
	constructor() {
		super('the daemon closed the connection');
		this.name = 'ConnectionClosed';
	}
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const PREFIX = 'e2eed1_';

// The proof of either side, as protocol.md section 2 has it.
export function proofOf(side, token, appId, challenge, nonce) {
	if (!token.startsWith(PREFIX)) throw new Error(`a token starts with ${PREFIX}`);
	const key = Buffer.from(token.slice(PREFIX.length), 'base64url');
	return createHmac('sha256', key).update(`e2eed-v1 ${side}\n${appId}\n${challenge}\n${nonce}`).digest('hex');
}

export class Client {
	#serial = 2 ** 40; // far from the ids that tests write themselves
	#pending = new Map(); // JSON text of an id -> { resolve, reject, raw }
	#frames = []; // unmatched, as text
	#waiting = []; // for unmatched frames
	#parts = []; // of a frame whose end has not come yet
	#over = false;

	constructor(socket) {
		this.socket = socket;
		this.lastRaw = undefined;
		this.received = 0; // frames, of any kind
		socket.on('data', (chunk) => this.#feed(chunk));
		socket.on('end', () => socket.end());
		socket.on('error', () => {}); // 'close' follows
		this.closed = new Promise((resolve) => socket.once('close', resolve)).then(() => this.#lost());
	}

	static connect(target) {
		return new Promise((resolve, reject) => {
			const where = typeof target === 'string' ? { path: target } : target;
			const socket = connect({ ...where, allowHalfOpen: true });
			socket.once('error', reject);
			socket.once('connect', () => {
				socket.removeListener('error', reject);
				resolve(new Client(socket));
			});
		});
	}

	send(raw) {
		return this.socket.write(raw);
	}

	// Closes the sending side only: what was asked is still answered.
	end(raw) {
		this.socket.end(raw);
	}

	close() {
		this.socket.destroy();
		return this.closed;
	}

	nextId() {
		return ++this.#serial;
	}

	// The answer to the request with this id, which the caller sends.
	answerTo(id, { raw = false } = {}) {
		return new Promise((resolve, reject) => {
			if (this.#over) return reject(new ConnectionClosed());
			const key = JSON.stringify(id);
			if (this.#pending.has(key)) return reject(new Error(`id ${key} is in use`));
			this.#pending.set(key, { resolve, reject, raw });
		});
	}

	request(message) {
		const full = { jsonrpc: '2.0', id: this.nextId(), ...message };
		const answer = this.answerTo(full.id);
		this.send(`${JSON.stringify(full)}\n`);
		return answer;
	}

	async call(method, params) {
		const answer = await this.request(params === undefined ? { method } : { method, params });
		if (answer.error) throw new RpcError(answer.error, method);
		return answer.result;
	}

	callText(method, paramsText = '{}') {
		const id = this.nextId();
		const answer = this.answerTo(id, { raw: true });
		this.send(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":${paramsText}}\n`);
		return answer;
	}

	// The answer is awaited unless all are notifications ({ id: undefined } makes one).
	batch(messages) {
		const full = messages.map((m) => ({ jsonrpc: '2.0', ...('id' in m ? {} : { id: this.nextId() }), ...m }));
		const ids = full.map((m) => m.id).filter((id) => id !== undefined);
		const answers = ids.map((id) => this.answerTo(id));
		this.send(`${JSON.stringify(full)}\n`);
		return Promise.all(answers);
	}

	notify(method, params) {
		this.send(`${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`);
	}

	nextRaw() {
		if (this.#frames.length) return Promise.resolve(this.#frames.shift());
		if (this.#over) return Promise.reject(new ConnectionClosed());
		return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
	}

	async nextFrame() {
		return JSON.parse(await this.nextRaw());
	}

	rawFrames() {
		return this.#frames.splice(0);
	}

	async authenticate(appId, token, { client = 'e2e/1' } = {}) {
		const { challenge } = await this.call('hello', { protocol: [1], client });
		const nonce = randomBytes(32).toString('base64');
		const proof = proofOf('client', token, appId, challenge, nonce);
		const answer = await this.call('authenticate', { appId, nonce, proof });
		if (answer.serverProof !== proofOf('server', token, appId, challenge, nonce))
			throw new Error('the server proof is wrong');
		return answer;
	}

	#feed(chunk) {
		for (let end; (end = chunk.indexOf(10)) >= 0; chunk = chunk.subarray(end + 1)) {
			this.#parts.push(chunk.subarray(0, end));
			const line = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
			this.#parts = [];
			this.#frame(strictUtf8.decode(line));
		}
		if (chunk.length) this.#parts.push(chunk);
	}

	#frame(text) {
		const frame = JSON.parse(text);
		this.lastRaw = text;
		this.received++;
		const all = Array.isArray(frame) ? frame : [frame];
		const mine = all.map((a) => ('method' in a ? undefined : JSON.stringify(a.id))).filter((key) => this.#pending.has(key));
		if (mine.length === 0) {
			const waiter = this.#waiting.shift();
			if (waiter) waiter.resolve(text);
			else this.#frames.push(text);
			return;
		}
		for (const answer of all) {
			const key = JSON.stringify(answer.id);
			const entry = this.#pending.get(key);
			if (!entry) throw new Error(`an answer to nothing in ${text.slice(0, 200)}`);
			this.#pending.delete(key);
			entry.resolve(entry.raw ? text : answer);
		}
	}

	#lost() {
		this.#over = true;
		for (const { reject } of this.#pending.values()) reject(new ConnectionClosed());
		for (const { reject } of this.#waiting.splice(0)) reject(new ConnectionClosed());
		this.#pending.clear();
	}
}
