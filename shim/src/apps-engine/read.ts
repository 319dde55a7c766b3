// From an encrypted message to what its sender meant.
import type { Calls, EncryptedContent, Payload, Result, WireMessage } from '../index';
import { type AppMessage, forDaemon, unmapped } from './content';
import { fromEjson } from './ejson';

/** Names without their sigil; the ids that the server found for them. They stand beside the ciphertext, in clear. */
export interface Mentions {
	users: { username: string; id?: string }[];
	channels: { name: string; id?: string }[];
}

/** A message that was encrypted. EJSON values in it are JS values: Date, Uint8Array, Infinity, NaN. */
export interface DecryptedMessage {
	id?: string;
	roomId: string;
	threadId?: string;
	sender?: { id?: string; username?: string };
	createdAt?: Date;
	text: string;
	/** under the names that clients write: title, title_link, image_url, encryption, hashes, ... */
	attachments: Payload[];
	files: Payload[];
	mentions: Mentions;
	/** everything that was encrypted */
	payload: Payload;
	kid: string;
	keyState: Result<'decrypt'>['keyState'];
}

const objects = (value: unknown): Payload[] =>
	Array.isArray(value) ? value.filter((each): each is Payload => typeof each === 'object' && each !== null && !Array.isArray(each)) : [];

const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : []);

/** What the sender's client names in clear, with the ids that the server resolved. */
function mentionsIn(fields: Record<string, any> | undefined): Mentions {
	const e2eMentions = fields?.['e2eMentions'];
	const bare = (name: string, sigil: string) => name.slice(name.indexOf(sigil) + 1); // clients leave a leading '>' or '(' on it
	return {
		users: strings(e2eMentions?.e2eUserMentions).map((name) => {
			const username = bare(name, '@');
			return { username, id: objects(fields?.['mentions']).find((user) => user['username'] === username)?.['_id'] };
		}),
		channels: strings(e2eMentions?.e2eChannelMentions).map((mention) => {
			const name = bare(mention, '#');
			return { name, id: objects(fields?.['channels']).find((channel) => channel['name'] === name)?.['_id'] };
		}),
	};
}

export type Frame = Pick<DecryptedMessage, 'id' | 'roomId' | 'threadId' | 'sender' | 'createdAt' | 'mentions'>;

export function frameOfApp(message: AppMessage): Frame {
	const { id, room, threadId, sender, createdAt } = message;
	return { id, roomId: room.id, threadId, sender: sender && { id: sender.id, username: sender.username }, createdAt, mentions: mentionsIn(unmapped(message)) };
}

function dateOf(ts: unknown): Date | undefined {
	const date = fromEjson(ts);
	if (date instanceof Date) return date;
	return typeof date === 'string' && !Number.isNaN(Date.parse(date)) ? new Date(date) : undefined;
}

export function frameOfWire(message: WireMessage): Frame {
	const user = message['u'];
	return {
		id: message._id, roomId: message.rid, threadId: message.tmid, sender: user && { id: user._id, username: user.username },
		createdAt: dateOf(message['ts']), mentions: mentionsIn(message),
	};
}

/** Rejects with what `decrypt` rejects with. */
export async function decryptContent(client: Pick<Calls, 'decrypt'>, content: EncryptedContent, frame: Frame): Promise<DecryptedMessage> {
	const { payload: raw, kid, keyState } = await client.decrypt({ roomId: frame.roomId, content: forDaemon(content) });
	const payload = fromEjson(raw) as Payload;
	return {
		...frame, kid, keyState, payload, text: typeof payload['msg'] === 'string' ? payload['msg'] : '', attachments: objects(payload['attachments']),
		files: objects(payload['files']),
	};
}
