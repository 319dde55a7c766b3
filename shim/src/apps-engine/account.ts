// The bot user's account key pair: the one that e2eed holds for the app, and no other.
//
// Nothing on the server says whose key pair an account has. Where it is another than the app's present one, it may be the app's former one
// (rotated, still in grace): then it opens what is wrapped for it, which is tried with a room key that the daemon knows already, so that nothing
// changes by the trial. Any other is somebody's, and is not replaced without being asked to.
import { type Calls, E2eedError } from '../index';
import type { Rest } from './rest';

export type AccountClient = Pick<Calls, 'getIdentity' | 'getKeyPublication' | 'importRoomKey' | 'wrapRoomKey'>;

/** The modulus within a public key as servers keep it: a JWK as JSON text, by some clients as JSON text of that text. */
function modulusOf(publicKey: unknown): string | undefined {
	let value = publicKey;
	try {
		for (let depth = 0; depth < 3 && typeof value === 'string'; depth++) value = JSON.parse(value);
	} catch {
		return undefined;
	}
	const n = (value as { n?: unknown } | null)?.n;
	return typeof n === 'string' ? n : undefined;
}

export class Account {
	#client: AccountClient;
	#rest: Rest;
	#replace: boolean;
	#ours: string | undefined; // the modulus that was the account's and the app's at once

	constructor(client: AccountClient, rest: Rest, replace: boolean) {
		this.#client = client;
		this.#rest = rest;
		this.#replace = replace;
	}

	/**
	 * Sees to it that the account's public key is the app's. @rooms: such as may serve for the trial. Gives true where the key was replaced: the room
	 * keys stored for the user are then to be wrapped anew. Rejects with ACCOUNT_KEY_CONFLICT.
	 */
	async settle(rooms: string[]): Promise<boolean> {
		const { publicKey } = await this.#client.getIdentity();
		const modulus = modulusOf(publicKey)!;
		let theirs = await this.#published();

		if (theirs === undefined) {
			try {
				await this.#publish(false);
				this.#ours = modulus;
				return false;
			} catch (error) {
				if (!(error instanceof E2eedError) || error.data['errorType'] !== 'error-keys-already-set') throw error;
				theirs = await this.#published(); // another server was faster
			}
		}
		if (modulusOf(theirs) === modulus) {
			this.#ours = modulus;
			return false;
		}
		const known = this.#ours !== undefined && modulusOf(theirs) === this.#ours;
		if (!known && !this.#replace && !(typeof theirs === 'string' && (await this.#opens(theirs, rooms))))
			throw new E2eedError(
				'ACCOUNT_KEY_CONFLICT',
				'the bot user already has an encryption key pair that is not the app\'s: let an administrator of e2eed adopt it ("e2eectl app import"), ' +
					'or have it replaced (replaceAccountKey: true; what was encrypted for it is then lost to the bot user)',
			);
		await this.#publish(true);
		this.#ours = modulus;
		return true;
	}

	async #published(): Promise<unknown> {
		return (await this.#rest.get('e2e.fetchMyKeys')).public_key;
	}

	async #publish(force: boolean): Promise<void> {
		const keys = await this.#client.getKeyPublication({ userId: this.#rest.userId });
		await this.#rest.post('e2e.setUserPublicAndPrivateKeys', { ...keys, ...(force && { force }) });
	}

	/** Whether the daemon opens what is wrapped for @publicKey. */
	async #opens(publicKey: string, rooms: string[]): Promise<boolean> {
		for (const roomId of rooms)
			try {
				const recipients = [{ _id: this.#rest.userId, public_key: publicKey }];
				const { users, failed } = await this.#client.wrapRoomKey({ roomId, recipients, history: false });
				if (failed.length > 0) return false;
				await this.#client.importRoomKey({ roomId, key: users[0]!.key }); // its own prefix is the kid
				return true;
			} catch (error) {
				if (!(error instanceof E2eedError)) throw error;
				if (error.reason === 'KEY_UNWRAP_FAILED') return false;
				if (error.reason !== 'ROOM_NOT_AUTHORIZED' && error.reason !== 'NO_ROOM_KEY') throw error; // else another room may do
			}
		return false;
	}
}
