// Messages: docs/protocol.md, section 3: decrypt, encrypt, decryptMessage, encryptMessage. What goes in raw and comes out
// raw is compared as text, so that a payload is seen to be carried, not rebuilt.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { cases } from './lib/daemon.mjs';
import * as rc from './lib/rc.mjs';
import { openScene, refused } from './lib/scene.mjs';

let scene, app;

const PROTECTED = ['_id', 'rid', 'ts', 'u', 't', 'e2e', 'content', 'tmid', '_updatedAt', 'editedAt', 'editedBy'];
const PASSES = ['_id', 'rid', 'tmid', 'tshow', 'customFields', 'groupable', 'e2eMentions', 'alias', 'avatar', 'emoji'];
const escapedName = (name) => `"${[...name].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`;

// @text as params, byte for byte; the answer's result.
const raw = async (method, text) => (await app.callText(method, text)).result;
const decrypt = (roomId, content) => app.call('decrypt', { roomId, content });
const encryptText = async (room, payload) =>
	rc.decryptContent(room.jwkText, (await raw('encrypt', `{"roomId":"${room.roomId}","payload":${payload}}`)).content);
const readMessage = async (message) => (await app.call('decryptMessage', { message })).message;
const wire = (room, content, more = {}) =>
	({ _id: 'm1', rid: room.roomId, t: 'e2e', e2e: 'pending', msg: '', ts: 'T', u: { _id: 'ada' }, content, ...more });

describe('messages', () => {
	before(async () => {
		scene = await openScene();
		app = await scene.newApp({ identity: await scene.identity() });
	});
	after(() => scene.close());

	// ---- decrypt: which key ----

	test('decrypt: keyState tells the current key, an old one, and one found by trying', async () => {
		const room = await app.roomWithKey();
		const old = await rc.makeRoomKey();
		await app.giveKey(room.roomId, old);
		const read = async (key, kid = key.kid) => {
			const { payload, ...rest } = await decrypt(room.roomId, await rc.encryptV2(key.jwkText, kid, { msg: 'x' }));
			assert.deepEqual(payload, { msg: 'x' });
			return rest;
		};
		const algorithm = 'A256GCM';
		assert.deepEqual(await read(room), { kid: room.kid, algorithm, keyState: 'current' });
		assert.deepEqual(await read(old), { kid: old.kid, algorithm, keyState: 'old' });
		assert.deepEqual(await read(room, 'unknown'), { kid: room.kid, algorithm, keyState: 'fallback' });
		assert.deepEqual(await read(old, 'unknown'), { kid: old.kid, algorithm, keyState: 'fallback' });
		assert.deepEqual(await read(old, room.kid), { kid: old.kid, algorithm, keyState: 'fallback' });
		assert.deepEqual(await read(room, old.kid), { kid: room.kid, algorithm, keyState: 'fallback' });
	});

	test('decrypt: the right one is found among many keys, alone and in a batch', async () => {
		const room = await app.roomWithKey();
		const n = Math.max(50, cases(300));
		const keys = await Promise.all(Array.from({ length: n }, () => rc.makeRoomKey()));
		const history = await Promise.all(keys.map(async (key) => ({ e2eKeyId: key.kid, E2EKey: await app.wrap(key) })));
		assert.equal((await app.call('importRoomKeys', { roomId: room.roomId, keys: history })).imported.length, n);
		const text = `{"msg":"${'x'.repeat(20000)}"}`;
		const contents = await Promise.all([0, n >> 1, n - 1].map((i) => rc.encryptV2(keys[i].jwkText, 'unknown', text)));
		for (const content of contents) {
			const { keyState, payload } = await decrypt(room.roomId, content);
			assert.deepEqual([keyState, payload], ['fallback', JSON.parse(text)]);
		}
		const answers = await app.client.batch([
			{ method: 'ping' },
			...contents.map((content) => ({ method: 'decrypt', params: { roomId: room.roomId, content } })),
			{ method: 'getIdentity' },
		]);
		assert.equal(answers.length, 5);
		assert.deepEqual(answers.map((answer) => answer.result?.payload?.msg.length), [undefined, 20000, 20000, 20000, undefined]);
		const stranger = await rc.makeRoomKey();
		await refused(decrypt(room.roomId, await rc.encryptV2(stranger.jwkText, 'unknown', text)), 'NO_ROOM_KEY', { kid: 'unknown' });
	});

	test('decrypt: a room that has only history reads with it', async () => {
		const roomId = await app.newRoom();
		const key = await rc.makeRoomKey('A128CBC');
		await app.giveKey(roomId, key);
		const content = await rc.encryptV1(key.jwkText, key.kid, { msg: 'x' });
		assert.equal((await decrypt(roomId, content)).keyState, 'old');
		const other = await rc.encryptV1(key.jwkText, 'x'.repeat(12), { msg: 'x' });
		assert.equal((await decrypt(roomId, other)).keyState, 'fallback');
	});

	test('decrypt: NO_ROOM_KEY for a kid nobody has, DECRYPT_FAILED for one that does not open', async () => {
		const room = await app.roomWithKey();
		const cbc = await rc.makeRoomKey('A128CBC', { kid: room.kid });
		await app.giveKey(room.roomId, cbc);
		const stranger = await rc.makeRoomKey();
		const by = (kid) => rc.encryptV2(stranger.jwkText, kid, { msg: 'x' });
		await refused(decrypt(room.roomId, await by('unknown')), 'NO_ROOM_KEY', { kid: 'unknown' });
		const error = await refused(decrypt(room.roomId, await by(room.kid)), 'DECRYPT_FAILED');
		assert.deepEqual(Object.keys(error.data), ['reason']);
		await refused(decrypt(await app.newRoom(), await by('any kid')), 'NO_ROOM_KEY', { kid: 'any kid' });
		const v1 = await rc.encryptV1((await rc.makeRoomKey('A128CBC')).jwkText, 'unknown-kid!', { msg: 'x'.repeat(64) });
		await refused(decrypt(await app.newRoom(), v1), 'NO_ROOM_KEY', { kid: 'unknown-kid!' });
	});

	test('decrypt: every flipped bit of an authentic message is noticed', async () => {
		const room = await app.roomWithKey();
		const content = await rc.encryptV2(room.jwkText, room.kid, { msg: 'x' });
		for (const name of ['iv', 'ciphertext']) {
			const bytes = rc.fromBase64(content[name]);
			for (let bit = 0; bit < bytes.length * 8; bit += 7) {
				const flipped = bytes.slice();
				flipped[bit >> 3] ^= 1 << (bit & 7);
				await refused(decrypt(room.roomId, { ...content, [name]: rc.toBase64(flipped) }), 'DECRYPT_FAILED');
			}
		}
	});

	test('decrypt: content as object or legacy string, with members and escapes it need not have', async () => {
		const room = await app.roomWithKey('A128CBC', { kid: '32c9e7917b78' });
		const v1 = await rc.encryptV1(room.jwkText, room.kid, { msg: 'x' });
		const v2 = await rc.encryptV2(room.jwkText, room.kid, { msg: 'x'.repeat(9000) });
		assert.equal((await decrypt(room.roomId, v1.ciphertext)).payload.msg, 'x');
		assert.equal((await decrypt(room.roomId, { more: [1], ...v1, kid: 'ignored' })).payload.msg, 'x');
		const every = (text) => `"${[...text].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`;
		const escaped = `{"algorithm":${every(v2.algorithm)},"kid":${every(v2.kid)},"iv":${every(v2.iv)},`
			+ `"ciphertext":${JSON.stringify(v2.ciphertext).replaceAll('/', '\\/')}}`;
		const { payload } = await raw('decrypt', `{"roomId":${every(room.roomId)},"content":${escaped}}`);
		assert.equal(payload.msg, 'x'.repeat(9000));
		const legacy = await raw('decrypt', `{"content":${every(v1.ciphertext)},"roomId":"${room.roomId}"}`);
		assert.equal(legacy.payload.msg, 'x');
		for (const content of [5, null, true, [], [v1]])
			await refused(decrypt(room.roomId, content), 'INVALID_PARAMS', { param: 'content' });
	});

	// ---- decrypt: what a payload may be ----

	test('decrypt: white space and line ends around and between tokens', async () => {
		const room = await app.roomWithKey();
		const text = '\n\r\n { "msg" :\n\t"a\\nb" ,\r\n "list" : [ 1 ,\n2 ] }\n\n';
		const { text: frame, result } = await app.callText('decrypt',
			JSON.stringify({ roomId: room.roomId, content: await rc.encryptV2(room.jwkText, room.kid, text) }));
		assert.deepEqual(result.payload, JSON.parse(text));
		assert.ok(!/[\r\n]/.test(frame), 'the frame stays one line');
	});

	test('decrypt: nesting up to 512', async () => {
		const room = await app.roomWithKey();
		const nested = (depth) => `{"msg":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
		const open = async (text) => decrypt(room.roomId, await rc.encryptV2(room.jwkText, room.kid, text));
		for (const depth of [2, 64, 65, 511, 512])
			assert.equal(JSON.stringify((await open(nested(depth))).payload), nested(depth));
		const objects = `${'{"a":'.repeat(511)}{}${'}'.repeat(511)}`;
		assert.equal(JSON.stringify((await open(objects)).payload), objects);
		for (const depth of [513, 5000, 100_000]) await refused(open(nested(depth)), 'DECRYPT_FAILED');
	});

	test('decrypt: duplicate members count as JSON.parse counts them', async () => {
		const room = await app.roomWithKey();
		const texts = ['{"msg":"a","msg":"b"}', '{"msg":"a","m\\u0073g":"b"}', '{"text":"a","text":"b"}',
			'{"text":"a","x":1,"msg":"b","text":"c"}', '{"a":{"b":1,"b":[2],"b":3}}', '{"":1,"":2}'];
		for (const text of texts) {
			const { payload } = await decrypt(room.roomId, await rc.encryptV2(room.jwkText, room.kid, text));
			const wanted = JSON.parse(text);
			if ('text' in wanted && !('msg' in wanted)) {
				wanted.msg = wanted.text;
				delete wanted.text;
			}
			assert.deepEqual(payload, wanted, text);
			const message = await readMessage(wire(room, await rc.encryptV2(room.jwkText, room.kid, text)));
			assert.deepEqual(message.msg, wanted.msg ?? '', text);
		}
	});

	test('decrypt: what JSON.parse refuses is no payload', async () => {
		const room = await app.roomWithKey();
		const texts = ['', ' ', '{', '}', '{}}', '{}{}', '{"a"}', '{"a":}', '{a:1}', "{'a':1}", '{"a":1,}', '{"a":01}', '{"a":+1}',
			'{"a":.5}', '{"a":1.}', '{"a":0x1}', '{"a":NaN}', '{"a":Infinity}', '{"a":"\t"}', '{"a":"\u0000"}', '{"a":"\\x"}',
			'{"a":"\\u12"}', '{"a":tru}', '[]', 'null', '"{}"', '1', '{}\u0000', '\ufeff\ufeff{}', '\u00a0{}', '/**/{}', '{"a":1e}'];
		for (const text of texts) {
			if (text !== '\ufeff\ufeff{}' && !['[]', 'null', '"{}"', '1'].includes(text))
				assert.throws(() => JSON.parse(text), text);
			const content = await rc.encryptV2(room.jwkText, room.kid, text);
			await refused(decrypt(room.roomId, content), 'DECRYPT_FAILED');
		}
	});

	// ---- encrypt ----

	test('encrypt: the plaintext is the payload\'s text as the caller wrote it', async () => {
		for (const [alg, kid] of [['A256GCM', 'uuid'], ['A128CBC', 'sha256'], ['A128CBC', 'uuid']]) {
			const room = await app.roomWithKey(alg, { kid });
			const texts = ['{}', '{ }', '{"msg":"x"}', '{ "msg" :\t"x" ,  "n": 1.50 }', '{"msg":"\\u0041\\/\\u0000\\ud800"}',
				'{"n":[1e400,-0,1E5,0.10,123456789012345678901234567890]}', '{"msg":"é🔒\u2028"}', '{"\\u006dsg":"x"}',
				`{"msg":"${'long '.repeat(20_000)}"}`, '{"payload":{"roomId":"x"}}'];
			for (const text of texts) assert.equal(await encryptText(room, text), text);
		}
	});

	test('encrypt: white space around the payload is not part of it', async () => {
		const room = await app.roomWithKey();
		const { content } = await raw('encrypt', ` { "payload" : \t {"msg":"x"} \r , "roomId" : "${room.roomId}" } `);
		assert.equal(await rc.decryptContent(room.jwkText, content), '{"msg":"x"}');
	});

	test('encrypt: content has its members and no more, and never the same IV', async () => {
		for (const [options, iv, names] of [
			[['A256GCM', {}], 12, ['algorithm', 'ciphertext', 'iv', 'kid']],
			[['A128CBC', { kid: 'uuid' }], 16, ['algorithm', 'ciphertext', 'iv', 'kid']],
			[['A128CBC', { kid: '12345678901' }], 16, ['algorithm', 'ciphertext', 'iv', 'kid']],
			[['A128CBC', { kid: '123456789012' }], 16, ['algorithm', 'ciphertext']],
			[['A256GCM', { kid: '123456789012' }], 12, ['algorithm', 'ciphertext', 'iv', 'kid']],
		]) {
			const room = await app.roomWithKey(...options);
			const ivs = new Set();
			for (let i = 0; i < 50; i++) {
				const { content } = await app.call('encrypt', { roomId: room.roomId, payload: { msg: 'same' } });
				assert.deepEqual(Object.keys(content).sort(), names);
				const parts = rc.splitContent(content);
				assert.deepEqual([parts.kid, parts.iv.length], [room.kid, iv]);
				ivs.add(rc.toHex(parts.iv));
			}
			assert.equal(ivs.size, 50);
		}
	});

	test('encrypt: what is no payload', async () => {
		const room = await app.roomWithKey();
		for (const payload of ['"text"', '5', 'null', '[]', 'true'])
			await refused(raw('encrypt', `{"roomId":"${room.roomId}","payload":${payload}}`), 'INVALID_PARAMS', { param: 'payload' });
		await refused(app.call('encrypt', { roomId: room.roomId }), 'INVALID_PARAMS', { param: 'payload' });
	});

	// ---- decryptMessage ----

	test('decryptMessage: merges what was encrypted, and e2e becomes done', async () => {
		const room = await app.roomWithKey();
		const payload = { msg: 'hello', attachments: [{ text: 'a' }], files: [{ _id: 'f' }], file: { _id: 'f' }, custom: { $date: 1 } };
		const sent = wire(room, await rc.encryptV2(room.jwkText, room.kid, payload),
			{ mentions: [{ _id: 'x' }], md: [{ type: 'PARAGRAPH' }], unread: true, _updatedAt: { $date: 2 } });
		assert.deepEqual(await readMessage(sent), { ...sent, ...payload, e2e: 'done' });
	});

	test('decryptMessage: what is not encrypted, or done, comes back unchanged', async () => {
		const room = await app.roomWithKey();
		const content = await rc.encryptV2(room.jwkText, room.kid, { msg: 'x' });
		const unchanged = [{ rid: room.roomId }, { rid: room.roomId, msg: 'plain' }, wire(room, content, { t: 'rm' }),
			wire(room, content, { t: undefined }), wire(room, content, { e2e: 'done' }), { rid: room.roomId, t: 'uj', msg: 'ada' },
			wire(room, { algorithm: 'nonsense' }, { t: null }), wire(room, content, { t: ['e2e'] })];
		for (const message of unchanged)
			assert.deepEqual(await readMessage(message), JSON.parse(JSON.stringify(message)));
		// as text too: number texts, NUL, lone surrogates, nesting of a message pass through
		const text = `{"rid":"${room.roomId}","n":1e400,"big":123456789012345678901234567890,"s":"\\u0000\\ud800","x":{ "y" : 1.0 }}`;
		const { text: frame, result } = await app.callText('decryptMessage', `{"message":${text}}`);
		assert.deepEqual(result.message, JSON.parse(text));
		assert.ok(frame.includes('123456789012345678901234567890') && frame.includes('1e400'));
	});

	test('decryptMessage: e2e may be missing or anything but done', async () => {
		const room = await app.roomWithKey();
		const content = await rc.encryptV2(room.jwkText, room.kid, { msg: 'x' });
		for (const e2e of ['pending', undefined, null, 'DONE', ['done']]) {
			const message = await readMessage(wire(room, content, { e2e }));
			assert.deepEqual([message.msg, message.e2e], ['x', 'done']);
		}
		const { result } = await app.callText('decryptMessage',
			`{"message":{"rid":"${room.roomId}","\\u0074":"\\u00652e","msg":"","content":${JSON.stringify(content)}}}`);
		assert.equal(result.message.msg, 'x');
	});

	test('decryptMessage: the payload overrides none of the protected members, however it writes their names', async () => {
		const room = await app.roomWithKey();
		const sent = wire(room, null, { tmid: 'T', _updatedAt: 1, editedAt: 2, editedBy: { _id: 'ada' } });
		for (const name of [JSON.stringify, escapedName]) {
			const forged = PROTECTED.map((member) => `${name(member)}:"forged"`).join(',');
			const content = await rc.encryptV2(room.jwkText, room.kid, `{${forged},"msg":"hi"}`);
			assert.deepEqual(await readMessage({ ...sent, content }), { ...sent, content, msg: 'hi', e2e: 'done' });
			const bare = { rid: room.roomId, t: 'e2e', content };
			assert.deepEqual(await readMessage(bare), { ...bare, msg: 'hi', e2e: 'done' }, 'nor adds what the server left out');
		}
	});

	test('decryptMessage: an outer member gives way to the payload\'s, however either writes its name', async () => {
		const room = await app.roomWithKey();
		for (const [outer, inner] of [['alias', '"alias"'], ['alias', escapedName('alias')], ['attachments', '"attachments"']]) {
			const content = await rc.encryptV2(room.jwkText, room.kid, `{"msg":"hi",${inner}:["inner"]}`);
			const { result } = await app.callText('decryptMessage', JSON.stringify({ message: wire(room, content, { [outer]: ['outer'] }) })
				.replace('"alias"', escapedName('alias')));
			assert.deepEqual(result.message[outer], ['inner']);
		}
	});

	test('decryptMessage: a legacy string in msg, and old payloads', async () => {
		const room = await app.roomWithKey('A128CBC');
		const { ciphertext } = await rc.encryptV1(room.jwkText, room.kid, { _id: 'x', text: 'old', userId: 'u', ts: { $date: 1 } });
		const sent = { _id: 'm1', rid: room.roomId, t: 'e2e', e2e: 'pending', msg: ciphertext, ts: 'T' };
		assert.deepEqual(await readMessage(sent), { ...sent, msg: 'old', userId: 'u', e2e: 'done' });
		const silent = await rc.encryptV1(room.jwkText, room.kid, { file: { _id: 'f' } });
		const message = await readMessage({ ...sent, msg: silent.ciphertext });
		assert.notEqual(message.msg, silent.ciphertext, 'the ciphertext is not shown as a text');
		assert.deepEqual(message.file, { _id: 'f' });
	});

	test('decryptMessage: a payload may carry what no frame may', async () => {
		const room = await app.roomWithKey();
		const texts = ['{"msg":"a\\u0000\\ud800","n":1e400,"\\ud800":1}', '{"__proto__":{"x":1},"msg":"x"}',
			`{"msg":"x","deep":${'['.repeat(400)}${']'.repeat(400)}}`, '{\n"msg":\r\n"x"\n}'];
		for (const text of texts) {
			const content = await rc.encryptV2(room.jwkText, room.kid, text);
			const { __proto__: ignored, ...message } = await readMessage(wire(room, content));
			const { __proto__: alike, ...wanted } = JSON.parse(text);
			assert.deepEqual(message, { ...wire(room, content), ...wanted, e2e: 'done' });
			assert.deepEqual(Object.entries(ignored ?? {}), Object.entries(alike ?? {}));
		}
	});

	test('decryptMessage: errors are decrypt\'s, and a message without ciphertext is malformed', async () => {
		const room = await app.roomWithKey();
		const stranger = await rc.makeRoomKey();
		const by = (kid) => rc.encryptV2(stranger.jwkText, kid, { msg: 'x' });
		await refused(readMessage(wire(room, await by('unknown'))), 'NO_ROOM_KEY', { kid: 'unknown' });
		await refused(readMessage(wire(room, await by(room.kid))), 'DECRYPT_FAILED');
		await refused(readMessage(wire(room, { algorithm: 'x' })), 'UNSUPPORTED_ALGORITHM', { algorithm: 'x' });
		for (const [content, msg] of [[{}, ''], [undefined, ''], [undefined, 'hello'], [undefined, undefined], [5, ''], [[], '']])
			await refused(readMessage(wire(room, content, { msg })), 'MALFORMED_ENVELOPE');
		await refused(app.call('decryptMessage', { message: { t: 'e2e', content: {} } }), 'INVALID_PARAMS', { param: 'message' });
		for (const rid of ['', 5, null, 'x'.repeat(129), 'a\u0000b'])
			await refused(app.call('decryptMessage', { message: { rid } }), 'INVALID_PARAMS', { param: 'message' });
		await refused(readMessage({ rid: 'not mine', msg: 'plain' }), 'ROOM_NOT_AUTHORIZED', { permission: 'read' });
	});

	// ---- encryptMessage ----

	test('encryptMessage: text, attachments and files move into the ciphertext', async () => {
		const room = await app.roomWithKey();
		const inside = { msg: 'secret', attachments: [{ text: 'secret' }], files: [{ _id: 'f' }], file: { _id: 'f' } };
		const { message } = await app.call('encryptMessage', { message: { rid: room.roomId, ...inside } });
		const { content, ...rest } = message;
		assert.deepEqual(rest, { rid: room.roomId, t: 'e2e', e2e: 'pending', msg: '' });
		assert.deepEqual(JSON.parse(await rc.decryptContent(room.jwkText, content)), inside);
		assert.deepEqual(await readMessage(message), { ...message, ...inside, e2e: 'done' });
		const empty = await app.call('encryptMessage', { message: { rid: room.roomId } });
		assert.equal(await rc.decryptContent(room.jwkText, empty.message.content), '{}');
	});

	test('encryptMessage: only the listed members pass, everything else is dropped', async () => {
		const room = await app.roomWithKey();
		const open = Object.fromEntries(PASSES.map((name) => [name, name === 'rid' ? room.roomId : `open ${name}`]));
		const dropped = Object.fromEntries(['md', 'urls', 'blocks', 'mentions', 'channels', 'text', 'u', 'ts', 'html', 'reactions',
			'unknown', 'Msg', 'msg ', 'e2e', 't', 'content', '_updatedAt', 'editedBy', 'tlm', '', '__proto__x'].map((name) => [name, 'secret']));
		for (const shaped of [{ ...open, ...dropped, msg: 'secret' }, { ...dropped, msg: 'secret', ...open }]) {
			const { text: frame, result } = await app.callText('encryptMessage', JSON.stringify({ message: shaped }));
			const { content, ...rest } = result.message;
			assert.deepEqual(rest, { ...open, t: 'e2e', e2e: 'pending', msg: '' });
			assert.equal(await rc.decryptContent(room.jwkText, content), '{"msg":"secret"}');
			assert.ok(!frame.includes('secret'));
		}
	});

	test('encryptMessage: names written with escapes are the same names', async () => {
		const room = await app.roomWithKey();
		const members = [['rid', `"${room.roomId}"`], ['msg', '"secret"'], ['md', '"secret"'], ['tmid', '"T"'], ['t', '"rm"']];
		const text = `{${members.map(([name, value]) => `${escapedName(name)}:${value}`).join(',')}}`;
		const { result: { message } } = await app.callText('encryptMessage', `{"message":${text}}`);
		const { content, ...rest } = message;
		assert.deepEqual(rest, { rid: room.roomId, tmid: 'T', t: 'e2e', e2e: 'pending', msg: '' });
		assert.deepEqual(JSON.parse(await rc.decryptContent(room.jwkText, content)), { msg: 'secret' });
	});

	test('encryptMessage: what is encrypted keeps its text', async () => {
		const room = await app.roomWithKey();
		const texts = ['"a\\u0000\\ud800"', '""', '"\\/\\u0041"', '123456789012345678901234567890', '1e400', 'null', '{ "x" : 1.0 }'];
		for (const text of texts) {
			const { result } = await app.callText('encryptMessage', `{"message":{"rid":"${room.roomId}","msg":${text}}}`);
			assert.equal(await rc.decryptContent(room.jwkText, result.message.content), `{"msg":${text}}`);
		}
	});

	test('encryptMessage: needs a room it may write to, and a current key', async () => {
		await refused(app.call('encryptMessage', { message: { rid: await app.newRoom(), msg: 'x' } }), 'NO_ROOM_KEY');
		await refused(app.call('encryptMessage', { message: { rid: 'not mine', msg: 'x' } }), 'ROOM_NOT_AUTHORIZED', { permission: 'write' });
		for (const message of [{}, { msg: 'x' }, [], 'x', null])
			await refused(app.call('encryptMessage', { message }), 'INVALID_PARAMS', { param: 'message' });
	});

	test('an old room writes what its old clients read', async () => {
		const room = await app.roomWithKey('A128CBC');
		const { message } = await app.call('encryptMessage', { message: { rid: room.roomId, msg: 'hi' } });
		assert.deepEqual(Object.keys(message.content).sort(), ['algorithm', 'ciphertext']);
		assert.equal(await rc.decryptContent(room.jwkText, message.content.ciphertext), '{"msg":"hi"}');
	});
});
