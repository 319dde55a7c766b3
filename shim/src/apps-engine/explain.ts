// Errors in words for the people in a room, who know neither reasons nor this package.
import { E2eedError, type Reason } from '../index';

const WORDS: { [R in Reason]?: string } = {
	ROOM_NOT_AUTHORIZED: 'I have not been allowed to take part in the encrypted conversations of this room. An administrator of e2eed can allow it.',
	NO_ROOM_KEY: "I do not have this room's encryption key yet. It comes from another member whose client is open.",
	ROOM_KEY_STALE: "This room's encryption key was changed, and I have not been given the new one yet. It comes from another member whose client is open.",
	ROOM_NOT_ENCRYPTED: 'This room is not encrypted.',
	DECRYPT_FAILED: 'I could not decrypt that message.',
	MALFORMED_ENVELOPE: 'That message was not encrypted in a way that I understand.',
	UNSUPPORTED_ALGORITHM: 'That message was not encrypted in a way that I understand.',
	NOT_ENCRYPTED: 'That message is not encrypted.',
	HASH_MISMATCH: 'That file is not what its sender sent.',
	TOO_LARGE: 'That is too large for me.',
	LOCKED: 'The store of my keys is locked. An administrator of e2eed has to unlock it.',
	AUTHENTICATION_FAILED: 'My access to e2eed has ended. An administrator has to give me a new token.',
	REST_UNAUTHORIZED: 'My access to this server has ended. An administrator has to give me a new access token.',
	ACCOUNT_KEY_CONFLICT: 'My account has another encryption key than I do. An administrator has to look at it.',
	NO_TRANSPORT: 'This server does not let me reach e2eed. An administrator has to look at it.',
	UNSUPPORTED: 'This server cannot do that.',
};

/** What to tell the people in a room about @error; holds nothing of a message, and nothing that they could not know. */
export function explain(error: unknown): string {
	return (error instanceof E2eedError && WORDS[error.reason]) || 'The encryption service cannot be reached just now. Please try again in a while.';
}
