// Encrypted files through EncryptedFiles: the daemon's cipher, the server's uploads, and what people's clients make of them.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before } from 'node:test';
import { EncryptedFiles, EncryptedRooms, Rest } from '../../shim/dist/apps-engine/index.mjs';
import { appsHttp, openDaemon, openStage, refused, test } from './lib/stage.mjs';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
let house;
before(async () => {
	house = await openDaemon();
});
after(() => house.close());

// A room that a person and the bot share; how either reads the newest message.
async function open(t, options, { version } = {}) {
	const stage = await openStage(t, house, { version });
	const ada = await stage.person('ada');
	const client = await stage.client();
	const participant = await stage.participant({ client, ...options });
	const roomId = await stage.sharedRoom(participant, ada);
	const rooms = new EncryptedRooms({ client, rest: participant.rest });
	const newest = () => stage.rc.messagesOf(roomId).filter(({ t: type }) => type === 'e2e').at(-1);
	return { stage, ada, client, participant, roomId, newest, room: { id: roomId }, newestRead: () => rooms.decryptMessage(newest()) };
}

test('a person reads what the bot sends, and the other way round, at every size around a chunk', async (t) => {
	const { ada, participant, room, roomId, newest, newestRead } = await open(t);
	for (const size of [0, 1, 15, 16, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3_000_001]) {
		const bytes = randomBytes(size);
		const sent = await participant.files.send(room, { name: 'numbers.bin', bytes });
		assert.deepEqual(sent, { fileId: sent.fileId, sha256: sha256(bytes), size });
		assert.deepEqual(Buffer.from(await ada.readFile(newest()._id)), bytes);

		await ada.sendFile(roomId, 'Numbers of ada.dat', 'application/x-numbers', [...bytes]);
		const received = await participant.files.read(await newestRead());
		assert.deepEqual({ ...received, bytes: Buffer.from(received.bytes) }, { name: 'Numbers of ada.dat', type: 'application/x-numbers', bytes, sha256: sha256(bytes), verified: true });
	}
});

test('the attachment has the members that clients read, by the kind of file', async (t) => {
	const { stage, participant, room, roomId, newest, newestRead } = await open(t);
	const kinds = [
		[{ name: 'Street.png', type: 'image/png', dimensions: { width: 3, height: 2 } }, { image_type: 'image/png', image_size: 5, image_dimensions: { width: 3, height: 2 } }, 'image'],
		[{ name: 'voice', type: 'audio/ogg' }, { audio_type: 'audio/ogg', audio_size: 5 }, 'audio'],
		[{ name: 'clip.mp4', type: 'video/mp4', dimensions: { width: 3, height: 2 } }, { video_type: 'video/mp4', video_size: 5 }, 'video'],
		[{ name: 'archive.tar.gz', type: 'application/gzip' }, { size: 5, format: 'GZ' }],
		[{ name: '.profile', type: 'text/plain' }, { size: 5, format: 'file' }],
		[{ name: 'no-name.' }, { size: 5, format: 'file' }],
	];
	for (const [file, members, group] of kinds) {
		const bytes = Buffer.from('plain');
		const { fileId } = await participant.files.send(room, { ...file, bytes, text: stage.say('look at this one') });
		const { text, attachments, files, payload } = await newestRead();
		const url = stage.rc.uploads.get(fileId) && `/file-upload/${fileId}/${stage.rc.uploads.get(fileId).name}`;
		const [{ encryption, hashes, ...rest }] = attachments;
		assert.equal(text, 'look at this one');
		assert.equal(attachments.length, 1);
		assert.deepEqual(rest, { title: file.name, type: 'file', title_link: url, title_link_download: true, ...members, ...(group && { [`${group}_url`]: url }) });
		assert.deepEqual(hashes, { sha256: sha256(bytes) });
		assert.equal(encryption.key.alg, 'A256CTR');
		assert.deepEqual(files, [{ _id: fileId, name: file.name, type: file.type ?? 'application/octet-stream', size: 5 }]);
		assert.deepEqual(payload.file, files[0]);
		assert.equal((await participant.files.read({ roomId, attachments, files })).type, file.type ?? 'application/octet-stream');

		const { file: _, _id, rid, t: type, e2e, msg, ts, u, ...more } = newest();
		assert.deepEqual([type, e2e, msg], ['e2e', 'pending', '']);
		assert.ok(!('description' in more) && !('attachments' in more));
	}
});

test('the server is told a length, the hash of a name, and nothing else', async (t) => {
	const { stage, client, participant, room, roomId } = await open(t);
	const bytes = Buffer.from(stage.say('what the file says, and nobody else'));
	const name = stage.say('quarterly figures.csv');
	const { fileId } = await participant.files.send(room, { name, type: stage.say('text/x-figures'), bytes, text: stage.say('the figures you wanted') });
	const upload = stage.rc.uploads.get(fileId);
	assert.equal(upload.name, sha256(name));
	assert.equal(upload.type, 'application/octet-stream');
	assert.equal(upload.size, bytes.length);
	const { payload } = await client.decrypt({ roomId, content: upload.content });
	assert.deepEqual({ ...payload, encryption: Object.keys(payload.encryption) }, { type: 'text/x-figures', typeGroup: 'text', name, encryption: ['key', 'iv'], hashes: { sha256: sha256(bytes) } });
});

test('a file may be a reply in a thread', async (t) => {
	const { ada, participant, room, roomId, newest } = await open(t);
	const question = await ada.send(roomId, 'where is the file?');
	await participant.files.send(room, { name: 'here', bytes: Buffer.from('here'), threadId: question });
	assert.equal(newest().tmid, question);
});

test('what came is compared with what the sender hashed', async (t) => {
	const { stage, ada, participant, roomId, newestRead } = await open(t);
	const fileId = await ada.sendFile(roomId, 'a', 'text/plain', [1, 2, 3]);
	stage.rc.uploads.get(fileId).bytes[0] ^= 1;
	const message = await newestRead();
	await refused(participant.files.read(message), 'HASH_MISMATCH');

	delete message.attachments[0].hashes;
	const { bytes, verified } = await participant.files.read(message);
	assert.deepEqual([[...bytes], verified], [[0, 2, 3], false]);
});

test('nothing is left open in the daemon, whatever goes wrong', async (t) => {
	const { stage, ada, client, participant, room, roomId, newestRead } = await open(t);
	const fileId = await ada.sendFile(roomId, 'a', 'text/plain', [1, 2, 3]);
	stage.rc.uploads.get(fileId).bytes[0] ^= 1;
	const message = await newestRead();
	const failing = new EncryptedFiles({
		rest: participant.rest,
		client: { fileOpen: (...args) => client.fileOpen(...args), fileClose: (...args) => client.fileClose(...args), fileUpdate: ({ data }) => client.fileUpdate({ fileId: 'another', data }) },
	});
	for (let i = 0; i < 20; i++) { // the daemon keeps 16 open
		await refused(participant.files.read(message), 'HASH_MISMATCH');
		await refused(failing.send(room, { name: 'b', bytes: randomBytes(2_000_000) }), 'NOT_FOUND');
	}
});

test('capabilities tell what can be done with files', async (t) => {
	const { client, participant } = await open(t);
	const overText = new Rest({ http: appsHttp, serverUrl: 'http://chat', userId: 'u', authToken: 't' });
	const files = (rest) => new EncryptedRooms({ client, rest }).capabilities.files;
	assert.deepEqual([files(participant.rest), files(overText), files(undefined)], ['send and read', 'read', 'none']);
});

test("over Apps-Engine's http files are read; to send them it says what is needed", async (t) => {
	const { stage, ada, participant, room, roomId, newestRead } = await open(t, { http: appsHttp });
	const bytes = randomBytes(1000);
	await ada.sendFile(roomId, 'a.bin', 'application/octet-stream', [...bytes]);
	assert.deepEqual(Buffer.from((await participant.files.read(await newestRead())).bytes), bytes);

	stage.asked();
	const error = await refused(participant.files.send(room, { name: 'a', bytes }), 'UNSUPPORTED');
	assert.match(error.message, /fetch/);
	assert.deepEqual(stage.asked(), {});
});

test('too large a file is refused before anything is done with it, and after it came', async (t) => {
	const { stage, ada, participant, room, roomId, newestRead } = await open(t, { maxFileBytes: 1000 });
	await participant.files.send(room, { name: 'a', bytes: randomBytes(1000) });
	stage.asked();
	assert.deepEqual((await refused(participant.files.send(room, { name: 'a', bytes: randomBytes(1001) }), 'TOO_LARGE')).data, { limit: 1000 });
	assert.deepEqual(stage.asked(), {});
	await ada.sendFile(roomId, 'a', 'text/plain', Array(1001).fill(1));
	await refused(participant.files.read(await newestRead()), 'TOO_LARGE');
});

test("the server's refusals are told by their codes", async (t) => {
	const { stage, participant, room } = await open(t);
	stage.rc.settings.E2E_Enable_Encrypt_Files = false;
	assert.equal((await refused(participant.files.send(room, { name: 'a', bytes: randomBytes(9) }), 'REST_FAILED')).data.errorType, 'error-invalid-file-type');
	stage.rc.settings.E2E_Enable_Encrypt_Files = true;
	stage.rc.settings.FileUpload_MaxFileSize = 8;
	assert.equal((await refused(participant.files.send(room, { name: 'a', bytes: randomBytes(9) }), 'REST_FAILED')).data.errorType, 'error-file-too-large');
});

test('no file goes into a room whose key was reset or that is not encrypted', async (t) => {
	const { stage, ada, participant, room, roomId } = await open(t);
	await ada.resetRoomKey(roomId);
	await refused(participant.files.send(room, { name: 'a', bytes: randomBytes(9) }), 'ROOM_KEY_STALE');
	stage.room(roomId).encrypted = false;
	await refused(participant.files.send(room, { name: 'a', bytes: randomBytes(9) }), 'ROOM_NOT_ENCRYPTED');
	await stage.admin.call('deauthorizeRoom', { appId: stage.appId, roomId });
	await refused(participant.files.send(room, { name: 'a', bytes: randomBytes(9) }), 'ROOM_NOT_AUTHORIZED');
	assert.equal(stage.rc.uploads.size, 0);
});

test('a message without an encrypted file, and links that lead elsewhere', async (t) => {
	const { stage, ada, participant, roomId, newestRead } = await open(t);
	await ada.send(roomId, 'only a text', { payload: { attachments: [{ title: 'a quote' }] } });
	await refused(participant.files.read(await newestRead()), 'NOT_ENCRYPTED');

	await ada.sendFile(roomId, 'a', 'text/plain', [1]);
	const message = await newestRead();
	stage.asked();
	for (const link of ['http://elsewhere.example/file-upload/a/b', '//elsewhere.example/file-upload/a/b', '/api/v1/me', '/file-upload/../api/v1/me', '/file-upload/%2e%2e/api', '/file-upload/a/../../api/v1/me', '/file-upload/a/b?x=/c', '/file-upload\\a\\b']) {
		const [attachment] = message.attachments;
		await refused(participant.files.read({ ...message, attachments: [{ ...attachment, title_link: link }] }), 'INVALID_PARAMS');
	}
	assert.deepEqual(stage.asked(), {});
});

test('where the server keeps files elsewhere, its token does not go there', async (t) => {
	const seen = [];
	const serving = async (answer) => {
		const server = createServer((request, response) => {
			seen.push(request.headers);
			answer(response);
		});
		await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
		t.after(() => new Promise((resolve) => server.close(resolve)));
		return `http://127.0.0.1:${server.address().port}`;
	};
	const storage = await serving((response) => response.end('from the storage'));
	const chat = await serving((response) => response.writeHead(302, { Location: `${storage}/bucket/file?signature=x` }).end());
	const rest = new Rest({ http: fetch, serverUrl: chat, userId: 'u', authToken: 'the-token' });
	assert.equal(Buffer.from(await rest.download('/file-upload/abc/name')).toString(), 'from the storage');
	assert.deepEqual(seen.map((headers) => headers['x-auth-token']), ['the-token', undefined]);
	const error = await refused(rest.get('me'), 'REST_FAILED', 'the-token');
	assert.match(error.message, /serverUrl/);
});
