// Rocket.Chat's REST API over a RocketChat (server.mjs): routes, authentication, rate limit, errors in the shapes that the server gives them. Every
// byte that comes in passes the watch.
import busboy from 'busboy';
import { createServer } from 'node:http';
import { MeteorError, randomId } from './server.mjs';

const WINDOW_MS = 60_000;
const CALLS = 10;
const PUBLISHED = ['_id', 'rid', 't', 'name', 'u', 'roles', 'ts', 'ls', 'open', 'E2EKey', 'E2ESuggestedKey', 'oldRoomKeys', 'suggestedOldRoomKeys', '_updatedAt'];

const pick = (object, names) => Object.fromEntries(names.filter((name) => object[name] !== undefined).map((name) => [name, object[name]]));

// A body with exactly these members; a '?' at the end of a name: it may be missing.
function body(given, shape) {
	const names = Object.keys(shape).map((name) => name.replace(/\?$/, ''));
	const wrong = typeof given !== 'object' || given === null || Object.keys(given).some((name) => !names.includes(name)) ||
		Object.entries(shape).some(([name, type]) => (given[name.replace(/\?$/, '')] === undefined ? !name.endsWith('?') : typeof given[name.replace(/\?$/, '')] !== type));
	if (wrong) throw new MeteorError('invalid-params');
	return given;
}

const since = (query) => (query.get('updatedSince') ? new Date(query.get('updatedSince')) : undefined);

function changes(documents, removed, user, after) {
	return {
		update: documents.filter(({ _updatedAt }) => !after || _updatedAt > after),
		remove: after ? removed.filter(({ uid, _deletedAt }) => uid === user._id && _deletedAt > after).map(({ _id, _deletedAt }) => ({ _id, _deletedAt })) : [],
	};
}

function roomFor(rc, roomId, user) {
	const room = rc.rooms.get(roomId);
	if (!room || !rc.canAccess(roomId, user)) throw new MeteorError('error-room-not-found');
	return room;
}

const userNamed = (rc, { userId, username, user }) => {
	const found = [...rc.users.values()].find((each) => each._id === userId || each.username === (username ?? user));
	if (!found) throw new MeteorError('error-invalid-user');
	return found;
};

function history(rc, query, user, t) {
	const room = roomFor(rc, query.get('roomId'), user);
	if ((t === 'd') !== (room.t === 'd')) throw new MeteorError('error-room-not-found');
	const latest = query.get('latest') ? new Date(query.get('latest')) : new Date(Date.now() + 1);
	const newest = rc.messagesOf(room._id).filter(({ ts }) => ts < latest).reverse();
	return { messages: newest.slice(0, Number(query.get('count') ?? 20)) };
}

const GET = {
	me: ({ user }) => pick(user, ['_id', 'username', 'name', 'type', 'roles', 'active']),
	'e2e.fetchMyKeys': ({ user }) => (user.e2e?.public_key ? { public_key: user.e2e.public_key, private_key: user.e2e.private_key } : {}),
	'e2e.getUsersOfRoomWithoutKey': ({ rc, user, query }) => {
		if (!rc.canAccess(query.get('rid'), user)) throw new MeteorError('error-invalid-room');
		const users = rc.subscriptionsOf(query.get('rid')).filter(({ E2EKey, u }) => !E2EKey && rc.users.get(u._id).e2e?.public_key);
		return { users: users.map(({ u }) => ({ _id: u._id, e2e: { public_key: rc.users.get(u._id).e2e.public_key } })) };
	},
	'e2e.fetchUsersWaitingForGroupKey': ({ rc, user, query }) => {
		const roomIds = query.getAll('roomIds[]');
		if (roomIds.length === 0) throw new MeteorError('invalid-params');
		if (!rc.settings.E2E_Enable) return { usersWaitingForE2EKeys: {} };
		const waiting = roomIds.map((roomId) => [roomId, rc.usersWithoutKey(roomId).filter(({ _id }) => _id !== user._id).slice(0, 50)]);
		return { usersWaitingForE2EKeys: Object.fromEntries(waiting.filter(([, users]) => users.length > 0)) };
	},
	'subscriptions.get': ({ rc, user, query }) => {
		const own = [...rc.subscriptions.values()].filter(({ u }) => u._id === user._id);
		const { update, remove } = changes(own, rc.removed.subscriptions, user, since(query));
		return { update: update.map((subscription) => pick(subscription, PUBLISHED)), remove };
	},
	'subscriptions.getOne': ({ rc, user, query }) => ({ subscription: rc.subscription(query.get('roomId'), user._id) ?? null }),
	'rooms.get': ({ rc, user, query }) => changes([...rc.rooms.values()].filter(({ _id }) => rc.canAccess(_id, user)), rc.removed.rooms, user, since(query)),
	'rooms.info': ({ rc, user, query }) => ({ room: roomFor(rc, query.get('roomId'), user) }),
	'chat.getMessage': ({ rc, user, query }) => {
		const message = rc.messages.get(query.get('msgId'));
		if (!message || !rc.canAccess(message.rid, user)) throw new MeteorError('error-not-allowed');
		return { message };
	},
	'chat.getThreadMessages': ({ rc, user, query }) => {
		const parent = rc.messages.get(query.get('tmid'));
		if (!parent || !rc.canAccess(parent.rid, user)) throw new MeteorError('error-not-allowed');
		return { messages: rc.messagesOf(parent.rid).filter(({ tmid }) => tmid === parent._id).slice(0, Number(query.get('count') ?? 50)) };
	},
	'groups.history': ({ rc, user, query }) => history(rc, query, user, 'p'),
	'im.history': ({ rc, user, query }) => history(rc, query, user, 'd'),
};

const POST = {
	'e2e.setUserPublicAndPrivateKeys': ({ rc, user, data }) =>
		rc.setAccountKeys(user, body(data, { public_key: 'string', private_key: 'string', ...(rc.atLeast(6, 10) && { 'force?': 'boolean' }) })),
	'e2e.setRoomKeyID': ({ rc, user, data }) => {
		const { rid, keyID } = body(data, { rid: 'string', keyID: 'string' });
		rc.setRoomKeyId(rid, user, keyID);
	},
	'e2e.updateGroupKey': ({ rc, user, data }) => {
		const { uid, rid, key } = body(data, { uid: 'string', rid: 'string', key: 'string' });
		rc.updateGroupKey(rid, user, uid, key);
	},
	'e2e.acceptSuggestedGroupKey': ({ rc, user, data }) => rc.acceptSuggestedKey(body(data, { rid: 'string' }).rid, user),
	'e2e.rejectSuggestedGroupKey': ({ rc, user, data }) => rc.rejectSuggestedKey(body(data, { rid: 'string' }).rid, user),
	'e2e.provideUsersSuggestedGroupKeys': ({ rc, user, data }) => {
		const { usersSuggestedGroupKeys } = body(data, { usersSuggestedGroupKeys: 'object' });
		for (const users of Object.values(usersSuggestedGroupKeys)) {
			if (!Array.isArray(users)) throw new MeteorError('invalid-params');
			for (const each of users) {
				body(each, { _id: 'string', key: 'string', ...(rc.atLeast(7, 0) && { 'oldKeys?': 'object' }) });
				for (const old of each.oldKeys ?? []) body(old, { e2eKeyId: 'string', ts: 'string', E2EKey: 'string' });
			}
		}
		rc.provideKeys(user, usersSuggestedGroupKeys);
	},
	'e2e.resetRoomKey': ({ rc, user, data }) => {
		const { rid, e2eKey, e2eKeyId } = body(data, { rid: 'string', e2eKey: 'string', e2eKeyId: 'string' });
		if (!rc.atLeast(7, 0)) throw new MeteorError('error-endpoint-not-found', { status: 404 });
		rc.resetRoomKey(rid, user, e2eKey, e2eKeyId);
	},
	'rooms.saveRoomSettings': ({ rc, user, data }) => {
		const { rid, encrypted } = body(data, { rid: 'string', encrypted: 'boolean' });
		rc.setEncrypted(roomFor(rc, rid, user), user, encrypted);
		return { rid };
	},
	'groups.create': ({ rc, user, data }) => {
		const { name, members = [], extraData = {} } = body(data, { name: 'string', 'members?': 'object', 'extraData?': 'object' });
		return { group: rc.createRoom('p', name, user, members.map((username) => userNamed(rc, { username })), { encrypted: extraData.encrypted === true }) };
	},
	'im.create': ({ rc, user, data }) => ({ room: rc.createRoom('d', undefined, user, [userNamed(rc, body(data, { username: 'string' }))]) }),
	'groups.invite': ({ rc, user, data }) => {
		const { roomId, userId } = body(data, { roomId: 'string', userId: 'string' });
		const room = roomFor(rc, roomId, user);
		rc.addUserToRoom(room, userNamed(rc, { userId }));
		return { group: room };
	},
	'groups.kick': ({ rc, user, data }) => {
		const { roomId, userId } = body(data, { roomId: 'string', userId: 'string' });
		rc.removeUserFromRoom(roomFor(rc, roomId, user), userNamed(rc, { userId }));
	},
	'chat.sendMessage': ({ rc, user, data }) => {
		const { message } = body(data, { message: 'object' });
		if (typeof message.rid !== 'string') throw new MeteorError('invalid-params');
		return { message: rc.sendMessage(user, message) };
	},
	'chat.update': ({ rc, user, data }) => {
		const encrypted = data.content !== undefined;
		const { roomId, msgId, text, content, e2eMentions } = body(data, encrypted
			? { roomId: 'string', msgId: 'string', content: 'object', 'e2eMentions?': 'object' } : { roomId: 'string', msgId: 'string', text: 'string' });
		const message = rc.messages.get(msgId);
		if (!message || message.rid !== roomId) throw new MeteorError('error-invalid-message');
		if (encrypted && !rc.atLeast(7, 13)) throw new MeteorError('invalid-params');
		if (encrypted && message.t !== 'e2e') throw new MeteorError('Only encrypted messages can have content updated.');
		return { message: rc.updateMessage(user, message, encrypted ? { content, ...(e2eMentions && { e2eMentions }) } : { msg: text }) };
	},
	'chat.delete': ({ rc, user, data }) => {
		const { msgId } = body(data, { roomId: 'string', msgId: 'string' });
		const message = rc.messages.get(msgId);
		if (message?.u._id !== user._id) throw new MeteorError('error-action-not-allowed');
		rc.messages.delete(msgId);
		return { _id: msgId };
	},
	'method.call/e2e.requestSubscriptionKeys': ({ rc, user, data }) => {
		const call = JSON.parse(body(data, { message: 'string' }).message);
		if (call.msg !== 'method' || call.method !== 'e2e.requestSubscriptionKeys') throw new MeteorError('invalid-params');
		rc.requestKeys(user);
		return { message: JSON.stringify({ msg: 'result', id: call.id, result: true }) };
	},
};

function parts(request, bytes) {
	return new Promise((resolve, reject) => {
		const found = { fields: {}, file: undefined };
		const parser = busboy({ headers: request.headers, defParamCharset: 'utf8' });
		parser.on('field', (name, value) => (found.fields[name] = value));
		parser.on('file', (name, stream, { filename, mimeType }) => {
			const chunks = [];
			stream.on('data', (chunk) => chunks.push(chunk));
			stream.on('end', () => (found.file = { field: name, filename, mimeType, bytes: Buffer.concat(chunks) }));
		});
		parser.on('close', () => resolve(found));
		parser.on('error', () => reject(new MeteorError('invalid-field')));
		parser.end(bytes);
	});
}

async function media({ rc, user, request, bytes }, roomId) {
	if (!rc.canAccess(roomId, user)) throw new MeteorError('unauthorized', { status: 403 });
	const { fields, file } = await parts(request, bytes);
	if (file?.field !== 'file') throw new MeteorError("[No file uploaded]");
	if (file.bytes.length > rc.settings.FileUpload_MaxFileSize) throw new MeteorError('error-file-too-large');
	const content = fields.content && JSON.parse(fields.content);
	const encrypted = typeof content?.algorithm === 'string' && typeof content.ciphertext === 'string';
	if (encrypted && !rc.settings.E2E_Enable_Encrypt_Files) throw new MeteorError('error-invalid-file-type');
	const upload = { _id: randomId(), rid: roomId, userId: user._id, name: file.filename, type: encrypted ? 'application/octet-stream' : file.mimeType, size: file.bytes.length, bytes: file.bytes, ...(encrypted && { content }), temporary: true };
	rc.uploads.set(upload._id, upload);
	return { file: { _id: upload._id, url: `/file-upload/${upload._id}/${encodeURIComponent(upload.name)}` } };
}

function mediaConfirm({ rc, user, data }, roomId, fileId) {
	const { t, content, msg, tmid, description, fileContent } = body(data, {
		't?': 'string', 'content?': 'object', 'msg?': 'string', 'tmid?': 'string', 'description?': 'string', 'fileName?': 'string', ...(rc.atLeast(7, 12) && { 'fileContent?': 'object' }),
	});
	const upload = rc.uploads.get(fileId);
	if (!upload || upload.userId !== user._id || upload.rid !== roomId) throw new MeteorError('invalid-file');
	delete upload.temporary;
	if (fileContent) upload.content = fileContent;
	const message = rc.sendMessage(user, { rid: roomId, t, ...(t === 'e2e' && { e2e: 'pending' }), content, msg: msg ?? '', ...(tmid && { tmid }), ...(description && { description }) });
	return { message: t === 'e2e' ? null : message }; // found by file._id, which an encrypted message need not have
}

function download({ rc, user }, fileId) {
	const upload = rc.uploads.get(fileId);
	if (!upload) throw new MeteorError('not-found', { status: 404 });
	if (!user || !rc.canAccess(upload.rid, user)) throw new MeteorError('forbidden', { status: 403 });
	return upload.bytes;
}

// Serves @rc on loopback: { url, close(), requests, failNext(path, how) }. @rateLimit: as a new server has it. @pages: path -> [type, text] to serve.
export async function serve(rc, { rateLimit = true, pages = {} } = {}) {
	const windows = new Map(); // route and address -> { start, calls }
	const failures = []; // { path, how }
	const hooks = []; // { path, when, hook }
	const requests = []; // { method, path, status }

	const limited = (route, address, user) => {
		if (!rateLimit || (user && rc.may(user, 'api-bypass-rate-limit'))) return undefined;
		const key = `${route} ${address}`;
		let window = windows.get(key);
		if (!window || Date.now() - window.start >= WINDOW_MS) windows.set(key, (window = { start: Date.now(), calls: 0 }));
		window.calls++;
		return window;
	};

	async function answer(request, bytes) {
		const url = new URL(request.url, 'http://localhost');
		const user = rc.userOfToken(request.headers['x-user-id'] ?? url.searchParams.get('rc_uid'), request.headers['x-auth-token'] ?? url.searchParams.get('rc_token') ?? '');
		const { pathname } = url;
		if (pages[pathname]) return { status: 200, type: pages[pathname][0], bytes: pages[pathname][1] };
		if (pathname === '/api/info') return { status: 200, data: { success: true, version: rc.version, info: { version: rc.version } } };
		const file = /^\/file-upload\/([^/]+)\//.exec(pathname);
		if (file) return { status: 200, type: 'application/octet-stream', bytes: download({ rc, user }, file[1]) };
		const route = pathname.startsWith('/api/v1/') ? pathname.slice('/api/v1/'.length) : undefined;
		const context = { rc, user, query: url.searchParams, request, bytes };
		const upload = /^rooms\.(media|mediaConfirm)\/([^/]+)(?:\/([^/]+))?$/.exec(route ?? '');
		const handler = upload ? undefined : (request.method === 'GET' ? GET : POST)[route];
		if (!upload && !handler) return { status: 404, data: { success: false, error: 'API endpoint not found' } };
		if (!user) return { status: 401, data: { status: 'error', message: 'You must be logged in to do this.' } };
		const window = limited(upload ? `rooms.${upload[1]}` : route, request.socket.remoteAddress, user);
		const headers = window && { 'X-RateLimit-Limit': CALLS, 'X-RateLimit-Remaining': Math.max(0, CALLS - window.calls), 'X-RateLimit-Reset': window.start + WINDOW_MS };
		if (window && window.calls > CALLS)
			return { status: 429, headers, data: { success: false, error: `Error, too many requests. Please slow down. You must wait ${Math.ceil((window.start + WINDOW_MS - Date.now()) / 1000)} seconds before trying this endpoint again. [error-too-many-requests]` } };
		if (request.method === 'POST' && upload?.[1] !== 'media') {
			try {
				context.data = JSON.parse(bytes.toString('utf8'));
			} catch {
				throw new MeteorError('invalid-params');
			}
		}
		const result = upload ? await (upload[1] === 'media' ? media(context, upload[2]) : mediaConfirm(context, upload[2], upload[3])) : handler(context);
		return { status: 200, headers, data: { ...result, success: true } };
	}

	const server = createServer(async (request, response) => {
		const chunks = [];
		for await (const chunk of request) chunks.push(chunk);
		const bytes = Buffer.concat(chunks);
		rc.watch.look(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`, `request line or headers of ${request.url.split('?')[0]}`);
		rc.watch.look(bytes, `body of ${request.url.split('?')[0]}`);
		const hooked = async (when) => {
			const index = hooks.findIndex((each) => each.when === when && request.url.includes(each.path));
			if (index >= 0) await hooks.splice(index, 1)[0].hook();
		};
		await hooked('before');
		let result;
		const failure = failures.findIndex(({ path }) => request.url.includes(path));
		if (failure >= 0) {
			const [{ how }] = failures.splice(failure, 1);
			if (how === 'carry out, then hang up') await answer(request, bytes);
			if (how.endsWith?.('hang up')) return request.socket.destroy();
			if (how.then) {
				result = await answer(request, bytes).catch((error) => error); // carried out, and the answer is held back
				await how;
				if (result instanceof Error) result = undefined;
			} else result = how;
		}
		try {
			result ??= await answer(request, bytes);
		} catch (error) {
			if (!(error instanceof MeteorError)) throw error;
			const { status, message, details } = error;
			result = { status, data: { success: false, error: message, errorType: error.error, ...(details && { details }) } };
		}
		await hooked('after');
		requests.push({ method: request.method, path: request.url.split('?')[0].replace('/api/v1/', ''), status: result.status });
		response.writeHead(result.status, { 'Content-Type': result.type ?? 'application/json', ...result.headers });
		response.end(result.bytes ?? JSON.stringify(result.data));
	});
	await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
	return {
		url: `http://127.0.0.1:${server.address().port}`,
		requests,
		// The next request whose URL has @path in it: 'hang up', 'carry out, then hang up', an answer { status, headers?, data }, or a promise: carried out,
		// and answered when that is fulfilled.
		failNext: (path, how) => failures.push({ path, how }),
		// Calls @hook before the next such request is carried out, or after that and before it is answered: what others do meanwhile.
		before: (path, hook) => hooks.push({ path, when: 'before', hook }),
		after: (path, hook) => hooks.push({ path, when: 'after', hook }),
		close() {
			server.closeAllConnections();
			return new Promise((resolve) => server.close(resolve));
		},
	};
}
