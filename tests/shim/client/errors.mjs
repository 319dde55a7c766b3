// Errors by reason: every one that can be provoked, and that each comes through as the daemon says it.
import { Buffer } from 'node:buffer';
import { equal, match, next, ok, refused, test } from './check.mjs';
import { failure, fake } from './fake.mjs';

const CODES = {
	PARSE_ERROR: -32700, INVALID_REQUEST: -32600, METHOD_NOT_FOUND: -32601, INVALID_PARAMS: -32602, INTERNAL: -32603,
	UNAUTHENTICATED: -32001, AUTHENTICATION_FAILED: -32002, ROOM_NOT_AUTHORIZED: -32003, NO_ROOM_KEY: -32004,
	DECRYPT_FAILED: -32005, UNSUPPORTED_ALGORITHM: -32006, MALFORMED_ENVELOPE: -32007, KEY_UNWRAP_FAILED: -32008,
	INVALID_KEY: -32009, NOT_FOUND: -32010, ALREADY_EXISTS: -32011, RATE_LIMITED: -32012, OVERLOADED: -32013,
	TOO_LARGE: -32014, LOCKED: -32015, STORAGE_ERROR: -32016, SEQ_TOO_OLD: -32017, HASH_MISMATCH: -32018,
	UNSUPPORTED_PROTOCOL: -32020, FORBIDDEN: -32021,
};

test('what the daemon refuses', ['tcp'], async ({ connect, E2eedError, where, app, after }) => {
	const c = await connect({ ...app, transport: 'tcp', port: where.port });
	after(() => c.close());
	const { roomId, content } = app;
	const spoilt = { ...content, ciphertext: `${content.ciphertext[0] === 'A' ? 'B' : 'A'}${content.ciphertext.slice(1)}` };
	const wrap = Buffer.alloc(256, 9).toString('base64');
	const ctr = { alg: 'A256CTR', ext: true, k: 'A'.repeat(43), key_ops: ['encrypt', 'decrypt'], kty: 'oct' };
	const iv = Buffer.alloc(16).toString('base64');
	const expected = [
		['INVALID_PARAMS', () => c.decrypt({ roomId }), { param: 'content' }],
		['INVALID_PARAMS', () => c.call('ping', { more: 1 }), { param: 'more' }],
		['ROOM_NOT_AUTHORIZED', () => c.decrypt({ roomId: 'elsewhere', content }), { permission: 'read' }],
		['ROOM_NOT_AUTHORIZED', () => c.createRoomKey({ roomId: 'elsewhere' }), { permission: 'create' }],
		['NO_ROOM_KEY', () => c.decrypt({ roomId, content: { ...spoilt, kid: 'unknown' } }), { kid: 'unknown' }],
		['DECRYPT_FAILED', () => c.decrypt({ roomId, content: spoilt }), {}],
		['DECRYPT_FAILED', () => c.decryptMessage({ message: { rid: roomId, t: 'e2e', content: spoilt } }), {}],
		['UNSUPPORTED_ALGORITHM', () => c.decrypt({ roomId, content: { ...content, algorithm: 'm.megolm.v1.aes-sha2' } }), { algorithm: 'm.megolm.v1.aes-sha2' }],
		['MALFORMED_ENVELOPE', () => c.decrypt({ roomId, content: { ...content, iv: '??' } }), {}],
		['KEY_UNWRAP_FAILED', () => c.importRoomKey({ roomId, kid: 'k', key: wrap }), {}],
		['INVALID_KEY', () => c.fileOpen({ roomId, mode: 'decrypt', key: { ...ctr, alg: 'A128CTR' }, iv }), {}],
		['NOT_FOUND', () => c.fileUpdate({ fileId: 'none', data: '' }), {}],
		['NOT_FOUND', () => c.fileClose({ fileId: 'none' }), {}],
	];
	for (const [reason, call, data] of expected) {
		const error = await refused(call(), reason);
		ok(error instanceof E2eedError && error instanceof Error);
		equal([error.code, error.data], [CODES[reason], data], reason);
		match(error.message, /^[a-zA-Z]+: ./);
	}

	const file = await c.fileOpen({ roomId, mode: 'decrypt', key: ctr, iv, sha256: '0'.repeat(64) });
	equal((await refused(c.fileUpdate({ fileId: file.fileId, data: 'A'.repeat(700_000) }), 'TOO_LARGE')).data, { limit: 512 * 1024 });
	equal((await refused(c.fileClose(file), 'HASH_MISMATCH')).code, CODES.HASH_MISMATCH);
	const files = await Promise.all(Array.from({ length: 16 }, () => c.fileOpen({ roomId, mode: 'encrypt', name: 'f' })));
	await refused(c.fileOpen({ roomId, mode: 'encrypt', name: 'f' }), 'OVERLOADED');
	await Promise.all(files.map(({ fileId }) => c.fileClose({ fileId })));
	const gap = next(c, 'gap');
	await c.subscribe({ since: Number.MAX_SAFE_INTEGER });
	const [error] = await gap;
	equal([error.code, Number.isSafeInteger(error.data.oldest)], [CODES.SEQ_TOO_OLD, true]);
	await refused(c.events({ since: Number.MAX_SAFE_INTEGER }).next(), 'SEQ_TOO_OLD');
});

test('a locked keystore: LOCKED, and open again afterwards', ['tcp'], async ({ connect, where, app, host, after }) => {
	const options = { ...app, transport: 'tcp', port: where.port };
	const c = await connect(options);
	after(() => c.close());
	await host('admin', { method: 'lock' });
	const { roomId, content } = app;
	equal((await refused(c.decrypt({ roomId, content }), 'LOCKED')).code, CODES.LOCKED);
	await refused(connect(options), 'LOCKED');
	await host('admin', { method: 'unlock' });
	equal((await c.decrypt({ roomId, content })).payload, app.said);
});

test('a peer that tries too often: RATE_LIMITED, with the time to wait', ['tcp'], async ({ connect, host, app }) => {
	const port = await host('otherDaemon');
	const attempt = () => connect({ ...app, transport: 'tcp', port }).catch((error) => error);
	let error = await attempt();
	while (error.reason === 'AUTHENTICATION_FAILED') error = await attempt();
	equal([error.reason, error.code], ['RATE_LIMITED', CODES.RATE_LIMITED]);
	ok(error.data.retryAfterMs > 0);
});

test('each reason comes through as it is said, alone and in a batch', ['tcp'], async ({ connect, after }) => {
	const reasons = Object.keys(CODES);
	const daemon = await fake({ after, answer: ({ params }) => failure(params.roomId, CODES[params.roomId], { more: [params.roomId] }) });
	const c = await connect(daemon.options());
	after(() => c.close());
	for (const method of ['listRoomKeys', 'createRoomKey']) {
		const errors = await Promise.all(reasons.map((roomId) => refused(c[method]({ roomId }), roomId)));
		equal(errors.map(({ reason, code, data, message }) => ({ reason, code, data, message })),
			reasons.map((reason) => ({ reason, code: CODES[reason], data: { more: [reason] }, message: `${method}: it is ${reason}` })));
	}
});

test('an error without a reason is PROTOCOL_ERROR', ['tcp'], async ({ connect, after }) => {
	for (const error of [{ code: -32000, message: 'x' }, { code: -32000, message: 'x', data: null }, {}, null]) {
		const daemon = await fake({ after, answer: () => ({ error }) });
		const c = await connect(daemon.options());
		await refused(c.ping(), 'PROTOCOL_ERROR');
		await c.close();
	}
});
