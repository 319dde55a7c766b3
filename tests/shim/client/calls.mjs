// Calls on one connection: what goes out together, how much at once, and what ends a call early.
import { equal, match, ok, refused, test } from './check.mjs';
import { fake } from './fake.mjs';

const room = { roomId: 'r' };
const settle = (promises) => Promise.all(promises.map((promise) => promise.then((value) => ({ value }), (error) => ({ error }))));

test('calls of one tick are one batch, but slow ones, which go alone, in their place', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after });
	const c = await connect(daemon.options());
	after(() => c.close());
	await Promise.all([c.ping(), c.getStatus(), c.createRoomKey(room), c.listRoomKeys(room), c.decrypt({ ...room, content: 'x' }), c.getIdentity()]);
	equal(daemon.methods(), [['ping', 'getStatus'], 'createRoomKey', ['listRoomKeys', 'decrypt', 'getIdentity']]);
	const [[first, second]] = daemon.frames;
	equal(first, { jsonrpc: '2.0', id: first.id, method: 'ping', params: {} });
	equal(second.id, first.id + 1);
});

test('one call is no batch, and another tick another frame', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after });
	const c = await connect(daemon.options());
	after(() => c.close());
	await c.ping();
	const first = c.ping();
	await null, await null, await null; // ticks of promises
	await Promise.all([first, c.ping()]);
	equal(daemon.methods(), ['ping', 'ping', 'ping']);
});

test('calls made as answers come go out together', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after });
	const c = await connect(daemon.options());
	after(() => c.close());
	await Promise.all(Array.from({ length: 5 }, () => c.ping().then(() => c.getStatus())));
	equal(daemon.methods(), [Array(5).fill('ping'), Array(5).fill('getStatus')]);
});

test('no batch is longer than the daemon takes, in calls or in bytes', ['tcp'], async ({ connect, after }) => {
	const few = await fake({ after, limits: { maxBatch: 3 } });
	const c = await connect(few.options());
	after(() => c.close());
	await Promise.all(Array.from({ length: 7 }, () => c.ping()));
	equal(few.methods(), [Array(3).fill('ping'), Array(3).fill('ping'), 'ping']);

	const texts = [...Array(200).fill(''), ...Array.from({ length: 200 }, (_, i) => '\u20ac'.repeat((i * 7) % 220))]; // three bytes each
	for (const maxFrameBytes of [1024, 4096, 1 << 20]) {
		const small = await fake({ after, limits: { maxFrameBytes } });
		const d = await connect(small.options());
		after(() => d.close());
		await Promise.all(texts.map((roomId) => d.listRoomKeys({ roomId })));
		equal(small.frames.flat().map(({ params }) => params.roomId), texts);
		for (const frame of small.frames) ok(new TextEncoder().encode(JSON.stringify(frame)).length <= maxFrameBytes, 'a frame that the daemon takes');
	}
});

test('what fits no frame is refused: TOO_LARGE', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, limits: { maxFrameBytes: 4096 } });
	const c = await connect(daemon.options());
	after(() => c.close());
	const [long, wide, fits, other] = await settle([c.decrypt({ ...room, content: 'x'.repeat(4096) }), c.decrypt({ ...room, content: '\u20ac'.repeat(1400) }),
		c.decrypt({ ...room, content: 'x'.repeat(3800) }), c.ping()]);
	for (const { error } of [long, wide]) equal([error.reason, error.code, error.data], ['TOO_LARGE', -32014, { limit: 4096 }]);
	equal([fits, other], [{ value: {} }, { value: {} }]);
});

test('answers find their calls in any order', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, answer: () => undefined });
	const c = await connect(daemon.options());
	after(() => c.close());
	const calls = Array.from({ length: 10 }, (_, i) => c.getEncryptedRoomKey({ roomId: `r${i}` }));
	const requests = [];
	let connection;
	while (requests.length < 10) {
		const [frame, on] = await daemon.frame();
		requests.push(frame);
		connection = on;
	}
	for (const request of requests.reverse()) connection.result(request, { kid: request.params.roomId });
	equal((await Promise.all(calls)).map(({ kid }) => kid), Array.from({ length: 10 }, (_, i) => `r${i}`));
});

test('no more are under way than the daemon allows', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, limits: { maxInFlight: 4 }, answer: () => undefined });
	const c = await connect(daemon.options());
	after(() => c.close());
	const calls = Array.from({ length: 10 }, (_, i) => c.createRoomKey({ roomId: `r${i}` }));
	const held = [];
	let answered = 0;
	for (; answered < 10; answered++) {
		while (held.length + answered < Math.min(10, answered + 4)) held.push(await daemon.frame());
		equal(daemon.frames.length, Math.min(10, answered + 4), 'sent before any more was answered');
		const [request, connection] = held.shift();
		connection.result(request, { kid: request.params.roomId });
		await calls[Number(request.params.roomId.slice(1))];
	}
});

test('a peer that does not read is not written to for ever', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, limits: { maxInFlight: 65_536 } });
	const c = await connect(daemon.options({ maxQueued: 40, timeoutMs: 3_600_000 }));
	after(() => c.close());
	const [connection] = daemon.connections;
	connection.socket.pause();
	const content = 'x'.repeat(256 * 1024);
	const calls = [];
	let error;
	while (!error && calls.length < 4000) { // a gigabyte, if nobody minds
		const call = c.decrypt({ ...room, content });
		calls.push(call);
		call.catch((reason) => (error = reason));
		await new Promise((resolve) => setTimeout(resolve, 0)); // a tick, for what can be written to be written
	}
	equal(error?.reason, 'QUEUE_FULL');
	equal(error.data, { limit: 40 });
	connection.socket.resume();
	const outcomes = await settle(calls);
	equal(outcomes.filter(({ value }) => !value).map(({ error }) => error.reason), ['QUEUE_FULL']);
});

test('a time-out ends the call alone, and its late answer harms nobody', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, answer: ({ method }) => (method === 'ping' ? { time: 'now' } : undefined) });
	const c = await connect(daemon.options({ timeoutMs: 20 }));
	after(() => c.close());
	const slow = c.getEncryptedRoomKey(room);
	const [request, connection] = await daemon.frame();
	const { data, message, code } = await refused(slow, 'TIMEOUT');
	equal([data, code], [{ timeoutMs: 20 }, 0]);
	match(message, /^getEncryptedRoomKey: .*20 ms/);
	connection.result(request, { kid: 'late' });
	equal(await c.ping(), { time: 'now' });
	equal((await refused(c.getEncryptedRoomKey(room, { timeoutMs: 5 }), 'TIMEOUT')).data, { timeoutMs: 5 });
	equal(c.state, 'connected');
	const patient = c.getEncryptedRoomKey(room, { timeoutMs: Infinity });
	await daemon.frame(); // ping's
	await daemon.frame();
	const [last] = await daemon.frame();
	connection.result(last, { kid: 'in time' });
	equal(await patient, { kid: 'in time' });
});

test('a signal ends a call before, while and after', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, answer: ({ method }) => (method === 'ping' ? {} : undefined) });
	const c = await connect(daemon.options());
	after(() => c.close());
	const early = new AbortController();
	early.abort();
	await refused(c.ping({}, { signal: early.signal }), 'ABORTED');
	equal(daemon.frames, []);

	const same = new AbortController(); // in the tick of the call: nothing is sent
	const call = c.createRoomKey(room, { signal: same.signal });
	same.abort();
	await refused(call, 'ABORTED');
	await c.ping();
	equal(daemon.methods(), ['ping']);
	await daemon.frame();

	const late = new AbortController();
	const under = c.getEncryptedRoomKey(room, { signal: late.signal });
	await daemon.frame();
	late.abort();
	match((await refused(under, 'ABORTED')).message, /^getEncryptedRoomKey: aborted/);

	const done = new AbortController();
	equal(await c.ping({}, { signal: done.signal }), {});
	done.abort();
	equal(await c.ping(), {});

	let listeners = 0, most = 0;
	const counted = { aborted: false, addEventListener: () => (most = Math.max(most, ++listeners)), removeEventListener: () => listeners-- };
	await Promise.all(Array.from({ length: 20 }, () => c.ping({}, { signal: counted })));
	equal([listeners, most], [0, 1], 'listeners left, and the most at a time');
	const many = new AbortController();
	const calls = Array.from({ length: 20 }, () => refused(c.getEncryptedRoomKey(room, { signal: many.signal }), 'ABORTED'));
	many.abort();
	await Promise.all(calls);
});

test('params that no frame can hold are refused, and the calls beside them are answered', ['tcp'], async ({ connect, where, app, after }) => {
	const c = await connect({ ...app, transport: 'tcp', port: where.port });
	after(() => c.close());
	let disconnected = false;
	c.on('disconnect', () => (disconnected = true));
	const deep = (n) => { // as a hostile server could have it in a message
		let value = [];
		for (let i = 1; i < n; i++) value = i % 2 ? { a: value } : [value];
		return value;
	};
	const { roomId } = app;
	const wrong = [
		['U+0000', () => c.listRoomKeys({ roomId: 'a\u0000' })],
		['half a pair', () => c.listRoomKeys({ roomId: '\ud800' })],
		['half a pair as a name', () => c.call('listRoomKeys', { roomId, 'a\udc00': 1 })],
		['U+0000 beside a payload', () => c.encrypt({ roomId: '\u0000', payload: { msg: '\u0000' } })],
		['U+0000 beside a message', () => c.call('decryptMessage', { message: { rid: roomId }, '\u0000': 1 })],
		['depth in content', () => c.decrypt({ roomId, content: deep(62) })],
		['depth in a payload', () => c.encrypt({ roomId, payload: { a: deep(61) } })],
		['depth in a message', () => c.decryptMessage({ message: { rid: roomId, t: 'e2e', x: deep(200) } })],
		['no object', () => c.call('ping', 'x')],
		['a function', () => c.call('ping', () => 1)],
		['a list', () => c.call('ping', [])],
	];
	const beside = [];
	for (const [name, call] of wrong) {
		beside.push(c.getStatus());
		const { code, message } = await refused(call(), 'INVALID_PARAMS').catch((error) => Promise.reject(new Error(`${name}: ${error.message}`)));
		ok(code === 0 || code === -32602, 'a code that tells who found it');
		match(message, /^(ping|listRoomKeys|encrypt|decrypt|decryptMessage): /);
	}
	for (const { appId } of await Promise.all(beside)) equal(appId, app.appId);
	await refused(c.call('constructor', {}), 'METHOD_NOT_FOUND');
	await refused(c.call('createApp', { appId: 'mine' }), 'METHOD_NOT_FOUND');
	const cyclic = {};
	cyclic.cyclic = cyclic;
	ok((await c.encrypt({ roomId, payload: cyclic }).catch((error) => error)) instanceof TypeError);
	// and what a payload may hold
	const payload = { msg: 'a\u0000b \ud800 \\u0000', 'x\udfff': deep(55), backslash: '\\' };
	equal((await c.decrypt({ roomId, ...(await c.encrypt({ roomId, payload })) })).payload, payload);
	equal((await refused(c.listRoomKeys({ roomId: '\\u0000' }), 'ROOM_NOT_AUTHORIZED')).code, -32003); // six characters, none of them U+0000
	ok(!disconnected, 'no connection was lost');
});

test('calls that wait are bounded: QUEUE_FULL, and those that were given up do not count', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, limits: { maxInFlight: 1 }, answer: () => undefined });
	const c = await connect(daemon.options({ maxQueued: 10 }));
	const first = c.createRoomKey(room);
	const [request, connection] = await daemon.frame();
	for (let round = 0; round < 5; round++) {
		const controller = new AbortController();
		const waiting = settle(Array.from({ length: 10 }, () => c.ping({}, { signal: controller.signal })));
		equal((await refused(c.ping(), 'QUEUE_FULL')).data, { limit: 10 });
		controller.abort();
		ok((await waiting).every(({ error }) => error.reason === 'ABORTED'));
	}
	daemon.answer = () => ({ time: 'now' });
	const last = c.ping();
	connection.result(request, { kid: 'a' });
	equal([await first, await last], [{ kid: 'a' }, { time: 'now' }]);
	await c.close();
});

test('close(): what has no answer fails with CLOSED, as does what comes later', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, limits: { maxInFlight: 3 }, answer: () => undefined });
	const c = await connect(daemon.options());
	const closes = [];
	c.on('close', (error) => closes.push(error));
	const events = c.events();
	const calls = [c.createRoomKey(room), c.getEncryptedRoomKey(room), c.fileClose({ fileId: 'f' }), c.decrypt({ ...room, content: 'x' }), c.ping(), events.next()];
	const outcomes = settle(calls);
	for (let i = 0; i < 3; i++) await daemon.frame();
	const [connection] = daemon.connections;
	const [gone, again] = [c.close(), c.close()];
	for (const { error } of await outcomes) equal(error?.reason, 'CLOSED');
	equal(await events.next(), { done: true, value: undefined });
	await Promise.all([gone, again, connection.closed]);
	equal([closes, c.state, c.transport], [[undefined], 'closed', undefined]);
	await refused(c.ping(), 'CLOSED');
	await refused(c.subscribe(), 'CLOSED');
	await c.close();
	equal(closes.length, 1);
});
