// The daemon and WebCrypto read each other, over random cases: messages of both versions, room keys, key envelopes. Each case
// has its own generator, seeded by SEED and the case's number, so that a failure names what to run again.
import { test, describe, before, after } from 'node:test';
import assert from 'node:assert/strict';
import * as rc from './lib/rc.mjs';
import { cases } from './lib/daemon.mjs';
import { openScene, refused } from './lib/scene.mjs';
import { Random, SEED, asciiText, idText, inFlight, latin1Text, payloadText, text } from './lib/random.mjs';

// Envelopes: fewer of them, where that is wanted, since each takes two derivations of a key by 100,000 rounds.
const envelopes = Number(process.env.E2EED_ENVELOPES ?? cases(1000));

let scene, app;
const of = (part, i) => new Random(SEED ^ Math.imul(part, 0x9e3779b1) ^ Math.imul(i + 1, 0x85ebca6b));
const failing = (i, error) => {
	error.message = `case ${i} of E2EED_SEED=${SEED}: ${error.message}`;
	throw error;
};
const each = (n, width, fn) => inFlight(n, width, (i, lane) => fn(i, lane).catch((error) => failing(i, error)));

// The client's message is read by the daemon ...
async function clientToDaemon(room, plain, content) {
	const { text: frame, result } = await app.callText('decrypt', JSON.stringify({ roomId: room.roomId, content }));
	assert.deepEqual(result.payload, JSON.parse(plain));
	assert.ok(frame.includes(plain), 'the payload\'s very text, numbers included');
	assert.deepEqual([result.kid, result.algorithm, result.keyState], [room.kid, room.alg, 'current']);
}

// ... and the daemon's by the client, as the same bytes.
async function daemonToClient(room, plain) {
	const { result } = await app.callText('encrypt', `{"roomId":${JSON.stringify(room.roomId)},"payload":${plain}}`);
	assert.equal(await rc.decryptContent(room.jwkText, result.content), plain);
	return result.content;
}

// The same through whole messages: what a server would store and hand out.
async function wholeMessage(room, plain, content) {
	const sent = `{"rid":${JSON.stringify(room.roomId)},"_id":"m1",${plain.slice(1)}`;
	const { result } = await app.callText('encryptMessage', `{"message":${sent === '{' ? '{}' : sent.replace(/,}$/, '}')}}`);
	const inside = JSON.parse(await rc.decryptContent(room.jwkText, result.message.content));
	const wanted = JSON.parse(plain);
	const sealed = ['msg', 'attachments', 'files', 'file'].filter((name) => name in wanted);
	assert.deepEqual(inside, Object.fromEntries(sealed.map((name) => [name, wanted[name]])));
	assert.deepEqual(Object.keys(result.message).sort(), ['_id', 'content', 'e2e', 'msg', 'rid', 't']);

	const wire = { _id: 'm1', rid: room.roomId, t: 'e2e', e2e: 'pending', msg: '', ts: { $date: 5 }, u: { _id: 'ada' }, content };
	const { message } = await app.call('decryptMessage', { message: wire });
	assert.deepEqual(message, { ...wire, ...wanted, ts: wire.ts, e2e: 'done' });
}

function converse(part, name, alg, options, encrypt, check) {
	test(name, async (t) => {
		t.diagnostic(`E2EED_SEED=${SEED}`);
		const room = await app.roomWithKey(alg, options);
		await each(cases(1000), 8, async (i) => {
			const rnd = of(part, i);
			const plain = payloadText(rnd);
			const content = await encrypt(room.jwkText, room.kid, plain);
			await clientToDaemon(room, plain, content);
			check(await daemonToClient(room, plain), room);
			if (i % 4 === 0) await wholeMessage(room, plain, content);
			if (content.algorithm === 'rc.v1.aes-sha2') await clientToDaemon(room, plain, content.ciphertext);
		});
	});
}

describe('interop', () => {
	before(async () => {
		scene = await openScene();
		app = await scene.newApp({ identity: await scene.identity() });
	});
	after(() => scene.close());

	converse(1, 'v1 messages, both ways', 'A128CBC', {}, rc.encryptV1, (content) =>
		assert.equal(content.algorithm, 'rc.v1.aes-sha2'));
	converse(2, 'v2 messages, both ways', 'A256GCM', {}, rc.encryptV2, ({ algorithm, iv, kid }, room) =>
		assert.deepEqual([algorithm, rc.fromBase64(iv).length, kid], ['rc.v2.aes-sha2', 12, room.kid]));
	converse(3, 'v2 messages with an A128CBC key, both ways', 'A128CBC', { kid: 'uuid' }, rc.encryptV2,
		({ algorithm, iv, kid }, room) =>
			assert.deepEqual([algorithm, rc.fromBase64(iv).length, kid], ['rc.v2.aes-sha2', 16, room.kid]));

	test('room keys, both ways', async (t) => {
		t.diagnostic(`E2EED_SEED=${SEED}`);
		const members = await Promise.all([1, 2, 3].map(scene.identity));
		const rooms = [];
		await each(cases(1000), 8, async (i, lane) => {
			const rnd = of(4, i);
			if (!rooms[lane] || rnd.chance(0.05)) rooms[lane] = await app.newRoom();
			const roomId = rooms[lane];

			// the client's key: taken by the daemon, and handed on to another member as it was
			const alg = rnd.pick(['A256GCM', 'A128CBC']);
			const key = await rc.makeRoomKey(alg, { order: rnd.pick(['web', 'mobile']),
				kid: rnd.pick(['uuid', 'sha256', 'constant', asciiText(rnd, 64)]) });
			const { algorithm } = await app.giveKey(roomId, key, { makeCurrent: true });
			assert.equal(algorithm, alg);
			const member = rnd.pick(members);
			const recipients = [{ _id: 'member', public_key: member.publicText }];
			const { users: [user] } = await app.call('wrapRoomKey', { roomId, recipients, history: false });
			assert.deepEqual(await rc.unwrapE2EKey(member.privateText, user.key), { kid: key.kid, jwkText: key.jwkText });
			const own = await app.call('getEncryptedRoomKey', { roomId });
			assert.deepEqual(await rc.unwrapE2EKey(app.privateText, own.key), { kid: key.kid, jwkText: key.jwkText });

			// the daemon's key: taken by the client, who writes with it
			const made = await app.call('createRoomKey', { roomId });
			const { kid, jwkText } = await rc.unwrapE2EKey(app.privateText, made.key);
			assert.equal(kid, made.kid);
			assert.match(jwkText,
				/^\{"alg":"A256GCM","ext":true,"k":"[\w-]{43}","key_ops":\["encrypt","decrypt"\],"kty":"oct"\}$/);
			const content = await rc.encryptV2(jwkText, kid, { msg: `case ${i}` });
			const opened = await app.call('decrypt', { roomId, content });
			assert.deepEqual(opened, { kid, algorithm: 'A256GCM', keyState: 'current', payload: { msg: `case ${i}` } });
		});
	});

	test('key envelopes of clients are opened', async (t) => {
		t.diagnostic(`E2EED_SEED=${SEED}`);
		const pairs = await Promise.all([0, 1, 2, 3].map(scene.identity));
		const lanes = await Promise.all(Array.from({ length: 4 }, () => scene.newApp()));
		await each(envelopes, lanes.length, async (i, lane) => {
			const rnd = of(5, i);
			// A new app now and then; one that has had the pair says so only of an envelope that it could open.
			if (i % 25 === 0) lanes[lane] = await scene.newApp();
			const it = lanes[lane];
			const pair = rnd.pick(pairs);
			const encoding = rnd.pick(['latin1', 'utf8']);
			const passphrase = rnd.chance(0.5) ? asciiText(rnd)
				: encoding === 'latin1' ? latin1Text(rnd) : text(rnd, 20).replace(/[\u0000\ud800-\udfff]/gu, '') || 'é';
			const userId = idText(rnd);
			const form = rnd.pick(['v1', 'bare', 'v2', 'v2', 'v2']);
			const ivLength = rnd.pick([12, 12, 16]);
			const cipher = ivLength === 12 ? 'AES-GCM' : rnd.pick(['AES-CBC', 'AES-GCM']);
			const salt = rnd.pick([null, `v2:${userId}:mobile`, `v2:${userId}:${rc.uuid()}`]);
			const how = { ...pair, passphrase, userId, encoding, form, ivLength, cipher, salt, iterations: rnd.between(1000, 3000) };
			if (await it.adopt(how)) assert.equal(it.publicKey, pair.publicText);
			if (i % 10 === 0) {
				const private_key = await rc.sealPrivateKey(pair.privateText, how);
				const wrong = { appId: it.appId, userId, public_key: pair.publicText, private_key, passphrase: `${passphrase}x` };
				await refused(scene.admin.call('importIdentity', wrong), 'DECRYPT_FAILED');
			}
		});
	});

	test('key envelopes of the daemon are opened by clients', async (t) => {
		t.diagnostic(`E2EED_SEED=${SEED}`);
		const adopted = await Promise.all([0, 1, 2, 3].map(async (i) => scene.newApp({ identity: await scene.identity(i) })));
		const own = await Promise.all([0, 1].map(() => scene.newApp())); // their private keys were never outside
		await each(envelopes, 8, async (i) => {
			const rnd = of(6, i);
			const it = rnd.pick([...adopted, ...own]);
			const passphrase = asciiText(rnd);
			const userId = idText(rnd);
			const out = await scene.admin.call('exportIdentity', { appId: it.appId, userId, passphrase });
			const privateText = await rc.openPrivateKey(out.private_key, { passphrase, userId });
			assert.equal(out.public_key, it.publicKey);
			assert.equal(rc.publicOf(privateText), it.publicKey);
			assert.deepEqual(Object.keys(JSON.parse(privateText)),
				['alg', 'd', 'dp', 'dq', 'e', 'ext', 'key_ops', 'kty', 'n', 'p', 'q', 'qi']);
			if (it.privateText) assert.equal(privateText, it.privateText);
			const { salt, iterations } = JSON.parse(out.private_key);
			assert.ok(salt.startsWith(`v2:${userId}:`) && iterations === 100_000);

			const key = await rc.makeRoomKey();
			const wrapped = await rc.wrapRoomKey(out.public_key, key.kid, key.jwkText);
			assert.equal((await rc.unwrapE2EKey(privateText, wrapped)).jwkText, key.jwkText);
		});
	});
});
