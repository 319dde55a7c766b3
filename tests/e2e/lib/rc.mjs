// The cryptography of a Rocket.Chat client, by WebCrypto alone: the calls its web client makes, in the order it makes them.
// The tests' other side. Nothing here knows the daemon, so that whatever the two agree on is agreed by independent code.
// Formats: Rocket.Chat client/lib/e2ee (web), rocket.chat-mobile-crypto (mobile); each deviation is an option named here.
//
//   makeRoomKey(alg, {kid, order})                     -> {alg, kid, jwkText}
//   wrapRoomKey(publicJwkText, kid, jwkText)           -> E2EKey string
//   unwrapE2EKey(privateJwkText, e2eKey)               -> {kid, jwkText}
//   encryptV1(jwkText, kid, payload)                   -> content (its `ciphertext` alone is the legacy string)
//   encryptV2(jwkText, kid, payload)                   -> content; the cipher follows the key's alg
//   decryptContent(jwkText, content or legacy string)  -> the plaintext, as text
//   encryptFile(name, bytes), decryptFile({key, iv}, bytes) -> what goes with an upload, and its content
//   makeIdentity({modulusLength})                      -> {publicText, privateText}
//   sealPrivateKey(privateText, {passphrase, userId, ...}), openPrivateKey(envelope, {passphrase, userId})
//
// A payload is an object, or a string: then it is the plaintext itself, byte for byte.
import { createPrivateKey, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { subtle } = webcrypto;
const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const randomBytes = (n) => webcrypto.getRandomValues(new Uint8Array(n));
export const uuid = () => webcrypto.randomUUID();
export const toBase64 = (bytes) => Buffer.from(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, bytes.byteLength).toString('base64');
export const fromBase64 = (text) => new Uint8Array(Buffer.from(text, 'base64'));
export const toHex = (bytes) => Buffer.from(bytes).toString('hex');

export const sha256 = async (data) =>
	new Uint8Array(await subtle.digest('SHA-256', typeof data === 'string' ? utf8.encode(data) : data));
export const sha256Hex = async (data) => toHex(await sha256(data));

const concat = (...parts) => new Uint8Array(Buffer.concat(parts));
const plainBytes = (payload) =>
	payload instanceof Uint8Array ? payload : utf8.encode(typeof payload === 'string' ? payload : JSON.stringify(payload));

// Importing an RSA key costs more than using it, and the tests use few keys often.
const imported = new Map();
const importOnce = (id, make) => {
	if (!imported.has(id)) {
		if (imported.size > 512) imported.clear();
		imported.set(id, make());
	}
	return imported.get(id);
};

// ---- room keys ------------------------------------------------------------------------------------------------

const WEB_OCT = ['alg', 'ext', 'k', 'key_ops', 'kty'];
const MOBILE_OCT = ['kty', 'alg', 'k', 'ext', 'key_ops'];
const ordered = (jwk, names) => JSON.stringify(Object.fromEntries(names.map((name) => [name, jwk[name]])));

// order: 'web' (Chromium's) or 'mobile'.
// kid: 'uuid' (web since 7.13), 'sha256' (7.0 to 7.12), 'constant' (before 7.0), or the kid itself.
export async function makeRoomKey(alg = 'A256GCM', { kid = alg === 'A256GCM' ? 'uuid' : 'sha256', order = 'web' } = {}) {
	const params = alg === 'A256GCM' ? { name: 'AES-GCM', length: 256 } : { name: 'AES-CBC', length: 128 };
	const key = await subtle.generateKey(params, true, ['encrypt', 'decrypt']);
	const jwk = await subtle.exportKey('jwk', key);
	const jwkText = ordered({ ...jwk, alg, key_ops: ['encrypt', 'decrypt'] }, order === 'mobile' ? MOBILE_OCT : WEB_OCT);
	return { alg, jwkText, kid: await deriveKid(jwkText, kid) };
}

export async function deriveKid(jwkText, rule) {
	if (rule === 'uuid') return uuid();
	if (rule === 'sha256') return (await sha256Hex(jwkText)).slice(0, 12);
	if (rule === 'constant') return toBase64(utf8.encode(jwkText)).slice(0, 12);
	return rule;
}

const importOct = (jwkText) =>
	importOnce(jwkText, async () => {
		const jwk = JSON.parse(jwkText);
		const name = { A256GCM: 'AES-GCM', A128CBC: 'AES-CBC' }[jwk.alg];
		if (!name) throw new RangeError(`unrecognized alg: ${jwk.alg}`);
		return { name, key: await subtle.importKey('jwk', jwk, { name }, true, ['encrypt', 'decrypt']) };
	});

const oaep = { name: 'RSA-OAEP', hash: 'SHA-256' };
const importPublic = (text) =>
	importOnce(text, () => subtle.importKey('jwk', JSON.parse(text), oaep, true, ['encrypt']));
const importPrivate = (text) =>
	importOnce(text, () => subtle.importKey('jwk', JSON.parse(text), oaep, true, ['decrypt']));

export async function wrapRoomKey(publicJwkText, kid, jwkText) {
	const key = await importPublic(publicJwkText);
	return kid + toBase64(new Uint8Array(await subtle.encrypt({ name: 'RSA-OAEP' }, key, plainBytes(jwkText))));
}

export async function unwrapE2EKey(privateJwkText, e2eKey) {
	const data = e2eKey.slice(-344);
	if (data.length !== 344) throw new RangeError('an E2EKey has at least 344 characters');
	const key = await importPrivate(privateJwkText);
	const plain = await subtle.decrypt({ name: 'RSA-OAEP' }, key, fromBase64(data));
	return { kid: e2eKey.slice(0, -344), jwkText: strictUtf8.decode(plain) };
}

// ---- message content --------------------------------------------------------------------------------------------

export async function encryptV1(jwkText, kid, payload, iv = randomBytes(16)) {
	const { name, key } = await importOct(jwkText);
	const cipher = new Uint8Array(await subtle.encrypt({ name, iv }, key, plainBytes(payload)));
	return { algorithm: 'rc.v1.aes-sha2', ciphertext: kid + toBase64(concat(iv, cipher)) };
}

export async function encryptV2(jwkText, kid, payload, iv = undefined) {
	const { name, key } = await importOct(jwkText);
	iv ??= randomBytes(name === 'AES-GCM' ? 12 : 16);
	const cipher = new Uint8Array(await subtle.encrypt({ name, iv }, key, plainBytes(payload)));
	return { algorithm: 'rc.v2.aes-sha2', kid, iv: toBase64(iv), ciphertext: toBase64(cipher) };
}

// Web takes 12 characters for the kid of a v1 ciphertext.
export function splitContent(content) {
	if (typeof content === 'string' || content.algorithm === 'rc.v1.aes-sha2') {
		const text = typeof content === 'string' ? content : content.ciphertext;
		const bytes = fromBase64(text.slice(12));
		return { kid: text.slice(0, 12), iv: bytes.slice(0, 16), cipher: bytes.slice(16) };
	}
	if (content.algorithm !== 'rc.v2.aes-sha2') throw new RangeError(`unsupported algorithm: ${content.algorithm}`);
	return { kid: content.kid, iv: fromBase64(content.iv), cipher: fromBase64(content.ciphertext) };
}

export async function decryptBytes(jwkText, content) {
	const { iv, cipher } = splitContent(content);
	const { name, key } = await importOct(jwkText);
	return new Uint8Array(await subtle.decrypt({ name, iv }, key, cipher));
}

export const decryptContent = async (jwkText, content) => strictUtf8.decode(await decryptBytes(jwkText, content));

// ---- files ------------------------------------------------------------------------------------------------------

const ctr = (iv) => ({ name: 'AES-CTR', counter: iv, length: 64 });

// { key: JWK, iv, sha256, hashedName, cipher }; key and iv as given, else fresh
export async function encryptFile(name, bytes, { iv = randomBytes(16), key: jwk } = {}) {
	const key = jwk ? await subtle.importKey('jwk', jwk, 'AES-CTR', true, ['encrypt', 'decrypt'])
		: await subtle.generateKey({ name: 'AES-CTR', length: 256 }, true, ['encrypt', 'decrypt']);
	const cipher = new Uint8Array(await subtle.encrypt(ctr(iv), key, bytes));
	const exported = JSON.parse(ordered(await subtle.exportKey('jwk', key), WEB_OCT));
	return { key: exported, iv: toBase64(iv), sha256: await sha256Hex(bytes), hashedName: await sha256Hex(name), cipher };
}

export const importFileKey = (jwk) => subtle.importKey('jwk', jwk, 'AES-CTR', false, ['decrypt']);

export const decryptFile = async ({ key, iv }, cipher) =>
	new Uint8Array(await subtle.decrypt(ctr(fromBase64(iv)), await importFileKey(key), cipher));

// ---- identities --------------------------------------------------------------------------------------------------

const WEB_PUBLIC = ['alg', 'e', 'ext', 'key_ops', 'kty', 'n'];
const WEB_PRIVATE = ['alg', 'd', 'dp', 'dq', 'e', 'ext', 'key_ops', 'kty', 'n', 'p', 'q', 'qi'];

// E2EED_IDENTITIES: a PEM file of pairs to take instead of new ones, each process beginning elsewhere (tests/valgrind/keypool.c).
const pool = process.env.E2EED_IDENTITIES ? readFileSync(process.env.E2EED_IDENTITIES, 'utf8').split(/(?<=-----END .*-----)\n/).filter(Boolean) : [];
let nextOfPool = process.pid;

const makePair = (modulusLength) => subtle.generateKey(
	{ ...oaep, modulusLength, publicExponent: new Uint8Array([1, 0, 1]) }, true, ['encrypt', 'decrypt']);
const takePair = async () => {
	const der = createPrivateKey(pool[nextOfPool++ % pool.length]).export({ type: 'pkcs8', format: 'der' });
	return { privateKey: await subtle.importKey('pkcs8', der, oaep, true, ['decrypt']) };
};

export async function makeIdentity({ modulusLength = 2048 } = {}) {
	const { privateKey } = pool.length > 0 && modulusLength === 2048 ? await takePair() : await makePair(modulusLength);
	const privateText = ordered(await subtle.exportKey('jwk', privateKey), WEB_PRIVATE);
	return { publicText: publicOf(privateText), privateText };
}

export const publicOf = (privateText) =>
	ordered({ ...JSON.parse(privateText), key_ops: ['encrypt'] }, WEB_PUBLIC);

// Web: one byte per UTF-16 code unit, an error above U+00FF. Mobile: UTF-8.
export function passphraseBytes(passphrase, encoding) {
	if (encoding === 'utf8') return utf8.encode(passphrase);
	const bytes = new Uint8Array(passphrase.length);
	for (let i = 0; i < passphrase.length; i++) {
		const unit = passphrase.charCodeAt(i);
		if (unit > 255) throw new RangeError(`illegal char code: ${unit}`);
		bytes[i] = unit;
	}
	return bytes;
}

export async function deriveMaster(passphrase, salt, iterations, name, encoding) {
	const base = await subtle.importKey('raw', passphraseBytes(passphrase, encoding), 'PBKDF2', false, ['deriveKey']);
	const params = { name: 'PBKDF2', salt: utf8.encode(salt), iterations, hash: 'SHA-256' };
	return subtle.deriveKey(params, base, { name, length: 256 }, true, ['encrypt', 'decrypt']);
}

export const deriveMasterHex = async (passphrase, salt, iterations, encoding) =>
	toHex(await subtle.exportKey('raw', await deriveMaster(passphrase, salt, iterations, 'AES-CBC', encoding)));

// form: 'v2' (salt 'v2:<user>:<uuid>'), 'v1' ({"$binary"}), 'bare' (its base64 alone, as the first servers stored it).
// v2 only: ivLength 12 or 16, cipher (GCM; CBC is what web takes a 16-byte IV for), salt (null leaves the member out,
// as mobile may: the user id serves), iterations. encoding: 'latin1' (web) or 'utf8' (mobile).
export async function sealPrivateKey(privateText, { passphrase, userId, form = 'v2', encoding = 'latin1', ivLength = 12,
	cipher = ivLength === 16 ? 'AES-CBC' : 'AES-GCM', salt = `v2:${userId}:${uuid()}`, iterations = 1000,
	iv = randomBytes(form === 'v2' ? ivLength : 16) }) {
	const plain = plainBytes(privateText);
	if (form !== 'v2') {
		const key = await deriveMaster(passphrase, userId, 1000, 'AES-CBC', encoding);
		const blob = toBase64(concat(iv, new Uint8Array(await subtle.encrypt({ name: 'AES-CBC', iv }, key, plain))));
		return form === 'bare' ? blob : JSON.stringify({ $binary: blob });
	}
	const key = await deriveMaster(passphrase, salt ?? userId, iterations, cipher, encoding);
	const sealed = new Uint8Array(await subtle.encrypt({ name: cipher, iv }, key, plain));
	return JSON.stringify({ iv: toBase64(iv), ciphertext: toBase64(sealed), ...(salt === null ? {} : { salt }), iterations });
}

// Web's order: $binary first; the cipher of the other form follows the IV's length.
export async function openPrivateKey(envelope, { passphrase, userId, encoding = 'latin1' }) {
	const stored = JSON.parse(envelope);
	let iv, sealed, salt = userId, iterations = 1000;
	if (typeof stored.$binary === 'string') {
		const blob = fromBase64(stored.$binary);
		[iv, sealed] = [blob.slice(0, 16), blob.slice(16)];
	} else {
		[iv, sealed] = [fromBase64(stored.iv), fromBase64(stored.ciphertext)];
		salt = stored.salt ?? userId;
		iterations = stored.iterations;
	}
	const name = iv.length === 16 ? 'AES-CBC' : 'AES-GCM';
	const key = await deriveMaster(passphrase, salt, iterations, name, encoding);
	return strictUtf8.decode(await subtle.decrypt({ name, iv }, key, sealed));
}
