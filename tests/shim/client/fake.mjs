// A daemon that does what a test tells it: it shakes hands as docs/protocol.md says and then answers as @answer likes, or not at all.
import { Buffer } from 'node:buffer';
import { createHmac, randomBytes } from 'node:crypto';
import { createServer } from 'node:net';

export const TOKEN = `e2eed1_${Buffer.alloc(32, 7).toString('base64url')}`;
export const LIMITS = { maxFrameBytes: 1 << 20, maxBatch: 256, maxInFlight: 1024 };

export const proof = (side, token, appId, challenge, nonce) =>
	createHmac('sha256', Buffer.from(token.slice('e2eed1_'.length), 'base64url')).update(`e2eed-v1 ${side}\n${appId}\n${challenge}\n${nonce}`).digest('hex');

/** What to answer with: an error's object. */
export const failure = (reason, code = -32000, data = {}) => ({ error: { code, message: `it is ${reason}`, data: { reason, ...data } } });

class Connection {
	constructor(socket, daemon) {
		Object.assign(this, { socket, daemon, unread: '', received: '' });
		this.closed = new Promise((resolve) => socket.once('close', resolve));
		socket.on('error', () => {}); // 'close' follows
		socket.setEncoding('utf8');
		socket.on('data', (text) => this.#feed(text));
	}

	send(...frames) {
		this.socket.write(frames.map((frame) => `${JSON.stringify(frame)}\n`).join(''));
	}

	result(request, result) {
		this.send({ jsonrpc: '2.0', id: request.id, result });
	}

	event(seq, more = {}) {
		this.send({ jsonrpc: '2.0', method: 'event', params: { seq, time: '2026-11-23T06:00:00.000Z', type: 'token.reset', ...more } });
	}

	cut() {
		this.socket.destroy();
	}

	#feed(text) {
		this.received += text;
		const lines = (this.unread + text).split('\n');
		this.unread = lines.pop();
		for (const line of lines) this.#frame(JSON.parse(line));
	}

	#frame(frame) {
		if (!Array.isArray(frame) && this.#handshake(frame)) return;
		this.daemon.seen(frame, this);
		const answers = [frame].flat().map((request) => [request, this.daemon.answer(request, this)]).filter(([, answer]) => answer !== undefined)
			.map(([{ id }, answer]) => ({ jsonrpc: '2.0', id, ...('error' in answer ? answer : { result: answer }) }));
		if (answers.length > 0) this.send(Array.isArray(frame) ? answers : answers[0]);
	}

	#handshake({ id, method, params }) {
		const { token, limits } = this.daemon;
		if (method === 'hello') {
			this.challenge = randomBytes(32).toString('base64');
			this.send({ jsonrpc: '2.0', id, result: { protocol: 1, server: 'e2eed/9.9.9', challenge: this.challenge, capabilities: [], limits, ...this.daemon.hello } });
		} else if (method === 'authenticate') {
			const { appId, nonce } = params;
			if (params.proof === proof('client', this.daemon.accepts ?? token, appId, this.challenge, nonce)) {
				this.daemon.sessions++;
				this.send({ jsonrpc: '2.0', id, result: { appId, serverProof: proof('server', token, appId, this.challenge, nonce) } });
			} else this.send({ jsonrpc: '2.0', id, ...failure('AUTHENTICATION_FAILED', -32002) });
		} else return false;
		return true;
	}
}

/**
 * answer(request, connection): a result, failure(...), or undefined for silence. connected(connection): what to do instead of shaking hands,
 * if it returns true. Gives { port, frames, sessions, options(more), frame(): the next unread [frame, connection], close() }.
 */
export async function fake({ after, answer = () => ({}), connected = () => false, token = TOKEN, limits = {}, hello = {}, accepts }) {
	const waiting = [], unread = [], connections = new Set();
	const daemon = {
		answer, token, hello, accepts, limits: { ...LIMITS, ...limits }, frames: [], sessions: 0, connections,
		seen(frame, connection) {
			daemon.frames.push(frame);
			const waiter = waiting.shift();
			if (waiter) waiter([frame, connection]);
			else unread.push([frame, connection]);
		},
		frame: () => new Promise((resolve) => (unread.length ? resolve(unread.shift()) : waiting.push(resolve))),
		methods: () => daemon.frames.map((frame) => (Array.isArray(frame) ? frame.map(({ method }) => method) : frame.method)),
		options: (more = {}) => ({ appId: 'bot', token: TOKEN, transport: 'tcp', port: daemon.port, reconnect: { minMs: 1, maxMs: 4 }, ...more }),
	};
	const server = createServer((socket) => {
		if (connected(socket)) return;
		const connection = new Connection(socket, daemon);
		connections.add(connection);
		void connection.closed.then(() => connections.delete(connection));
	});
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	daemon.port = server.address().port;
	daemon.close = () => {
		server.close();
		for (const connection of connections) connection.cut();
	};
	after(daemon.close);
	return daemon;
}
