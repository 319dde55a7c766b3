// Encrypted files: each under a key of its own, which travels in the message that shows the file.
//
// A file is uploaded in two steps. First its bytes, with an envelope of what they are (name, type, key), for the server's record of the upload; then
// the message, encrypted like any other, whose attachment holds the same key. What the server sees is a length and the hash of a name.
import { randomBytes } from 'crypto';
import { type Calls, E2eedError, type Payload } from '../index';
import type { DecryptedMessage } from './read';
import type { Rest } from './rest';
import { type AppRoom, encryptFor, encryptionOf, encryptPayload, freshEncryption } from './write';

export type FilesClient = Pick<Calls, 'encrypt' | 'fileOpen' | 'fileUpdate' | 'fileClose'>;

export interface FilesOptions {
	client: FilesClient;
	/** as the bot user, who has to be a member of the room; for sending over `fetch`, since Apps-Engine's http carries text alone */
	rest: Rest;
	/** of a file, both ways; 100 MiB by default, as with a new server. It passes through memory as a whole */
	maxBytes?: number;
}

export interface OutgoingFile {
	name: string;
	/** such as image/png; application/octet-stream by default */
	type?: string;
	bytes: Uint8Array;
	/** what is said with it */
	text?: string;
	/** of an image, in pixels */
	dimensions?: { width: number; height: number };
	/** of the message to which this is a reply */
	threadId?: string;
}

export interface SentFile {
	/** of the server's record of the upload */
	fileId: string;
	/** of what was in it */
	sha256: string;
	size: number;
}

export interface ReceivedFile {
	name: string;
	type: string;
	bytes: Uint8Array;
	sha256: string;
	/** whether the sender told the hash, which was then compared; without it anybody on the way could have changed the bytes */
	verified: boolean;
}

const MAX_BYTES = 100 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024; // the daemon takes twice as much
const CHUNKS_AHEAD = 4;
const UNKNOWN_TYPE = 'application/octet-stream';
const MEDIA = ['image', 'audio', 'video'];

const groupOf = (type: string): string => type.split('/')[0]!;

/** As clients name a file's kind: by what stands behind the last dot, if something stands before it. */
function formatOf(name: string): string {
	const dot = name.lastIndexOf('.');
	return dot > 0 && dot < name.length - 1 ? name.slice(dot + 1).toUpperCase() : 'file';
}

/** What differs by the kind of file; @url: where the server keeps it. */
function mediaFields({ name, dimensions }: OutgoingFile, type: string, size: number, url: string): Payload {
	const group = groupOf(type);
	if (!MEDIA.includes(group)) return { size, format: formatOf(name) };
	const ofImage = group === 'image' && dimensions && { image_dimensions: dimensions };
	return { [`${group}_url`]: url, [`${group}_type`]: type, [`${group}_size`]: size, ...ofImage };
}

/** A form with the envelope and the bytes; the latter last, as servers that read as it comes want it. */
function formOf(envelope: object, hashedName: string, bytes: Uint8Array): { body: Uint8Array; contentType: string } {
	const boundary = `e2eed-${randomBytes(16).toString('hex')}`;
	const part = (head: string) => `--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n`;
	const file = part(`name="file"; filename="${hashedName}"\r\nContent-Type: ${UNKNOWN_TYPE}`);
	const before = `${part('name="content"')}${JSON.stringify(envelope)}\r\n${file}`;
	const body = Buffer.concat([Buffer.from(before), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]);
	return { body, contentType: `multipart/form-data; boundary=${boundary}` };
}

export class EncryptedFiles {
	#client: FilesClient;
	#rest: Rest;
	#maxBytes: number;

	constructor({ client, rest, maxBytes = MAX_BYTES }: FilesOptions) {
		this.#client = client;
		this.#rest = rest;
		this.#maxBytes = maxBytes;
	}

	/**
	 * Encrypts a file, uploads it, and sends the message that shows it, as the bot user. Rejects as sendEncryptedMessage() does, and with UNSUPPORTED
	 * (no fetch), TOO_LARGE, CONNECTION_LOST (to the daemon; nothing was sent), REST_FAILED: with `data.errorType` 'error-invalid-file-type' where the
	 * server's settings forbid encrypted files.
	 */
	async send(room: AppRoom, file: OutgoingFile): Promise<SentFile> {
		const { name, type = UNKNOWN_TYPE, text = '', threadId } = file;
		const size = file.bytes.length;
		const known = encryptionOf(room);
		const fresh = freshEncryption(this.#rest, room.id);

		if (!this.#rest.binary)
			throw new E2eedError('UNSUPPORTED', "Apps-Engine's http cannot carry a file's bytes: give `fetch` as http to send files");
		this.#checkSize(size);
		const { fileId, key, iv, hashedName } = await this.#client.fileOpen({ roomId: room.id, mode: 'encrypt', name });
		const { bytes, sha256 } = await this.#through(fileId, file.bytes);
		const secrets = { encryption: { key, iv }, hashes: { sha256 } };

		const envelope = await encryptPayload(this.#client, room.id, { type, typeGroup: groupOf(type), name, ...secrets }, known, fresh);
		const form = formOf(envelope, hashedName, bytes);
		const { file: upload } = await this.#rest.postBytes(`rooms.media/${encodeURIComponent(room.id)}`, form.body, form.contentType);
		const attachment = {
			title: name, type: 'file', title_link: upload.url, title_link_download: true, ...secrets, ...mediaFields(file, type, size, upload.url),
		};
		const files = [{ _id: upload._id, name, type, size }];

		const content = await encryptFor(this.#client, room.id, { text, attachments: [attachment], files }, known, fresh);
		const path = `rooms.mediaConfirm/${encodeURIComponent(room.id)}/${encodeURIComponent(upload._id)}`;
		await this.#rest.post(path, { t: 'e2e', msg: '', content, ...(threadId && { tmid: threadId }) });
		return { fileId: upload._id, sha256, size };
	}

	/**
	 * Downloads and decrypts the file that an attachment of a decrypted message shows; without @attachment the first that shows one. Rejects with
	 * NOT_ENCRYPTED (there is none), HASH_MISMATCH (not what the sender sent), INVALID_KEY, TOO_LARGE, ROOM_NOT_AUTHORIZED, REST_FAILED, ...
	 */
	async read(
		{ roomId, attachments, files }: Pick<DecryptedMessage, 'roomId' | 'attachments' | 'files'>,
		attachment: Payload | undefined = attachments.find(({ encryption }) => encryption),
	): Promise<ReceivedFile> {
		const links = ['title_link', ...MEDIA.map((group) => `${group}_url`)].map((name) => attachment?.[name]);
		const path: string | undefined = links.find((link) => typeof link === 'string');
		const { key, iv } = attachment?.['encryption'] ?? {};
		const { sha256: told } = attachment?.['hashes'] ?? {};

		if (!attachment || !key || !iv || !path) throw new E2eedError('NOT_ENCRYPTED', 'the message shows no encrypted file');
		const name = String(attachment['title'] ?? '');
		const ofMedia = MEDIA.map((group) => attachment[`${group}_type`]).find(Boolean);
		const type = ofMedia ?? files.find((file) => file['name'] === name)?.['type'];
		const cipher = await this.#rest.download(path);
		this.#checkSize(cipher.length);
		const { fileId } = await this.#client.fileOpen({ roomId, mode: 'decrypt', key, iv, ...(told && { sha256: told }) });
		const { bytes, sha256 } = await this.#through(fileId, cipher);
		return { name, type: typeof type === 'string' ? type : UNKNOWN_TYPE, bytes, sha256, verified: Boolean(told) };
	}

	#checkSize(size: number): void {
		const limit = this.#maxBytes;
		if (size > limit) throw new E2eedError('TOO_LARGE', `a file of ${size} bytes: more than the ${limit} that are allowed here`, { data: { limit } });
	}

	/** Everything through the daemon's cipher, a few chunks ahead of the answers. Closes the file. */
	async #through(fileId: string, from: Uint8Array): Promise<{ bytes: Uint8Array; sha256: string }> {
		const to = new Uint8Array(from.length);
		const chunk = async (offset: number): Promise<void> => {
			const data = Buffer.from(from.buffer, from.byteOffset + offset, Math.min(CHUNK_BYTES, from.length - offset)).toString('base64');
			to.set(Buffer.from((await this.#client.fileUpdate({ fileId, data })).data, 'base64'), offset);
		};
		const underWay: Promise<void>[] = [];
		try {
			for (let offset = 0; offset < from.length; offset += CHUNK_BYTES) {
				if (underWay.length >= CHUNKS_AHEAD) await underWay.shift();
				const one = chunk(offset);
				one.catch(() => undefined); // whoever comes to it sees it, unless one before it has failed
				underWay.push(one);
			}
			await Promise.all(underWay);
		} catch (error) {
			this.#client.fileClose({ fileId }).catch(() => undefined); // the daemon keeps few open at a time
			throw error;
		}
		return { bytes: to, sha256: (await this.#client.fileClose({ fileId })).sha256 };
	}
}
