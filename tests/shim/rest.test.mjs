// Rest: what crosses the wire, and what the server's refusals become, over fetch and over Apps-Engine's http alike.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { E2eedError, Rest } from '../../shim/dist/apps-engine/index.mjs';
import { RocketChat } from './double/server.mjs';
import { serve } from './double/rest.mjs';
import { appsHttp, refused, test } from './lib/stage.mjs';

const TOKEN = 'the-access-token-of-the-bot';
const WAYS = { fetch, "Apps-Engine's http": appsHttp };

// A server that answers everything with @answer: { status, headers, body }; gives Rest over it, and what was asked.
async function answering(t, answer, options = {}) {
	const asked = [];
	const server = createServer(async (request, response) => {
		const chunks = [];
		for await (const chunk of request) chunks.push(chunk);
		asked.push({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(chunks) });
		const { status = 200, headers = {}, body = '{"success":true}' } = answer;
		response.writeHead(status, headers);
		response.end(body);
	});
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.after(() => {
		server.closeAllConnections();
		return new Promise((resolve) => server.close(resolve));
	});
	const rest = new Rest({ http: fetch, serverUrl: `http://127.0.0.1:${server.address().port}/`, userId: 'bot', authToken: TOKEN, ...options });
	return { rest, asked };
}

for (const [way, http] of Object.entries(WAYS)) {
	test(`${way}: who asks, what, and with which parameters`, async (t) => {
		const { rest, asked } = await answering(t, {}, { http });
		await rest.get('e2e.fetchUsersWaitingForGroupKey', { roomIds: ['a b', 'ü&=', 'c'], count: 5, latest: undefined });
		await rest.post('e2e.updateGroupKey', { uid: 'bot', rid: 'ü', key: '€' });
		const [get, post] = asked;
		assert.equal(get.method, 'GET');
		assert.equal(get.url, '/api/v1/e2e.fetchUsersWaitingForGroupKey?roomIds%5B%5D=a%20b&roomIds%5B%5D=%C3%BC%26%3D&roomIds%5B%5D=c&count=5');
		assert.equal(post.method, 'POST');
		assert.equal(post.url, '/api/v1/e2e.updateGroupKey');
		assert.equal(post.headers['content-type'], 'application/json');
		assert.deepEqual(JSON.parse(post.body.toString()), { uid: 'bot', rid: 'ü', key: '€' });
		for (const { headers } of asked) assert.deepEqual([headers['x-user-id'], headers['x-auth-token']], ['bot', TOKEN]);
	});

	for (const [what, answer, reason, data] of [
		['401', { status: 401, body: '{"status":"error","message":"You must be logged in"}' }, 'REST_UNAUTHORIZED', { status: 401 }],
		['401 in plain text', { status: 401, body: 'unauthorized' }, 'REST_UNAUTHORIZED', { status: 401 }],
		['403', { status: 403, body: '{"success":false,"error":"unauthorized"}' }, 'REST_FAILED', { status: 403, errorType: undefined }],
		['403 in plain text', { status: 403, body: 'forbidden' }, 'REST_FAILED', { status: 403, errorType: undefined }],
		['400 with a code', { status: 400, body: '{"success":false,"error":"long text [error-odd]","errorType":"error-odd"}' }, 'REST_FAILED', { status: 400, errorType: 'error-odd' }],
		['a code in the text alone, which is not read', { status: 400, body: '{"success":false,"error":"long text [error-odd]"}' }, 'REST_FAILED', { status: 400, errorType: undefined }],
		['success:false with 200', { body: '{"success":false,"errorType":"error-odd"}' }, 'REST_FAILED', { status: 200, errorType: 'error-odd' }],
		['a page', { body: '<html>' }, 'REST_FAILED', { status: 200, errorType: undefined }],
		['JSON that is no object', { body: '7' }, 'REST_FAILED', { status: 200, errorType: undefined }],
		['500', { status: 500, body: '' }, 'REST_FAILED', { status: 500, errorType: undefined }],
	])
		test(`${way}: ${what}`, async (t) => {
			const { rest } = await answering(t, answer, { http });
			for (const call of [rest.get('me'), rest.post('e2e.setRoomKeyID', { rid: 'r', keyID: 'the body of the call' })]) {
				const error = await refused(call, reason, TOKEN, 'the body of the call');
				assert.ok(error instanceof E2eedError);
				assert.deepEqual(error.data, data);
			}
		});

	test(`${way}: how long to wait after too many calls`, async (t) => {
		const answer = { status: 429 };
		const { rest } = await answering(t, answer, { http });
		const waits = async (headers, body) => {
			Object.assign(answer, { headers, body: JSON.stringify({ success: false, ...body }) });
			return (await refused(rest.get('me'), 'RATE_LIMITED', TOKEN)).data.retryAfterMs;
		};
		const near = (told, ms) => assert.ok(told <= ms && told > ms - 5000, `${told} of ${ms}`);
		near(await waits({ 'X-RateLimit-Reset': Date.now() + 30_000 }, {}), 30_000);
		near(await waits({ 'X-RateLimit-Reset': Date.now() + 30_000 }, { error: 'must wait 7 seconds' }), 30_000);
		assert.equal(await waits({}, { error: 'You must wait 42 seconds before trying this endpoint again.' }), 42_000);
		assert.equal(await waits({}, {}), 60_000);
		assert.equal(await waits({ 'X-RateLimit-Reset': 'soon' }, {}), 60_000);
		assert.equal(await waits({ 'X-RateLimit-Reset': Date.now() - 10_000 }, {}), 1000);
		assert.equal(await waits({ 'X-RateLimit-Reset': Date.now() + 86_400_000 }, {}), 300_000); // a clock that is a day ahead
	});

	test(`${way}: bytes come as they are`, async (t) => {
		const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
		const { rest } = await answering(t, { body: bytes }, { http });
		assert.deepEqual(Buffer.from(await rest.download('/file-upload/abc/name')), bytes);
	});

	test(`${way}: a server that is not there`, async () => {
		const rest = new Rest({ http, serverUrl: 'http://127.0.0.1:1', userId: 'bot', authToken: TOKEN });
		assert.deepEqual((await refused(rest.get('me'), 'REST_FAILED', TOKEN)).data, { status: 0 });
	});
}

test('bytes are sent as they are, or not at all', async (t) => {
	const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
	const { rest, asked } = await answering(t, {});
	await rest.postBytes('rooms.media/r', bytes, 'multipart/form-data; boundary=x');
	assert.deepEqual(asked[0].body, bytes);
	assert.equal(asked[0].headers['content-type'], 'multipart/form-data; boundary=x');
	const other = await answering(t, {}, { http: appsHttp });
	await refused(other.rest.postBytes('rooms.media/r', bytes, 'multipart/form-data; boundary=x'), 'UNSUPPORTED');
	assert.deepEqual(other.asked, []);
	assert.deepEqual([rest.binary, other.rest.binary], [true, false]);
});

test("what Apps-Engine's http gives where the app may not use it, and in its other shapes", async () => {
	const over = (answer) => new Rest({ http: { get: async () => answer, post: async () => answer }, serverUrl: 'http://chat', userId: 'bot', authToken: TOKEN });
	assert.match((await refused(over(undefined).get('me'), 'REST_FAILED')).message, /networking/);
	assert.equal((await over({ statusCode: 200, content: '{"success":true,"name":"ü"}' }).get('me')).name, 'ü'); // an engine that knows no `encoding: null`
	assert.equal((await over({ statusCode: 200, data: { success: true, name: 'ü' } }).get('me')).name, 'ü');
	assert.equal((await over({ statusCode: 200, content: new Uint8Array(Buffer.from('{"success":true,"name":"ü"}')) }).get('me')).name, 'ü');
	const error = await refused(over({ statusCode: 429, headers: { 'X-RATELIMIT-RESET': String(Date.now() - 1) } }).get('me'), 'RATE_LIMITED');
	assert.equal(error.data.retryAfterMs, 1000);
});

test('an error that http throws is not passed on: it may hold the request', async () => {
	const thrown = Object.assign(new Error(`GET http://chat with ${TOKEN} failed`), { cause: { code: 'ECONNREFUSED' } });
	const rest = new Rest({ http: async () => { throw thrown; }, serverUrl: 'http://chat', userId: 'bot', authToken: TOKEN });
	assert.match((await refused(rest.get('me'), 'REST_FAILED', TOKEN)).message, /ECONNREFUSED/);
});

test('what a server can do, by its version, which is asked for once', async (t) => {
	for (const [version, oldKeys, newest] of [
		['6.13.0', false, false], ['7.0.0', true, false], ['7.12.4', true, false], ['7.13.0', true, true], ['7.13', true, true], ['8.0.0-rc.1', true, true], ['10.1.0', true, true], ['', false, false], ['develop', false, false],
	]) {
		const { rest, asked } = await answering(t, { body: JSON.stringify({ success: true, ...(version && { version }) }) });
		assert.deepEqual(await rest.server(), { version, oldKeys, editContent: newest, uuidKeys: newest });
		await rest.server();
		assert.deepEqual(asked.map(({ url }) => url), ['/api/info']);
	}
	const answer = { status: 503 };
	const { rest } = await answering(t, answer);
	await refused(rest.server(), 'REST_FAILED');
	Object.assign(answer, { status: 200, body: '{"info":{"version":"7.13.0"}}' });
	assert.equal((await rest.server()).version, '7.13.0', 'a failure is not remembered');
});

test('history by the kind of room, and threads', async (t) => {
	const rc = new RocketChat();
	const server = await serve(rc);
	t.after(() => server.close());
	const [ada, bot] = [rc.createUser('ada'), rc.createUser('echo.bot', { type: 'bot' })];
	const rest = new Rest({ http: fetch, serverUrl: server.url, userId: bot._id, authToken: rc.createToken(bot) });
	for (const room of [rc.createRoom('p', 'private', ada, [bot]), rc.createRoom('d', undefined, ada, [bot])]) {
		const said = ['one', 'two', 'three'].map((msg, i) => rc.sendMessage(ada, { rid: room._id, msg, ts: new Date(Date.now() - 10_000 + i * 1000) }));
		const reply = rc.sendMessage(ada, { rid: room._id, msg: 'reply', tmid: said[0]._id });
		const texts = (messages) => messages.map(({ msg }) => msg);
		assert.deepEqual(texts(await rest.history(room._id, { count: 2 })), ['reply', 'three']);
		assert.deepEqual(texts(await rest.history(room._id, { count: 2, latest: said[2].ts })), ['two', 'one']);
		assert.deepEqual((await rest.thread(said[0]._id)).map(({ _id }) => _id), [reply._id]);
	}
	await refused(rest.history('no such room'), 'REST_FAILED');
});

test('what takes too long fails, files later', async (t) => {
	const server = createServer(() => undefined); // never answers
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	t.after(() => {
		server.closeAllConnections();
		return new Promise((resolve) => server.close(resolve));
	});
	const rest = new Rest({ http: fetch, serverUrl: `http://127.0.0.1:${server.address().port}`, userId: 'bot', authToken: TOKEN, timeoutMs: 10 });
	const order = [];
	await Promise.all([
		refused(rest.download('/file-upload/abc/name'), 'REST_FAILED', TOKEN).then(() => order.push('file')),
		refused(rest.get('me'), 'REST_FAILED', TOKEN).then((error) => order.push(error.message)),
	]);
	assert.deepEqual(order, ['me: no answer within 10 ms', 'file']);
});
