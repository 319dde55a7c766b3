// Each way to the daemon works, or is refused with words that say what to do.
import { equal, match, ok, refused, test } from './check.mjs';

const ABSENT = '/nonexistent/e2eed/app.sock';
const UNIX_IN_DENO = /Deno sandbox does not let Unix sockets through: use loopback TCP/;
const OLD_NODE = /Node 18\S* cannot connect to abstract sockets/;
const NO_NET = /its app\.json must list the permission "networking"/;

const ways = {
	unix: ({ unix }) => ({ transport: 'unix', socketPath: unix }),
	abstract: ({ abstract, abstractApp }) => ({ ...abstractApp, transport: 'unix', socketPath: abstract }),
	tcp: ({ port }) => ({ transport: 'tcp', port }),
};
const nameOf = { unix: ({ unix }) => `unix:${unix}`, abstract: ({ abstract }) => `unix:${abstract}`, tcp: ({ port }) => `tcp:127.0.0.1:${port}` };

const words = (way, { unix }, inDeno) => (way === 'abstract' && unix ? OLD_NODE : way !== 'tcp' && inDeno ? UNIX_IN_DENO : NO_NET);

for (const way of Object.keys(ways))
	test(`${way}: works, or says why it cannot`, [], async ({ connect, where, app, lets, inDeno, after }) => {
		const options = { ...app, ...ways[way](where) };
		if (lets[way]) {
			const c = await connect(options);
			after(() => c.close());
			equal(c.transport, nameOf[way](where));
			equal(c.state, 'connected');
			match(c.server, /^e2eed\/\d/);
			ok(c.capabilities.includes('files'));
			ok((await c.ping()).time);
			return;
		}
		const { data, message, code } = await refused(connect(options), 'NO_TRANSPORT');
		equal(code, 0);
		equal(data.attempts.map(({ target, denied, code }) => ({ target, denied, code })), [{ target: nameOf[way](where), denied: true, code: 'DENIED' }]);
		match(data.attempts[0].why, words(way, lets, inDeno));
		match(message, words(way, lets, inDeno));
	});

test('auto: takes the first way that is open', [], async ({ connect, where, app, lets, inDeno, after }) => {
	const options = { ...app, socketPath: where.unix, port: where.port };
	if (lets.unix || lets.tcp) {
		const c = await connect(options);
		after(() => c.close());
		equal(c.transport, nameOf[lets.unix ? 'unix' : 'tcp'](where));
		ok((await c.ping()).time);
		return;
	}
	const { data, message } = await refused(connect(options), 'NO_TRANSPORT');
	equal(data.attempts.map(({ target, denied }) => [target, denied]), [[nameOf.unix(where), true], [nameOf.tcp(where), true]]);
	match(message, NO_NET);
	match(data.attempts[0].why, words('unix', lets, inDeno));
});

test('auto: an abstract socket where it is let through', ['tcp'], async ({ connect, where, lets, after }) => {
	const c = await connect({ ...where.abstractApp, socketPath: where.abstract, port: where.abstractPort });
	after(() => c.close());
	equal(c.transport, lets.abstract ? nameOf.abstract(where) : nameOf.tcp({ port: where.abstractPort }));
});

test('auto: goes on to TCP where no socket is', ['tcp'], async ({ connect, where, app, after }) => {
	const c = await connect({ ...app, socketPath: ABSENT, port: where.port });
	after(() => c.close());
	equal(c.transport, nameOf.tcp(where));
});

test('nobody listens: UNREACHABLE, and what to look at', ['tcp'], async ({ connect, where, app, lets, inDeno }) => {
	const { data, message } = await refused(connect({ ...app, socketPath: ABSENT, port: where.closedPort }), 'UNREACHABLE');
	const [unix, tcp] = data.attempts;
	equal(unix.denied, !lets.unix);
	match(unix.why, lets.unix ? /no such socket.*"app_socket"/ : UNIX_IN_DENO);
	equal([tcp.target, tcp.denied, tcp.code], [`tcp:127.0.0.1:${where.closedPort}`, false, 'ECONNREFUSED']);
	match(tcp.why, /is e2eed running, with "tcp" set under \[listen\]/);
	ok(message.includes(unix.why) && message.includes(tcp.why), 'both in the message');
	ok(inDeno || lets.unix);
});

test('a socket file that nobody listens at', ['unix'], async ({ connect, where, app }) => {
	const { data } = await refused(connect({ ...app, transport: 'unix', socketPath: where.deadSocket }), 'UNREACHABLE');
	equal(data.attempts[0].code, 'ECONNREFUSED');
	match(data.attempts[0].why, /nobody listens there: is e2eed running/);
});

test('options that cannot be meant: INVALID_PARAMS', [], async ({ connect, app }) => {
	for (const [wrong, named] of [[{ transport: 'udp' }, /^transport/], [{ port: 0 }, /^port/], [{ port: 1.5 }, /^port/], [{ port: 65536 }, /^port/], [{ port: '7438' }, /^port/],
		[{ host: '10.0.0.1' }, /^host/], [{ host: 'example.org' }, /^host/], [{ host: '0.0.0.0' }, /^host/], [{ socketPath: '' }, /^socketPath/], [{ appId: '' }, /^appId/],
		[{ appId: 7 }, /^appId/], [{ token: 'secret' }, /^token/], [{ token: undefined }, /^token/], [{ token: `${app.token}A` }, /^token/]]) {
		const { message } = await refused(connect({ ...app, ...wrong }), 'INVALID_PARAMS');
		match(message, named);
		ok(!message.includes(app.token), 'no token in a message');
	}
});
