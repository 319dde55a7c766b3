// The app's side of the daemon's contract (docs/protocol.md): what each method takes and gives. Types alone.

/** Standard base64 with padding. */
export type Base64 = string;
/** ISO 8601, UTC, with milliseconds. */
export type Time = string;
export type Permission = 'read' | 'write' | 'create' | 'distribute';
export type RoomKeyAlgorithm = 'A256GCM' | 'A128CBC';
export type RoomKeyState = 'current' | 'old';
/** As Rocket.Chat gives it: an ISO string over REST, an EJSON date over DDP. */
export type Timestamp = string | { $date: number };

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
/** What a member's client encrypts: `msg`, `attachments`, `files`, and whatever else it holds. */
export type Payload = { [name: string]: any };

/** An encrypted message's `content`; the string is what clients before Rocket.Chat 6.10 put into `msg`. */
export interface EncryptedContent {
	algorithm: string;
	ciphertext: Base64;
	/** of a room key; in rc.v1.aes-sha2 it stands before the ciphertext */
	kid?: string;
	iv?: Base64;
}

/** A message as the server keeps it: `_id`, `rid`, `t`, `e2e`, `msg`, `content`, ... */
export interface WireMessage {
	_id?: string;
	rid: string;
	t?: string;
	e2e?: string;
	msg?: string;
	tmid?: string;
	content?: EncryptedContent;
	[name: string]: any;
}

export interface RoomKey {
	kid: string;
	algorithm: RoomKeyAlgorithm;
	state: RoomKeyState;
	ts?: Timestamp;
}

export interface OldRoomKey {
	e2eKeyId: string;
	E2EKey: string;
	ts?: Timestamp;
}

export interface FileKey {
	alg: 'A256CTR';
	ext: true;
	k: string;
	key_ops: string[];
	kty: 'oct';
}

export type EventType =
	| 'identity.rotated'
	| 'identity.keyRevoked'
	| 'identity.retiredKeyExpired'
	| 'room.authorized'
	| 'room.deauthorized'
	| 'roomKey.imported'
	| 'roomKey.rotated'
	| 'token.reset';

export interface E2eedEvent {
	seq: number;
	time: Time;
	type: EventType;
	roomId?: string;
	kid?: string;
	keyId?: string;
	permissions?: Permission[];
}

type Nothing = Record<string, never>;

/** The app's methods: name, parameters, result. */
export interface Methods {
	ping: { params: Nothing; result: { time: Time } };
	getIdentity: {
		params: Nothing;
		result: {
			appId: string;
			keyId: string;
			/** the string Rocket.Chat stores: a JWK as JSON text */
			publicKey: string;
			fingerprint: string;
			createdAt: Time;
			retired: { keyId: string; retiredAt: Time; expiresAt: Time }[];
		};
	};
	getKeyPublication: { params: { userId: string }; result: { public_key: string; private_key: string } };
	importRoomKey: {
		params: { roomId: string; key: string; kid?: string; makeCurrent?: boolean; ts?: Timestamp };
		result: { kid: string; algorithm: RoomKeyAlgorithm; state: RoomKeyState };
	};
	importRoomKeys: {
		params: { roomId: string; keys: OldRoomKey[] };
		result: { imported: string[]; failed: { kid: string; reason: string }[] };
	};
	createRoomKey: { params: { roomId: string }; result: { kid: string; key: string } };
	getEncryptedRoomKey: {
		params: { roomId: string; kid?: string };
		result: RoomKey & { roomId: string; key: string };
	};
	listRoomKeys: { params: { roomId: string }; result: { keys: RoomKey[] } };
	wrapRoomKey: {
		params: { roomId: string; recipients: { _id: string; public_key: string }[]; history?: boolean };
		result: {
			roomId: string;
			users: { _id: string; key: string; oldKeys?: OldRoomKey[] }[];
			failed: { _id: string; reason: string }[];
		};
	};
	decrypt: {
		params: { roomId: string; content: EncryptedContent | string };
		result: {
			kid: string;
			algorithm: RoomKeyAlgorithm;
			keyState: RoomKeyState | 'fallback';
			payload: Payload;
		};
	};
	encrypt: { params: { roomId: string; payload: Payload }; result: { content: EncryptedContent } };
	decryptMessage: { params: { message: WireMessage }; result: { message: WireMessage } };
	encryptMessage: { params: { message: WireMessage }; result: { message: WireMessage } };
	fileOpen: {
		params:
			| { roomId: string; mode: 'encrypt'; name: string }
			| { roomId: string; mode: 'decrypt'; key: FileKey; iv: Base64; sha256?: string };
		/** `key`, `iv` and `hashedName` come with `encrypt` alone */
		result: { fileId: string; key: FileKey; iv: Base64; hashedName: string };
	};
	fileUpdate: { params: { fileId: string; data: Base64 }; result: { data: Base64 } };
	fileClose: { params: { fileId: string }; result: { sha256: string; size: number } };
	getStatus: {
		params: Nothing;
		result: { appId: string; server: string; protocol: number; rooms: number; roomKeys: number; seq: number };
	};
	subscribe: { params: { since?: number }; result: { seq: number } };
	unsubscribe: { params: Nothing; result: Nothing };
}

export type Method = keyof Methods;
export type Params<M extends Method> = Methods[M]['params'];
export type Result<M extends Method> = Methods[M]['result'];
