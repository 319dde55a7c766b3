// Between the server's documents and what apps see of them. Of encryption the converter knows nothing: whatever it has no name for goes into
// `_unmappedProperties_`, and comes back out of there.

const MESSAGE = {
	_id: 'id', tmid: 'threadId', reactions: 'reactions', parseUrls: 'parseUrls', msg: 'text', ts: 'createdAt', _updatedAt: 'updatedAt', editedAt: 'editedAt', emoji: 'emoji',
	avatar: 'avatarUrl', alias: 'alias', file: 'file', customFields: 'customFields', groupable: 'groupable', token: 'token', blocks: 'blocks', attachments: 'attachments',
};
const ROOM = { _id: 'id', t: 'type', name: 'slugifiedName', fname: 'displayName', msgs: 'messageCount', ts: 'createdAt', _updatedAt: 'updatedAt', ro: 'isReadOnly' };

function mapped(document, names, handled = []) {
	const result = {}, rest = {};
	for (const [name, value] of Object.entries(document)) {
		if (handled.includes(name)) continue;
		if (names[name]) result[names[name]] = value;
		else rest[name] = value;
	}
	return { ...result, _unmappedProperties_: rest };
}

export const userToApp = (user) => user && {
	id: user._id, username: user.username, emails: [], type: user.type, isEnabled: user.active, name: user.name, roles: user.roles, status: 'online', statusConnection: 'online',
	utcOffset: 0, createdAt: user._updatedAt, updatedAt: user._updatedAt,
};

export function roomToApp(rc, room) {
	return room && { ...mapped(room, ROOM, ['u']), creator: userToApp(rc.users.get(room.u._id)) };
}

export function messageToApp(rc, message) {
	const names = rc.atLeast(7, 4) ? { ...MESSAGE, t: 'type' } : MESSAGE;
	return {
		...mapped(message, names, ['u', 'rid', 'editedBy']), room: roomToApp(rc, rc.rooms.get(message.rid)), sender: userToApp(rc.users.get(message.u._id)),
		...(message.editedBy && { editor: userToApp(rc.users.get(message.editedBy._id)) }),
	};
}

const BACK = { text: 'msg', threadId: 'tmid', alias: 'alias', emoji: 'emoji', avatarUrl: 'avatar', groupable: 'groupable', customFields: 'customFields', attachments: 'attachments',
	blocks: 'blocks', parseUrls: 'parseUrls' };

// @partial: of an update in newer servers, which takes what it has names for and leaves the rest.
export function messageFromApp(message, { partial = false } = {}) {
	const document = {};
	for (const [name, wire] of Object.entries(BACK)) if (message[name] !== undefined) document[wire] = message[name];
	if (partial) return document;
	return { rid: message.room.id, ...document, ...message._unmappedProperties_ };
}
