// What people can ask for. A question is an encrypted message that begins with "!", since slash commands do not work in encrypted rooms; the answer
// is encrypted, and stands in the question's thread where it was asked in one.
import { AppRoom, DecryptedMessage, HistoryEntry } from 'e2eed-client/apps-engine';
import { Link } from './connection';
import { summaryOf } from './summary';

const HELP = [
	'!echo TEXT: I say it again',
	'!summary [N]: who said how much in the last N messages (20)',
	'!file: what the newest file is',
	'!amend TEXT: I change my last answer',
	'I read everything that is said in this room, and so can whoever runs me.',
].join('\n');

const LOOKED_AT = 100; // messages, to find a file or an answer
const SUMMARISED = 20;

interface Question {
	link: Link;
	room: AppRoom;
	message: DecryptedMessage;
	/** what stands behind the command */
	rest: string;
}

/** Gives the answer, if one is to be sent. */
type Command = (question: Question) => Promise<string | undefined>;

/** What was said where the question was asked, the newest first; without the question itself. */
async function before({ link, room, message }: Question, count: number): Promise<HistoryEntry[]> {
	const entries = message.threadId ? (await link.rooms.thread(message.threadId)).reverse() : await link.rooms.history(room, { count });
	return entries.filter(({ id }) => id !== message.id);
}

const isBot = (link: Link, message: DecryptedMessage): boolean => message.sender?.id === link.configuration.bot.userId;

const commands: { [name: string]: Command } = {
	async help() {
		return HELP;
	},

	async echo({ rest }) {
		return rest || undefined;
	},

	async summary(question) {
		const wanted = Math.min(Math.max(parseInt(question.rest, 10) || SUMMARISED, 1), LOOKED_AT);
		const entries = await before(question, LOOKED_AT);
		const said = entries.map(({ message }) => message).filter((message): message is DecryptedMessage => message !== undefined);
		const people = said.filter((message) => !isBot(question.link, message) && !message.text.startsWith('!'));
		return summaryOf(people.slice(0, wanted), entries.length - said.length);
	},

	async file(question) {
		const shown = (await before(question, LOOKED_AT)).find(({ message }) => message?.attachments.some(({ encryption }) => encryption));
		if (!shown || !shown.message) return 'There is no encrypted file here.';
		const { name, type, bytes, sha256, verified } = await question.link.participant.files.read(shown.message);
		return `${name}: ${type}, ${bytes.length} bytes, SHA-256 ${sha256}${verified ? '' : ' (its sender told no hash)'}`;
	},

	async amend(question) {
		const { link, room, rest } = question;
		const former = (await before(question, LOOKED_AT)).find(({ message }) => message && isBot(link, message));
		if (!rest) return undefined;
		if (!former) return 'There is no answer of mine here.';
		await link.rooms.editEncryptedMessage(room, former.id, { text: rest });
		return undefined;
	},
};

/** Gives what answers @message; undefined: it asks for nothing. */
export function commandIn(message: DecryptedMessage): ((link: Link, room: AppRoom) => Promise<string | undefined>) | undefined {
	const [, name, rest] = /^!([a-z]+)(?:\s+([^]*))?$/.exec(message.text) || [];
	const command = name !== undefined && Object.prototype.hasOwnProperty.call(commands, name) ? commands[name] : undefined;
	return command && ((link, room) => command({ link, room, message, rest: (rest || '').trim() }));
}
