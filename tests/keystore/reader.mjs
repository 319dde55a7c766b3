// An independent reader of the keystore: written from docs/keystore.md, it shares no code with the daemon.
//
//   node tests/keystore/reader.mjs [--secrets] KEYSTORE SECRET_FILE [ANCHOR]
//
// Prints one JSON object: header, records, tornBytes (of a torn tail; 0 without one), state (what the records add up to), and
// anchor. Keys and tokens are left out unless --secrets asks for them. SECRET_FILE holds a key file's digits, a credential or a
// recovery key. Exits 1 with a sentence on stderr when anything does not authenticate or does not fit.
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

// derive(key, characters): libsodium's crypto_kdf, subkey 1
function derive(key, characters) {
  const salt = Buffer.alloc(16);
  const personal = Buffer.alloc(16);
  salt.writeBigUInt64LE(1n);
  personal.write(characters, 'latin1');
  return blake2b(32, key, Buffer.alloc(0), salt, personal);
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
  if (sealed.length < 16) throw new Error('too short for a tag');
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
  text = () => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.field());
  list = (read) => Array.from({ length: this.u32() }, read);
  left = () => this.bytes.length - this.at;
}

const SEALS = [, 'keyfile', 'passphrase', 'credential', 'command', 'pkcs11', 'recovery'];
const LETTERS = 'cbdefghijklnrtuv';
const time = (ms) => (ms ? new Date(ms).toISOString() : null);

// The KEKs that the bytes of a secret's file may stand for, by the kind of slot.
function readSecret(bytes) {
  const line = bytes.toString('latin1').replace(/\n$/, '');
  const letters = line.toLowerCase().replace(/[-\s]/g, '');
  if (/^[0-9a-f]{64}$/i.test(line)) return { keyfile: Buffer.from(line, 'hex'), credential: Buffer.from(line, 'hex') };
  if (bytes.length === 32) return { credential: bytes };
  if (letters.length !== 48 || [...letters].some((c) => !LETTERS.includes(c)))
    throw new Error('the secret is neither 64 hex digits nor 32 bytes nor a recovery key');
  const key = Buffer.from([...letters].map((c) => LETTERS.indexOf(c).toString(16)).join(''), 'hex');
  const hash = (size, purpose) => blake2b(size, Buffer.alloc(0), Buffer.concat([Buffer.from(purpose), key.subarray(0, 20)]));
  if (!hash(16, 'e2eed recovery checksum').subarray(0, 4).equals(key.subarray(20)))
    throw new Error("the recovery key's checksum does not fit");
  return { recovery: hash(32, 'e2eed recovery kek') };
}

function readHeader(file, keks) {
  const c = new Cursor(file);
  if (c.take(8).toString('latin1') !== 'E2EEDKS\n') throw new Error('not a keystore');
  const version = c.u32();
  if (version !== 2) throw new Error(`unknown format ${version}`);
  const size = c.u32();
  if (size > 524288 || size > file.length) throw new Error('impossible length of the header');
  const header = { size, fileId: c.take(16), generation: c.u64(), created: time(c.i64()), nextSlot: c.u32(), slots: [] };
  const count = c.u32();
  if (count < 1 || count > 16) throw new Error('impossible number of slots');
  const wrapped = [];
  for (let i = 0; i < count; i++) {
    const start = c.at;
    const slot = { slot: c.u32(), seal: SEALS[c.u32()] ?? 'unknown', created: time(c.i64()), params: c.field().toString('hex') };
    if (slot.params.length > 2 * 16384) throw new Error('impossible length of parameters');
    const aad = Buffer.concat([file.subarray(0, 12), file.subarray(16, 40), file.subarray(start, c.at)]);
    wrapped.push({ slot, aad, dek: [c.take(24), c.take(48)], kek: [c.take(24), c.take(48)] });
    header.slots.push(slot);
    const kek = keks[slot.seal];
    if (!kek || header.dek) continue;
    try {
      header.dek = open(kek, ...wrapped[i].dek, aad);
      slot.opened = true;
    } catch {
      // another secret's slot
    }
  }
  if (!header.dek) throw new Error('the secret opens no slot');
  const signed = c.at;
  header.mac = c.take(32);
  if (c.at !== size || !blake2b(32, derive(header.dek, 'e2eedHDR'), file.subarray(0, signed)).equals(header.mac))
    throw new Error('the header does not authenticate');
  // what a rewrite goes by: each slot's own key, which must open that slot
  const keyring = derive(header.dek, 'e2eedKEK');
  for (const { aad, dek, kek } of wrapped)
    if (!open(open(keyring, ...kek, aad), ...dek, aad).equals(header.dek)) throw new Error('a slot holds another data key');
  return header;
}

function permissions(bits) {
  if (bits > 15) throw new Error('unknown permissions');
  return ['read', 'write', 'create', 'distribute'].filter((_, i) => bits & (1 << i));
}

const EVENT_TYPES = [, 'identity.rotated', 'identity.keyRevoked', 'identity.retiredKeyExpired', 'room.authorized', 'room.deauthorized',
  'roomKey.imported', 'roomKey.rotated', 'token.reset'];

// An event without the members that say nothing.
function bare(event) {
  return Object.fromEntries(Object.entries(event).filter(([, value]) => value?.length !== 0));
}

// @appKeys: by id, of the apps so far
function parseRecord(plain, appKeys) {
  const c = new Cursor(plain);
  if (c.u8() !== 3) throw new Error('unknown version of a record');
  const op = c.u8();
  const r = { op: null, seq: Number(c.u64()), time: time(c.i64()), appId: c.text() };
  const secret = () => {
    const sealed = c.field();
    if (!sealed.length) return undefined;
    if (!appKeys.has(r.appId)) throw new Error('a secret of an app without a key');
    return open(appKeys.get(r.appId), sealed.subarray(0, 24), sealed.subarray(24), Buffer.from(r.appId));
  };
  const appKey = () => {
    const key = c.field();
    if (key.length) appKeys.set(r.appId, key);
    return key.length ? key : undefined;
  };
  const keys = () => {
    r.keys = c.list(() => ({ number: c.u32(), kid: c.text(), jwk: secret()?.toString(), ts: c.text(), orderMs: c.i64() }));
    const current = c.u32();
    r.current = current === 0xffffffff ? undefined : current;
  };
  const has = (name, fields) => Object.assign(r, { op: name }, fields);
  if (op === 1) {
    has('APP_CREATED', { name: c.text(), appKey: appKey(), token: secret(), keyId: c.text(), created: time(c.i64()), pkcs8: secret() });
    r.rooms = c.list(() => ({ roomId: c.text(), permissions: permissions(c.u8()) }));
  } else if (op === 2) {
    has('TOKEN_SET', { token: secret() });
  } else if (op === 3) {
    has('IDENTITY_ADDED', { keyId: c.text(), pkcs8: secret(), previousExpires: time(c.i64()) });
  } else if (op === 4) {
    has('GRANT_SET', { roomId: c.text(), permissions: permissions(c.u8()) });
  } else if (op === 5) {
    has('GRANT_DROPPED', { roomId: c.text(), purge: c.u8() === 1 });
  } else if (op === 6 || op === 11) {
    has(op === 6 ? 'ROOM_KEYS_ADDED' : 'ROOM_KEY_CREATED', { roomId: c.text() });
    keys();
    r.currentKid = c.text() || undefined;
  } else if (op === 7) {
    has('APP_REVOKED');
  } else if (op === 8 || op === 9) {
    has(op === 8 ? 'KEY_REVOKED' : 'KEY_EXPIRED', { keyId: c.text() });
  } else if (op === 10) {
    has('ESCROW_SET', { escrow: secret() });
  } else if (op === 32) {
    has('CUSTODY', { custody: c.field() });
  } else if (op === 33) {
    has('APP', { name: c.text(), created: time(c.i64()), revoked: time(c.i64()), appKey: appKey(), token: secret(), tokenSeq: Number(c.u64()), escrow: secret(), eventsFrom: Number(c.u64()) });
    r.identities = c.list(() => ({ keyId: c.text(), created: time(c.i64()), retired: time(c.i64()), expires: time(c.i64()), pkcs8: secret() }));
    r.tombstones = c.list(() => ({ keyId: c.text(), created: time(c.i64()), revoked: time(c.i64()) }));
  } else if (op === 34) {
    has('ROOM', { roomId: c.text(), permissions: permissions(c.u8()), nextNumber: c.u32() });
    keys();
  } else if (op === 35) {
    has('SNAPSHOT_END');
  } else if (op === 36) {
    has('EVENTS', { events: c.list(() => {
      const event = { seq: Number(c.u64()), time: time(c.i64()), type: EVENT_TYPES[c.u8()], appId: c.text(), roomId: c.text(), kid: c.text(), keyId: c.text(), permissions: permissions(c.u8()) };
      if (!event.type) throw new Error('unknown type of an event');
      return bare(event);
    }) });
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

function readRecords(file, header) {
  const recordKey = derive(header.dek, 'e2eedREC');
  const frameKey = derive(header.dek, 'e2eedFRM');
  const most = 16 * 1024 * 1024;
  const zeros = zerosFrom(file);
  const appKeys = new Map();
  const records = [];
  let chain = header.mac.subarray(0, 16);
  let at = header.size;
  while (at < file.length) {
    const number = records.length + 1;
    const place = Buffer.alloc(32);
    header.fileId.copy(place);
    place.writeBigUInt64LE(header.generation, 16);
    place.writeBigUInt64LE(BigInt(number), 24);
    const head = file.subarray(at, at + 20);
    if (head.length < 20) break;
    const where = `record ${number} at offset ${at}`;
    if (!blake2b(16, frameKey, Buffer.concat([place, head.subarray(0, 4)])).equals(head.subarray(4))) {
      if (zeros < at + 20) break;
      throw new Error(`${where} is damaged: its head does not authenticate`);
    }
    const length = head.readUInt32LE();
    if (length < 16 || length > most + 16) throw new Error(`${where} has an impossible length`);
    const end = at + 44 + length;
    if (end > file.length) break;
    const sealed = file.subarray(at + 44, end);
    let plain;
    try {
      plain = open(recordKey, file.subarray(at + 20, at + 44), sealed, Buffer.concat([place, chain]));
    } catch {
      const dropped = zeros < at + 20 ? zeros : Math.ceil(zeros / 512) * 512;
      if (dropped < end || (end === file.length && zeros <= end - 16)) break;
      throw new Error(`${where} is damaged: it does not authenticate`);
    }
    try {
      records.push({ number, offset: at, ...parseRecord(plain, appKeys) });
    } catch (error) {
      throw new Error(`${where}: ${error.message}`);
    }
    chain = sealed.subarray(sealed.length - 16);
    at = end;
  }
  return { records, tornBytes: file.length - at };
}

// ---- what the records add up to ----

function must(fits, what) {
  if (!fits) throw new Error(what);
}

function addKeys(room, record) {
  room.keys.push(...record.keys);
  room.current = record.current ?? room.current;
}

const snapshotRecords = {
  APP(apps, { appId, name, created, revoked, appKey, token, escrow, eventsFrom, identities, tombstones }) {
    must(!apps.has(appId), 'an app that was there already');
    must(revoked ? !appKey && !token && !identities.length : appKey && token && identities.length, 'half an app');
    apps.set(appId, { appId, name, created, revoked, token, escrow, eventsFrom, identities, tombstones, rooms: new Map() });
  },
  EVENTS(apps, { seq, events }, told) {
    for (const event of events) {
      const app = apps.get(event.appId);
      must(app && !app.revoked && event.seq > app.eventsFrom, 'an event that is none of its app');
      must(event.seq > (told.at(-1)?.seq ?? 0) && event.seq <= seq, 'an event out of order');
      told.push(event);
    }
  },
  ROOM(apps, record) {
    const rooms = apps.get(record.appId)?.rooms;
    must(rooms, 'a room of an app that is not there');
    const room = rooms.get(record.roomId) ?? { keys: [] };
    rooms.set(record.roomId, Object.assign(room, { permissions: record.permissions, nextNumber: record.nextNumber }));
    addKeys(room, record);
  },
};

// The identity that goes: a retired one.
function endKey(apps, { appId, keyId }) {
  const app = apps.get(appId);
  const at = app.identities.findIndex((identity) => identity.keyId === keyId);
  must(at > 0, 'the end of a key that is no retired one');
  return app.identities.splice(at, 1)[0];
}

// What a change tells, in order; the last event has the change's own number, those before it the numbers before.
function eventsOf({ op, seq, time: at, appId, roomId, keyId, permissions: granted, rooms, keys, current, currentKid }) {
  const rotated = current === undefined ? [] : [{ type: 'roomKey.rotated', roomId, kid: currentKid }];
  const told = {
    APP_CREATED: () => rooms.map((room) => ({ type: 'room.authorized', ...room })),
    TOKEN_SET: () => [{ type: 'token.reset' }],
    IDENTITY_ADDED: () => [{ type: 'identity.rotated', keyId }],
    GRANT_SET: () => [{ type: 'room.authorized', roomId, permissions: granted }],
    GRANT_DROPPED: () => [{ type: 'room.deauthorized', roomId }],
    ROOM_KEYS_ADDED: () => [...keys.map(({ kid }) => ({ type: 'roomKey.imported', roomId, kid })), ...rotated],
    ROOM_KEY_CREATED: () => rotated,
    KEY_REVOKED: () => [{ type: 'identity.keyRevoked', keyId }],
    KEY_EXPIRED: () => [{ type: 'identity.retiredKeyExpired', keyId }],
  }[op]?.() ?? [];
  return told.map((event, i) => ({ seq: seq - (told.length - 1 - i), time: at, appId, ...event }));
}

const changes = {
  APP_CREATED(apps, { appId, name, created, token, keyId, pkcs8, rooms }) {
    must(!apps.has(appId), 'an app that was there already');
    const granted = rooms.map(({ roomId, permissions: granting }) => [roomId, { permissions: granting, nextNumber: 0, keys: [] }]);
    const identities = [{ keyId, created, retired: null, expires: null, pkcs8 }];
    apps.set(appId, { appId, name, created, revoked: null, token, eventsFrom: 0, identities, tombstones: [], rooms: new Map(granted) });
  },
  TOKEN_SET(apps, { appId, token }) {
    apps.get(appId).token = token;
  },
  IDENTITY_ADDED(apps, { appId, time: at, keyId, pkcs8, previousExpires }) {
    const app = apps.get(appId);
    const others = app.identities.filter((identity) => !identity.pkcs8.equals(pkcs8));
    must(others[0] === app.identities[0], 'an identity that was the current one already');
    Object.assign(others[0], { retired: at, expires: previousExpires });
    app.identities = [{ keyId, created: at, retired: null, expires: null, pkcs8 }, ...others];
  },
  GRANT_SET(apps, { appId, roomId, permissions: granted }) {
    const { rooms } = apps.get(appId);
    rooms.set(roomId, { nextNumber: 0, keys: [], ...rooms.get(roomId), permissions: granted });
  },
  GRANT_DROPPED(apps, { appId, roomId, purge }) {
    const room = apps.get(appId).rooms.get(roomId);
    must(room && (room.permissions.length || (purge && room.keys.length)), 'nothing was granted');
    room.permissions = [];
    if (purge) Object.assign(room, { keys: [], current: undefined });
  },
  KEY_REVOKED(apps, record) {
    const gone = endKey(apps, record);
    const app = apps.get(record.appId);
    app.tombstones = [{ keyId: gone.keyId, created: gone.created, revoked: record.time }, ...app.tombstones].slice(0, 256);
  },
  KEY_EXPIRED(apps, record) {
    endKey(apps, record);
  },
  ESCROW_SET(apps, { appId, escrow }) {
    apps.get(appId).escrow = escrow;
  },
  ROOM_KEY_CREATED(apps, record) {
    changes.ROOM_KEYS_ADDED(apps, record);
  },
  ROOM_KEYS_ADDED(apps, record) {
    const room = apps.get(record.appId).rooms.get(record.roomId);
    must(room, 'keys of a room that was never granted');
    for (const { number } of record.keys) must(number === room.nextNumber++, "a key's number out of order");
    addKeys(room, record);
  },
  APP_REVOKED(apps, { appId, time: at }) {
    Object.assign(apps.get(appId), { revoked: at, token: undefined, escrow: undefined, identities: [], tombstones: [], rooms: new Map() });
  },
};

function replay(records) {
  const apps = new Map();
  const end = records.findIndex(({ op }) => op === 'SNAPSHOT_END');
  const told = [];
  must(records[0]?.op === 'CUSTODY' && end > 0, 'there is no whole snapshot');
  for (const record of records.slice(1, end)) {
    must(record.op in snapshotRecords, `record ${record.number} has no place in a snapshot`);
    must(record.op === 'EVENTS' || !told.length, `record ${record.number} stands behind the events of the snapshot`);
    snapshotRecords[record.op](apps, record, told);
  }
  let { seq } = records[end];
  for (const record of records.slice(end + 1)) {
    must(record.op in changes, `record ${record.number} has no place behind a snapshot`);
    const events = eventsOf(record);
    must(record.seq >= seq + Math.max(1, events.length), `record ${record.number} is not numbered in order`);
    must(record.op === 'APP_CREATED' || apps.get(record.appId)?.revoked === null, `record ${record.number} is of no app in use`);
    changes[record.op](apps, record);
    told.push(...events);
    seq = record.seq;
  }
  const shown = byId([...apps]).map(([, app]) => ({ ...app, rooms: byId([...app.rooms]).map(showRoom).filter(Boolean) }));
  return { seq, apps: shown, events: told };
}

const byId = (entries) => entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

// A room with its keys, newest first; null for one that is as good as none.
function showRoom([roomId, { permissions: granted, nextNumber, keys, current }]) {
  must(current === undefined || keys.some(({ number }) => number === current), 'the current key is not there');
  if (!granted.length && !nextNumber) return null;
  const rank = (key) => (key.number === current ? 0 : 1);
  keys.sort((a, b) => rank(a) - rank(b) || b.orderMs - a.orderMs || b.number - a.number);
  return { roomId, permissions: granted, nextNumber, current, keys };
}

function readAnchor(file, header, custody) {
  const key = derive(custody, 'e2eedANC');
  const places = [0, 512].map((at) => file.subarray(at, at + 72)).filter((place) => {
    const c = new Cursor(place);
    return place.length === 72 && c.take(8).toString('latin1') === 'E2EEDAN\n' && c.take(16).equals(header.fileId) &&
      blake2b(32, key, place.subarray(0, 40)).equals(place.subarray(40));
  });
  if (!places.length && !file.subarray(512, 1024).every((byte) => byte === 0)) throw new Error('the anchor is of another keystore, or damaged');
  const marks = places.map((place) => [place.readBigUInt64LE(24), place.readBigUInt64LE(32)]);
  marks.sort(([g1, s1], [g2, s2]) => Number(g2 - g1 || s2 - s1));
  return marks.length ? { generation: Number(marks[0][0]), seq: Number(marks[0][1]) } : null;
}

const SECRETS = new Set(['token', 'escrow', 'appKey', 'pkcs8', 'jwk', 'custody', 'dek', 'derived']);
const secrets = process.argv.includes('--secrets');
const args = process.argv.slice(2).filter((a) => a !== '--secrets');
if (args.length < 2 || args.length > 3) {
  console.error('usage: reader.mjs [--secrets] KEYSTORE SECRET_FILE [ANCHOR]');
  process.exit(64);
}
try {
  const file = readFileSync(args[0]);
  const header = readHeader(file, readSecret(readFileSync(args[1])));
  const { records, tornBytes } = readRecords(file, header);
  const state = replay(records);
  const anchor = args[2] && readAnchor(readFileSync(args[2]), header, records[0].custody);
  const { fileId, generation, created, nextSlot, slots, dek } = header;
  const keys = (root, names) => names.map((name) => [name, derive(root, name).toString('hex')]);
  const derived = Object.fromEntries([...keys(dek, ['e2eedREC', 'e2eedFRM', 'e2eedHDR', 'e2eedKEK']), ...keys(records[0].custody, ['e2eedAUD', 'e2eedANC'])]);
  const shown = { fileId: fileId.toString('hex'), generation: Number(generation), created, nextSlot, slots, dek: dek.toString('hex'), derived };
  const text = JSON.stringify({ header: shown, records, tornBytes, state, anchor }, function member(name, value) {
    if (SECRETS.has(name) && !secrets) return undefined;
    return Buffer.isBuffer(this[name]) ? this[name].toString('base64') : value;
  }, 2);
  console.log(text);
} catch (error) {
  console.error(`${args[0]}: ${error.message}`);
  process.exit(1);
}
