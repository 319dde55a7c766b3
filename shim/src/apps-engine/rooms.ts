// Reading and writing in encrypted rooms, for an Apps-Engine app: what an app's listeners and commands call.
import { type Calls, E2eedError, type EncryptedContent, type WireMessage } from '../index';
import { type AppMessage, encryptedContent, ENCRYPTED, typeOf, unmapped, wireContent } from './content';
import { type DecryptedMessage, decryptContent, frameOfApp, frameOfWire } from './read';
import type { Rest } from './rest';
import { type AppRoom, encryptedFields, encryptFor, encryptionOf, freshEncryption, type FreshEncryption, type OutgoingMessage } from './write';

export interface EncryptedRoomsOptions {
	client: Pick<Calls, 'decrypt' | 'encrypt'>;
	/** as the bot user: for editing, history, threads, and where the server does not hand over what is encrypted */
	rest?: Rest;
	/** who sends, an IUser: best the bot user who is the room's member; the app's own user without it */
	sender?: { id: string };
}

/** What is used of IModify. */
export interface Modify {
	getCreator(): { startMessage(data?: any): any; finish(builder: any): Promise<string> };
}

/** What is used of IRead. */
export interface Read {
	getUserReader(): { getAppUser(): Promise<{ id: string } | undefined> };
}

/** What a listener is called with by the server. */
export type ListenerArguments<R = any, H = any, P = any, M = any> = [message: AppMessage, read: R, http: H, persistence: P, modify: M];

export interface Context<R, H, P, M> {
	message: AppMessage;
	read: R;
	http: H;
	persistence: P;
	modify: M;
}

/** What this server gives, as far as has been seen. `version` is that of this object: members may be added to it. */
export interface Capabilities {
	version: 1;
	/** Where what is encrypted comes from: with the event, or over REST. */
	content: 'event' | 'rest' | 'unknown';
	/** Which event tells of encrypted messages. */
	event: 'IPostMessageSent' | 'IPostSystemMessageSent' | 'unknown';
	/** Whether there is a way to history, threads and editing: a `rest` was given. */
	rest: boolean;
	/** Whether encrypted messages can be edited; unknown until the server's version was asked for. */
	edit: boolean | 'unknown';
	/** Whether there is a way for encrypted files (EncryptedFiles): Apps-Engine's http brings bytes, but takes text alone. */
	files: 'send and read' | 'read' | 'none';
	/** The server's version, such as 7.10.0, once it was asked for. */
	server?: string;
}

export interface OnMessageOptions {
	/** the message could not be decrypted; without it, such a message is passed over */
	onError?: (error: E2eedError, context: Context<any, any, any, any>) => Promise<void> | void;
}

const REMEMBERED = 1000;

/** Ids of the newest messages, so that one that two events tell of is handled once. */
class Seen {
	#ids = new Set<string>();

	/** Whether @id is new. */
	add(id: string): boolean {
		if (this.#ids.has(id)) return false;
		this.#ids.add(id);
		if (this.#ids.size > REMEMBERED) for (const oldest of this.#ids) return this.#ids.delete(oldest);
		return true;
	}
}

export class EncryptedRooms {
	#client: EncryptedRoomsOptions['client'];
	#rest: Rest | undefined;
	#sender: { id: string } | undefined;
	#appUser: Promise<string | undefined> | undefined;
	#capabilities: Capabilities;

	constructor({ client, rest, sender }: EncryptedRoomsOptions) {
		this.#client = client;
		this.#rest = rest;
		this.#sender = sender;
		const files = !rest ? 'none' : rest.binary ? 'send and read' : 'read';
		this.#capabilities = { version: 1, content: 'unknown', event: 'unknown', rest: rest !== undefined, edit: rest ? 'unknown' : false, files };
	}

	get capabilities(): Readonly<Capabilities> {
		return { ...this.#capabilities };
	}

	/** The same, after the server's version was asked for. */
	async probe(): Promise<Readonly<Capabilities>> {
		if (this.#rest) {
			const { version, editContent } = await this.#rest.server();
			this.#capabilities.server = version;
			this.#capabilities.edit = editContent;
		}
		return this.capabilities;
	}

	// ---- reading -------------------------------------------------------------------------------------------------------

	/**
	 * One listener for both events that tell of messages; which of them tells of encrypted ones depends on the server's version. Use what
	 * this gives as executePostMessageSent and as executePostSystemMessageSent. @handler gets each encrypted message once, decrypted;
	 * not the app's own, and no plain ones.
	 */
	onMessage<R extends Read, H, P, M>(
		handler: (message: DecryptedMessage, context: Context<R, H, P, M>) => Promise<void> | void,
		{ onError }: OnMessageOptions = {},
	): (...args: ListenerArguments<R, H, P, M>) => Promise<void> {
		const seen = new Seen();
		return async (message, read, http, persistence, modify) => {
			if (typeOf(message) !== ENCRYPTED || (await this.#isOwn(message, read)) || (message.id && !seen.add(message.id))) return;
			this.#capabilities.event = message.type === ENCRYPTED ? 'IPostSystemMessageSent' : 'IPostMessageSent';
			const context = { message, read, http, persistence, modify };
			let decrypted: DecryptedMessage;
			try {
				decrypted = await this.decryptMessage(message);
			} catch (error) {
				if (!(error instanceof E2eedError)) throw error;
				await onError?.(error, context);
				return;
			}
			await handler(decrypted, context);
		};
	}

	async #isOwn(message: AppMessage, read: Read): Promise<boolean> {
		const sender = message.sender?.id;
		if (sender === undefined) return false;
		if (sender === this.#sender?.id) return true;
		this.#appUser ??= read.getUserReader().getAppUser().then((user) => user?.id, () => undefined);
		return sender === (await this.#appUser);
	}

	/** What is encrypted in @message; over REST where the server did not hand it over. */
	async contentOf(message: AppMessage): Promise<EncryptedContent | undefined> {
		const content = encryptedContent(message);
		if (content) {
			this.#capabilities.content = 'event';
			return content;
		}
		if (typeOf(message) !== ENCRYPTED && unmapped(message)) return undefined; // it is plain
		if (!this.#rest || !message.id) return undefined;
		const { message: wire } = await this.#rest.get('chat.getMessage', { msgId: message.id });
		const asked = wire && wire.rid === message.room.id ? wireContent(wire) : undefined;
		if (asked) {
			this.#capabilities.content = 'rest';
			message.encryptedContent = asked;
		}
		return asked;
	}

	/**
	 * Decrypts a message as an app was given it, or in the server's own shape. What stands in clear beside the ciphertext is not part of the result,
	 * but for ids, sender, time and mentions. Rejects with NOT_ENCRYPTED, NO_ROOM_KEY, DECRYPT_FAILED, ROOM_NOT_AUTHORIZED, ...
	 */
	async decryptMessage(message: AppMessage | WireMessage): Promise<DecryptedMessage> {
		const wire = isWire(message);
		const content = wire ? wireContent(message) : await this.contentOf(message);
		if (!content) throw new E2eedError('NOT_ENCRYPTED', 'the message holds nothing encrypted, or the server did not hand it over');
		return decryptContent(this.#client, content, wire ? frameOfWire(message) : frameOfApp(message));
	}

	/** The newest messages of a room, the newest first: encrypted ones decrypted, or with the error; plain ones are left out. */
	async history(room: AppRoom, { count = 50, before }: { count?: number; before?: Date } = {}): Promise<HistoryEntry[]> {
		return this.#decryptAll(await this.#needRest('history').history(room.id, { count, latest: before }));
	}

	/** The replies of a thread, in the same way, the oldest first. */
	async thread(threadId: string): Promise<HistoryEntry[]> {
		return this.#decryptAll(await this.#needRest('threads').thread(threadId));
	}

	#decryptAll(messages: WireMessage[]): Promise<HistoryEntry[]> {
		return Promise.all(
			messages
				.filter((message) => message.t === ENCRYPTED)
				.map(async (message): Promise<HistoryEntry> => {
					try {
						return { id: String(message._id), message: await this.decryptMessage(message) };
					} catch (error) {
						if (error instanceof E2eedError) return { id: String(message._id), error };
						throw error;
					}
				}),
		);
	}

	// ---- writing -------------------------------------------------------------------------------------------------------

	/**
	 * Encrypts and sends; gives the message's id. All that the server gets of what is in @message, but for mentions, alias, avatar and emoji, is
	 * ciphertext. Sends once: when it rejects with another error than an E2eedError, the server's own, nobody knows whether it was sent.
	 *
	 * Rejects with ROOM_NOT_AUTHORIZED (no grant), NO_ROOM_KEY, ROOM_KEY_STALE, ROOM_NOT_ENCRYPTED, ...: explain() has words for people.
	 */
	async sendEncryptedMessage(modify: Modify, room: AppRoom, message: OutgoingMessage): Promise<string> {
		const content = await encryptFor(this.#client, room.id, message, encryptionOf(room), this.#freshOf(room.id));
		const { threadId, alias, avatarUrl, emoji } = message;
		const creator = modify.getCreator();
		const builder = creator.startMessage({
			room, text: '', ...(this.#sender && { sender: this.#sender }), ...(threadId && { threadId }), ...(alias && { alias }), ...(avatarUrl && { avatarUrl }),
			...(emoji && { emoji }), _unmappedProperties_: encryptedFields(content, message),
		});
		return creator.finish(builder);
	}

	/**
	 * Gives an encrypted message, sent by the bot user, other content. An app's own way of editing would store plaintext, so this
	 * goes over REST; servers before 7.13 have no way to (UNSUPPORTED).
	 */
	async editEncryptedMessage(room: AppRoom, messageId: string, message: OutgoingMessage): Promise<void> {
		const rest = this.#needRest('editing');
		if (!(await rest.server()).editContent) throw new E2eedError('UNSUPPORTED', 'this server cannot replace the content of an encrypted message (Rocket.Chat 7.13 and later can)');
		const content = await encryptFor(this.#client, room.id, message, encryptionOf(room), this.#freshOf(room.id));
		const { e2eMentions } = encryptedFields(content, message);
		await rest.post('chat.update', { roomId: room.id, msgId: messageId, content, ...(e2eMentions !== undefined && { e2eMentions }) });
	}

	#freshOf(roomId: string): FreshEncryption | undefined {
		return this.#rest && freshEncryption(this.#rest, roomId);
	}

	#needRest(what: string): Rest {
		if (!this.#rest) throw new E2eedError('UNSUPPORTED', `${what} goes over REST: give EncryptedRooms a \`rest\``);
		return this.#rest;
	}
}

export type HistoryEntry = { id: string; message: DecryptedMessage; error?: undefined } | { id: string; error: E2eedError; message?: undefined };

function isWire(message: AppMessage | WireMessage): message is WireMessage {
	return typeof (message as WireMessage).rid === 'string' && typeof (message as AppMessage).room !== 'object';
}
