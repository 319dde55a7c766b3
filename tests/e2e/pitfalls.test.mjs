// The pitfalls of interoperability with Rocket.Chat's clients that concern the daemon, one test each, by their numbers in
// docs/interop.md. ELSEWHERE says where the others belong; a last test holds the two against the whole list.
import { constants, createDecipheriv, createHash, createPublicKey, publicEncrypt } from 'node:crypto';
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import * as rc from './lib/rc.mjs';
import { openScene, refused } from './lib/scene.mjs';

const PITFALLS = 48;
const ELSEWHERE = {
	31: 'two envelopes per upload: the client of the upload endpoints',
	32: 'attachment members by MIME group: made by the client',
	33: 'MIME type of the uploaded blob: the client of the upload endpoints',
	34: 'captions of uploads, attachments of edits: the client of the upload endpoints',
	35: 'the setting E2E_Enable_Encrypt_Files: read by the client',
	36: 'files of web 1.0 to 5.x are under the room key itself, and no payload: a client\'s matter, and no method opens them',
	40: 'edits go through chat.update: the client',
	42: 'texts that start with a slash: the client decides what it encrypts',
	43: 'room.encrypted and stale e2eKeyIds: server state, which the client reads',
};

let scene, app, pair;
const tested = new Set();

function pitfall(number, theme, fn) {
	tested.add(number);
	test(`${number}. ${theme}`, fn);
}

const UUID = '11111111-2222-4333-8444-555555555555';
const rewritten = (jwkText, change) => {
	const jwk = JSON.parse(jwkText);
	change(jwk);
	return JSON.stringify(jwk);
};

// RFC 8017, 7.1.1, with the hashes chosen one by one, which no library call offers.
function oaepWrap(publicText, message, { hash = 'sha256', mgf = 'sha256', label = '' } = {}) {
	const digest = (name, ...parts) => createHash(name).update(Buffer.concat(parts)).digest();
	const mask = (seed, length) => {
		const parts = [];
		for (let i = 0, n = 0; n < length; i++) {
			const counter = Buffer.alloc(4);
			counter.writeUInt32BE(i);
			parts.push(digest(mgf, seed, counter));
			n += parts[i].length;
		}
		return Buffer.concat(parts).subarray(0, length);
	};
	const xor = (a, b) => Buffer.from(a.map((byte, i) => byte ^ b[i]));
	const lhash = digest(hash, Buffer.from(label));
	const h = lhash.length;
	const db = Buffer.alloc(256 - h - 1);
	lhash.copy(db);
	const text = Buffer.from(message);
	db[db.length - text.length - 1] = 1;
	text.copy(db, db.length - text.length);
	const seed = Buffer.from(rc.randomBytes(h));
	const maskedDb = xor(db, mask(seed, db.length));
	const maskedSeed = xor(seed, mask(maskedDb, h));
	const key = createPublicKey({ key: JSON.parse(publicText), format: 'jwk' });
	const block = Buffer.concat([Buffer.alloc(1), maskedSeed, maskedDb]);
	return publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, block).toString('base64');
}

const paddingPasses = (jwkText, content) =>
	rc.decryptBytes(jwkText, content).then(() => true, () => false);

describe('pitfalls', () => {
	before(async () => {
		scene = await openScene();
		pair = await scene.identity();
		app = await scene.newApp({ identity: pair });
	});
	after(() => scene.close());

	// ---- keys and kids ----

	pitfall(1, 'keys of a room may share one kid: each message finds its own', async () => {
		const roomId = await app.newRoom();
		const keys = [];
		for (const alg of ['A128CBC', 'A128CBC', 'A128CBC', 'A256GCM']) {
			const key = await rc.makeRoomKey(alg, { kid: 'eyJhbGciOiJB' });
			keys.push(key);
			await app.giveKey(roomId, key, { makeCurrent: true });
		}
		assert.equal((await app.call('listRoomKeys', { roomId })).keys.length, keys.length);
		for (const [i, { jwkText, kid, alg }] of keys.entries()) {
			const content = await rc.encryptV2(jwkText, kid, { msg: `by key ${i}` });
			const opened = await app.call('decrypt', { roomId, content });
			const keyState = i === keys.length - 1 ? 'current' : 'old';
			assert.deepEqual(opened, { kid, algorithm: alg, keyState, payload: { msg: `by key ${i}` } });
		}
	});

	pitfall(2, 'a kid has any length: the wrapped key is the last 344 characters', async () => {
		const roomId = await app.newRoom();
		for (const kid of ['x', 'kid-06', 'eyJhbGciOiJB', '32c9e7917b78', UUID, 'k'.repeat(64)]) {
			const key = await rc.makeRoomKey('A256GCM', { kid });
			const e2eKey = await app.wrap(key);
			assert.equal(e2eKey.length, kid.length + 344);
			assert.equal((await app.call('importRoomKey', { roomId, key: e2eKey })).kid, kid);
			const { key: own } = await app.call('getEncryptedRoomKey', { roomId, kid });
			assert.deepEqual(await rc.unwrapE2EKey(pair.privateText, own), { kid, jwkText: key.jwkText });
		}
		const key = await rc.makeRoomKey('A256GCM', { kid: 'k'.repeat(65) });
		await refused(app.giveKey(roomId, key), 'MALFORMED_ENVELOPE');
	});

	pitfall(3, 'the prefix may be empty or differ: the room\'s e2eKeyId is the kid', async () => {
		const roomId = await app.newRoom();
		const { jwkText } = await rc.makeRoomKey();
		const bare = await app.wrap({ jwkText, kid: '' });
		assert.equal(bare.length, 344);
		await refused(app.call('importRoomKey', { roomId, key: bare }), 'INVALID_PARAMS');
		assert.equal((await app.call('importRoomKey', { roomId, key: bare, kid: UUID })).kid, UUID);

		const second = await rc.makeRoomKey();
		const prefixed = await app.wrap({ ...second, kid: 'prefix-kid-0' });
		const params = { roomId, key: prefixed, kid: 'room-kid', makeCurrent: true };
		assert.equal((await app.call('importRoomKey', params)).kid, 'room-kid');
		const { content } = await app.call('encrypt', { roomId, payload: { msg: 'x' } });
		assert.equal(content.kid, 'room-kid');
		const { key: own } = await app.call('getEncryptedRoomKey', { roomId });
		assert.ok(own.startsWith('room-kid') && own.length === 8 + 344);
		await refused(app.call('getEncryptedRoomKey', { roomId, kid: 'prefix-kid-0' }), 'NO_ROOM_KEY');
	});

	pitfall(4, 'only RSA-2048 can carry a room key: other members are skipped, the batch goes on', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const [small, large, good] =
			await Promise.all([1024, 4096, 2048].map((modulusLength) => rc.makeIdentity({ modulusLength })));
		const recipients = [
			{ _id: 'small', public_key: small.publicText },
			{ _id: 'good', public_key: good.publicText },
			{ _id: 'large', public_key: large.publicText },
			{ _id: 'pem', public_key: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----' },
			{ _id: 'e3', public_key: rewritten(good.publicText, (jwk) => { jwk.e = 'Aw'; }) },
			{ _id: 'empty', public_key: '' },
		];
		const { users, failed } = await app.call('wrapRoomKey', { roomId, recipients });
		assert.deepEqual(users.map((user) => user._id), ['good']);
		assert.deepEqual(await rc.unwrapE2EKey(good.privateText, users[0].key), { kid, jwkText });
		assert.deepEqual(failed.map(({ _id, reason }) => [_id, reason]).sort(),
			['e3', 'empty', 'large', 'pem', 'small'].map((id) => [id, 'INVALID_KEY']));
	});

	pitfall(5, 'web before 7.13 reads 12-character kids and AES-CBC only: an old room stays what it is', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey('A128CBC');
		const { content } = await app.call('encrypt', { roomId, payload: { msg: 'hi' } });
		assert.deepEqual(Object.keys(content).sort(), ['algorithm', 'ciphertext']);
		assert.equal(content.algorithm, 'rc.v1.aes-sha2');
		assert.equal(rc.splitContent(content).kid, kid);
		assert.equal(await rc.decryptContent(jwkText, content), '{"msg":"hi"}');
		const { key } = await app.call('getEncryptedRoomKey', { roomId });
		assert.equal(key.length, 12 + 344);
		assert.equal(JSON.parse((await rc.unwrapE2EKey(pair.privateText, key)).jwkText).alg, 'A128CBC');
	});

	pitfall(6, 'the text of a room key is kept byte for byte', async () => {
		const { jwkText: web } = await rc.makeRoomKey('A128CBC');
		const { k } = JSON.parse(web);
		const texts = [
			web,
			(await rc.makeRoomKey('A128CBC', { order: 'mobile' })).jwkText,
			(await rc.makeRoomKey('A256GCM', { order: 'mobile' })).jwkText,
			`{ "kty": "oct",\n  "k": "${k.slice(0, -1)}A",\n  "key_ops": ["decrypt", "encrypt"], "ext": true, "alg": "A128CBC" }\n`,
			`{"alg":"A128CBC","ext":true,"k":"\\u0041${k.slice(1)}","key_ops":["encrypt","decrypt"],"kty":"oct","x":{"y":"é"}}`,
		];
		const roomId = await app.newRoom();
		const ada = await scene.identity(1);
		for (const jwkText of texts) {
			const kid = (await rc.sha256Hex(jwkText)).slice(0, 12);
			await app.giveKey(roomId, { jwkText, kid }, { makeCurrent: true });
			const { key } = await app.call('getEncryptedRoomKey', { roomId });
			assert.deepEqual(await rc.unwrapE2EKey(pair.privateText, key), { kid, jwkText });
		}
		const recipients = [{ _id: 'ada', public_key: ada.publicText }];
		const { users: [user] } = await app.call('wrapRoomKey', { roomId, recipients });
		const carried = [user.key, ...user.oldKeys.map((old) => old.E2EKey)];
		const opened = await Promise.all(carried.map((key) => rc.unwrapE2EKey(ada.privateText, key)));
		assert.deepEqual(opened.map((key) => key.jwkText).sort(), [...texts].sort());

		// the first text stays when the same key comes again in another member order
		const jwk = JSON.parse(texts[0]);
		const kid = (await rc.sha256Hex(texts[0])).slice(0, 12);
		await app.giveKey(roomId, { kid, jwkText: JSON.stringify({ kty: 'oct', ...jwk }) });
		const { key } = await app.call('getEncryptedRoomKey', { roomId, kid });
		assert.equal((await rc.unwrapE2EKey(pair.privateText, key)).jwkText, texts[0]);
	});

	pitfall(7, 'a room key or public key is taken when the web client takes it', async () => {
		const roomId = await app.newRoom();
		const gcm = (await rc.makeRoomKey()).jwkText;
		const cbc = (await rc.makeRoomKey('A128CBC')).jwkText;
		const rooms = [
			[true, gcm, () => {}],
			[true, cbc, () => {}],
			[true, gcm, (jwk) => { delete jwk.ext; }],
			[true, gcm, (jwk) => { delete jwk.key_ops; }],
			[true, gcm, (jwk) => { jwk.key_ops = ['wrapKey', 'decrypt', 'encrypt']; }],
			[true, gcm, (jwk) => { jwk.use = 'enc'; }],
			[true, gcm, (jwk) => { jwk.unknown = [1, { a: null }]; }],
			[false, gcm, (jwk) => { delete jwk.alg; }],
			[false, gcm, (jwk) => { jwk.alg = 'A128GCM'; }],
			[false, gcm, (jwk) => { jwk.alg = 'a256gcm'; }],
			[false, gcm, (jwk) => { jwk.alg = 'A256CTR'; }],
			[false, gcm, (jwk) => { jwk.alg = 'A128CBC'; }],
			[false, cbc, (jwk) => { jwk.alg = 'A256GCM'; }],
			[false, cbc, (jwk) => { jwk.alg = 'A256CBC'; }],
			[false, gcm, (jwk) => { jwk.ext = false; }],
			[false, gcm, (jwk) => { jwk.key_ops = []; }],
			[false, gcm, (jwk) => { jwk.key_ops = ['encrypt']; }],
			[false, gcm, (jwk) => { jwk.key_ops = ['decrypt']; }],
			[false, gcm, (jwk) => { jwk.key_ops = 'encrypt decrypt'; }],
			[false, gcm, (jwk) => { jwk.use = 'sig'; }],
			[false, gcm, (jwk) => { jwk.kty = 'RSA'; }],
			[false, gcm, (jwk) => { delete jwk.kty; }],
			[false, gcm, (jwk) => { delete jwk.k; }],
			[false, gcm, (jwk) => { jwk.k = jwk.k.slice(0, 42); }],
			[false, gcm, (jwk) => { jwk.k = ''; }],
		];
		for (const [fits, text, change] of rooms) {
			const jwkText = rewritten(text, change);
			const outcome = app.giveKey(roomId, { jwkText, kid: UUID });
			if (fits) assert.equal((await outcome).kid, UUID, jwkText);
			else await refused(outcome, 'KEY_UNWRAP_FAILED');
		}
		for (const jwkText of ['', 'null', '[]', '"text"', '{}', 'not JSON', gcm.slice(0, -1), `${gcm}x`])
			await refused(app.giveKey(roomId, { jwkText, kid: UUID }), 'KEY_UNWRAP_FAILED');

		const publics = [
			[true, () => {}],
			[true, (jwk) => { delete jwk.alg; }],
			[true, (jwk) => { delete jwk.key_ops; }],
			[true, (jwk) => { delete jwk.ext; }],
			[true, (jwk) => { jwk.key_ops = ['wrapKey', 'encrypt']; }],
			[false, (jwk) => { jwk.alg = 'RSA-OAEP'; }],
			[false, (jwk) => { jwk.alg = 'RSA-OAEP-512'; }],
			[false, (jwk) => { jwk.key_ops = ['wrapKey']; }],
			[false, (jwk) => { jwk.use = 'sig'; }],
			[false, (jwk) => { jwk.kty = 'oct'; }],
			[false, (jwk) => { delete jwk.n; }],
			[false, (jwk) => { delete jwk.e; }],
		];
		const { roomId: room } = await app.roomWithKey();
		const recipients = publics.map(([, change], i) => ({ _id: `u${i}`, public_key: rewritten(pair.publicText, change) }));
		const { users } = await app.call('wrapRoomKey', { roomId: room, recipients });
		assert.deepEqual(users.map((user) => user._id), recipients.filter((_, i) => publics[i][0]).map(({ _id }) => _id));

		const it = await scene.newApp();
		for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi']) {
			const privateText = rewritten(pair.privateText, (jwk) => { delete jwk[name]; });
			await refused(it.adopt({ privateText, publicText: pair.publicText }), 'DECRYPT_FAILED');
		}
		const shape = JSON.parse((await it.call('getIdentity')).publicKey);
		assert.deepEqual(Object.keys(shape), ['alg', 'e', 'ext', 'key_ops', 'kty', 'n']);
		assert.deepEqual([shape.alg, shape.e, shape.ext, shape.key_ops, shape.kty],
			['RSA-OAEP-256', 'AQAB', true, ['encrypt'], 'RSA']);
	});

	pitfall(8, 'a public key may be JSON-encoded twice', async () => {
		const { roomId, jwkText } = await app.roomWithKey();
		const ada = await scene.identity(1);
		const twice = JSON.stringify(ada.publicText);
		const recipients = [{ _id: 'ada', public_key: twice }, { _id: 'bob', public_key: JSON.stringify(twice) }];
		const { users } = await app.call('wrapRoomKey', { roomId, recipients });
		assert.equal(users.length, 2);
		for (const user of users) assert.equal((await rc.unwrapE2EKey(ada.privateText, user.key)).jwkText, jwkText);

		const it = await scene.newApp();
		await it.adopt({ ...pair, publicText: JSON.stringify(pair.publicText) });
		assert.equal(it.publicKey, pair.publicText);
	});

	pitfall(9, 'a private key at rest comes in many shapes', async () => {
		const it = await scene.newApp();
		const [passphrase, userId] = ['correct horse', 'bot'];
		const seal = (how) => rc.sealPrivateKey(pair.privateText, { passphrase, userId, ...how });
		const brace = rc.randomBytes(16);
		brace[0] = 0x7b;
		const v2 = await seal();
		const envelopes = {
			'v1': await seal({ form: 'v1' }),
			'v1, first byte {': await seal({ form: 'v1', iv: brace }),
			'bare base64': await seal({ form: 'bare' }),
			'bare base64, first byte {': await seal({ form: 'bare', iv: brace }),
			'v2': v2,
			'v2, 16-byte IV, CBC': await seal({ ivLength: 16 }),
			'v2, 16-byte IV, GCM': await seal({ ivLength: 16, cipher: 'AES-GCM' }),
			'v2 twice encoded': JSON.stringify(v2),
			'v1 twice encoded': JSON.stringify(await seal({ form: 'v1' })),
			'v2 in another member order': JSON.stringify(JSON.parse(v2), ['salt', 'iterations', 'ciphertext', 'iv']),
			'v2 with white space': JSON.stringify(JSON.parse(v2), null, '\t'),
			'v2 as an object': JSON.parse(v2),
		};
		for (const [shape, private_key] of Object.entries(envelopes)) {
			const each = await scene.newApp();
			const params = { appId: each.appId, userId, public_key: pair.publicText, private_key, passphrase };
			const { keyId } = await scene.admin.call('importIdentity', params)
				.catch((error) => assert.fail(`${shape}: ${error.message}`));
			const identity = await each.call('getIdentity');
			assert.deepEqual([identity.keyId, identity.publicKey], [keyId, pair.publicText], shape);
		}
		const good = { appId: it.appId, userId, public_key: pair.publicText, private_key: v2, passphrase };
		for (const private_key of ['', '{}', '[]', '{"$binary":5}', '{"$binary":""}', '{"iv":"AAAA"}', 'not base64!'])
			await refused(scene.admin.call('importIdentity', { ...good, private_key }), 'MALFORMED_ENVELOPE');
		const pem = createPublicKey({ key: JSON.parse(pair.publicText), format: 'jwk' }).export({ type: 'spki', format: 'pem' });
		for (const public_key of [pem, (await scene.identity(1)).publicText])
			await refused(scene.admin.call('importIdentity', { ...good, public_key }), 'INVALID_KEY');
	});

	pitfall(10, 'OAEP takes SHA-256 for label and mask, and nothing else', async () => {
		const roomId = await app.newRoom();
		const { jwkText, kid } = await rc.makeRoomKey();
		const variants = [{ mgf: 'sha1' }, { hash: 'sha1' }, { hash: 'sha1', mgf: 'sha1' }, { label: 'x' }];
		for (const variant of variants) {
			const key = kid + oaepWrap(pair.publicText, jwkText, variant);
			await refused(app.call('importRoomKey', { roomId, key }), 'KEY_UNWRAP_FAILED');
		}
		const key = kid + oaepWrap(pair.publicText, jwkText); // the same construction with the right hashes
		assert.equal((await app.call('importRoomKey', { roomId, key })).kid, kid);
	});

	pitfall(11, 'history wrapped for a former key pair is reported, the rest is kept', async () => {
		const roomId = await app.newRoom();
		const former = await scene.identity(1);
		const keys = [];
		for (let i = 0; i < 4; i++) {
			const key = await rc.makeRoomKey();
			keys.push({ ...key, e2eKey: await app.wrap(key, i % 2 ? former.publicText : undefined) });
		}
		const { imported, failed } = await app.call('importRoomKeys',
			{ roomId, keys: keys.map(({ kid, e2eKey }) => ({ e2eKeyId: kid, E2EKey: e2eKey })) });
		assert.deepEqual(imported, [keys[0].kid, keys[2].kid]);
		assert.deepEqual(failed, [keys[1], keys[3]].map(({ kid }) => ({ kid, reason: 'KEY_UNWRAP_FAILED' })));
		assert.equal((await app.call('listRoomKeys', { roomId })).keys.length, 2);
	});

	pitfall(12, 'the time of a history entry passes through, and unknown stays unknown', async () => {
		const { roomId } = await app.roomWithKey();
		const times = ['2024-10-01T00:00:00.000Z', { $date: 1727740800001 }, undefined];
		const entries = [];
		for (const ts of times) {
			const key = await rc.makeRoomKey();
			entries.push({ e2eKeyId: key.kid, E2EKey: await app.wrap(key), ...(ts === undefined ? {} : { ts }) });
		}
		await app.call('importRoomKeys', { roomId, keys: entries });
		const recipients = [{ _id: 'ada', public_key: pair.publicText }];
		const { users: [{ oldKeys }] } = await app.call('wrapRoomKey', { roomId, recipients });
		const { keys } = await app.call('listRoomKeys', { roomId });
		for (const [i, ts] of times.entries()) {
			const { e2eKeyId: kid } = entries[i];
			const one = await app.call('getEncryptedRoomKey', { roomId, kid });
			for (const shown of [one, keys.find((key) => key.kid === kid), oldKeys.find((key) => key.e2eKeyId === kid)]) {
				assert.deepEqual(shown.ts, ts);
				assert.equal('ts' in shown, ts !== undefined);
			}
		}
	});

	// ---- choosing the cipher ----

	pitfall(13, 'the key says the cipher, the envelope does not', async () => {
		const cbc = await app.roomWithKey('A128CBC');
		const text = '{"msg":"one key, two envelopes"}'; // 32 bytes: with GCM's tag, whole blocks for CBC, too
		assert.equal(text.length % 16, 0);
		for (const encrypt of [rc.encryptV1, rc.encryptV2]) {
			const content = await encrypt(cbc.jwkText, cbc.kid, text);
			const opened = await app.call('decrypt', { roomId: cbc.roomId, content });
			assert.deepEqual([opened.algorithm, opened.payload], ['A128CBC', JSON.parse(text)]);
		}
		// a v2 envelope with a GCM IV does not fit that key, and a 16-byte IV fits no GCM key (Hermes wrote such)
		const gcm = await app.roomWithKey();
		const odd = await rc.encryptV2(gcm.jwkText, gcm.kid, text, rc.randomBytes(16));
		await refused(app.call('decrypt', { roomId: gcm.roomId, content: odd }), 'DECRYPT_FAILED');
		const foreign = await rc.encryptV2(gcm.jwkText, cbc.kid, text);
		await refused(app.call('decrypt', { roomId: cbc.roomId, content: foreign }), 'DECRYPT_FAILED');

		// it writes what every client of such a room reads: v1 for a 12-character kid, else v2 with a 16-byte IV
		const uuid = await app.roomWithKey('A128CBC', { kid: 'uuid' });
		const { content } = await app.call('encrypt', { roomId: uuid.roomId, payload: { msg: 'x' } });
		assert.equal(content.algorithm, 'rc.v2.aes-sha2');
		assert.equal(content.kid, uuid.kid);
		assert.equal(rc.fromBase64(content.iv).length, 16);
		assert.equal(await rc.decryptContent(uuid.jwkText, content), '{"msg":"x"}');
	});

	pitfall(14, 'a federated room\'s algorithm is unsupported, not corrupt', async () => {
		const { roomId } = await app.roomWithKey();
		for (const algorithm of ['m.megolm.v1.aes-sha2', 'rc.v3.aes-sha2', '']) {
			const content = { algorithm, ciphertext: 'AAAA' };
			await refused(app.call('decrypt', { roomId, content }), 'UNSUPPORTED_ALGORITHM', { algorithm });
			const message = { _id: 'm', rid: roomId, t: 'e2e', msg: '', content };
			await refused(app.call('decryptMessage', { message }), 'UNSUPPORTED_ALGORITHM', { algorithm });
		}
	});

	pitfall(15, 'a wrong CBC key whose padding passes is not believed', async () => {
		const kid = 'eyJhbGciOiJB';
		const [right, wrong] = await Promise.all([0, 1].map(() => rc.makeRoomKey('A128CBC', { kid })));
		const roomId = await app.newRoom();
		await app.giveKey(roomId, right);
		await app.giveKey(roomId, wrong, { makeCurrent: true }); // so that the wrong one is tried first
		const onlyWrong = await app.newRoom();
		await app.giveKey(onlyWrong, wrong, { makeCurrent: true });
		for (let found = 0, tries = 0; found < 8; tries++) {
			assert.ok(tries < 100_000, 'one in about 256 passes');
			const payload = { msg: `attempt ${tries}` };
			const content = await rc.encryptV1(right.jwkText, kid, payload);
			if (!await paddingPasses(wrong.jwkText, content)) continue;
			found++;
			const opened = await app.call('decrypt', { roomId, content });
			assert.deepEqual([opened.keyState, opened.payload], ['old', payload]);
			await refused(app.call('decrypt', { roomId: onlyWrong, content }), 'DECRYPT_FAILED');
		}
		// well padded, and still no payload
		for (const text of ['', '7', 'null', '[]', '"text"', '{', '{"msg":}', new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])]) {
			const content = await rc.encryptV1(wrong.jwkText, kid, text);
			await refused(app.call('decrypt', { roomId: onlyWrong, content }), 'DECRYPT_FAILED');
		}
	});

	pitfall(16, 'impossible lengths are a malformed envelope, before any key is tried', async () => {
		const { roomId } = await app.roomWithKey('A128CBC', { kid: '32c9e7917b78' });
		const b64 = (n) => rc.toBase64(rc.randomBytes(n));
		const v1 = ['', '32c9e7917b7', '32c9e7917b78', `32c9e7917b78${b64(15)}`, `32c9e7917b78${b64(16)}`,
			`32c9e7917b78${b64(31)}`, `32c9e7917b78${b64(33)}`];
		const v2 = { algorithm: 'rc.v2.aes-sha2', kid: UUID, iv: b64(12), ciphertext: b64(32) };
		const contents = [
			...v1,
			...v1.map((ciphertext) => ({ algorithm: 'rc.v1.aes-sha2', ciphertext })),
			{ algorithm: 'rc.v1.aes-sha2' },
			{ ciphertext: v2.ciphertext },
			...['kid', 'iv', 'ciphertext'].flatMap((name) => [{ ...v2, [name]: '' }, { ...v2, [name]: undefined }]),
			...[1, 8, 11, 13, 15, 17, 32].map((n) => ({ ...v2, iv: b64(n) })),
			...[1, 15].map((n) => ({ ...v2, ciphertext: b64(n) })),
			...[15, 17, 31].map((n) => ({ ...v2, iv: b64(16), ciphertext: b64(n) })),
			{ ...v2, kid: 'k'.repeat(65) },
		];
		for (const content of contents)
			await refused(app.call('decrypt', { roomId, content }), 'MALFORMED_ENVELOPE');
		await refused(app.call('decrypt', { roomId, content: { ...v2, ciphertext: b64(16) } }), 'NO_ROOM_KEY');
	});

	// ---- passphrases ----

	pitfall(17, 'web and mobile make different bytes of a passphrase: both are tried', async () => {
		const it = await scene.newApp();
		for (const passphrase of ['plain ascii', 'pässwörd-éè', 'ÿ\u0080\u00a0', 'n\u0303 decomposed', 'pass€word', '密码🔒'])
			for (const encoding of ['latin1', 'utf8'])
				for (const form of ['v1', 'v2']) {
					if (encoding === 'latin1' && [...passphrase].some((c) => c.codePointAt(0) > 255)) continue;
					await it.adopt({ ...pair, passphrase, encoding, form });
				}
		// no Unicode normalisation: what looks the same is another passphrase
		const sealed = await rc.sealPrivateKey(pair.privateText, { passphrase: '\u00e9', userId: 'bot', encoding: 'utf8' });
		await refused(scene.admin.call('importIdentity',
			{ appId: it.appId, userId: 'bot', public_key: pair.publicText, private_key: sealed, passphrase: 'e\u0301' }),
		'DECRYPT_FAILED');
		// sealed only with what both make the same bytes of
		for (const passphrase of ['pässwörd', 'pass€word', 'tab\there', 'del\u007f'])
			await refused(scene.admin.call('exportIdentity', { appId: it.appId, userId: 'bot', passphrase }), 'INVALID_PARAMS');
	});

	pitfall(18, 'the salt is an opaque text, or the user id where there is none', async () => {
		const it = await scene.newApp();
		for (const salt of [`v2:bot:${rc.uuid()}`, 'v2:bot:mobile', 'YWJj', '', 'sälz', null])
			await it.adopt({ ...pair, salt });
		const { private_key } = await scene.admin.call('exportIdentity',
			{ appId: it.appId, userId: 'bot', passphrase: 'correct horse' });
		const envelope = JSON.parse(private_key);
		assert.deepEqual(Object.keys(envelope), ['iv', 'ciphertext', 'salt', 'iterations']);
		assert.match(envelope.salt, /^v2:bot:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
		assert.equal(rc.fromBase64(envelope.iv).length, 12);
	});

	pitfall(19, 'iterations come from a server and have bounds', async () => {
		const it = await scene.newApp();
		const sealed = JSON.parse(await rc.sealPrivateKey(pair.privateText, { passphrase: 'correct horse', userId: 'bot' }));
		const adopt = (iterations) => scene.admin.call('importIdentity', { appId: it.appId, userId: 'bot',
			public_key: pair.publicText, passphrase: 'correct horse', private_key: JSON.stringify({ ...sealed, iterations }) });
		for (const iterations of [0, 1, 999, 2_000_001, 1e9, 4294968296, 1e300, -1000, 1000.5, '1000', null, undefined])
			await refused(adopt(iterations), 'MALFORMED_ENVELOPE');
		await refused(adopt(1001), 'DECRYPT_FAILED');
		assert.ok((await adopt(1000)).keyId);
	});

	pitfall(20, 'an envelope of both forms is read as web reads it: $binary first', async () => {
		const it = await scene.newApp();
		const [passphrase, userId] = ['correct horse', 'bot'];
		const other = await scene.identity(1);
		const v1 = JSON.parse(await rc.sealPrivateKey(pair.privateText, { passphrase, userId, form: 'v1' }));
		const v2 = JSON.parse(await rc.sealPrivateKey(other.privateText, { passphrase, userId }));
		const params = { appId: it.appId, userId, private_key: JSON.stringify({ ...v2, ...v1 }), passphrase };
		await refused(scene.admin.call('importIdentity', { ...params, public_key: other.publicText }), 'INVALID_KEY');
		await scene.admin.call('importIdentity', { ...params, public_key: pair.publicText });
		assert.equal((await it.call('getIdentity')).publicKey, pair.publicText);
	});

	// ---- payloads ----

	pitfall(21, 'old clients wrote `text`: it is `msg` where there is no `msg`', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey('A128CBC');
		const cases = [
			['{"_id":"a","text":"mobile","userId":"u","ts":{"$date":1}}', { _id: 'a', msg: 'mobile', userId: 'u', ts: { $date: 1 } }],
			['{"text":"old web","ack":true}', { msg: 'old web', ack: true }],
			['{"text":"outer","msg":"inner"}', { text: 'outer', msg: 'inner' }],
			['{"msg":"","text":"x"}', { msg: '', text: 'x' }],
			['{"t\\u0065xt":"escaped"}', { msg: 'escaped' }],
			['{"a":{"text":"deep"}}', { a: { text: 'deep' } }],
		];
		for (const [text, payload] of cases) {
			const content = await rc.encryptV1(jwkText, kid, text);
			assert.deepEqual((await app.call('decrypt', { roomId, content })).payload, payload);
		}
		const content = await rc.encryptV1(jwkText, kid, 'a text that is no JSON'); // rocket-vibe takes it, the daemon does not
		await refused(app.call('decrypt', { roomId, content }), 'DECRYPT_FAILED');
	});

	pitfall(22, 'a message with both `msg` and `content` is read from `content`', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey('A128CBC');
		const [inMsg, inContent] = [await rc.encryptV1(jwkText, kid, { msg: 'in msg' }),
			await rc.encryptV1(jwkText, kid, { msg: 'in content' })];
		const wire = { _id: 'm', rid: roomId, t: 'e2e', e2e: 'pending', msg: inMsg.ciphertext };
		const read = async (message) => (await app.call('decryptMessage', { message })).message;
		assert.equal((await read({ ...wire, content: inContent })).msg, 'in content');
		assert.equal((await read(wire)).msg, 'in msg');
		// no fallback to what web would not look at
		await refused(read({ ...wire, content: { algorithm: 'rc.v1.aes-sha2' } }), 'MALFORMED_ENVELOPE');
	});

	pitfall(23, 'EJSON values stay as they are', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const text = '{"msg":"","d":{"$date":1759174115076},"b":{"$binary":"AQID"},"e":{"$escape":{"$date":5}},'
			+ '"i":{"$InfNaN":-1},"r":{"$regexp":"a","$flags":"i"},"o":{"$type":"oid","$value":"x"}}';
		const content = await rc.encryptV2(jwkText, kid, text);
		const { text: frame, result } = await app.callText('decrypt', JSON.stringify({ roomId, content }));
		assert.deepEqual(result.payload, JSON.parse(text));
		assert.ok(frame.includes(text));
		const sent = await app.callText('encrypt', `{"roomId":"${roomId}","payload":${text}}`);
		assert.equal(await rc.decryptContent(jwkText, sent.result.content), text);
	});

	pitfall(24, 'an empty text, no text, and members nobody knows survive', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const payloads = [{ msg: '' }, {}, { attachments: [] }, { msg: 'x', unknown: { deep: [1, null, true] }, '': 0 },
			{ files: [{ _id: 'f', name: 'é.txt' }], file: { _id: 'f' }, attachments: [{ title: 't', actions: null }] }];
		for (const payload of payloads) {
			const content = await rc.encryptV2(jwkText, kid, payload);
			assert.deepEqual((await app.call('decrypt', { roomId, content })).payload, payload);
			const back = await app.call('encrypt', { roomId, payload });
			assert.equal(await rc.decryptContent(jwkText, back.content), JSON.stringify(payload));
		}
	});

	pitfall(25, 'JavaScript\'s strings and numbers survive: NUL, lone surrogates, BOM, number texts', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const texts = [
			'{"msg":"a\\u0000b"}', '{"\\u0000":1,"msg":"\\u0000"}', '{"msg":"\\ud800"}', '{"msg":"x\\udc00y\\uD83D"}',
			'{"msg":"\\ud83d\\udd12"}', '{"msg":"🔒 e\\u0301 \u2028\u2029 \ufeff \uffff"}', '{"msg":"\\/\\b\\f\\n\\r\\t\\"\\\\"}',
			'{"n":0.1,"big":123456789012345678901234567890,"e":1e21,"E":1E+2,"z":-0,"min":5e-324,"over":1e400,"u":-1e999}',
			'{"msg":"twice","msg":"last wins"}', ' \t\r\n{ "msg" :\n"spaced" } \n', '{"__proto__":{"a":1},"constructor":2}',
		];
		for (const text of texts) {
			const content = await rc.encryptV2(jwkText, kid, text);
			const { text: frame, result } = await app.callText('decrypt', JSON.stringify({ roomId, content }));
			assert.deepEqual(result.payload, JSON.parse(text), text);
			for (const number of text.match(/(?<=:)-?\d[\d.eE+-]*/g) ?? [])
				assert.ok(frame.includes(number), `the number text ${number}`);
		}
		const bom = await rc.encryptV2(jwkText, kid, '\ufeff{"msg":"after a byte order mark"}');
		assert.equal((await app.call('decrypt', { roomId, content: bom })).payload.msg, 'after a byte order mark');

		// and on the way out; a frame cannot hold a line end, nor any frame two members of one name
		for (const text of texts.filter((t) => !t.includes('\n') && !t.includes('twice'))) {
			const { result } = await app.callText('encrypt', `{"roomId":"${roomId}","payload":${text}}`);
			assert.equal(await rc.decryptContent(jwkText, result.content), text);
		}
		// bad UTF-8 is refused where web would show replacement characters and mobile throws
		const bad = [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]];
		for (const bytes of bad) {
			const plain = new Uint8Array([...Buffer.from('{"msg":"'), ...bytes, ...Buffer.from('"}')]);
			const content = await rc.encryptV2(jwkText, kid, plain);
			await refused(app.call('decrypt', { roomId, content }), 'DECRYPT_FAILED');
		}
	});

	pitfall(26, 'base64 is strict but for missing padding', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey('A256GCM', { kid: UUID });
		let content;
		do // one whose ciphertext has padding and both characters that base64url writes otherwise
			content = await rc.encryptV2(jwkText, kid, { msg: 'padding!' });
		while (!/\+.*\/|\/.*\+/.test(content.ciphertext));
		const { ciphertext } = content;
		assert.ok(ciphertext.endsWith('='));
		const ok = [ciphertext, ciphertext.replace(/=+$/, '')];
		for (const text of ok)
			assert.equal((await app.call('decrypt', { roomId, content: { ...content, ciphertext: text } })).payload.msg, 'padding!');
		const bad = [ciphertext.replace(/\+/g, '-').replace(/\//g, '_'), `${ciphertext}\n`, `${ciphertext} `, ` ${ciphertext}`,
			`${ciphertext.slice(0, 8)}\r\n${ciphertext.slice(8)}`, `${ciphertext.slice(0, 8)}=${ciphertext.slice(8)}`,
			`${ciphertext}=`, `${ciphertext}AAAA`, `*${ciphertext.slice(1)}`, `${ciphertext.replace(/=+$/, '')}é`];
		for (const text of bad)
			await refused(app.call('decrypt', { roomId, content: { ...content, ciphertext: text } }), 'MALFORMED_ENVELOPE');
		const key = await app.wrap({ jwkText, kid });
		await refused(app.call('importRoomKey', { roomId, key: `${key.slice(0, -344)}-${key.slice(-343)}` }), 'MALFORMED_ENVELOPE');

		for (let n = 0; n < 32; n++) {
			const out = (await app.call('encrypt', { roomId, payload: { msg: 'x'.repeat(n) } })).content;
			for (const text of [out.iv, out.ciphertext]) {
				assert.match(text, /^[A-Za-z0-9+/]+={0,2}$/);
				assert.equal(text, rc.toBase64(rc.fromBase64(text)));
			}
		}
	});

	pitfall(27, 'nothing binds a ciphertext to its message, but a payload cannot claim another sender', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const claims = { _id: 'forged', rid: 'forged', ts: 'forged', u: { _id: 'eve' }, t: 'rm', e2e: 'x', content: {},
			tmid: 'forged', _updatedAt: 'forged', editedAt: 'forged', editedBy: 'forged', msg: 'hi' };
		const content = await rc.encryptV2(jwkText, kid, claims);
		for (const _id of ['m1', 'replayed']) { // the format cannot tell these apart; docs/security.md says so
			const wire = { _id, rid: roomId, t: 'e2e', e2e: 'pending', ts: 'T', u: { _id: 'ada' }, msg: '', content };
			const { message } = await app.call('decryptMessage', { message: wire });
			assert.deepEqual(message, { ...wire, e2e: 'done', msg: 'hi' });
		}
	});

	// ---- messages in context ----

	pitfall(37, 'an attachment that the server added is not part of what was encrypted', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey();
		const content = await rc.encryptV2(jwkText, kid, { msg: '[ ](https://chat/group/x?msg=1) quoted', attachments: [{ text: 'own' }] });
		const { payload } = await app.call('decrypt', { roomId, content });
		assert.deepEqual(payload.attachments, [{ text: 'own' }]);
		const wire = { _id: 'm', rid: roomId, t: 'e2e', e2e: 'pending', msg: '', attachments: [{ text: 'by the server' }], content };
		const { message } = await app.call('decryptMessage', { message: wire });
		assert.deepEqual(message.attachments, [{ text: 'own' }]);
	});

	pitfall(38, 'a pinned message keeps its ciphertext in attachments[0], as text or as content', async () => {
		const { roomId, kid, jwkText } = await app.roomWithKey('A128CBC');
		const content = await rc.encryptV1(jwkText, kid, { text: 'pinned' });
		const pinned = { _id: 'p', rid: roomId, t: 'message_pinned_e2e', msg: '', attachments: [{ text: content.ciphertext, content }] };
		assert.deepEqual((await app.call('decryptMessage', { message: pinned })).message, pinned, 'not an e2e message itself');
		for (const one of [pinned.attachments[0].text, pinned.attachments[0].content])
			assert.deepEqual((await app.call('decrypt', { roomId, content: one })).payload, { msg: 'pinned' });
	});

	pitfall(39, 'a thread\'s tmid and tshow stay clear', async () => {
		const { roomId, jwkText } = await app.roomWithKey();
		const { message } = await app.call('encryptMessage', { message: { rid: roomId, msg: 'reply', tmid: 'T1', tshow: true } });
		assert.deepEqual([message.tmid, message.tshow], ['T1', true]);
		assert.equal(await rc.decryptContent(jwkText, message.content), '{"msg":"reply"}');
	});

	pitfall(41, 'e2eMentions stay clear, and mentions of the server\'s own parsing are dropped', async () => {
		const { roomId } = await app.roomWithKey();
		const e2eMentions = { e2eUserMentions: ['@ada'], e2eChannelMentions: [] };
		const { message } = await app.call('encryptMessage',
			{ message: { rid: roomId, msg: '@ada hi', e2eMentions, mentions: [{ _id: 'ada' }], channels: [] } });
		assert.deepEqual(message.e2eMentions, e2eMentions);
		assert.ok(!('mentions' in message) && !('channels' in message));
	});

	pitfall(44, 'a new key moves the current one to the history', async () => {
		const first = await app.roomWithKey();
		const { roomId } = first;
		const content = await rc.encryptV2(first.jwkText, first.kid, { msg: 'before the reset' });
		await app.call('createRoomKey', { roomId });
		const opened = await app.call('decrypt', { roomId, content });
		assert.deepEqual([opened.keyState, opened.payload.msg], ['old', 'before the reset']);
		await app.giveKey(roomId, await rc.makeRoomKey(), { makeCurrent: true });
		assert.equal((await app.call('decrypt', { roomId, content })).keyState, 'old');
		assert.deepEqual((await app.call('listRoomKeys', { roomId })).keys.map((key) => key.state), ['current', 'old', 'old']);
	});

	pitfall(45, 'a suggested key that fails leaves everything as it was', async () => {
		const { roomId, kid } = await app.roomWithKey();
		const before = await app.call('listRoomKeys', { roomId });
		const suggested = await rc.makeRoomKey();
		const wrapped = await app.wrap(suggested, (await scene.identity(1)).publicText);
		await refused(app.call('importRoomKey', { roomId, key: wrapped, makeCurrent: true }), 'KEY_UNWRAP_FAILED');
		assert.deepEqual(await app.call('listRoomKeys', { roomId }), before);
		assert.equal((await app.call('encrypt', { roomId, payload: { msg: '' } })).content.kid, kid);
		await app.giveKey(roomId, suggested, { makeCurrent: true }); // wrapped for the app: adopted while a key exists
		assert.equal((await app.call('encrypt', { roomId, payload: { msg: '' } })).content.kid, suggested.kid);
	});

	pitfall(46, 'who loses the race to create a key takes the winner\'s', async () => {
		const roomId = await app.newRoom();
		const lost = await app.call('createRoomKey', { roomId });
		const winner = await rc.makeRoomKey();
		await app.giveKey(roomId, winner, { makeCurrent: true });
		const { content } = await app.call('encrypt', { roomId, payload: { msg: 'by the winner\'s key' } });
		assert.equal(content.kid, winner.kid);
		assert.notEqual(content.kid, lost.kid);
		assert.equal(await rc.decryptContent(winner.jwkText, content), '{"msg":"by the winner\'s key"}');
	});

	pitfall(47, 'messages carry the names of the wire, not those of the Apps-Engine', async () => {
		const { roomId, jwkText } = await app.roomWithKey();
		const attachments = [{ title: 'a', image_url: '/x.png', ts: '2026-01-01T00:00:00.000Z', author_name: 'bot' }];
		const { message } = await app.call('encryptMessage', { message: { rid: roomId, msg: 'hi', attachments,
			_unmappedProperties_: { t: 'x' }, sender: { id: 'bot' }, room: { id: roomId }, text: 'secret', updatedAt: 1 } });
		assert.deepEqual(Object.keys(message).sort(), ['content', 'e2e', 'msg', 'rid', 't']);
		assert.deepEqual([message.t, message.e2e, message.msg], ['e2e', 'pending', '']);
		assert.deepEqual(JSON.parse(await rc.decryptContent(jwkText, message.content)), { msg: 'hi', attachments });
	});

	pitfall(48, 'what cannot be read is an error with a reason, never a text', async () => {
		const { roomId, kid } = await app.roomWithKey();
		const stranger = await rc.makeRoomKey();
		const wire = (content) => ({ message: { _id: 'm', rid: roomId, t: 'e2e', e2e: 'pending', msg: '', content } });
		const unknown = await rc.encryptV2(stranger.jwkText, stranger.kid, { msg: 'x' });
		const wrongKey = await rc.encryptV2(stranger.jwkText, kid, { msg: 'x' });
		const outcomes = [
			[unknown, 'NO_ROOM_KEY', { kid: stranger.kid }],
			[wrongKey, 'DECRYPT_FAILED', {}],
			[{ ...unknown, iv: '!' }, 'MALFORMED_ENVELOPE', {}],
			[{ ...unknown, algorithm: 'x' }, 'UNSUPPORTED_ALGORITHM', { algorithm: 'x' }],
		];
		for (const [content, reason, data] of outcomes) {
			await refused(app.call('decrypt', { roomId, content }), reason, data);
			await refused(app.call('decryptMessage', wire(content)), reason, data);
		}
		await refused(app.call('decrypt', { roomId: await app.newRoom(), content: unknown }), 'NO_ROOM_KEY', { kid: stranger.kid });
	});

	// A member encrypts, with an IV of the test's choice; gives the plaintext that the daemon makes of it, in chunks of @n bytes.
	async function readFile(roomId, { key, iv, cipher, sha256 }, n) {
		const { fileId } = await app.call('fileOpen', { roomId, mode: 'decrypt', key, iv, ...(sha256 === undefined ? {} : { sha256 }) });
		const chunks = [];
		for (let at = 0; at < cipher.length; at += n)
			chunks.push(app.call('fileUpdate', { fileId, data: rc.toBase64(cipher.subarray(at, at + n)) }));
		const out = Buffer.concat((await Promise.all(chunks)).map(({ data }) => rc.fromBase64(data)));
		return { out, end: app.call('fileClose', { fileId }) };
	}

	pitfall(28, 'the counter of a file has 64 bits: it wraps, and nothing is carried', async () => {
		const roomId = await app.newRoom();
		const plain = rc.randomBytes(100);
		for (const high of [0x00, 0xff]) {
			const iv = new Uint8Array(16).fill(high).fill(0xff, 8);
			const file = await rc.encryptFile('x', plain, { iv });
			for (const n of [7, 16, 100]) {
				const { out, end } = await readFile(roomId, file, n);
				assert.deepEqual(new Uint8Array(out), plain);
				assert.equal((await end).size, 100);
			}
			// the other width makes something else of it, from the second block on
			const wide = createDecipheriv('aes-256-ctr', Buffer.from(file.key.k, 'base64url'), iv).update(file.cipher);
			assert.notDeepEqual(new Uint8Array(wide), plain);
		}
		// what the daemon writes is the same to both: its IV is too far from the wrap
		const { fileId, key, iv } = await app.call('fileOpen', { roomId, mode: 'encrypt', name: 'x' });
		const { data } = await app.call('fileUpdate', { fileId, data: rc.toBase64(plain) });
		const wide = createDecipheriv('aes-256-ctr', Buffer.from(key.k, 'base64url'), rc.fromBase64(iv)).update(rc.fromBase64(data));
		assert.deepEqual(new Uint8Array(wide), plain);
		assert.ok(rc.fromBase64(iv)[8] < 0x80);
	});

	pitfall(29, 'the hash of a file is given, and compared where the sender gave one, in either case', async () => {
		const roomId = await app.newRoom();
		const plain = rc.randomBytes(100);
		const file = await rc.encryptFile('x', plain);
		for (const sha256 of [undefined, file.sha256, file.sha256.toUpperCase()]) {
			const { end } = await readFile(roomId, { ...file, sha256 }, 64);
			assert.deepEqual(await end, { sha256: file.sha256, size: 100 });
		}
		const { end } = await readFile(roomId, { ...file, cipher: file.cipher.with(50, file.cipher[50] ^ 1) }, 64);
		await refused(end, 'HASH_MISMATCH');
	});

	pitfall(30, 'the key of a file comes out of the ciphertext, and nothing around it counts', async () => {
		const { roomId, jwkText, kid } = await app.roomWithKey();
		const plain = rc.randomBytes(100);
		const { key, iv, cipher, sha256 } = await rc.encryptFile('x', plain);
		const other = await rc.encryptFile('x', plain);
		const sent = { msg: '', attachments: [{ title: 'x', encryption: { key, iv }, hashes: { sha256 } }] };
		const { message } = await app.call('decryptMessage', { message: { _id: 'm', rid: roomId, t: 'e2e', e2e: 'pending', msg: '',
			attachments: [{ title: 'x', encryption: { key: other.key, iv: other.iv }, hashes: { sha256 } }],
			content: await rc.encryptV2(jwkText, kid, sent) } });
		assert.deepEqual(message.attachments, sent.attachments);
		const { out, end } = await readFile(roomId, { ...message.attachments[0].encryption, ...message.attachments[0].hashes, cipher }, 100);
		assert.deepEqual(new Uint8Array(out), plain);
		await end;
	});

	test('every pitfall is tested here or has its place elsewhere', () => {
		const both = [...tested, ...Object.keys(ELSEWHERE).map(Number)].sort((a, b) => a - b);
		assert.deepEqual(both, Array.from({ length: PITFALLS }, (_, i) => i + 1));
	});
});
