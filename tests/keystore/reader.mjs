// An independent reader of the keystore: written from docs/keystore.md, it shares no code with the daemon.
//
//   node tests/keystore/reader.mjs [--secrets] KEYSTORE KEY_FILE
//
// Prints one JSON object: header, records, and tornBytes (of a torn tail; 0 without one). Keys and tokens are left out unless
// --secrets asks for them. Exits 1 with a sentence on stderr when anything does not authenticate.
import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';

// ---- BLAKE2b (RFC 7693) with a key or with salt and personalization ----

const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const SIGMA = [
  '0123456789abcdef', 'ea489fd61c02b753', 'b8c052fdae367194', '7931dcbe265a40f8', '905724afe1bc683d',
  '2c6a0b834d75fe19', 'c51fed4a0763928b', 'db7ec13950f4862a', '6fe9b308c2d714a5', 'a2847615fb9e3cd0',
].map((row) => [...row].map((c) => parseInt(c, 16)));
const u64 = (x) => BigInt.asUintN(64, x);
const rotr = (x, n) => u64((x >> n) | (x << (64n - n)));

function blake2b(size, key, input, salt = Buffer.alloc(16), personal = Buffer.alloc(16)) {
  const parameters = Buffer.concat([Buffer.from([size, key.length, 1, 1]), Buffer.alloc(28), salt, personal]);
  const h = IV.map((v, i) => v ^ parameters.readBigUInt64LE(8 * i));
  const data = Buffer.concat([key, Buffer.alloc(key.length ? 128 - key.length : 0), input]);
  const blocks = Math.max(1, Math.ceil(data.length / 128));
  for (let b = 0; b < blocks; b++) {
    const block = Buffer.concat([data.subarray(128 * b, 128 * b + 128), Buffer.alloc(128)]);
    const m = Array.from({ length: 16 }, (_, i) => block.readBigUInt64LE(8 * i));
    const v = [...h, ...IV];
    const last = b === blocks - 1;
    v[12] ^= BigInt(last ? data.length : 128 * (b + 1));
    if (last) v[14] = u64(~v[14]);
    const mix = (a, c, e, g, x, y) => {
      for (const [word, r1, r2] of [[x, 32n, 24n], [y, 16n, 63n]]) {
        v[a] = u64(v[a] + v[c] + word);
        v[g] = rotr(v[g] ^ v[a], r1);
        v[e] = u64(v[e] + v[g]);
        v[c] = rotr(v[c] ^ v[e], r2);
      }
    };
    for (let round = 0; round < 12; round++) {
      const s = SIGMA[round % 10];
      for (let i = 0; i < 4; i++) mix(i, 4 + i, 8 + i, 12 + i, m[s[2 * i]], m[s[2 * i + 1]]);
      for (let i = 0; i < 4; i++)
        mix(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4), m[s[8 + 2 * i]], m[s[9 + 2 * i]]);
    }
    for (let i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
  }
  const out = Buffer.alloc(64);
  h.forEach((v, i) => out.writeBigUInt64LE(v, 8 * i));
  return out.subarray(0, size);
}

// libsodium's crypto_kdf: subkey 1 of the data key under a context of 8 characters
function derive(dek, context) {
  const salt = Buffer.alloc(16);
  const personal = Buffer.alloc(16);
  salt.writeBigUInt64LE(1n);
  personal.write(context, 'latin1');
  return blake2b(32, dek, Buffer.alloc(0), salt, personal);
}

// ---- XChaCha20-Poly1305: HChaCha20 makes a key for the ordinary cipher (draft-irtf-cfrg-xchacha) ----

function hchacha20(key, nonce16) {
  const words = Buffer.concat([Buffer.from('expand 32-byte k'), key, nonce16]);
  const s = Uint32Array.from({ length: 16 }, (_, i) => words.readUInt32LE(4 * i));
  const quarter = (a, b, c, d) => {
    for (const [r1, r2] of [[16, 12], [8, 7]]) {
      s[a] += s[b];
      s[d] ^= s[a];
      s[d] = (s[d] << r1) | (s[d] >>> (32 - r1));
      s[c] += s[d];
      s[b] ^= s[c];
      s[b] = (s[b] << r2) | (s[b] >>> (32 - r2));
    }
  };
  for (let i = 0; i < 10; i++) {
    for (let k = 0; k < 4; k++) quarter(k, 4 + k, 8 + k, 12 + k);
    for (let k = 0; k < 4; k++) quarter(k, 4 + ((k + 1) % 4), 8 + ((k + 2) % 4), 12 + ((k + 3) % 4));
  }
  const out = Buffer.alloc(32);
  [0, 1, 2, 3, 12, 13, 14, 15].forEach((w, i) => out.writeUInt32LE(s[w], 4 * i));
  return out;
}

// The plaintext; throws when it does not authenticate.
function open(key, nonce, sealed, aad) {
  const nonce12 = Buffer.concat([Buffer.alloc(4), nonce.subarray(16)]);
  const cipher = createDecipheriv('chacha20-poly1305', hchacha20(key, nonce.subarray(0, 16)), nonce12, { authTagLength: 16 });
  cipher.setAAD(aad, { plaintextLength: sealed.length - 16 });
  cipher.setAuthTag(sealed.subarray(sealed.length - 16));
  return Buffer.concat([cipher.update(sealed.subarray(0, sealed.length - 16)), cipher.final()]);
}

// ---- the file ----

class Cursor {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  take(n) {
    if (n > this.bytes.length - this.at) throw new Error(`cut short at offset ${this.at}`);
    return this.bytes.subarray(this.at, (this.at += n));
  }
  u8 = () => this.take(1).readUInt8();
  u32 = () => this.take(4).readUInt32LE();
  u64 = () => this.take(8).readBigUInt64LE();
  i64 = () => Number(this.take(8).readBigInt64LE());
  field = () => this.take(this.u32());
  text = () => this.field().toString('utf8');
  left = () => this.bytes.length - this.at;
}

function readHeader(file, kek) {
  const c = new Cursor(file);
  if (c.take(8).toString('latin1') !== 'E2EEDKS\n') throw new Error('not a keystore');
  const version = c.u32();
  if (version !== 1) throw new Error(`unknown format ${version}`);
  const size = c.u32();
  if (size > 65536 || size > file.length) throw new Error('impossible length of the header');
  const fileId = c.take(16);
  const generation = c.u64();
  const created = c.i64();
  const count = c.u32();
  if (count < 1 || count > 16) throw new Error('impossible number of slots');
  const slots = [];
  let dek = null;
  for (let i = 0; i < count; i++) {
    const start = c.at;
    const slot = { slot: c.u32(), seal: c.u32(), created: new Date(c.i64()).toISOString() };
    c.field();
    const aad = Buffer.concat([file.subarray(0, 12), file.subarray(16, 40), file.subarray(start, c.at)]);
    const nonce = c.take(24);
    const wrapped = c.take(48);
    slots.push(slot);
    if (slot.seal !== 1 || dek) continue;
    try {
      dek = open(kek, nonce, wrapped, aad);
    } catch {
      // another key file's slot
    }
  }
  if (!dek) throw new Error('the key file opens no slot');
  const signed = c.at;
  const mac = c.take(32);
  if (c.at !== size || !blake2b(32, derive(dek, 'e2eedHDR'), file.subarray(0, signed)).equals(mac))
    throw new Error('the header does not authenticate');
  return { size, fileId, generation, created, slots, dek, mac };
}

function permissions(bits) {
  return ['read', 'write', 'create', 'distribute'].filter((_, i) => bits & (1 << i));
}

function parseRecord(plain, secrets) {
  const c = new Cursor(plain);
  const secret = (encoding) => {
    const bytes = c.field();
    return secrets ? bytes.toString(encoding) : undefined;
  };
  const list = (read) => Array.from({ length: c.u32() }, read);
  if (c.u8() !== 1) throw new Error('unknown version of a record');
  const op = c.u8();
  const r = { op: null, time: new Date(c.i64()).toISOString(), appId: c.text() };
  if (op === 1) {
    Object.assign(r, { op: 'APP_CREATED', name: c.text(), token: secret('base64'), keyId: c.text() });
    Object.assign(r, { created: new Date(c.i64()).toISOString(), pkcs8: secret('base64') });
    r.rooms = list(() => ({ roomId: c.text(), permissions: permissions(c.u8()) }));
  } else if (op === 2) {
    Object.assign(r, { op: 'TOKEN_SET', token: secret('base64') });
  } else if (op === 3) {
    Object.assign(r, { op: 'IDENTITY_ADDED', keyId: c.text(), pkcs8: secret('base64'), previousExpiresMs: c.i64() });
  } else if (op === 4) {
    Object.assign(r, { op: 'GRANT_SET', roomId: c.text(), permissions: permissions(c.u8()) });
  } else if (op === 5) {
    Object.assign(r, { op: 'GRANT_DROPPED', roomId: c.text(), purge: c.u8() === 1 });
  } else if (op === 6) {
    Object.assign(r, { op: 'ROOM_KEYS_ADDED', roomId: c.text() });
    r.keys = list(() => ({ number: c.u32(), kid: c.text(), jwk: secret('utf8'), ts: c.text(), orderMs: c.i64() }));
    const current = c.u32();
    r.current = current === 0xffffffff ? undefined : current;
  } else {
    throw new Error(`unknown operation ${op}`);
  }
  if (c.left()) throw new Error('bytes left over in a record');
  return r;
}

// Where the zeros start that reach to the end.
function zerosFrom(file) {
  let at = file.length;
  while (at > 0 && file[at - 1] === 0) at--;
  return at;
}

function readRecords(file, header, secrets) {
  const recordKey = derive(header.dek, 'e2eedREC');
  const frameKey = derive(header.dek, 'e2eedFRM');
  const zeros = zerosFrom(file);
  const sector = Math.ceil(zeros / 512) * 512;
  const records = [];
  let chain = header.mac.subarray(0, 16);
  let at = header.size;
  while (at < file.length) {
    const place = Buffer.alloc(32);
    header.fileId.copy(place);
    place.writeBigUInt64LE(header.generation, 16);
    place.writeBigUInt64LE(BigInt(records.length + 1), 24);
    const head = file.subarray(at, at + 20);
    if (head.length < 20) break;
    const where = `record ${records.length + 1} at offset ${at}`;
    if (!blake2b(16, frameKey, Buffer.concat([place, head.subarray(0, 4)])).equals(head.subarray(4))) {
      if (zeros < at + 20 && file.length - at <= 60 + 16 * 1024 * 1024) break;
      throw new Error(`${where} is damaged: its head does not authenticate`);
    }
    const length = head.readUInt32LE();
    const end = at + 44 + length;
    if (end > file.length) break;
    const sealed = file.subarray(at + 44, end);
    let plain;
    try {
      plain = open(recordKey, file.subarray(at + 20, at + 44), sealed, Buffer.concat([place, chain]));
    } catch {
      if (end === file.length && (sector < end || zeros <= end - 16)) break;
      throw new Error(`${where} is damaged: it does not authenticate`);
    }
    records.push({ seq: records.length + 1, offset: at, ...parseRecord(plain, secrets) });
    chain = sealed.subarray(sealed.length - 16);
    at = end;
  }
  return { records, tornBytes: file.length - at };
}

const args = process.argv.slice(2).filter((a) => a !== '--secrets');
if (args.length !== 2) {
  console.error('usage: reader.mjs [--secrets] KEYSTORE KEY_FILE');
  process.exit(64);
}
try {
  const file = readFileSync(args[0]);
  const hex = readFileSync(args[1], 'latin1');
  if (!/^[0-9a-fA-F]{64}\n?$/.test(hex)) throw new Error('the key file is not 64 hex digits');
  const header = readHeader(file, Buffer.from(hex.trim(), 'hex'));
  const { records, tornBytes } = readRecords(file, header, process.argv.includes('--secrets'));
  const { fileId, generation, created, slots } = header;
  const shown = { fileId: fileId.toString('hex'), generation: Number(generation), created: new Date(created).toISOString(), slots };
  console.log(JSON.stringify({ header: shown, records, tornBytes }, null, 2));
} catch (error) {
  console.error(`${args[0]}: ${error.message}`);
  process.exit(1);
}
