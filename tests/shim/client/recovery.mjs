// A connection that is lost: what is done again, what must not be, how often it is tried, and what ends the client for good.
import { equal, match, next, ok, refused, test } from './check.mjs';
import { failure, fake, TOKEN } from './fake.mjs';

const room = { roomId: 'r' };
const OTHER = `e2eed1_${'B'.repeat(43)}`;

test('calls under way are made again, but those that might then be carried out twice', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, answer: ({ method }) => (daemon.sessions === 1 ? undefined : { did: method }) });
	const c = await connect(daemon.options());
	after(() => c.close());
	const again = ['decrypt', 'encrypt', 'decryptMessage', 'encryptMessage', 'getIdentity', 'getKeyPublication', 'importRoomKey', 'importRoomKeys', 'getEncryptedRoomKey',
		'listRoomKeys', 'wrapRoomKey', 'fileOpen', 'getStatus', 'ping'];
	const once = ['createRoomKey', 'fileUpdate', 'fileClose'];
	const lost = next(c, 'disconnect');
	const answers = again.map((method) => c[method](room));
	const failures = once.map((method) => refused(c[method](room), 'CONNECTION_LOST'));
	while (daemon.frames.flat().length < again.length + once.length) await daemon.frame();
	for (const connection of daemon.connections) connection.cut();
	equal((await lost)[0].reason, 'CONNECTION_LOST');
	for (const error of await Promise.all(failures)) match(error.message, /it may or may not have been carried out/);
	equal((await Promise.all(answers)).map(({ did }) => did), again);
	equal(daemon.frames.flat().filter(({ method }) => once.includes(method)).length, once.length);
	equal([c.state, daemon.sessions], ['connected', 2]);
});

test('a call that was not sent yet is sent when there is a connection', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after });
	const c = await connect(daemon.options());
	after(() => c.close());
	const lost = next(c, 'disconnect');
	for (const connection of daemon.connections) connection.cut();
	await lost;
	equal([c.state, c.transport, c.server, c.capabilities], ['connecting', undefined, undefined, []]);
	equal(await c.createRoomKey(room), {});
	equal(daemon.methods(), ['createRoomKey']);
});

test('SHUTTING_DOWN: the call is for the next session, also one that must not be made twice', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, answer: ({ method }) => (daemon.sessions === 1 ? failure('SHUTTING_DOWN', -32019) : { did: method }) });
	const c = await connect(daemon.options());
	after(() => c.close());
	const calls = [c.createRoomKey(room), c.ping(), c.getStatus()];
	for (let i = 0; i < 2; i++) await daemon.frame();
	const [connection] = daemon.connections;
	await new Promise((resolve) => setTimeout(resolve, 0)); // a tick, in which nothing is sent again here
	equal(daemon.frames.length, 2);
	connection.cut();
	equal(await Promise.all(calls), [{ did: 'createRoomKey' }, { did: 'ping' }, { did: 'getStatus' }]);
});

test('reconnect: false ends the client with its connection', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, answer: () => undefined });
	const c = await connect(daemon.options({ reconnect: false }));
	const closes = next(c, 'close');
	const calls = [c.ping(), c.createRoomKey(room)].map((call) => refused(call, 'CONNECTION_LOST'));
	for (let i = 0; i < 2; i++) await daemon.frame();
	for (const connection of daemon.connections) connection.cut();
	await Promise.all(calls);
	equal((await closes)[0].reason, 'CONNECTION_LOST');
	equal([c.state, daemon.sessions], ['closed', 1]);
	await refused(c.ping(), 'CONNECTION_LOST');
});

test('tries are further and further apart, up to a bound, and begin anew after a success', ['tcp'], async ({ connect, after }) => {
	let turnedAway = 0, refusals = 12;
	const daemon = await fake({ after, connected: (socket) => daemon.sessions > 0 && turnedAway < refusals && (turnedAway++, socket.destroy(), true) });
	const c = await connect(daemon.options({ reconnect: { minMs: 16, maxMs: 1024 } }));
	const waits = [];
	const real = globalThis.setTimeout;
	globalThis.setTimeout = (body, ms) => { // only the client's own are made now; none is waited for
		if (ms !== 10_000 && ms !== 30_000) waits.push(ms);
		return real(body, ms === 10_000 || ms === 30_000 ? ms : 0);
	};
	after(() => (globalThis.setTimeout = real));
	after(() => c.close());
	const back = next(c, 'connect');
	for (const connection of daemon.connections) connection.cut();
	await back;
	equal(waits.length, 13);
	waits.forEach((ms, tries) => {
		const bound = Math.min(1024, 16 * 2 ** tries);
		ok(ms >= bound / 2 && ms <= bound, `between ${bound / 2} and ${bound}, not ${ms}, hence`);
	});
	ok(new Set(waits.slice(-5)).size > 1, 'jitter');
	const lost = next(c, 'disconnect');
	const again = next(c, 'connect');
	for (const connection of daemon.connections) connection.cut();
	await lost;
	await again;
	equal(waits.length, 14);
	ok(waits[13] <= 16);
});

test('calls that nobody waits for any more are not kept while there is no connection', ['tcp'], async ({ connect, after }) => {
	const daemon = await fake({ after, connected: (socket) => daemon.sessions > 0 && !daemon.open && (socket.destroy(), true) });
	const c = await connect(daemon.options({ maxQueued: 100 }));
	after(() => c.close());
	const lost = next(c, 'disconnect');
	for (const connection of daemon.connections) connection.cut();
	await lost;
	for (let i = 0; i < 5; i++)
		for (const error of await Promise.all(Array.from({ length: 100 }, () => c.ping({}, { timeoutMs: 1 }).catch((error) => error))))
			equal(error.reason, 'TIMEOUT');
	const last = c.ping();
	daemon.open = true;
	equal(await last, {});
	equal(daemon.methods(), ['ping']);
});

test('a token that is known no longer: text ends the client, a function is asked again', ['tcp'], async ({ connect, after }) => {
	for (const [token, ends] of [[TOKEN, true], [() => TOKEN, true], [() => (daemon.token === TOKEN ? TOKEN : OTHER), false],
		[() => (daemon.token === TOKEN ? TOKEN : Promise.reject(new Error('no vault'))), true]]) {
		var daemon = await fake({ after, answer: () => (daemon.sessions === 1 ? undefined : { did: true }) });
		const c = await connect(daemon.options({ token }));
		const closes = next(c, 'close');
		const call = c.decrypt({ ...room, content: 'x' });
		await daemon.frame();
		daemon.token = OTHER;
		for (const connection of daemon.connections) connection.cut();
		if (ends) {
			await refused(call, 'AUTHENTICATION_FAILED');
			equal((await closes)[0].reason, 'AUTHENTICATION_FAILED');
			await refused(c.ping(), 'AUTHENTICATION_FAILED');
		} else {
			equal(await call, { did: true });
			await c.close();
		}
	}
});

test('garbage in the middle: the connection is given up, the calls are made on the next', ['tcp'], async ({ connect, after }) => {
	for (const text of ['garbage\n', '{"jsonrpc":"2.0","id":9999,"result":{}}\n', 'null\n', '{}\n', '[{}]\n']) {
		const daemon = await fake({ after, answer: () => (daemon.sessions === 1 ? undefined : { did: true }) });
		const c = await connect(daemon.options());
		const call = c.ping();
		const [, connection] = await daemon.frame();
		const lost = next(c, 'disconnect');
		connection.socket.write(text);
		equal((await lost)[0].reason, 'PROTOCOL_ERROR');
		equal(await call, { did: true });
		await c.close();
	}
});

test('a listener that throws stops neither the others nor the client', ['tcp'], async ({ connect, after, uncaught }) => {
	const daemon = await fake({ after });
	const c = await connect(daemon.options());
	after(() => c.close());
	const heard = uncaught();
	c.on('disconnect', () => {
		throw new RangeError('a listener of the app');
	});
	const second = next(c, 'disconnect');
	for (const connection of daemon.connections) connection.cut();
	await second;
	equal(await c.ping(), {});
	equal((await heard).message, 'a listener of the app');
});

test('a real daemon killed: calls are answered by the next, the transport is the same', ['tcp'], async ({ connect, host, app, where, after }) => {
	const c = await connect({ ...app, transport: 'tcp', port: where.port, reconnect: { minMs: 1, maxMs: 20 } });
	after(() => c.close());
	const { roomId, content } = app;
	const lost = next(c, 'disconnect');
	await host('kill');
	await lost;
	const calls = Array.from({ length: 100 }, () => c.decrypt({ roomId, content }));
	await host('start');
	for (const { payload } of await Promise.all(calls)) equal(payload, app.said);
	equal(c.transport, `tcp:127.0.0.1:${where.port}`);
});
