// One class for whatever goes wrong, told apart by `reason`.

/** The daemon's errors (docs/protocol.md, section 5). */
export type DaemonReason =
	| 'PARSE_ERROR' | 'INVALID_REQUEST' | 'METHOD_NOT_FOUND' | 'INVALID_PARAMS' | 'INTERNAL'
	| 'UNAUTHENTICATED' | 'AUTHENTICATION_FAILED' | 'ROOM_NOT_AUTHORIZED' | 'NO_ROOM_KEY' | 'DECRYPT_FAILED'
	| 'UNSUPPORTED_ALGORITHM' | 'MALFORMED_ENVELOPE' | 'KEY_UNWRAP_FAILED' | 'INVALID_KEY' | 'NOT_FOUND'
	| 'ALREADY_EXISTS' | 'RATE_LIMITED' | 'OVERLOADED' | 'TOO_LARGE' | 'LOCKED' | 'STORAGE_ERROR'
	| 'SEQ_TOO_OLD' | 'HASH_MISMATCH' | 'SHUTTING_DOWN' | 'UNSUPPORTED_PROTOCOL' | 'FORBIDDEN';

/** What this package itself reports. */
export type ClientReason =
	/** no way to the daemon; `data.attempts` says what was tried and why it failed */
	| 'UNREACHABLE'
	/** nothing that this runtime allows leads to a daemon; `data.attempts` */
	| 'NO_TRANSPORT'
	/** who answered does not know the app's token */
	| 'SERVER_NOT_TRUSTED'
	/** what came is not the protocol */
	| 'PROTOCOL_ERROR'
	/** the connection went while the call was under way: it may or may not have been carried out */
	| 'CONNECTION_LOST'
	| 'TIMEOUT'
	| 'ABORTED'
	/** close() was called */
	| 'CLOSED'
	/** more calls wait than `maxQueued` allows */
	| 'QUEUE_FULL';

/** What the part for apps reports. */
export type AppsReason =
	/** the message holds nothing encrypted */
	| 'NOT_ENCRYPTED'
	/** the room is not encrypted: nothing encrypted belongs there */
	| 'ROOM_NOT_ENCRYPTED'
	/** the room's key was reset, and this app has not yet been given the new one */
	| 'ROOM_KEY_STALE'
	/** Rocket.Chat answered with an error; `data.status`, `data.errorType` */
	| 'REST_FAILED'
	/** Rocket.Chat does not accept the user's access token (any more) */
	| 'REST_UNAUTHORIZED'
	/** the account has a key pair that is not the app's */
	| 'ACCOUNT_KEY_CONFLICT'
	/** what was asked for this server or this `http` cannot do; the message says why */
	| 'UNSUPPORTED';

export type Reason = DaemonReason | ClientReason | AppsReason;

export class E2eedError extends Error {
	readonly reason: Reason;
	/** the JSON-RPC code where the daemon answered, else 0 */
	readonly code: number;
	/** more on the cause, as the reason has it; never secret */
	readonly data: { [name: string]: any };

	constructor(reason: Reason, message: string, { code = 0, data = {} }: { code?: number; data?: { [name: string]: any } } = {}) {
		super(message);
		this.name = 'E2eedError';
		this.reason = reason;
		this.code = code;
		this.data = data;
	}
}
