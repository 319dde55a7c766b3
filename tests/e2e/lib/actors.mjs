// What the tests of sockets, sessions and errors share: apps with rooms and keys on a daemon the test has started, the
// error table, and random numbers that can be had again.
import assert from 'node:assert/strict';
import { RpcError } from './client.mjs';
import { Random } from './random.mjs';
import * as rc from './rc.mjs';

export const ALL = ['read', 'write', 'create', 'distribute'];

// protocol.md, section 5
export const CODES = {
	PARSE_ERROR: -32700, INVALID_REQUEST: -32600, METHOD_NOT_FOUND: -32601, INVALID_PARAMS: -32602, INTERNAL: -32603,
	UNAUTHENTICATED: -32001, AUTHENTICATION_FAILED: -32002, ROOM_NOT_AUTHORIZED: -32003, NO_ROOM_KEY: -32004,
	DECRYPT_FAILED: -32005, UNSUPPORTED_ALGORITHM: -32006, MALFORMED_ENVELOPE: -32007, KEY_UNWRAP_FAILED: -32008,
	INVALID_KEY: -32009, NOT_FOUND: -32010, ALREADY_EXISTS: -32011, RATE_LIMITED: -32012, OVERLOADED: -32013,
	TOO_LARGE: -32014, LOCKED: -32015, STORAGE_ERROR: -32016, SEQ_TOO_OLD: -32017, HASH_MISMATCH: -32018,
	SHUTTING_DOWN: -32019, UNSUPPORTED_PROTOCOL: -32020, FORBIDDEN: -32021,
};
export const REASONS = new Map(Object.entries(CODES).map(([reason, code]) => [code, reason]));

// An answer that is exactly this error; gives error.data.
export function isError(answer, reason, id = answer.id) {
	assert.ok(answer.error, `expected ${reason}, got ${JSON.stringify(answer).slice(0, 300)}`);
	assert.deepEqual(Object.keys(answer).sort(), ['error', 'id', 'jsonrpc']);
	assert.equal(answer.jsonrpc, '2.0');
	assert.deepEqual(answer.id, id);
	assert.equal(answer.error.data?.reason, reason, JSON.stringify(answer.error));
	assert.equal(answer.error.code, CODES[reason]);
	assert.equal(typeof answer.error.message, 'string');
	return answer.error.data;
}

// The call is answered by exactly this error; gives its data.
export async function refused(promise, reason) {
	const outcome = await promise.then((value) => ({ value }), (error) => ({ error }));
	assert.ok('error' in outcome, `expected ${reason}, got ${JSON.stringify(outcome.value)?.slice(0, 300)}`);
	if (!(outcome.error instanceof RpcError)) throw outcome.error;
	assert.equal(outcome.error.reason, reason, outcome.error.stack);
	assert.equal(outcome.error.code, CODES[reason]);
	return outcome.error.data;
}

// Which error the call is answered with.
export const reasonOf = (promise) => promise.then(
	(value) => assert.fail(`expected an error, got ${JSON.stringify(value)?.slice(0, 300)}`),
	(error) => {
		if (!(error instanceof RpcError)) throw error;
		return error.reason;
	});

export const usable = async (client) => assert.match((await client.call('ping')).time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

// Gives an app a fresh key for a room, as another member would; the key is the caller's to use.
export async function giveKey(client, publicKey, roomId, { alg = 'A256GCM', makeCurrent = true, ...more } = {}) {
	const key = await rc.makeRoomKey(alg);
	const e2eKey = await rc.wrapRoomKey(publicKey, key.kid, key.jwkText);
	await client.call('importRoomKey', { roomId, key: e2eKey, makeCurrent, ...more });
	return { ...key, e2eKey };
}

// An app with one room and, unless @key is false, a current key in it: { appId, token, publicKey, client, roomId, key }.
export async function newApp(daemon, admin, { appId = `app-${rc.uuid()}`, roomId = `room-${rc.uuid()}`, permissions = ALL,
	key = true, alg = 'A256GCM' } = {}) {
	const made = await admin.call('createApp', { appId, rooms: [{ roomId, permissions }] });
	const client = await daemon.app(appId, made.token);
	const app = { ...made, client, roomId };
	if (key) app.key = await giveKey(client, made.publicKey, roomId, { alg });
	return app;
}

export const encryptFor = ({ key, roomId }, payload) =>
	rc.encryptV2(key.jwkText, key.kid, payload).then((content) => ({ roomId, content }));

// Another seed each time, so that runs add up; the caller prints it, and E2EED_SEED repeats a run.
export function random(seed = Number(process.env.E2EED_SEED ?? Math.floor(Math.random() * 2 ** 32))) {
	return Object.assign(new Random(seed), { seed });
}
