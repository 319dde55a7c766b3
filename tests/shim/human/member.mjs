// A person's client in encrypted rooms: the REST calls and the cryptography of Rocket.Chat's web client, by `fetch` and WebCrypto alone. It runs in a
// page of a real browser (browser.mjs), and in Node where a test needs no browser.
import * as rc from '../../e2e/lib/rc.mjs';

export class Member {
	#url;
	#headers;
	#identity; // { publicText, privateText }
	#made = 'v2';

	constructor({ url, userId, authToken, username }) {
		this.#url = url;
		this.userId = userId;
		this.username = username;
		this.#headers = { 'X-User-Id': userId, 'X-Auth-Token': authToken };
	}

	async api(method, path, data) {
		const query = method === 'GET' && data ? `?${new URLSearchParams(Object.entries(data).flatMap(([name, value]) => [value].flat().map((each) => [name, each])))}` : '';
		const answer = await fetch(`${this.#url}/api/v1/${path}${query}`, {
			method, headers: { ...this.#headers, ...(method === 'POST' && { 'Content-Type': 'application/json' }) }, ...(method === 'POST' && { body: JSON.stringify(data) }),
		});
		const result = await answer.json();
		if (!answer.ok) throw Object.assign(new Error(`${path}: ${result.error ?? answer.status}`), { errorType: result.errorType, status: answer.status });
		return result;
	}

	// ---- keys --------------------------------------------------------------------------------------------------------

	// Makes the account's key pair, where none is given, and stores it, the private half under @passphrase.
	async enableEncryption(passphrase, identity = undefined) {
		this.#identity = identity ?? await rc.makeIdentity();
		const private_key = await rc.sealPrivateKey(this.#identity.privateText, { passphrase, userId: this.userId, iterations: 100_000 });
		await this.api('POST', 'e2e.setUserPublicAndPrivateKeys', { public_key: this.#identity.publicText, private_key });
	}

	// 'v2': AES-256-GCM under a UUID, as since 7.13. 'v1': AES-128-CBC under a hash, as from 7.0 to 7.12; 'v0': under the key's own beginning, as before.
	makesKeys(form) {
		this.#made = form;
	}

	#newKey() {
		return this.#made === 'v2' ? rc.makeRoomKey('A256GCM', { kid: 'uuid' }) : rc.makeRoomKey('A128CBC', { kid: this.#made === 'v1' ? 'sha256' : 'constant' });
	}

	async createEncryptedRoom(name, members = []) {
		const { group } = await this.api('POST', 'groups.create', { name, members, extraData: { encrypted: true } });
		await this.makeRoomKey(group._id);
		return group._id;
	}

	async encryptRoom(roomId) {
		await this.api('POST', 'rooms.saveRoomSettings', { rid: roomId, encrypted: true });
	}

	async makeRoomKey(roomId) {
		const key = await this.#newKey();
		await this.api('POST', 'e2e.setRoomKeyID', { rid: roomId, keyID: key.kid });
		await this.api('POST', 'e2e.updateGroupKey', { uid: this.userId, rid: roomId, key: await this.#wrap(key) });
	}

	async resetRoomKey(roomId) {
		const key = await this.#newKey();
		await this.api('POST', 'e2e.resetRoomKey', { rid: roomId, e2eKeyId: key.kid, e2eKey: await this.#wrap(key) });
	}

	#wrap({ kid, jwkText }, publicText = this.#identity.publicText) {
		return rc.wrapRoomKey(publicText, kid, jwkText);
	}

	async acceptOffered(roomId) {
		const { subscription } = await this.api('GET', 'subscriptions.getOne', { roomId });
		if (!subscription?.E2ESuggestedKey) return false;
		await rc.unwrapE2EKey(this.#identity.privateText, subscription.E2ESuggestedKey); // web accepts what opens
		await this.api('POST', 'e2e.acceptSuggestedGroupKey', { rid: roomId });
		return true;
	}

	// { current, all }: the room's key and those before it; undefined where there is none for this member.
	async roomKeys(roomId) {
		const { subscription } = await this.api('GET', 'subscriptions.getOne', { roomId });
		const open = async (E2EKey, kid) => ({ ...(await rc.unwrapE2EKey(this.#identity.privateText, E2EKey)), ...(kid && { kid }) });
		const current = subscription.E2EKey ? await open(subscription.E2EKey) : undefined;
		const old = await Promise.all((subscription.oldRoomKeys ?? []).map(async ({ E2EKey, e2eKeyId, ts }) => ({ ...(await open(E2EKey, e2eKeyId)), ts })));
		return { current, old, all: [...(current ? [current] : []), ...old] };
	}

	// What every web client does each ten seconds.
	async serveWaiting(roomId) {
		const { usersWaitingForE2EKeys } = await this.api('GET', 'e2e.fetchUsersWaitingForGroupKey', { 'roomIds[]': [roomId] });
		const { current, old } = await this.roomKeys(roomId);
		if (!current) return [];
		const users = await Promise.all((usersWaitingForE2EKeys[roomId] ?? []).map(async ({ _id, public_key }) => ({
			_id, key: await this.#wrap(current, public_key),
			...(old.length > 0 && { oldKeys: await Promise.all(old.map(async (key) => ({ e2eKeyId: key.kid, ts: key.ts, E2EKey: await this.#wrap(key, public_key) }))) }),
		})));
		if (users.length > 0) await this.api('POST', 'e2e.provideUsersSuggestedGroupKeys', { usersSuggestedGroupKeys: { [roomId]: users } });
		return users.map(({ _id }) => _id);
	}

	async invite(roomId, userId) {
		await this.api('POST', 'groups.invite', { roomId, userId });
	}

	// ---- messages ----------------------------------------------------------------------------------------------------

	async #seal(roomId, payload) {
		const { current } = await this.roomKeys(roomId);
		const encrypt = JSON.parse(current.jwkText).alg === 'A128CBC' ? rc.encryptV1 : rc.encryptV2;
		return encrypt(current.jwkText, current.kid, payload);
	}

	async send(roomId, text, { tmid, e2eMentions, payload = {} } = {}) {
		const content = await this.#seal(roomId, { msg: text, ...payload });
		const message = { rid: roomId, t: 'e2e', e2e: 'pending', content, ...(tmid && { tmid }), ...(e2eMentions && { e2eMentions }) };
		return (await this.api('POST', 'chat.sendMessage', { message })).message._id;
	}

	async #open(roomId, content) {
		const { kid } = rc.splitContent(content);
		const { all } = await this.roomKeys(roomId);
		for (const key of [...all.filter((each) => each.kid === kid), ...all])
			try {
				return JSON.parse(await rc.decryptContent(key.jwkText, content));
			} catch {
				// another key, then
			}
		throw new Error(`no key opens it (${kid})`);
	}

	// { id, by, text, tmid, payload, edited } of an encrypted message.
	async read(messageId) {
		const { message } = await this.api('GET', 'chat.getMessage', { msgId: messageId });
		const payload = await this.#open(message.rid, message.content);
		return { id: message._id, by: message.u.username, text: payload.msg ?? payload.text, tmid: message.tmid, payload, edited: message.editedAt !== undefined, kid: rc.splitContent(message.content).kid };
	}

	// ---- files -------------------------------------------------------------------------------------------------------

	// @bytes: an array of numbers, so that it can cross into a page.
	async sendFile(roomId, name, type, bytes, text = '') {
		const plain = new Uint8Array(bytes);
		const { key, iv, sha256, hashedName, cipher } = await rc.encryptFile(name, plain);
		const encryption = { key, iv }, hashes = { sha256 };
		const form = new FormData();
		form.append('file', new Blob([cipher]), hashedName);
		form.append('content', JSON.stringify(await this.#seal(roomId, { type, typeGroup: type.split('/')[0], name, encryption, hashes })));
		const uploaded = await fetch(`${this.#url}/api/v1/rooms.media/${roomId}`, { method: 'POST', headers: this.#headers, body: form });
		const { file } = await uploaded.json();
		const attachment = { title: name, type: 'file', description: text, title_link: file.url, title_link_download: true, size: plain.length, format: name.split('.').pop().toUpperCase(), encryption, hashes, fileId: file._id };
		const files = [{ _id: file._id, name, type, size: plain.length, format: attachment.format }];
		const content = await this.#seal(roomId, { attachments: [attachment], files, file: files[0], msg: text });
		await this.api('POST', `rooms.mediaConfirm/${roomId}/${file._id}`, { t: 'e2e', content, msg: '' });
		return file._id;
	}

	// The bytes of the first file of a message, as an array of numbers; its hash is looked at.
	async readFile(messageId) {
		const { payload } = await this.read(messageId);
		const { title_link, image_url, audio_url, video_url, encryption, hashes } = payload.attachments[0];
		const answer = await fetch(this.#url + (title_link ?? image_url ?? audio_url ?? video_url), { headers: this.#headers });
		const plain = await rc.decryptFile(encryption, new Uint8Array(await answer.arrayBuffer()));
		if ((await rc.sha256Hex(plain)) !== hashes.sha256) throw new Error('the file is not what was sent');
		return [...plain];
	}
}
