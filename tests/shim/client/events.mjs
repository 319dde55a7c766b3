// Events: each once and in order to every taker, whatever happens to the connection; and word of it where some are gone for good.
import { equal, next, ok, refused, test } from './check.mjs';
import { failure, fake } from './fake.mjs';

// A daemon that keeps events 1 to newest, all but those below @oldest.
async function keeper(context, { newest = 0, oldest = 0, ...more } = {}) {
	const daemon = await fake({
		...context, ...more,
		answer({ method, params }, connection) {
			if (method !== 'subscribe') return {};
			const { since = daemon.newest } = params;
			if (since < daemon.oldest || since > daemon.newest) return failure('SEQ_TOO_OLD', -32017, { oldest: daemon.oldest });
			Promise.resolve().then(() => {
				for (let seq = since + 1; seq <= daemon.newest; seq++) connection.event(seq);
			});
			connection.subscribed = true;
			return { seq: daemon.newest };
		},
	});
	Object.assign(daemon, { newest, oldest });
	daemon.tell = (n = 1) => {
		for (; n > 0; n--) {
			daemon.newest++;
			for (const connection of daemon.connections) if (connection.subscribed) connection.event(daemon.newest);
		}
	};
	daemon.cut = () => {
		for (const connection of daemon.connections) connection.cut();
	};
	daemon.since = () => daemon.frames.filter(({ method }) => method === 'subscribe').map(({ params }) => params.since);
	return daemon;
}

// The seqs behind @since that come to `on('event')` and to a loop; upTo(n) resolves when both have had n.
async function takers(c, since) {
	const heard = [], looped = [], waiting = [];
	const look = () => waiting.filter(({ n }) => heard.at(-1) >= n && looped.at(-1) >= n).forEach(({ resolve }) => resolve());
	c.on('event', ({ seq }) => (heard.push(seq), look()));
	const loop = async () => {
		for await (const { seq } of c.events({ since })) looped.push(seq), look();
	};
	const ended = loop().catch((error) => error);
	await c.subscribe({ since });
	return { heard, looped, ended, upTo: (n) => new Promise((resolve) => (waiting.push({ n, resolve }), look())) };
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('events go on where they were, over any number of connections', ['tcp'], async (context) => {
	const { connect, after } = context;
	const daemon = await keeper(context, { newest: 5 });
	const c = await connect(daemon.options());
	after(() => c.close());
	const { heard, looped, ended, upTo } = await takers(c, 5);
	daemon.tell(3);
	await upTo(8);
	for (let round = 1; round <= 5; round++) {
		daemon.cut();
		daemon.newest += 2; // while nobody listens
		await upTo(8 + 3 * round - 1);
		daemon.tell();
		await upTo(8 + 3 * round);
	}
	equal([heard, looped], [range(6, 23), range(6, 23)]);
	equal(daemon.since().slice(-5), [8, 11, 14, 17, 20]);
	await c.close();
	equal((await ended).reason, 'CLOSED');
});

test('subscribe({ since }) and events({ since }) begin there, each for itself', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 9 });
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const heard = [];
	c.on('event', ({ seq }) => heard.push(seq));
	equal(await c.subscribe({ since: 4 }), { seq: 9 });
	const all = c.events({ since: 0 });
	for (const seq of range(1, 9)) equal((await all.next()).value.seq, seq);
	equal(heard, range(5, 9));
	await all.return();
	equal(await all.next(), { done: true, value: undefined });
});

test('a loop that is left ends the subscription, if nobody else has one', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 3 });
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	for await (const { seq } of c.events({ since: 0 })) if (seq === 2) break;
	const listener = () => undefined;
	c.on('event', listener);
	c.off('event', listener);
	await c.ping();
	await c.ping();
	equal(daemon.methods().filter((method) => /subscribe$/.test(method)), ['subscribe', 'unsubscribe', 'subscribe', 'unsubscribe']);
});

test('who comes later gets what comes from then on, without another subscription', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 3 });
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const came = [];
	const takes = async (name, events) => came.push([name, (await events.next()).value.seq]);
	c.on('event', ({ seq }) => came.push(['listener', seq]));
	const both = [c.events(), c.events()]; // before the subscription is answered
	const taken = both.map((events, i) => takes(`loop ${i}`, events));
	await c.ping(); // behind the subscription
	const third = takes('late loop', c.events());
	daemon.tell();
	await Promise.all([...taken, third]);
	equal(came.sort(), [['late loop', 4], ['listener', 4], ['loop 0', 4], ['loop 1', 4]]);
	equal(daemon.since(), [undefined]);
	daemon.cut();
	daemon.newest++; // while nobody listens
	for (const events of both) equal((await events.next()).value.seq, 5);
	equal(daemon.since(), [undefined, 4]);
});

test('a loop that does not come round gets every event all the same', ['tcp'], async (context) => {
	const daemon = await keeper(context);
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const { looped, upTo } = await takers(c, 0);
	const slow = c.events({ since: 0 });
	await c.ping(); // behind its subscription
	daemon.tell(5000);
	await upTo(5000);
	equal(looped, range(1, 5000));
	for (const seq of range(1, 5000)) equal((await slow.next()).value.seq, seq);
	ok(daemon.since().includes(1024), 'a subscription at 1024: it was not all kept meanwhile, which');
});

test('events that are kept no longer: a gap is told, and what is new comes', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 5 });
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const { heard, ended, upTo } = await takers(c, 5);
	daemon.tell();
	await upTo(6);
	const gap = next(c, 'gap');
	daemon.oldest = 90;
	daemon.newest = 100;
	daemon.cut();
	equal((await gap)[0].reason, 'SEQ_TOO_OLD');
	const { reason, data } = await ended;
	equal([reason, data], ['SEQ_TOO_OLD', { oldest: 90 }]);
	const more = next(c, 'event');
	while (daemon.since().at(-1) !== undefined) await daemon.frame();
	daemon.tell();
	equal((await more)[0].seq, 101);
	equal(heard, [6, 101]);
});

test('a restored keystore counts anew: a gap for who was further along', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 9 });
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const heard = [];
	c.on('event', ({ seq }) => heard.push(seq));
	await c.subscribe({ since: 8 });
	const behind = c.events({ since: 2 });
	for (const seq of range(3, 9)) equal((await behind.next()).value.seq, seq);
	const gap = next(c, 'gap');
	const threw = refused(behind.next(), 'SEQ_TOO_OLD');
	daemon.newest = 4; // all its takers are beyond
	daemon.cut();
	await Promise.all([gap, threw]);
	const more = next(c, 'event');
	while (daemon.since().at(-1) !== undefined) await daemon.frame();
	daemon.tell();
	equal((await more)[0].seq, 5);
	equal(heard, [9, 5]);
});

test('a restored keystore: who is beyond it is told, beside who is not', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 9 });
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const heard = [], gaps = [];
	c.on('gap', ({ reason }) => gaps.push(reason));
	c.on('event', ({ seq }) => heard.push(seq));
	const first = next(c, 'event');
	await c.subscribe({ since: 8 });
	await first; // its place is 9
	const behind = c.events({ since: 2 }); // and that one's 2, for its loop has not begun
	daemon.newest = 6;
	daemon.cut();
	const more = next(c, 'event');
	while (daemon.sessions < 2 || ![...daemon.connections].some(({ subscribed }) => subscribed)) await daemon.frame();
	await c.ping();
	daemon.tell();
	equal((await more)[0].seq, 7);
	equal([heard, gaps], [[9, 7], ['SEQ_TOO_OLD']]);
	await behind.return();
});

test('a subscription that is refused at first comes about later', ['tcp'], async (context) => {
	const daemon = await keeper(context, { newest: 3 });
	const keeps = daemon.answer;
	let refusals = 3;
	daemon.answer = (request, connection) => {
		if (request.method === 'ping') return undefined;
		return request.method === 'subscribe' && refusals-- > 0 ? failure('LOCKED', -32015) : keeps(request, connection);
	};
	const c = await context.connect(daemon.options());
	context.after(() => c.close());
	const beside = c.ping(); // under way on a connection that ends because of the subscription
	const came = next(c, 'event');
	while (daemon.since().length < 4) await daemon.frame();
	daemon.answer = keeps;
	daemon.cut();
	equal(await beside, {});
	while (![...daemon.connections].some(({ subscribed }) => subscribed)) await daemon.frame();
	daemon.tell();
	equal((await came)[0].seq, 4);
});

for (const reason of ['OVERLOADED', 'SEQ_TOO_OLD', 'STORAGE_ERROR'])
	test(`the daemon ends a subscription with ${reason}: calls under way are not its`, ['tcp'], async (context) => {
		const daemon = await keeper(context, { newest: 3 });
		const keeps = daemon.answer;
		daemon.answer = (request, connection) => (request.method === 'decrypt' && daemon.sessions === 1 ? undefined : keeps(request, connection));
		const c = await context.connect(daemon.options());
		context.after(() => c.close());
		const came = next(c, 'event');
		await daemon.frame();
		const call = c.decrypt({ roomId: 'r', content: 'x' });
		const [, connection] = await daemon.frame();
		connection.send({ jsonrpc: '2.0', id: null, ...failure(reason, -32013, { why: 'x' }) });
		equal(await call, {});
		while (![...daemon.connections].some(({ subscribed }) => subscribed)) await daemon.frame();
		daemon.tell();
		equal((await came)[0].seq, 4);
	});

test('a real daemon: events of each change, over a restart', ['tcp'], async ({ connect, host, after }) => {
	const { appId, token } = await host('newApp');
	const c = await connect({ appId, token, transport: 'tcp', port: await host('port'), reconnect: { minMs: 1, maxMs: 20 } });
	after(() => c.close());
	const seqs = [];
	const events = c.events();
	const event = async () => {
		const { value } = await events.next();
		ok(seqs.every((seq) => seq < value.seq), 'rising');
		seqs.push(value.seq);
		return [value.type, value.roomId];
	};
	await c.ping(); // behind the subscription
	const { roomId } = await host('newRoom', { appId });
	equal(await event(), ['room.authorized', roomId]);
	const disconnected = next(c, 'disconnect');
	await host('restart');
	await disconnected;
	const { kid } = await c.createRoomKey({ roomId });
	equal([await event(), seqs.length], [['roomKey.rotated', roomId], 2]);
	equal((await c.getEncryptedRoomKey({ roomId })).kid, kid);
	await events.return();
});
