// Shaking hands: each side shows that it knows the token, and whoever answers otherwise is told nothing and believed nothing.
import { equal, match, next, ok, refused, test } from './check.mjs';
import { failure, fake, proof, TOKEN } from './fake.mjs';

const OTHER = `e2eed1_${'B'.repeat(43)}`;

test('a wrong token: AUTHENTICATION_FAILED', ['tcp'], async ({ connect, where, app }) => {
	const { code, message } = await refused(connect({ ...app, token: OTHER, transport: 'tcp', port: where.port }), 'AUTHENTICATION_FAILED');
	equal(code, -32002);
	ok(!message.includes(OTHER));
});

test('an app that is not there: the same', ['tcp'], async ({ connect, where, app }) => {
	await refused(connect({ ...app, appId: 'nobody', transport: 'tcp', port: where.port }), 'AUTHENTICATION_FAILED');
});

test('a revoked app: its client ends, and no other begins', ['tcp'], async ({ connect, where, host }) => {
	const { appId, token, roomId } = await host('newApp');
	const options = { appId, token, transport: 'tcp', port: where.port, reconnect: { minMs: 1, maxMs: 4 } };
	const c = await connect(options);
	const ends = next(c, 'close');
	await c.listRoomKeys({ roomId });
	await host('admin', { method: 'revokeApp', params: { appId } });
	await refused(c.listRoomKeys({ roomId }), 'AUTHENTICATION_FAILED');
	equal((await ends)[0].reason, 'AUTHENTICATION_FAILED');
	equal(c.state, 'closed');
	await refused(c.ping(), 'AUTHENTICATION_FAILED');
	await refused(connect(options), 'AUTHENTICATION_FAILED');
});

test('a token that is a function', ['tcp'], async ({ connect, where, app, after }) => {
	for (const token of [() => app.token, async () => app.token]) {
		const c = await connect({ ...app, token, transport: 'tcp', port: where.port });
		after(() => c.close());
		ok((await c.ping()).time);
	}
	await refused(connect({ ...app, token: () => 'none', transport: 'tcp', port: where.port }), 'INVALID_PARAMS');
	const thrown = await connect({ ...app, token: () => Promise.reject(new RangeError('no vault')), transport: 'tcp', port: where.port }).catch((error) => error);
	ok(thrown instanceof RangeError);
});

test('a server that does not know the token: SERVER_NOT_TRUSTED, and it learns nothing', ['tcp'], async ({ connect, after }) => {
	for (const serverProof of [(id, c, n) => proof('server', OTHER, id, c, n), () => '', () => undefined, () => 'zz', (id, c, n) => proof('client', TOKEN, id, c, n)]) {
		const heard = [];
		const stranger = await fake({
			after,
			connected(socket) {
				socket.setEncoding('utf8');
				socket.on('error', () => {});
				socket.on('data', (text) => {
					heard.push(text);
					const { id, method, params } = JSON.parse(text);
					const challenge = 'x';
					const result = method === 'hello'
						? { protocol: 1, server: 'e2eed/1.0.0', challenge, capabilities: [], limits: { maxFrameBytes: 1 << 20, maxBatch: 256, maxInFlight: 1 } }
						: { appId: params.appId, serverProof: serverProof(params.appId, challenge, params.nonce) };
					socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
				});
				return true;
			},
		});
		await refused(connect(stranger.options()), 'SERVER_NOT_TRUSTED');
		equal(heard.map((text) => JSON.parse(text).method), ['hello', 'authenticate']);
		ok(!heard.join('').includes(TOKEN.slice(7)));
	}
});

test('who does not greet as e2eed does: PROTOCOL_ERROR', ['tcp'], async ({ connect, after }) => {
	for (const hello of [{ protocol: 2 }, { challenge: 7 }, { limits: {} }, { limits: { maxInFlight: 'many' } }, { limits: { maxInFlight: 1, maxFrameBytes: 1 << 20 } }]) {
		const stranger = await fake({ after, hello });
		await refused(connect(stranger.options()), 'PROTOCOL_ERROR');
		equal(stranger.sessions, 0);
	}
});

test('an older daemon: UNSUPPORTED_PROTOCOL', ['tcp'], async ({ connect, after }) => {
	const old = await fake({
		after,
		connected: (socket) => socket.on('error', () => {}).once('data', (text) => {
			const { id } = JSON.parse(String(text));
			socket.write(`${JSON.stringify({ jsonrpc: '2.0', id, ...failure('UNSUPPORTED_PROTOCOL', -32020, { supported: [0] }) })}\n`);
		}),
	});
	const { code, data } = await refused(connect(old.options()), 'UNSUPPORTED_PROTOCOL');
	equal([code, data], [-32020, { supported: [0] }]);
});

const garbage = {
	'another protocol': 'HTTP/1.1 400 Bad Request\r\n\r\n',
	'half a JSON text': '{"jsonrpc":"2.0","id":-1,\n',
	'JSON of another kind': '5\n',
	'null': 'null\n',
	'answers to nothing': '{"jsonrpc":"2.0","id":12,"result":{}}\n',
	'a frame without end': 'x'.repeat(70_000),
	'a long frame': `"${'x'.repeat(70_000)}"\n`,
	'bytes': '\u0000\u0001\ufffd\n',
};
for (const [name, text] of Object.entries(garbage))
	test(`garbage is PROTOCOL_ERROR: ${name}`, ['tcp'], async ({ connect, after }) => {
		const stranger = await fake({ after, connected: (socket) => socket.on('error', () => {}).write(text) || true });
		await refused(connect(stranger.options()), 'PROTOCOL_ERROR');
	});

test('who hangs up at once: CONNECTION_LOST', ['tcp'], async ({ connect, after }) => {
	const stranger = await fake({ after, connected: (socket) => socket.destroy() });
	await refused(connect(stranger.options()), 'CONNECTION_LOST');
});

test('who says nothing: TIMEOUT, and the connection is closed', ['tcp'], async ({ connect, after }) => {
	let closed;
	const stranger = await fake({
		after,
		connected(socket) {
			closed = new Promise((resolve) => socket.on('error', () => {}).on('close', resolve).resume());
			return true;
		},
	});
	const { message } = await refused(connect(stranger.options({ connectTimeoutMs: 200 })), 'TIMEOUT'); // long enough to connect on a busy machine
	match(message, /200 ms/);
	await closed;
});

test('connecting is given up by a signal, before and while', ['tcp'], async ({ connect, after }) => {
	let opened, closed;
	const isOpen = new Promise((resolve) => (opened = resolve));
	const isClosed = new Promise((resolve) => (closed = resolve));
	const silent = await fake({
		after,
		connected(socket) {
			socket.on('error', () => {}).on('close', closed).resume();
			opened();
			return true;
		},
	});
	const early = new AbortController();
	early.abort();
	await refused(connect(silent.options({ signal: early.signal })), 'ABORTED');
	const late = new AbortController();
	const connecting = connect(silent.options({ signal: late.signal, connectTimeoutMs: 3_600_000 }));
	await isOpen;
	late.abort();
	await refused(connecting, 'ABORTED');
	await isClosed; // long before the time-out
});

test('close() while it connects again leaves no connection', ['tcp'], async ({ connect, after }) => {
	let connections = 0, opened, closed;
	const isOpen = new Promise((resolve) => (opened = resolve));
	const isClosed = new Promise((resolve) => (closed = resolve));
	const daemon = await fake({
		after,
		connected(socket) {
			if (++connections === 1) return false;
			socket.on('error', () => {}).on('close', closed).resume();
			opened();
			return true;
		},
	});
	const c = await connect(daemon.options({ connectTimeoutMs: 3_600_000 }));
	for (const connection of daemon.connections) connection.cut();
	await isOpen;
	equal(c.state, 'connecting');
	await c.close();
	await isClosed;
});
