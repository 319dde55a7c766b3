// What `make demo` shows: a person (Ada, whose web client's cryptography is WebCrypto) and an app (a bot, whose keys the
// daemon holds) talk in encrypted rooms. Everything printed happened: the daemon runs on a throw-away keystore, every
// text is compared with what the other side read, and the exit status says whether all were alike.
import { existsSync } from 'node:fs';
import { startDaemon, E2EED } from '../e2e/lib/daemon.mjs';
import * as rc from '../e2e/lib/rc.mjs';

const WIDTH = 100;
const coloured = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => (coloured ? `\x1b[${code}m${text}\x1b[0m` : text);
const [bold, dim, red, green, yellow, blue, cyan] = ['1', '2', '31', '32', '33', '34', '36'].map(paint);
const say = (line = '') => console.log(line);

// Columns a terminal gives to @text: emoji and East Asian characters take two, joiners and combining marks none.
const segments = new Intl.Segmenter('en', { granularity: 'grapheme' });
const wide = /\p{Extended_Pictographic}|\p{Regional_Indicator}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]/u;
const columns = (text) => [...segments.segment(text)].reduce((n, { segment }) => n + (wide.test(segment) ? 2 : 1), 0);
const pad = (text, n) => text + ' '.repeat(Math.max(0, n - columns(text)));

function wrapped(text, indent, width = WIDTH - indent) {
	const lines = [''];
	for (const word of text.split(' ')) {
		const last = lines.length - 1;
		if (lines[last] && columns(lines[last]) + 1 + columns(word) > width) lines.push(word);
		else lines[last] += (lines[last] ? ' ' : '') + word;
	}
	return lines.join(`\n${' '.repeat(indent)}`);
}

const short = (text, head = 22, tail = 6) =>
	(text.length <= head + tail + 1 ? text : `${text.slice(0, head)}…${text.slice(text.length - tail)}`);
const size = (n, unit = 'characters') => dim(`(${n} ${unit})`);

let chapters = 0;
function chapter(title, text) {
	say();
	say(bold(`  ${++chapters}. ${title}`));
	say(`     ${dim(wrapped(text, 5))}`);
}

const fact = (name, value) => say(`     ${pad(name, 14)}${value}`);

function envelope(content) {
	if (typeof content === 'string') return `${yellow('legacy string')}  ${short(content, 34)} ${size(content.length)}`;
	const { algorithm, kid, iv, ciphertext } = content;
	const parts = kid ? `kid ${short(kid, 8, 0)}  iv ${short(iv, 6, 2)}  ` : '';
	return `${yellow(algorithm)}  ${parts}${short(ciphertext, kid ? 12 : 34, kid ? 5 : 6)} ${size(ciphertext.length)}`;
}

// ---- what was said, and what was understood ----------------------------------------------------------------------

const people = { Ada: cyan, bot: blue };
const count = { sent: 0, alike: 0, refused: 0, differs: 0 };

function verdict(alike) {
	count[alike ? 'alike' : 'differs']++;
	return alike ? green('✓ the same') : red('✗ DIFFERS');
}

function exchange(writer, reader, written, content, read) {
	count.sent++;
	const name = (who, what) => `     ${people[who](pad(who, 4))} ${dim(pad(what, 8))} `;
	const alike = JSON.stringify(written) === JSON.stringify(read);
	say();
	say(name(writer, 'writes') + wrapped(written.msg, 19));
	for (const { text, title } of written.attachments ?? []) say(`${' '.repeat(19)}${dim('┃')} ${title ?? text}`);
	say(`     ${dim('     on wire')}  ${envelope(content)}`);
	say(`${name(reader, 'reads')}${wrapped(read.msg ?? '(nothing)', 19, WIDTH - 32)}  ${verdict(alike)}`);
}

async function expectRefusal(what, promise, reason) {
	const got = await promise.then(() => 'accepted', (error) => error.reason);
	count[got === reason ? 'refused' : 'differs']++;
	say(`     ${pad(what, 50)} ${got === reason ? green(`✓ ${got}`) : red(`✗ ${got}, not ${reason}`)}`);
}

// ---- the conversation ----------------------------------------------------------------------------------------------

class Conversation {
	constructor(bot, room) {
		Object.assign(this, { bot, room });
	}

	async adaSays(key, payload, { encrypt = rc.encryptV2, legacy = false } = {}) {
		const content = await encrypt(key.jwkText, key.kid, payload);
		const onWire = legacy ? content.ciphertext : content;
		const wire = { _id: rc.uuid(), rid: this.room, t: 'e2e', e2e: 'pending', u: { username: 'ada' },
			msg: legacy ? onWire : '', ...(legacy ? {} : { content }) };
		const { message } = await this.bot.call('decryptMessage', { message: wire });
		const read = Object.fromEntries(Object.keys(payload).map((name) => [name, message[name]]));
		exchange('Ada', 'bot', payload, onWire, read);
	}

	async botSays(key, payload) {
		const { message } = await this.bot.call('encryptMessage', { message: { rid: this.room, ...payload } });
		exchange('bot', 'Ada', payload, message.content, JSON.parse(await rc.decryptContent(key.jwkText, message.content)));
	}
}

async function identity(admin, daemon) {
	chapter('The bot gets an identity', 'The daemon makes an RSA key pair for the app. The private half stays in its locked '
		+ 'memory and its sealed keystore; the public half is what Rocket.Chat hands to the room\'s members.');
	const rooms = ['GENERAL', 'OLD-ROOM', 'NEW-ROOM'].map((roomId) =>
		({ roomId, permissions: ['read', 'write', 'create', 'distribute'] }));
	const { token, publicKey, keyId } = await admin.call('createApp', { appId: 'weather-bot', name: 'Weather bot', rooms });
	const bot = await daemon.app('weather-bot', token);
	const { fingerprint } = await bot.call('getIdentity');
	fact('public key', `${short(publicKey, 54)} ${size(publicKey.length)}`);
	fact('key id', keyId);
	fact('fingerprint', `${fingerprint.slice(0, 32)}…`);
	fact('session', 'authenticated both ways; the token itself never crossed the socket');
	return { bot, publicKey };
}

async function today({ bot, publicKey }) {
	chapter('A room of today', 'Ada\'s browser made the room\'s key and wrapped it for the bot. Messages are AES-256-GCM.');
	const key = await rc.makeRoomKey();
	const e2eKey = await rc.wrapRoomKey(publicKey, key.kid, key.jwkText);
	const { algorithm, state } = await bot.call('importRoomKey', { roomId: 'GENERAL', key: e2eKey, makeCurrent: true });
	fact('E2EKey', `${short(e2eKey, 52)} ${size(e2eKey.length)}`);
	fact('imported', `${algorithm}, ${state}`);

	const talk = new Conversation(bot, 'GENERAL');
	await talk.adaSays(key, { msg: 'Good morning! Will it rain in Görlitz today? ☔' });
	await talk.botSays(key, { msg: 'From 14:00 on, 3 mm. Take the umbrella 🌂. 東京 is sunny, I hear.' });
	await talk.adaSays(key, { msg: 'Thanks. Here is last week\'s chart:', attachments: [{ title: 'rain-november.png', type: 'file' }] });
	await talk.botSays(key, { msg: 'Seen.', attachments: [{ text: '» Here is last week\'s chart' }] });
	return key;
}

async function years({ bot, publicKey }) {
	chapter('A room that is years old', 'Its keys are AES-128-CBC, and as in every room of those days both bear the same id: '
		+ 'an old key from before a reset, and the current one. The history is imported; each message finds its key.');
	const [before, current] = await Promise.all([0, 1].map(() => rc.makeRoomKey('A128CBC', { kid: 'constant' })));
	const wrap = (key) => rc.wrapRoomKey(publicKey, key.kid, key.jwkText);
	await bot.call('importRoomKey', { roomId: 'OLD-ROOM', key: await wrap(current), makeCurrent: true });
	const stranger = await rc.makeIdentity();
	const lost = await rc.wrapRoomKey(stranger.publicText, 'eyJhbGciOiJB', current.jwkText);
	const { imported, failed } = await bot.call('importRoomKeys', { roomId: 'OLD-ROOM', keys: [
		{ e2eKeyId: before.kid, E2EKey: await wrap(before), ts: '2023-05-01T08:00:00.000Z' },
		{ e2eKeyId: before.kid, E2EKey: lost, ts: '2022-01-01T08:00:00.000Z' },
	] });
	fact('history', `${imported.length} key imported, ${failed.length} skipped: it was wrapped for a key pair of long ago`);
	const { keys } = await bot.call('listRoomKeys', { roomId: 'OLD-ROOM' });
	for (const { kid, algorithm, state, ts } of keys)
		fact('', `${kid}  ${algorithm}  ${pad(state, 8)}${ts ? dim(`since ${ts}`) : ''}`);

	const talk = new Conversation(bot, 'OLD-ROOM');
	await talk.adaSays(before, { msg: 'Written in 2023, before the key was reset' }, { encrypt: rc.encryptV1, legacy: true });
	await talk.adaSays(current, { msg: 'Written after the reset, under the same key id' }, { encrypt: rc.encryptV1 });
	await talk.adaSays(current, { msg: 'And this by a new web client: a v2 envelope with the old cipher' });
	await talk.botSays(current, { msg: 'All three read. I answer in v1, so that your old client can, too.' });
}

async function botCreates({ bot }) {
	chapter('The bot opens a room and lets Ada in', 'The daemon makes the room key and wraps it for her public key.');
	const ada = await rc.makeIdentity();
	const { kid } = await bot.call('createRoomKey', { roomId: 'NEW-ROOM' });
	const recipients = [{ _id: 'ada', public_key: ada.publicText }, { _id: 'broken', public_key: 'not a key' }];
	const { users: [user], failed } = await bot.call('wrapRoomKey', { roomId: 'NEW-ROOM', recipients });
	const key = await rc.unwrapE2EKey(ada.privateText, user.key);
	fact('room key', `${kid}`);
	fact('for Ada', `${short(user.key, 52)} ${size(user.key.length)}`);
	fact('skipped', `${failed.map(({ _id, reason }) => `${_id}: ${reason}`).join(', ')}`);

	const talk = new Conversation(bot, 'NEW-ROOM');
	await talk.botSays(key, { msg: 'Storm warning ⛈: gusts of 95 km/h tonight.' });
	await talk.adaSays(key, { msg: 'Got it. The flower pots are inside. 🪴' });
}

async function refusals({ bot }, key) {
	chapter('What must not be read is not', 'An error with its reason, never a wrong text.');
	const content = await rc.encryptV2(key.jwkText, key.kid, { msg: 'Pay 10 €' });
	const bytes = rc.fromBase64(content.ciphertext);
	bytes[9] ^= 1;
	const ask = (roomId, what) => bot.call('decrypt', { roomId, content: what });
	const stranger = await rc.makeRoomKey();
	const unknown = await rc.encryptV2(stranger.jwkText, stranger.kid, { msg: 'hello' });
	await expectRefusal('one bit of the message was flipped', ask('GENERAL', { ...content, ciphertext: rc.toBase64(bytes) }),
		'DECRYPT_FAILED');
	await expectRefusal('encrypted under a key the bot never got', ask('GENERAL', unknown), 'NO_ROOM_KEY');
	await expectRefusal('a federated room\'s algorithm', ask('GENERAL', { algorithm: 'm.megolm.v1.aes-sha2' }),
		'UNSUPPORTED_ALGORITHM');
	await expectRefusal('a room the bot has no grant for', ask('BOARD-MEETING', content), 'ROOM_NOT_AUTHORIZED');
}

function summary(daemon, started) {
	const seconds = ((Date.now() - started) / 1000).toFixed(1);
	const gone = !existsSync(daemon.dir);
	say();
	say(bold('  Summary'));
	say(`     ${count.sent} messages, ${count.alike} read as they were written; ${count.refused} refused as they should be; `
		+ `${count.differs} otherwise.`);
	say(`     Took ${seconds} s. The daemon has ended, its folder is ${gone ? 'removed' : red(`still there: ${daemon.dir}`)}.`);
	say();
	return gone && count.differs === 0 && count.sent === count.alike;
}

if (!existsSync(E2EED)) {
	console.error(`demo: ${E2EED} is missing; run make first`);
	process.exit(1);
}
const started = Date.now();
const daemon = await startDaemon();
try {
	const admin = await daemon.admin();
	const { version } = await admin.call('getStatus');
	say();
	say(`  ${bold('e2eed')} ${version} ${dim('–')} a bot and a person in encrypted Rocket.Chat rooms`);
	say(dim(`  The bot's keys are in the daemon (pid ${daemon.pid}); Ada's are in WebCrypto, as in her browser.`));
	const scene = await identity(admin, daemon);
	const key = await today(scene);
	await years(scene);
	await botCreates(scene);
	await refusals(scene, key);
} finally {
	await daemon.stop();
}
process.exitCode = summary(daemon, started) ? 0 : 1;
