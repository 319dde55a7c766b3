// Every method of the contract against a real daemon: its result has the members of docs/protocol.md and no others.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { equal, ok, shaped, test } from './check.mjs';

const tcp = ({ app, where }, more = {}) => ({ ...app, transport: 'tcp', port: where.port, ...more });
const CONTENT = { algorithm: { is: 'rc.v2.aes-sha2' }, kid: 'uuid', iv: 'base64', ciphertext: 'base64' };
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

async function opened(context) {
	const c = await context.connect(tcp(context));
	context.after(() => c.close());
	return c;
}

test('status and identity', ['tcp'], async (context) => {
	const c = await opened(context);
	shaped(await c.ping(), { time: 'time' });
	shaped(await c.getStatus(), { appId: { is: context.app.appId }, server: 'text', protocol: { is: 1 }, rooms: { is: 1 }, roomKeys: 'number', seq: 'number' });
	const identity = shaped(await c.getIdentity(), { appId: { is: context.app.appId }, keyId: 'uuid', publicKey: 'text', fingerprint: 'hex', createdAt: 'time', retired: { is: [] } });
	const { n, ...jwk } = JSON.parse(identity.publicKey);
	equal([jwk, n.length], [{ alg: 'RSA-OAEP-256', e: 'AQAB', ext: true, key_ops: ['encrypt'], kty: 'RSA' }, 342]);
	const published = shaped(await c.getKeyPublication({ userId: 'u' }), { public_key: { is: identity.publicKey }, private_key: 'text' });
	shaped(JSON.parse(published.private_key), { iv: 'base64', ciphertext: 'base64', salt: 'text', iterations: 'number' });
});

test('room keys', ['tcp'], async (context) => {
	const c = await opened(context);
	const { roomId } = await context.host('newRoom', { appId: context.app.appId });
	equal(await c.listRoomKeys({ roomId }), { keys: [] });
	const made = shaped(await c.createRoomKey({ roomId }), { kid: 'uuid', key: 'text' });
	const key = shaped(await c.getEncryptedRoomKey({ roomId }), { roomId: { is: roomId }, kid: { is: made.kid }, key: 'text', algorithm: { is: 'A256GCM' }, state: { is: 'current' }, ts: 'time' });
	const second = await c.createRoomKey({ roomId });
	const { keys } = await c.listRoomKeys({ roomId });
	equal(keys.map(({ kid, state }) => [kid, state]), [[second.kid, 'current'], [made.kid, 'old']]);
	for (const each of keys) shaped(each, { kid: 'uuid', algorithm: { is: 'A256GCM' }, state: 'text', ts: 'time' });
	equal((await c.getEncryptedRoomKey({ roomId, kid: made.kid })).state, 'old');

	const { roomId: elsewhere } = await context.host('newRoom', { appId: context.app.appId });
	equal(await c.importRoomKey({ roomId: elsewhere, key: key.key, kid: made.kid, makeCurrent: true, ts: key.ts }), { kid: made.kid, algorithm: 'A256GCM', state: 'current' });
	equal(await c.importRoomKeys({ roomId: elsewhere, keys: [{ e2eKeyId: second.kid, E2EKey: second.key, ts: { $date: 1 } }, { e2eKeyId: 'x', E2EKey: 'y' }] }),
		{ imported: [second.kid], failed: [{ kid: 'x', reason: 'MALFORMED_ENVELOPE' }] });
	equal((await c.listRoomKeys({ roomId: elsewhere })).keys.map(({ kid, ts }) => [kid, ts]), [[made.kid, key.ts], [second.kid, { $date: 1 }]]);

	const member = await context.host('identity');
	const wrapped = await c.wrapRoomKey({ roomId, recipients: [{ _id: 'alice', public_key: member.publicKey }, { _id: 'mallory', public_key: '{}' }] });
	shaped(wrapped, { roomId: { is: roomId }, users: { is: wrapped.users }, failed: { is: [{ _id: 'mallory', reason: 'INVALID_KEY' }] } });
	const [alice] = wrapped.users;
	shaped(alice, { _id: { is: 'alice' }, key: 'text', oldKeys: { is: alice.oldKeys } });
	equal(alice.oldKeys.map(({ e2eKeyId }) => e2eKeyId), [made.kid]);
	equal((await c.wrapRoomKey({ roomId, recipients: [{ _id: 'alice', public_key: member.publicKey }], history: false })).users[0].oldKeys, undefined);
});

test('messages', ['tcp'], async (context) => {
	const c = await opened(context);
	const { roomId, content, said } = context.app;
	shaped(await c.decrypt({ roomId, content }), { kid: 'uuid', algorithm: { is: 'A256GCM' }, keyState: { is: 'current' }, payload: { is: said } });
	const payload = { msg: 'a ☃', n: 1.5, attachments: [{ ts: { $date: 5 } }] };
	const sealed = await c.encrypt({ roomId, payload });
	shaped(sealed, { content: CONTENT });
	equal((await c.decrypt({ roomId, ...sealed })).payload, payload);
	const { message } = await c.encryptMessage({ message: { _id: 'm', rid: roomId, msg: 'hidden', tmid: 't', md: ['hidden'] } });
	shaped(message, { _id: { is: 'm' }, rid: { is: roomId }, tmid: { is: 't' }, t: { is: 'e2e' }, e2e: { is: 'pending' }, msg: { is: '' }, content: CONTENT });
	const opens = await c.decryptMessage({ message: { ...message, u: { _id: 'bot' } } });
	equal(opens.message, { ...message, u: { _id: 'bot' }, e2e: 'done', msg: 'hidden' });
});

test('files', ['tcp'], async (context) => {
	const c = await opened(context);
	const { roomId } = context.app;
	const plain = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
	const sealing = await c.fileOpen({ roomId, mode: 'encrypt', name: 'plan.pdf' });
	shaped(sealing, { fileId: 'text', key: { is: sealing.key }, iv: 'base64', hashedName: { is: sha256('plan.pdf') } });
	const pass = async (fileId, data) => {
		const chunks = [];
		for (let at = 0; at < data.length; at += 33_333) chunks.push(c.fileUpdate({ fileId, data: data.subarray(at, at + 33_333).toString('base64') }));
		const end = c.fileClose({ fileId }); // pipelined: executed in the order sent
		const through = Buffer.concat((await Promise.all(chunks)).map((answer) => Buffer.from(shaped(answer, { data: 'base64' }).data, 'base64')));
		return { through, ...shaped(await end, { sha256: 'hex', size: 'number' }) };
	};
	const sealed = await pass(sealing.fileId, plain);
	equal([sealed.sha256, sealed.size], [sha256(plain), plain.length]);
	ok(!sealed.through.equals(plain));
	const { key, iv } = sealing;
	const opening = await c.fileOpen({ roomId, mode: 'decrypt', key, iv, sha256: sealed.sha256 });
	shaped(opening, { fileId: 'text' });
	ok((await pass(opening.fileId, sealed.through)).through.equals(plain), 'the file as it was');
});

test('events', ['tcp'], async (context) => {
	const c = await opened(context);
	const { appId } = context.app;
	const { seq } = shaped(await c.subscribe(), { seq: 'number' });
	const came = new Promise((resolve) => c.once('event', resolve));
	const { roomId } = await context.host('newRoom', { appId });
	const event = shaped(await came, { seq: 'number', time: 'time', type: { is: 'room.authorized' }, roomId: { is: roomId }, permissions: { is: ['read', 'write', 'create', 'distribute'] } });
	ok(event.seq > seq);
	equal(await c.unsubscribe(), {});
});

test('a method is the same whichever way it is called', ['tcp'], async (context) => {
	const c = await opened(context);
	const { roomId } = context.app;
	equal(await c.call('listRoomKeys', { roomId }), await c.listRoomKeys({ roomId }));
	equal(Object.keys(await c.getStatus()), Object.keys(await c.getStatus({})));
	for (const method of ['ping', 'getIdentity', 'getKeyPublication', 'importRoomKey', 'importRoomKeys', 'createRoomKey', 'getEncryptedRoomKey', 'listRoomKeys', 'wrapRoomKey',
		'decrypt', 'encrypt', 'decryptMessage', 'encryptMessage', 'fileOpen', 'fileUpdate', 'fileClose', 'getStatus', 'subscribe', 'unsubscribe'])
		equal(typeof c[method], 'function', method);
});
