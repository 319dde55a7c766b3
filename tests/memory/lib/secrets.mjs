// What is looked for: secrets in every form that the daemon or a library may hold them in. A secret is found by any eight
// bytes of it, since what a compiler or the dynamic linker spills is a register and not a key.
import { createCipheriv } from 'node:crypto';
import * as rc from '../../e2e/lib/rc.mjs';

const WINDOW = 8;
const FILTER_BITS = 22;

export class Secrets {
	#windows = new Map(); // eight bytes, as latin1 -> name of the secret
	#filter = new Uint8Array(2 ** FILTER_BITS);

	// @owner: the app whose secret it is, or what else the test asks for by name
	add(owner, what, bytes) {
		for (let i = 0; i + WINDOW <= bytes.length; i++) {
			const window = Buffer.from(bytes.subarray(i, i + WINDOW));
			if (new Set(window).size < 5) continue; // zeros and the like are everywhere
			this.#filter[slot(window.readUInt32LE())] = 1;
			this.#windows.set(window.toString('latin1'), { owner, what });
		}
	}

	get filter() {
		return this.#filter;
	}

	at(memory, i) {
		return this.#windows.get(memory.latin1Slice(i, i + WINDOW));
	}

	// ---- one kind of secret each, in all its forms ----

	text(owner, what, text) {
		this.add(owner, what, Buffer.from(text));
		if (/[\u0080-\u00ff]/.test(text) && !/[^\u0000-\u00ff]/.test(text)) this.add(owner, `${what} as Latin-1`, Buffer.from(text, 'latin1'));
	}

	// HMAC starts from the key, padded to a block, under either mask (RFC 2104).
	hmacKey(owner, what, bytes) {
		if (bytes.length > 64) return;
		for (const mask of [0x36, 0x5c]) this.add(owner, `${what} as HMAC uses it`, bytes.map((b) => b ^ mask));
	}

	passphrase(owner, text) {
		this.text(owner, 'passphrase', text);
		this.hmacKey(owner, 'passphrase', Buffer.from(text));
	}

	token(owner, token) {
		const bytes = Buffer.from(token.slice('e2eed1_'.length), 'base64url');
		this.text(owner, 'token text', token.slice('e2eed1_'.length));
		this.add(owner, 'token', bytes);
		this.hmacKey(owner, 'token', bytes);
	}

	// Numbers as DER and JWK have them, and as OpenSSL computes with them: 64-bit words, the lowest first, on a machine that is
	// little-endian itself.
	privateKey(owner, privateText) {
		const jwk = JSON.parse(privateText);
		for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi']) {
			const bytes = Buffer.from(jwk[name], 'base64url');
			this.add(owner, `${name} as bytes`, bytes);
			this.add(owner, `${name} as words`, Buffer.from(bytes).reverse());
			this.text(owner, `${name} as base64url`, jwk[name]);
		}
	}

	roomKey(owner, jwkText) {
		const { k } = JSON.parse(jwkText);
		const bytes = Buffer.from(k, 'base64url');
		this.text(owner, 'room key as base64url', k);
		this.aesKey(owner, 'room key', bytes);
	}

	aesKey(owner, what, bytes) {
		const schedule = expand(bytes);
		const rounds = schedule.length / 16;
		this.add(owner, what, bytes);
		this.add(owner, `${what}, AES schedule`, schedule.subarray(bytes.length)); // it begins with the key itself
		for (let i = 1; i + 1 < rounds; i++) /* of the equivalent inverse cipher (FIPS 197, 5.3.5) */
			this.add(owner, `${what}, AES schedule for decrypting`, invMixColumns(schedule.subarray(16 * i, 16 * i + 16)));
		const ecb = createCipheriv(`aes-${8 * bytes.length}-ecb`, bytes, null);
		const h = ecb.update(Buffer.alloc(16));
		this.add(owner, `${what}, GHASH key`, h);
		this.add(owner, `${what}, GHASH key`, Buffer.from(h).reverse());
	}

	// The key that an envelope of ours is sealed with.
	async envelope(owner, envelope, passphrase) {
		const { salt, iterations } = JSON.parse(envelope);
		this.aesKey(owner, 'key from a passphrase', Buffer.from(await rc.deriveMasterHex(passphrase, salt, iterations, 'utf8'), 'hex'));
	}
}

const slot = (word) => Math.imul(word, 0x9e3779b1) >>> (32 - FILTER_BITS);

// All hits in @memory: [{ owner, what, at, bytes }], those that run on from one another as one.
export function search(secrets, memory, hits = [], base = 0) {
	const { filter } = secrets;
	let word = 0, last;
	for (let i = 0; i < memory.length; i++) {
		word = (word >>> 8) | (memory[i] << 24);
		if (!filter[Math.imul(word, 0x9e3779b1) >>> (32 - FILTER_BITS)] || i < 3 || i - 3 + WINDOW > memory.length) continue;
		const found = secrets.at(memory, i - 3);
		if (!found) continue;
		const at = base + i - 3;
		if (last && last.what === found.what && last.owner === found.owner && at < last.at + last.bytes)
			last.bytes = at + WINDOW - last.at;
		else hits.push((last = { ...found, at, bytes: WINDOW }));
	}
	return hits;
}

// ---- AES's key expansion (FIPS 197, 5.2) -------------------------------------------------------------------------

const times2 = (b) => ((b << 1) ^ (b & 0x80 ? 0x1b : 0)) & 0xff;
const times = (a, b) => {
	let product = 0;
	for (; b; b >>= 1, a = times2(a)) if (b & 1) product ^= a;
	return product;
};

const SBOX = Uint8Array.from({ length: 256 }, (_, b) => {
	let inverse = 0;
	while (b && times(b, inverse) !== 1) inverse++;
	let s = inverse;
	for (let i = 1; i < 5; i++) s ^= ((inverse << i) | (inverse >> (8 - i))) & 0xff;
	return s ^ 0x63;
});

export function expand(key) {
	const words = key.length / 4, total = 4 * (words + 7);
	const out = Buffer.alloc(4 * total);
	let rcon = 1;
	key.copy(out);
	for (let i = words; i < total; i++) {
		let t = [...out.subarray(4 * i - 4, 4 * i)];
		if (i % words === 0) {
			t = [...t.slice(1), t[0]].map((b) => SBOX[b]);
			t[0] ^= rcon;
			rcon = times2(rcon);
		} else if (words > 6 && i % words === 4) {
			t = t.map((b) => SBOX[b]);
		}
		t.forEach((b, k) => (out[4 * i + k] = b ^ out[4 * (i - words) + k]));
	}
	return out;
}

const invMixColumns = (block) =>
	Buffer.from(block.map((_, i) => [14, 11, 13, 9].reduce((sum, f, k) => sum ^ times(block[(i & ~3) | ((i + k) & 3)], f), 0)));
