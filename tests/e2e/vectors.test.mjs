// Every vector of tests/vectors/rocketchat.json has its expected outcome through the daemon's socket.
// Driven by `kind`, and by `name` for those of kind "other": a vector that this file does not know is a failure, so that
// none is ever added unseen.
import { readFileSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import * as rc from './lib/rc.mjs';
import { openScene, refused } from './lib/scene.mjs';

const { vectors } = JSON.parse(readFileSync(new URL('../vectors/rocketchat.json', import.meta.url)));
const named = Object.fromEntries(vectors.map((vector) => [vector.name, vector]));
const UUID = 'f46d2864-0384-4a87-8815-51fba2cad216';

let scene, app;
const byPrivateKey = new Map();

// An app that holds the key pair of @privateText; one for each pair.
function appWith(privateText) {
	if (!byPrivateKey.has(privateText)) byPrivateKey.set(privateText, scene.newApp({ identity: { privateText } }));
	return byPrivateKey.get(privateText);
}

async function roomWith(jwkText, kid) {
	const roomId = await app.newRoom();
	await app.giveKey(roomId, { jwkText, kid }, { makeCurrent: true });
	return roomId;
}

// ---- one function a kind -----------------------------------------------------------------------------------------

async function message({ inputs, expected }) {
	const { content, session_key_jwk: jwkText } = inputs;
	if (!jwkText) {
		const roomId = await roomWith((await rc.makeRoomKey()).jwkText, UUID);
		return refused(app.call('decrypt', { roomId, content }), 'MALFORMED_ENVELOPE');
	}
	const kid = content.kid ?? content.ciphertext.slice(0, 12);
	const roomId = await roomWith(jwkText, kid);
	if (expected.error) return refused(app.call('decrypt', { roomId, content }), 'DECRYPT_FAILED');

	const sent = JSON.parse(expected.plaintext);
	const result = await app.call('decrypt', { roomId, content });
	assert.equal(result.kid, expected.kid ?? kid);
	assert.equal(result.algorithm, JSON.parse(jwkText).alg);
	assert.equal(result.keyState, 'current');
	assert.equal(result.payload.msg, expected.msg);
	const { text, ...rest } = sent;
	assert.deepEqual(result.payload, 'msg' in sent ? sent : { ...rest, msg: text });

	// as a whole message, and the other way: what the daemon writes with this key, the client reads
	const wire = { _id: 'm1', rid: roomId, t: 'e2e', e2e: 'pending', msg: content.ciphertext, u: { _id: 'ada' }, content };
	const opened = await app.call('decryptMessage', { message: wire });
	assert.equal(opened.message.msg, expected.msg);
	assert.equal(opened.message.e2e, 'done');
	const answer = await app.call('encrypt', { roomId, payload: { msg: expected.msg } });
	assert.equal(await rc.decryptContent(jwkText, answer.content), JSON.stringify({ msg: expected.msg }));
}

async function legacyString({ inputs, expected }) {
	// no key is published: it is parsed (the error is not about the envelope) and names its kid
	const roomId = await roomWith((await rc.makeRoomKey('A128CBC')).jwkText, 'aaaaaaaaaaaa');
	await refused(app.call('decrypt', { roomId, content: inputs.msg }), 'NO_ROOM_KEY', { kid: expected.kid });
	const parts = rc.splitContent(inputs.msg);
	assert.deepEqual([parts.kid, rc.toHex(parts.iv), parts.cipher.length],
		[expected.kid, expected.iv_hex, expected.ciphertext_length]);
}

async function privateKey({ inputs, expected }) {
	const { user_id: userId, passphrase, stored_private_key: stored } = inputs;
	// the vectors of a wrong passphrase leave the public key out: it is that of the vector with the same envelope
	const twin = vectors.find((v) => v.inputs.stored_private_key === stored && v.expected.private_key_jwk);
	const privateText = expected.private_key_jwk ?? twin.expected.private_key_jwk;
	const publicText = inputs.public_key ?? rc.publicOf(privateText);
	const it = await scene.newApp();
	const adopt = scene.admin.call('importIdentity',
		{ appId: it.appId, userId, public_key: publicText, private_key: stored, passphrase });
	if (expected.error) {
		await refused(adopt, 'DECRYPT_FAILED');
		assert.equal((await it.call('getIdentity')).keyId, it.keyId, 'the former key stays');
		return;
	}
	const { keyId } = await adopt;
	const identity = await it.call('getIdentity');
	assert.equal(identity.keyId, keyId);
	assert.equal(identity.publicKey, rc.publicOf(privateText));

	const out = await scene.admin.call('exportIdentity', { appId: it.appId, userId, passphrase: 'correct horse battery' });
	assert.equal(out.public_key, rc.publicOf(privateText));
	assert.equal(await rc.openPrivateKey(out.private_key, { passphrase: 'correct horse battery', userId }), privateText);
}

async function prefixedBase64({ inputs, expected }) {
	const privateText = named['web-room-key-wrapped-v1'].inputs.private_key_jwk;
	const it = await appWith(privateText);
	const roomId = await it.newRoom();
	const imported = it.call('importRoomKey', { roomId, key: inputs.encoded });
	if (expected.error) return refused(imported, 'MALFORMED_ENVELOPE');
	assert.equal((await imported).kid, expected.prefix);
	assert.equal(inputs.encoded.length - expected.prefix.length, expected.data_base64.length);
}

async function wrappedRoomKey({ inputs, expected }) {
	const it = await appWith(inputs.private_key_jwk);
	const roomId = await it.newRoom();
	const imported = it.call('importRoomKey', { roomId, key: inputs.e2e_key, makeCurrent: true });
	if (expected.error) {
		await refused(imported, 'KEY_UNWRAP_FAILED');
		const { failed } = await it.call('importRoomKeys',
			{ roomId, keys: [{ e2eKeyId: 'x', E2EKey: inputs.e2e_key }] });
		assert.deepEqual(failed, [{ kid: 'x', reason: 'KEY_UNWRAP_FAILED' }]);
		return;
	}
	const { alg } = JSON.parse(expected.session_key_jwk);
	assert.deepEqual(await imported, { kid: expected.kid, algorithm: alg, state: 'current' });
	const { key } = await it.call('getEncryptedRoomKey', { roomId });
	assert.deepEqual(await rc.unwrapE2EKey(inputs.private_key_jwk, key),
		{ kid: expected.kid, jwkText: expected.session_key_jwk });
}

async function file({ inputs, expected }) {
	const roomId = await app.newRoom();
	const fileName = inputs.file_name ?? 'a';
	const through = async ({ fileId }, data) => {
		const out = await app.call('fileUpdate', { fileId, data });
		const { sha256, size } = await app.call('fileClose', { fileId });
		assert.deepEqual([sha256, size], [expected.sha256_of_plaintext, rc.fromBase64(inputs.plaintext_base64).length]);
		return out.data;
	};
	const key = JSON.parse(inputs.key_jwk);
	const read = await app.call('fileOpen', { roomId, mode: 'decrypt', key, iv: inputs.iv, sha256: expected.sha256_of_plaintext });
	assert.equal(await through(read, expected.ciphertext_base64), inputs.plaintext_base64);
	// with the vector's key and IV the cipher is its own reverse; with its own, a client reads what it writes
	const again = await app.call('fileOpen', { roomId, mode: 'decrypt', key, iv: inputs.iv });
	const back = await app.call('fileUpdate', { fileId: again.fileId, data: inputs.plaintext_base64 });
	assert.equal(back.data, expected.ciphertext_base64);
	const written = await app.call('fileOpen', { roomId, mode: 'encrypt', name: fileName });
	if (expected.upload_name) assert.equal(written.hashedName, expected.upload_name);
	assert.equal(JSON.stringify({ ...written.key, k: key.k }), inputs.key_jwk);
	const cipher = await through(written, inputs.plaintext_base64);
	assert.equal(rc.toBase64(await rc.decryptFile(written, rc.fromBase64(cipher))), inputs.plaintext_base64);
}

// ---- those of kind "other" that the socket reaches ---------------------------------------------------------------

const others = {
	// the daemon derives no kid: it keeps under these what clients named so, and gives them back
	'kid-derivation-7.0-sha256': ({ inputs, expected }) => keepsKid(inputs.session_key_json, expected.kid, 'sha256'),
	'kid-derivation-pre-7.0-web-constant': ({ inputs, expected }) =>
		keepsKid(inputs.session_key_json, expected.kid, 'constant'),

	'passphrase-bytes-latin1': async ({ inputs, expected }) => {
		assert.equal(rc.toHex(rc.passphraseBytes(inputs.text, 'latin1')), expected.bytes_hex);
		await adopts({ passphrase: inputs.text, encoding: 'latin1' });
	},
	'master-key-latin1-known-answer': async ({ inputs, expected }) => {
		const { passphrase, salt, iterations } = inputs;
		const known = { latin1: expected.derived_key_hex, utf8: expected.utf8_derivation_hex_which_is_different };
		for (const [encoding, hex] of Object.entries(known)) {
			assert.equal(await rc.deriveMasterHex(passphrase, salt, iterations, encoding), hex);
			await adopts({ passphrase, salt, iterations, encoding });
		}
	},
	'passphrase-code-unit-above-255': async ({ inputs }) => {
		for (const passphrase of inputs.texts) {
			assert.throws(() => rc.passphraseBytes(passphrase, 'latin1'), RangeError);
			await adopts({ passphrase, encoding: 'utf8' });
		}
	},
	'mobile-pbkdf2-known-answer': async ({ inputs, expected }) => {
		const { password, salt, iterations } = inputs;
		const hex = await rc.deriveMasterHex(password, salt, iterations);
		assert.equal(hex, Buffer.from(expected.derived_key_base64, 'base64').toString('hex'));
		await adopts({ passphrase: password, salt, iterations });
	},
	'mobile-rsa-jwk-export-known-answer': async ({ inputs, expected }) => {
		const jwk = createPrivateKey(inputs.private_key_pem_pkcs8).export({ format: 'jwk' });
		const extra = { alg: expected.mobile_adds.alg, ext: true, key_ops: expected.mobile_adds.key_ops_private };
		const it = await scene.newApp({ identity: { privateText: JSON.stringify({ ...jwk, ...extra }) } });
		const { n, e, kty, ...added } = JSON.parse(it.publicKey);
		assert.deepEqual({ kty, n, e }, expected.jwk_public_part);
		assert.deepEqual(added, { ...extra, key_ops: expected.mobile_adds.key_ops_public });
	},

	'unsupported-session-key-algs': async ({ inputs }) => {
		for (const jwkText of inputs.jwks) {
			const roomId = await app.newRoom();
			await refused(app.giveKey(roomId, { jwkText, kid: UUID }), 'KEY_UNWRAP_FAILED');
		}
	},
	'content-unknown-algorithm': async ({ inputs: { content } }) => {
		const roomId = await app.newRoom();
		await refused(app.call('decrypt', { roomId, content }), 'UNSUPPORTED_ALGORITHM', { algorithm: content.algorithm });
	},
	'key-history-same-kid': async ({ inputs, expected }) => {
		const it = await appWith(inputs.private_key_jwk);
		const roomId = await it.newRoom();
		await it.call('importRoomKey', { roomId, key: inputs.e2e_key, kid: inputs.room_e2e_key_id, makeCurrent: true });
		await it.call('importRoomKeys', { roomId, keys: inputs.old_room_keys });
		for (const [i, content] of inputs.messages.entries()) {
			const { payload } = await it.call('decrypt', { roomId, content });
			assert.equal(payload.msg, expected.msgs[i]);
		}
	},
	// their plaintext is no payload: the known answer holds rc.mjs, the daemon opens a payload under the same key and IV
	'mobile-aes-gcm-fixed-inputs': ({ inputs, expected }) =>
		opensWithFixed('A256GCM', inputs, expected.ciphertext_and_tag_base64),
	'mobile-aes-cbc-fixed-inputs': ({ inputs, expected }) =>
		opensWithFixed('A128CBC', inputs, expected.ciphertext_base64),

	// an EJSON binary is carried as it is
	'ejson-binary': async ({ expected }) => {
		const key = await rc.makeRoomKey();
		const roomId = await roomWith(key.jwkText, key.kid);
		const text = `{"msg":"","bin":${expected.ejson}}`;
		const { payload } = await app.call('decrypt', { roomId, content: await rc.encryptV2(key.jwkText, key.kid, text) });
		assert.deepEqual(payload, JSON.parse(text));
	},
};

// Known answers that no method reaches. OAEP over a text that is no JWK: tests/unit/test_rsa.c.
const UNIT_TESTED = ['mobile-rsa-oaep-known-answer'];

async function keepsKid(jwkText, kid, rule) {
	assert.equal(await rc.deriveKid(jwkText, rule), kid);
	const roomId = await roomWith(jwkText, kid);
	const { keys } = await app.call('listRoomKeys', { roomId });
	assert.deepEqual(keys.map((key) => key.kid), [kid]);
}

async function adopts({ passphrase, ...how }) {
	const identity = await scene.identity();
	const it = await scene.newApp({ identity: { ...identity, passphrase, userId: 'u', ...how } });
	assert.equal(it.publicKey, identity.publicText);
}

async function opensWithFixed(alg, { key_hex, iv_hex, plaintext }, expected) {
	const k = Buffer.from(key_hex, 'hex').toString('base64url');
	const jwkText = JSON.stringify({ alg, ext: true, k, key_ops: ['encrypt', 'decrypt'], kty: 'oct' });
	const roomId = await roomWith(jwkText, UUID);
	const iv = new Uint8Array(Buffer.from(iv_hex, 'hex'));
	// "Hello World" alone is no payload: authentic, and still refused
	const bare = await rc.encryptV2(jwkText, UUID, plaintext, iv);
	assert.equal(bare.ciphertext, expected);
	await refused(app.call('decrypt', { roomId, content: bare }), 'DECRYPT_FAILED');
	const content = await rc.encryptV2(jwkText, UUID, { msg: plaintext }, iv);
	assert.equal((await app.call('decrypt', { roomId, content })).payload.msg, plaintext);
}

const kinds = {
	'message-v1': message,
	'message-v2': message,
	'message-legacy-string': legacyString,
	'private-key-v1': privateKey,
	'private-key-v2': privateKey,
	'prefixed-base64': prefixedBase64,
	'room-key-wrapped': wrappedRoomKey,
	file,
	other: (vector) => others[vector.name](vector),
};

describe('vectors', () => {
	before(async () => {
		scene = await openScene();
		app = await scene.newApp();
	});
	after(() => scene.close());

	for (const vector of vectors) {
		if (UNIT_TESTED.includes(vector.name)) continue;
		test(`${vector.kind}: ${vector.name}`, async () => {
			assert.ok(kinds[vector.kind], `no test knows vectors of kind ${vector.kind}`);
			assert.ok(vector.kind !== 'other' || others[vector.name], `no test knows the vector ${vector.name}`);
			await kinds[vector.kind](vector);
		});
	}
});
