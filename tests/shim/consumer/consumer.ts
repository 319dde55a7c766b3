// An app that uses all of the package, for the compiler alone: it is compiled under each way of resolving modules and never run. What must
// not compile says so.
import { type Abort, type Calls, Client, connect, E2eedError, type E2eedEvent, type Method, type Reason, type RoomKey } from 'e2eed-client';
import { E2eedError as SameError, EncryptedRooms, Participant } from 'e2eed-client/apps-engine';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same: Same<typeof E2eedError, typeof SameError> = true;
void [same, EncryptedRooms, Participant];

const roomId = 'GENERAL';

// Every method once: a method of the contract that is not here does not compile.
const uses: { [M in Method]: (c: Client) => ReturnType<Calls[M]> } = {
	ping: (c) => c.ping(),
	getIdentity: (c) => c.getIdentity(),
	getKeyPublication: (c) => c.getKeyPublication({ userId: 'u' }),
	importRoomKey: (c) => c.importRoomKey({ roomId, key: 'k', kid: 'id', makeCurrent: true, ts: { $date: 1 } }),
	importRoomKeys: (c) => c.importRoomKeys({ roomId, keys: [{ e2eKeyId: 'id', E2EKey: 'k', ts: '2026-11-23T06:00:00.000Z' }] }),
	createRoomKey: (c) => c.createRoomKey({ roomId }, { timeoutMs: 1000 }),
	getEncryptedRoomKey: (c) => c.getEncryptedRoomKey({ roomId }),
	listRoomKeys: (c) => c.listRoomKeys({ roomId }),
	wrapRoomKey: (c) => c.wrapRoomKey({ roomId, recipients: [{ _id: 'u', public_key: '{}' }], history: false }),
	decrypt: (c) => c.decrypt({ roomId, content: 'legacy' }),
	encrypt: (c) => c.encrypt({ roomId, payload: { msg: 'm' } }),
	decryptMessage: (c) => c.decryptMessage({ message: { rid: roomId, t: 'e2e', anything: 1 } }),
	encryptMessage: (c) => c.encryptMessage({ message: { rid: roomId, msg: 'm' } }),
	fileOpen: (c) => c.fileOpen({ roomId, mode: 'encrypt', name: 'n' }),
	fileUpdate: (c) => c.fileUpdate({ fileId: 'f', data: '' }),
	fileClose: (c) => c.fileClose({ fileId: 'f' }),
	getStatus: (c) => c.getStatus({}),
	subscribe: (c) => c.subscribe({ since: 1 }),
	unsubscribe: (c) => c.unsubscribe(),
};

export async function app(signal: Abort): Promise<Reason | undefined> {
	const c: Client = await connect({ appId: 'bot', token: async () => 'e2eed1_', transport: 'auto', socketPath: '@e2eed', host: '127.0.0.1', port: 7438, timeoutMs: 1, signal });
	await connect({ appId: 'bot', token: 'e2eed1_', reconnect: { minMs: 1, maxMs: 2 } });
	await connect({ appId: 'bot', token: 'e2eed1_', reconnect: false, maxQueued: 1, connectTimeoutMs: 1 });
	const controller = new AbortController();
	await c.ping({}, { signal: controller.signal });

	const { payload, keyState } = await c.decrypt({ roomId, content: { algorithm: 'rc.v2.aes-sha2', kid: 'k', iv: 'i', ciphertext: 'c' } });
	const state: 'current' | 'old' | 'fallback' = keyState;
	const keys: RoomKey[] = (await c.listRoomKeys({ roomId })).keys;
	const kid: string = (await c.call('createRoomKey', { roomId })).kid;
	c.on('event', (event: E2eedEvent) => void event.roomId).once('connect', () => undefined).off('gap', (error) => void error.reason);
	c.on('close', (error) => void error?.code);
	for await (const { seq, type } of c.events({ since: 5 })) void [seq, type];
	void [payload['msg'], state, keys, kid, c.state, c.transport, c.server, c.capabilities, uses];
	await c.close();

	// @ts-expect-error no such parameter
	await c.decrypt({ roomId, text: 'x' });
	// @ts-expect-error params are needed
	await c.createRoomKey();
	// @ts-expect-error an admin's method
	await c.call('revokeApp', { appId: 'bot' });
	// @ts-expect-error the token
	await connect({ appId: 'bot' });
	// @ts-expect-error no such event
	c.on('message', () => undefined);
	// @ts-expect-error clients are made by connect()
	new Client({ appId: 'bot', token: 'e2eed1_' }).open();

	try {
		await c.ping();
	} catch (error) {
		if (error instanceof E2eedError) return error.data['retryAfterMs'] ? error.reason : undefined;
	}
	return undefined;
}
