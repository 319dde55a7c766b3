// What is encrypted in a message as an app gets it.
//
// The server's converter to apps knows nothing of encryption: `t`, `content` and `e2eMentions` travel in `_unmappedProperties_`, by accident of its
// implementation rather than by contract. So everything read from there is looked at before it is believed, and its absence is a case of its own.
import type {} from '@rocket.chat/apps-engine/definition/messages/IMessage'; // what is extended below has to be part of the program
import type { EncryptedContent, WireMessage } from '../index';

/** What is used of an Apps-Engine IMessage; IMessage itself fits. */
export interface AppMessage {
	id?: string;
	room: { id: string };
	sender?: { id?: string; username?: string };
	threadId?: string;
	text?: string;
	type?: string;
	createdAt?: Date;
	attachments?: any[];
	/** filled by encryptedContent() */
	encryptedContent?: EncryptedContent;
}

declare module '@rocket.chat/apps-engine/definition/messages/IMessage' {
	interface IMessage {
		/** what is encrypted in the message; filled by e2eed-client's encryptedContent() */
		encryptedContent?: EncryptedContent;
	}
}

export const ENCRYPTED = 'e2e';
const PINNED = 'message_pinned_e2e';
const V1 = 'rc.v1.aes-sha2';
const V1_KID_CHARS = 12;

/** The members of a message that the server's converter did not know. */
export function unmapped(message: object): Record<string, any> | undefined {
	const rest = (message as { _unmappedProperties_?: unknown })._unmappedProperties_;
	return typeof rest === 'object' && rest !== null ? rest : undefined;
}

const nonEmpty = (value: unknown): value is string => typeof value === 'string' && value !== '';

function contentIn(value: any): EncryptedContent | undefined {
	if (typeof value !== 'object' || value === null || !nonEmpty(value.algorithm) || !nonEmpty(value.ciphertext)) return undefined;
	const { algorithm, ciphertext, kid, iv } = value;
	return withKid({ algorithm, ciphertext, ...(nonEmpty(kid) && { kid }), ...(nonEmpty(iv) && { iv }) });
}

/** Clients before Rocket.Chat 6.10 wrote the ciphertext alone. */
const legacyIn = (text: unknown): EncryptedContent | undefined => (nonEmpty(text) ? withKid({ algorithm: V1, ciphertext: text }) : undefined);

function withKid(content: EncryptedContent): EncryptedContent {
	return content.algorithm === V1 && content.kid === undefined ? { ...content, kid: content.ciphertext.slice(0, V1_KID_CHARS) } : content;
}

function ofPinned(attachment: any): EncryptedContent | undefined {
	if (typeof attachment !== 'object' || attachment === null) return undefined;
	return contentIn(attachment.content) ?? contentIn(unmapped(attachment)?.['content']) ?? legacyIn(attachment.text);
}

/** The message's type: `type` since Rocket.Chat 7.4, `t` among what is not mapped before. */
export function typeOf(message: AppMessage): string | undefined {
	return message.type ?? unmapped(message)?.['t'];
}

/**
 * What is encrypted in a message that an app was given: of an encrypted message, or of the notice that one was pinned. undefined: nothing
 * is, or the server did not hand it over (EncryptedRooms.contentOf() then asks over REST). Also left in `message.encryptedContent`.
 */
export function encryptedContent(message: AppMessage): EncryptedContent | undefined {
	const type = typeOf(message);
	let content: EncryptedContent | undefined;

	if (type === ENCRYPTED) content = contentIn(unmapped(message)?.['content']) ?? legacyIn(message.text);
	else if (type === PINNED) content = ofPinned(message.attachments?.[0]);
	if (content) message.encryptedContent = content;
	return content;
}

/** The same of a message in the server's own shape. */
export function wireContent(message: WireMessage): EncryptedContent | undefined {
	if (message.t === ENCRYPTED) return contentIn(message.content) ?? legacyIn(message.msg);
	return message.t === PINNED ? ofPinned(message['attachments']?.[0]) : undefined;
}

/** As the daemon takes it: in rc.v1.aes-sha2 the kid is part of the ciphertext. */
export function forDaemon(content: EncryptedContent): EncryptedContent {
	const { algorithm, ciphertext, kid, iv } = content;
	return algorithm === V1 ? { algorithm, ciphertext } : { algorithm, ciphertext, kid, iv };
}
