// One daemon with its admin connection, and apps on it that hold what a test needs: an identity, rooms, room keys.
// What the tests of Rocket.Chat's formats share; the transport is daemon.mjs's and client.mjs's.
import assert from 'node:assert/strict';
import { startDaemon } from './daemon.mjs';
import * as rc from './rc.mjs';

export const ALL = ['read', 'write', 'create', 'distribute'];

const CODES = {
	PARSE_ERROR: -32700, INVALID_REQUEST: -32600, METHOD_NOT_FOUND: -32601, INVALID_PARAMS: -32602,
	ROOM_NOT_AUTHORIZED: -32003, NO_ROOM_KEY: -32004, DECRYPT_FAILED: -32005, UNSUPPORTED_ALGORITHM: -32006,
	MALFORMED_ENVELOPE: -32007, KEY_UNWRAP_FAILED: -32008, INVALID_KEY: -32009, NOT_FOUND: -32010, HASH_MISMATCH: -32018,
};

// The call is answered by exactly this error; @data is compared member by member, if given.
export async function refused(promise, reason, data = {}) {
	const answer = await promise.then((value) => ({ value }), (error) => ({ error }));
	assert.ok(answer.error, `expected ${reason}, got ${JSON.stringify(answer.value)?.slice(0, 200)}`);
	assert.equal(answer.error.data?.reason, reason, answer.error.stack);
	assert.equal(answer.error.code, CODES[reason]);
	for (const [name, value] of Object.entries(data)) assert.deepEqual(answer.error.data[name], value, `data.${name}`);
	return answer.error;
}

// RSA pairs take long to make and no test minds sharing them.
const pairs = [];
export function identity(i = 0) {
	pairs[i] ??= rc.makeIdentity();
	return pairs[i];
}

let serial = 0;

class App {
	constructor(scene, fields) {
		Object.assign(this, { scene, ...fields });
	}

	call(method, params = {}) {
		return this.client.call(method, params);
	}

	// @paramsText goes out byte for byte; `text` is the answer's frame as it came.
	async callText(method, paramsText) {
		const text = await this.client.callText(method, paramsText);
		const answer = JSON.parse(text);
		if (answer.error) throw Object.assign(new Error(answer.error.message), answer.error);
		return { text, result: answer.result };
	}

	async newRoom(permissions = ALL) {
		const roomId = `room-${++serial}`;
		await this.scene.admin.call('authorizeRoom', { appId: this.appId, roomId, permissions });
		return roomId;
	}

	wrap({ jwkText, kid }, publicKey = this.publicKey) {
		return rc.wrapRoomKey(publicKey, kid, jwkText);
	}

	async giveKey(roomId, key, params = {}) {
		return this.call('importRoomKey', { roomId, key: await this.wrap(key), ...params });
	}

	// A room with a fresh current key of @alg, which the test knows.
	async roomWithKey(alg = 'A256GCM', options = {}) {
		const roomId = await this.newRoom();
		const key = await rc.makeRoomKey(alg, options);
		await this.giveKey(roomId, key, { makeCurrent: true });
		return { roomId, ...key };
	}

	// Adopts a key pair as a Rocket.Chat client left it; @pair may hold sealPrivateKey's options, too.
	async adopt({ privateText, publicText = rc.publicOf(privateText), passphrase = 'correct horse', userId = 'bot', ...how }) {
		const sealed = await rc.sealPrivateKey(privateText, { passphrase, userId, ...how });
		const params = { appId: this.appId, userId, public_key: publicText, private_key: sealed, passphrase };
		const answer = await this.scene.admin.call('importIdentity', params);
		const { publicKey } = await this.call('getIdentity');
		Object.assign(this, { keyId: answer.keyId, publicKey, privateText });
		return answer.keyId;
	}
}

export async function openScene() {
	const daemon = await startDaemon();
	const admin = await daemon.admin();
	const scene = {
		daemon,
		admin,
		identity,
		async newApp({ identity: pair = null, appId = `app-${++serial}`, rooms = [] } = {}) {
			const { token, keyId, publicKey } = await admin.call('createApp', { appId, rooms });
			const app = new App(scene, { appId, token, keyId, publicKey, client: await daemon.app(appId, token) });
			if (pair) await app.adopt(pair);
			return app;
		},
		close: () => daemon.stop(),
	};
	return scene;
}
