// protocol.md, section 1: frames, batches, notifications, ids, what is refused, and the limit on a frame's length.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isError, newApp, refused, usable } from './lib/actors.mjs';
import { startDaemon } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';

const PING = (id) => `{"jsonrpc":"2.0","id":${id},"method":"ping"}`;
const isPong = (answer, id) => {
	assert.deepEqual(Object.keys(answer), ['jsonrpc', 'id', 'result']);
	assert.deepEqual([answer.jsonrpc, answer.id], ['2.0', id]);
	assert.deepEqual(Object.keys(answer.result), ['time']);
};

// The next frames are the answers to pings of these ids, in any order.
const pongs = async (client, ...ids) => {
	const answers = [];
	for (const _ of ids) answers.push(await client.nextFrame());
	for (const id of ids) isPong(answers.find((a) => a.id === id), id);
};

// Nothing but @n frames came, shown by a request that is answered next.
const nothingMore = async (client, n) => {
	await usable(client);
	assert.deepEqual(client.rawFrames(), []);
	assert.equal(client.received, n + 1);
};

describe('framing', { timeout: 900_000 }, () => {
	let daemon, admin, app;
	before(async () => {
		daemon = await startDaemon();
		admin = await daemon.admin();
		app = await newApp(daemon, admin);
	});
	after(() => daemon.stop());

	test('one frame, one answer', async () => {
		const c = await daemon.stranger();
		c.send(`${PING(1)}\n`);
		isPong(await c.nextFrame(), 1);
		assert.doesNotMatch(c.lastRaw, /[\r\n]/);
		await nothingMore(c, 1);
	});

	test('a carriage return before the line feed is tolerated, and empty lines are ignored', async () => {
		const c = await daemon.stranger();
		c.send(`\n\r\n\n${PING(1)}\r\n\r\n${PING(2)}\n\n`);
		await pongs(c, 1, 2);
		await nothingMore(c, 2);
	});

	test('white space within a frame is JSON\'s', async () => {
		const c = await daemon.stranger();
		c.send(' \t{ "id" : 1 ,\t"params":\r{ } , "method" : "ping","jsonrpc":"2.0" } \t\n');
		isPong(await c.nextFrame(), 1);
		await nothingMore(c, 1);
	});

	// A ping on another connection of the same loop returns only after the loop has read what was sent before it.
	test('a frame may be split at every byte boundary', async () => {
		const c = await daemon.stranger();
		const frame = Buffer.from('{"jsonrpc":"2.0","id":"é\\u20ac𝄞","method":"hello","params":{"protocol":[1],"client":"ü/1"}}\r\n');
		for (let at = 1; at < frame.length; at++) {
			c.send(frame.subarray(0, at));
			await usable(admin);
			c.send(frame.subarray(at));
			const answer = await c.nextFrame();
			assert.equal(answer.id, 'é€𝄞', `split at ${at}`);
			assert.equal(answer.result.protocol, 1);
		}
		for (const byte of frame) {
			c.send(Buffer.of(byte));
			await usable(admin);
		}
		assert.equal((await c.nextFrame()).id, 'é€𝄞');
		await nothingMore(c, frame.length);
	});

	test('many frames in one write are all answered', async () => {
		const c = await daemon.stranger();
		const ids = Array.from({ length: 1000 }, (_, i) => i);
		c.send(ids.map((id) => `${PING(id)}\n`).join(''));
		const got = [];
		for (const _ of ids) got.push((await c.nextFrame()).id);
		assert.deepEqual(got.sort((a, b) => a - b), ids);
		await nothingMore(c, ids.length);
	});

	test('5000 requests may be under way, slow and fast ones mixed', async () => {
		const answers = await Promise.all(Array.from({ length: 5000 }, (_, i) => admin.call(i % 10 ? 'ping' : 'listApps')));
		answers.forEach((answer, i) => assert.ok(i % 10 ? answer.time : answer.apps.length === 1));
	});

	test('a client that does not read delays nobody and still gets every answer', async () => {
		const c = await daemon.stranger();
		const n = 100_000;
		c.socket.pause();
		for (let i = 0; i < n; i += 1000)
			c.send(Array.from({ length: 1000 }, (_, k) => `${PING(i + k)}\n`).join(''));
		for (let i = 0; i < 100; i++) await usable(admin);
		c.socket.resume();
		const seen = new Set();
		for (let i = 0; i < n; i++) seen.add((await c.nextFrame()).id);
		assert.equal(seen.size, n);
		await nothingMore(c, n);
	});

	test('what a client asked before it closed its side is still answered', async () => {
		const c = await daemon.admin();
		const n = 200;
		c.end(Array.from({ length: n }, (_, i) =>
			`{"jsonrpc":"2.0","id":${i},"method":"${i % 2 ? 'ping' : 'listApps'}"}\n`).join(''));
		const ids = new Set();
		for (let i = 0; i < n; i++) ids.add((await c.nextFrame()).id);
		assert.equal(ids.size, n);
		await c.closed;
		assert.deepEqual(c.rawFrames(), []);
	});

	test('an unfinished frame at the end of the connection is not executed', async () => {
		const c = await daemon.admin();
		c.end('{"jsonrpc":"2.0","id":1,"method":"createApp","params":{"appId":"half"}}');
		await c.closed;
		assert.deepEqual(c.rawFrames(), []);
		await refused(admin.call('getApp', { appId: 'half' }), 'NOT_FOUND');
	});

	describe('batches', () => {
		const batch = (n) => `[${Array.from({ length: n }, (_, i) => PING(i)).join(',')}]\n`;

		for (const n of [1, 2, 256]) {
			test(`of ${n}: one array`, async () => {
				const c = await daemon.stranger();
				c.send(batch(n));
				const answers = await c.nextFrame();
				assert.ok(Array.isArray(answers));
				assert.deepEqual(answers.map((a) => a.id).sort((a, b) => a - b), Array.from({ length: n }, (_, i) => i));
				for (const answer of answers) isPong(answer, answer.id);
				await nothingMore(c, 1);
			});
		}

		for (const n of [0, 257, 5000]) {
			test(`of ${n}: one INVALID_REQUEST`, async () => {
				const c = await daemon.stranger();
				c.send(batch(n));
				isError(await c.nextFrame(), 'INVALID_REQUEST', null);
				await nothingMore(c, 1);
			});
		}

		test('none of a batch that is too long is executed', async () => {
			const create = (i) => `{"jsonrpc":"2.0","id":${i},"method":"authorizeRoom","params":{"appId":"${app.appId}","roomId":"long-${i}","permissions":["read"]}}`;
			const c = await daemon.admin();
			c.send(`[${Array.from({ length: 257 }, (_, i) => create(i)).join(',')}]\n`);
			isError(await c.nextFrame(), 'INVALID_REQUEST', null);
			const { rooms } = await admin.call('listRooms', { appId: app.appId });
			assert.deepEqual(rooms.map((room) => room.roomId), [app.roomId]);
		});

		test('what is no request in a batch is answered by an INVALID_REQUEST of its own', async () => {
			const c = await daemon.stranger();
			c.send(`[1,"x",null,[],[${PING(3)}],{},${PING(7)}]\n`);
			const answers = await c.nextFrame();
			assert.equal(answers.length, 7);
			isPong(answers.find((a) => a.id === 7), 7);
			for (const answer of answers.filter((a) => a.id !== 7)) isError(answer, 'INVALID_REQUEST', null);
			await nothingMore(c, 1);
		});

		test('slow and fast, right and wrong requests in one batch', async () => {
			const [ping, apps, none, bad] = await admin.batch([{ method: 'ping' }, { method: 'listApps' }, { method: 'nope' },
				{ method: 'getApp', params: {} }]);
			assert.ok(ping.result.time);
			assert.equal(apps.result.apps.length, 1);
			isError(none, 'METHOD_NOT_FOUND');
			assert.equal(isError(bad, 'INVALID_PARAMS').param, 'appId');
		});

		test('notifications in a batch are executed and left out of the answer', async () => {
			const c = await daemon.admin();
			const notify = (roomId) => ({ id: undefined, method: 'authorizeRoom', params: { appId: app.appId, roomId, permissions: ['read'] } });
			const [answer] = await c.batch([notify('n1'), { method: 'ping' }, notify('n2')]);
			assert.ok(answer.result.time);
			assert.ok(c.lastRaw.startsWith('[') && JSON.parse(c.lastRaw).length === 1);
			const { rooms } = await c.call('listRooms', { appId: app.appId });
			assert.deepEqual(rooms.map((room) => room.roomId).filter((id) => id.startsWith('n')), ['n1', 'n2']);
		});

		test('a batch of nothing but notifications is not answered', async () => {
			const c = await daemon.admin();
			c.send('[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","method":"listApps"},{"jsonrpc":"2.0","method":"nope"}]\n');
			c.send('[{"jsonrpc":"2.0","method":"ping"}]\n');
			assert.equal((await c.call('listApps')).apps.length, 1); // by the pool, too
			await nothingMore(c, 1);
		});
	});

	describe('notifications', () => {
		test('are never answered, whether they succeed or fail', async () => {
			const c = await daemon.admin();
			for (const rest of ['"method":"ping"', '"method":"listApps"', '"method":"nope"', '"method":"getApp","params":{}',
				'"method":"getApp","params":[]', '"method":"getApp","params":{"appId":"nobody"}', '"method":"decrypt","params":{}'])
				c.send(`{"jsonrpc":"2.0",${rest}}\n`);
			for (let i = 0; i < 3; i++) assert.equal((await c.call('listApps')).apps.length, 1);
			await nothingMore(c, 3);
		});

		test('before authenticate are not answered either, nor executed', async () => {
			const c = await daemon.stranger();
			c.notify('createRoomKey', { roomId: app.roomId });
			c.notify('authenticate', {});
			await nothingMore(c, 0);
		});

		test('are executed', async () => {
			const { key } = await app.client.call('getEncryptedRoomKey', { roomId: app.roomId });
			const c = await daemon.admin();
			c.notify('deauthorizeRoom', { appId: app.appId, roomId: app.roomId });
			c.end();
			await c.closed;
			await refused(app.client.call('listRoomKeys', { roomId: app.roomId }), 'ROOM_NOT_AUTHORIZED');
			await admin.call('authorizeRoom', { appId: app.appId, roomId: app.roomId, permissions: ['read', 'write'] });
			assert.equal((await app.client.call('listRoomKeys', { roomId: app.roomId })).keys.length, 1);
			assert.equal(key.length, app.key.e2eKey.length);
		});
	});

	describe('ids', () => {
		const kept = ['0', '1', '-1', '9007199254740992', '-9007199254740992', '1.50', '-0', '1e3', '1E+3', '0.1e-7', 'null', '""',
			'"x"', `"${'a'.repeat(128)}"`, `"${'é'.repeat(64)}"`, '"\\n\\u00e9\\/\\\\ \\ud834\\udd1e\\""', `"${'\\u0061'.repeat(128)}"`];
		for (const id of kept) {
			test(`${id.slice(0, 30)} comes back as it was sent`, async () => {
				const c = await daemon.admin();
				for (const method of ['ping', 'listApps', 'nope']) {
					c.send(`{"jsonrpc":"2.0","id":${id},"method":"${method}"}\n`);
					const raw = await c.nextRaw();
					assert.ok(raw.includes(`"id":${id},`), raw.slice(0, 300));
					assert.equal('result' in JSON.parse(raw), method !== 'nope');
				}
			});
		}

		const refusedIds = ['true', 'false', '{}', '[]', '[1]', '{"a":1}', `"${'a'.repeat(129)}"`, `"${'é'.repeat(64)}x"`,
			`"${'\\u0061'.repeat(129)}"`, `"${'x'.repeat(100_000)}"`];
		for (const id of refusedIds) {
			test(`${id.slice(0, 30)}${id.length > 30 ? `… (${id.length})` : ''} is INVALID_REQUEST`, async () => {
				const c = await daemon.stranger();
				c.send(`{"jsonrpc":"2.0","id":${id},"method":"ping"}\n`);
				isError(await c.nextFrame(), 'INVALID_REQUEST', null);
				await nothingMore(c, 1);
			});
		}

		test('the same id twice at once gets two answers', async () => {
			const c = await daemon.stranger();
			c.send(`${PING(5)}\n${PING(5)}\n`);
			isPong(await c.nextFrame(), 5);
			isPong(await c.nextFrame(), 5);
			await nothingMore(c, 2);
		});
	});

	describe('requests', () => {
		const rows = [
			['"jsonrpc":"2.0","id":1,"method":"ping","params":[]', 'INVALID_PARAMS', 1],
			['"jsonrpc":"2.0","id":1,"method":"ping","params":[{}]', 'INVALID_PARAMS', 1],
			['"jsonrpc":"2.0","id":1,"method":"ping","params":{"nope":1}', 'INVALID_PARAMS', 1, 'nope'],
			['"jsonrpc":"2.0","id":1,"method":"ping","params":{"":1}', 'INVALID_PARAMS', 1, ''],
			['"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":[1],"Protocol":[1]}', 'INVALID_PARAMS', 1, 'Protocol'],
			['"jsonrpc":"2.0","id":1,"method":"hello","params":{}', 'INVALID_PARAMS', 1, 'protocol'],
			['"jsonrpc":"2.0","id":1,"method":"hello"', 'INVALID_PARAMS', 1, 'protocol'],
			['"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":1}', 'INVALID_PARAMS', 1, 'protocol'],
			['"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":["1"]}', 'INVALID_PARAMS', 1, 'protocol'],
			['"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":[1],"client":7}', 'INVALID_PARAMS', 1, 'client'],
			['"jsonrpc":"2.0","id":1,"method":"ping","params":"x"', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1,"method":"ping","params":7', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1,"method":"ping","params":true', 'INVALID_REQUEST'],
			['"id":1,"method":"ping"', 'INVALID_REQUEST'],
			['"jsonrpc":"1.0","id":1,"method":"ping"', 'INVALID_REQUEST'],
			['"jsonrpc":2.0,"id":1,"method":"ping"', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0 ","id":1,"method":"ping"', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1,"method":7', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1,"method":null', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1,"method":["ping"]', 'INVALID_REQUEST'],
			['', 'INVALID_REQUEST'],
			['"jsonrpc":"2.0","id":1,"method":""', 'UNAUTHENTICATED', 1],
			['"jsonrpc":"2.0","id":1,"method":"Ping"', 'UNAUTHENTICATED', 1],
			['"jsonrpc":"2.0","id":1,"method":"ping\\u0020"', 'UNAUTHENTICATED', 1],
		];
		for (const [members, reason, id, param] of rows) {
			test(`{${members}} is ${reason}`, async () => {
				const c = await daemon.stranger();
				c.send(`{${members}}\n`);
				const answer = await c.nextFrame();
				const data = isError(answer, reason);
				if (id !== undefined) assert.equal(answer.id, id);
				else assert.ok(answer.id === null || answer.id === 1);
				if (reason === 'INVALID_PARAMS') assert.equal(typeof data.param, 'string');
				if (param !== undefined) assert.equal(data.param, param);
				await nothingMore(c, 1);
			});
		}

		for (const value of ['1', '"ping"', 'null', 'true'])
			test(`a frame that is ${value} is INVALID_REQUEST`, async () => {
				const c = await daemon.stranger();
				c.send(`${value}\n`);
				isError(await c.nextFrame(), 'INVALID_REQUEST', null);
				await nothingMore(c, 1);
			});

		test('a method\'s name may be written with escapes', async () => {
			const c = await daemon.stranger();
			c.send('{"jsonrpc":"2.0","id":1,"m\\u0065thod":"p\\u0069ng"}\n');
			const answer = await c.nextFrame();
			if (answer.error) isError(answer, 'UNAUTHENTICATED', 1);
			else isPong(answer, 1);
		});

		test('a member of the request that JSON-RPC does not know is no reason to refuse it', async () => {
			const c = await daemon.stranger();
			c.send('{"jsonrpc":"2.0","id":1,"method":"ping","meta":{"a":[1]}}\n');
			isPong(await c.nextFrame(), 1);
		});
	});

	describe('texts that are refused', () => {
		const hello = (member) => `{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":[1],${member}}}`;
		const raw = (...parts) => Buffer.concat(parts.map((p) => (typeof p === 'string' ? Buffer.from(p) : Buffer.from(p))));
		const rows = {
			'no JSON': '{', 'two values': '{} {}', 'a comma too many': '{"jsonrpc":"2.0","id":1,"method":"ping",}',
			'single quotes': "{'jsonrpc':'2.0'}", 'a comment': `/**/${PING(1)}`, 'NaN': hello('"client":NaN'),
			'a leading zero': PING('01'), 'a leading plus': PING('+1'), 'a bare fraction': PING('.5'), 'a bare point': PING('1.'),
			'a bare exponent': PING('1e'), 'hexadecimal': PING('0x1'), 'an unknown literal': hello('"client":nul'),
			'a control character in a string': hello('"client":"a\tb"'), 'a NUL byte': raw(PING(1), [0]),
			'an unfinished string': hello('"client":"a').slice(0, -2), 'an unknown escape': hello('"client":"\\x41"'),
			'a short escape': hello('"client":"\\u12"'), 'a byte order mark': `\ufeff${PING(1)}`,
			'white space of another kind': `\u00a0${PING(1)}`,
			'duplicate members': '{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}',
			'duplicate ids': '{"jsonrpc":"2.0","id":1,"method":"ping","id":2}',
			'duplicate params': hello('"client":"a","client":"a"'),
			'duplicates by an escape': hello('"client":"a","c\\u006cient":"a"'),
			'duplicates deep inside': hello('"client":{"a":[{"b":1,"b":2}]}'),
			'a stray continuation byte': raw(hello('"client":"').slice(0, -2), [0x80], '"}}'),
			'an overlong form': raw(hello('"client":"').slice(0, -2), [0xc0, 0xaf], '"}}'),
			'a surrogate in UTF-8': raw(hello('"client":"').slice(0, -2), [0xed, 0xa0, 0x80], '"}}'),
			'beyond U+10FFFF': raw(hello('"client":"').slice(0, -2), [0xf4, 0x90, 0x80, 0x80], '"}}'),
			'a sequence cut short': raw(hello('"client":"').slice(0, -2), [0xe2, 0x82], '"}}'),
			'an escaped NUL': hello('"client":"\\u0000"'), 'a lone high surrogate': hello('"client":"\\ud834"'),
			'a lone low surrogate': hello('"client":"\\udd1e"'), 'surrogates the wrong way round': hello('"client":"\\udd1e\\ud834"'),
			'a number beyond a double': hello('"client":1e400'), 'a negative one': PING('-1e309'),
			'65 levels': hello(`"client":${'['.repeat(63)}${']'.repeat(63)}`), '100000 levels': '['.repeat(100_000),
			'100000 objects': '{"a":'.repeat(100_000),
		};
		for (const [name, text] of Object.entries(rows)) {
			test(name, async () => {
				const c = await daemon.stranger();
				c.send(text);
				c.send('\n');
				const answer = await c.nextFrame();
				assert.ok(answer.error, JSON.stringify(answer));
				assert.ok(['PARSE_ERROR', 'INVALID_REQUEST'].includes(answer.error.data.reason), JSON.stringify(answer));
				isError(answer, answer.error.data.reason, null);
				await nothingMore(c, 1);
			});
		}

		test('64 levels are not too deep', async () => {
			const c = await daemon.stranger();
			c.send(`${hello(`"client":${'['.repeat(62)}${']'.repeat(62)}`)}\n`);
			assert.equal(isError(await c.nextFrame(), 'INVALID_PARAMS', 1).param, 'client');
		});

		test('in a payload, \\u0000, lone surrogates and huge numbers pass', async () => {
			const payload = '{"msg":"a\\u0000b\\ud834c\\udd1e","big":1e400,"small":-1e-400,"nul\\u0000l":[1.10,-0,9007199254740993]}';
			const { roomId } = app;
			const sealed = JSON.parse(await app.client.callText('encrypt', `{"roomId":"${roomId}","payload":${payload}}`));
			const { content } = sealed.result;
			assert.equal(await rc.decryptContent(app.key.jwkText, content), payload);
			const text = await app.client.callText('decrypt', JSON.stringify({ roomId, content }));
			assert.ok(text.includes(`"payload":${payload}`), text);
		});

		for (const [name, payload] of Object.entries({
			'duplicate members': '{"a":1,"a":2}', 'levels without end': `{"a":${'['.repeat(70)}${']'.repeat(70)}}`, 'no JSON': '{"a":}',
		})) {
			test(`but not ${name}`, async () => {
				const c = app.client;
				c.send(`{"jsonrpc":"2.0","id":"p","method":"encrypt","params":{"roomId":"${app.roomId}","payload":${payload}}}\n`);
				isError(await c.nextFrame(), 'PARSE_ERROR', null);
				await usable(c);
			});
		}

		test('only there: next to the payload they do not', async () => {
			const c = app.client;
			for (const params of ['{"roomId":"\\u0000","payload":{}}', '{"roomId":"r","payload":{},"x":{"payload":"\\u0000"}}',
				'{"roomId":"r","x":[{"message":1e400}]}']) {
				c.send(`{"jsonrpc":"2.0","id":"p","method":"encrypt","params":${params}}\n`);
				const answer = await c.nextFrame();
				assert.ok(['PARSE_ERROR', 'INVALID_REQUEST'].includes(answer.error?.data.reason), JSON.stringify(answer));
				await usable(c);
			}
		});
	});

	for (const [name, config, limit] of [['1 KiB', { limits: { max_frame_bytes: 1024 } }, 1024], ['the default', {}, 1 << 20]]) {
		describe(`the limit on a frame, ${name}`, () => {
			let small;
			before(async () => (small = await startDaemon({ config })));
			after(() => small.stop());
			const padded = (id, n) => {
				const [start, end] = [PING(id).slice(0, -1), '}'];
				return start + ' '.repeat(n - start.length - end.length) + end;
			};

			test('hello names it', async () => {
				const c = await small.stranger();
				assert.equal((await c.call('hello', { protocol: [1], client: 'e2e/1' })).limits.maxFrameBytes, limit);
			});

			for (const ending of ['\n', '\r\n']) {
				const lf = JSON.stringify(ending);
				test(`a frame of just that many bytes passes (${lf} is not counted)`, async () => {
					const c = await small.stranger();
					c.send(padded(1, limit) + ending);
					isPong(await c.nextFrame(), 1);
					c.send(padded(2, limit - 1) + ending + padded(3, limit) + ending);
					await pongs(c, 2, 3);
					await nothingMore(c, 3);
				});

				test(`one byte more is TOO_LARGE (${lf})`, async () => {
					const c = await small.stranger();
					c.send(padded(1, limit + 1) + ending);
					assert.equal(isError(await c.nextFrame(), 'TOO_LARGE', null).limit, limit);
					await nothingMore(c, 1);
				});
			}

			test('a carriage return that does not end the frame counts', async () => {
				const c = await small.stranger();
				c.send(`${padded(1, limit)}\r\r\n`);
				assert.equal(isError(await c.nextFrame(), 'TOO_LARGE', null).limit, limit);
				await nothingMore(c, 1);
			});

			test('what is too large is refused once and skipped to its end, its neighbours are served', async () => {
				const c = await small.stranger();
				c.send(`${PING(1)}\n${'x'.repeat(10 * limit)}\n${PING(2)}\n`);
				const frames = [await c.nextFrame(), await c.nextFrame(), await c.nextFrame()];
				for (const id of [1, 2]) isPong(frames.find((f) => f.id === id), id);
				isError(frames.find((f) => f.id === null), 'TOO_LARGE', null);
				await nothingMore(c, 3);
			});

			test('in pieces, with its end far behind', async () => {
				const c = await small.stranger(), other = await small.admin();
				c.send('{"a":"');
				for (let i = 0; i < 40; i++) {
					c.send('y'.repeat(limit / 10));
					await usable(other);
				}
				isError(await c.nextFrame(), 'TOO_LARGE', null);
				c.send(`"}${PING(8)}`);
				await usable(other);
				c.send(`\n${PING(9)}\n`);
				isPong(await c.nextFrame(), 9);
				await nothingMore(c, 2);
			});
		});
	}
});
