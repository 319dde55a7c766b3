// From what an app means to a message of which the server sees nothing but ciphertext.
import { type Calls, E2eedError, type EncryptedContent, type Payload } from '../index';
import { wireAttachment } from './attachments';
import { ENCRYPTED, unmapped } from './content';
import { toEjson } from './ejson';
import type { Rest } from './rest';

/** What is used of IRoom. */
export interface AppRoom {
	id: string;
}

export interface OutgoingMessage {
	text?: string;
	/** IMessageAttachment, or under the names that clients write */
	attachments?: object[];
	files?: object[];
	/** of the message to which this is a reply */
	threadId?: string;
	/** a reply in a thread is also shown in the room */
	showInRoom?: boolean;
	/**
	 * Whom the server notifies: names with or without their sigil. They stand beside the ciphertext, so the server sees them; without them it is
	 * told nothing of who is named in the text.
	 */
	mentions?: { users?: string[]; channels?: string[] };
	/** more members of what is encrypted */
	payload?: Payload;
	/** in clear, as with any message: */
	alias?: string;
	avatarUrl?: string;
	emoji?: string;
}

/** What the room says of its encryption, as far as the server handed it to the app. */
export interface RoomEncryption {
	encrypted: boolean;
	/** of the key in use; undefined: no member has made one yet */
	keyId?: string;
}

export function encryptionOf(room: AppRoom): RoomEncryption | undefined {
	const fields = unmapped(room);
	return fields && encryptionIn(fields);
}

export function encryptionIn(fields: Record<string, any>): RoomEncryption {
	const keyId = fields['e2eKeyId'];
	return { encrypted: fields['encrypted'] === true, keyId: typeof keyId === 'string' && keyId !== '' ? keyId : undefined };
}

function payloadOf({ text = '', attachments, files, payload }: OutgoingMessage): Payload {
	return toEjson({
		...payload, msg: text, ...(attachments && { attachments: attachments.map(wireAttachment) }), ...(files && { files, file: files[0] }),
	}) as Payload;
}

const sigiled = (names: string[] | undefined, sigil: string): string[] => (names ?? []).map((name) => (name.startsWith(sigil) ? name : sigil + name));

/** The members of the server's message that carry an encrypted one. Without mentions the server looks for none: `msg` is empty. */
export function encryptedFields(content: EncryptedContent, { mentions, showInRoom, threadId }: OutgoingMessage): Record<string, unknown> {
	return {
		t: ENCRYPTED, e2e: 'pending', content,
		...(mentions && { e2eMentions: { e2eUserMentions: sigiled(mentions.users, '@'), e2eChannelMentions: sigiled(mentions.channels, '#') } }),
		...(showInRoom && threadId && { tshow: true }),
	};
}

const kidOf = ({ kid, ciphertext }: EncryptedContent): string => kid ?? ciphertext.slice(0, 12);

/** Asks the server. */
export type FreshEncryption = () => Promise<RoomEncryption>;

export function freshEncryption(rest: Rest, roomId: string): FreshEncryption {
	return async () => encryptionIn((await rest.get('rooms.info', { roomId })).room ?? {});
}

/**
 * Encrypts for a room, with the key that the room uses. @known: what the app was told of the room, at some time; @fresh asks the server
 * (undefined: there is no way to), which is done only where the two disagree.
 *
 * Rejects with ROOM_NOT_ENCRYPTED, NO_ROOM_KEY, ROOM_KEY_STALE, ROOM_NOT_AUTHORIZED and whatever else `encrypt` rejects with.
 */
export async function encryptPayload(
	client: Pick<Calls, 'encrypt'>,
	roomId: string,
	payload: Payload,
	known: RoomEncryption | undefined,
	fresh: FreshEncryption | undefined,
): Promise<EncryptedContent> {
	const { content } = await client.encrypt({ roomId, payload });
	const fits = (room: RoomEncryption) => room.encrypted && room.keyId === kidOf(content);
	let room = known;

	if (fresh && (!room || !fits(room))) room = await fresh();
	if (!room || fits(room)) return content;
	if (!room.encrypted) throw new E2eedError('ROOM_NOT_ENCRYPTED', `room ${roomId} is not encrypted: what is encrypted would be unreadable there`);
	if (!room.keyId) throw new E2eedError('NO_ROOM_KEY', `room ${roomId} has no key yet`);
	throw new E2eedError('ROOM_KEY_STALE', `room ${roomId} has another key now (${room.keyId}); the app has not been given it yet`, {
		data: { keyId: room.keyId, kid: kidOf(content) },
	});
}

/** As encryptPayload(), a message. */
export async function encryptFor(
	client: Pick<Calls, 'encrypt'>,
	roomId: string,
	message: OutgoingMessage,
	known: RoomEncryption | undefined,
	fresh: FreshEncryption | undefined,
): Promise<EncryptedContent> {
	return encryptPayload(client, roomId, payloadOf(message), known, fresh);
}
