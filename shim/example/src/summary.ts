// Who said how much, and about what.
import { DecryptedMessage } from 'e2eed-client/apps-engine';

const WORD = new RegExp("[\\p{L}\\p{N}][\\p{L}\\p{N}'’-]*", 'gu');
const SHORTEST = 4; // letters of a word that says something
const SHOWN = 5;

const plural = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

export function summaryOf(messages: DecryptedMessage[], unreadable: number): string {
	const members = new Map<string, { messages: number; words: number }>();
	const words = new Map<string, number>();

	for (const { sender, text } of messages) {
		const found = text.match(WORD) || [];
		const name = (sender && sender.username) || 'somebody';
		const member = members.get(name) || { messages: 0, words: 0 };
		members.set(name, { messages: member.messages + 1, words: member.words + found.length });
		for (const word of found) if (word.length >= SHORTEST) words.set(word.toLowerCase(), (words.get(word.toLowerCase()) || 0) + 1);
	}
	const frequent = [...words].filter(([, times]) => times > 1).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).slice(0, SHOWN);
	return [
		`The last ${plural(messages.length, 'message')}, by ${plural(members.size, 'member')}:`,
		...[...members].sort(([, a], [, b]) => b.messages - a.messages).map(([name, said]) => `${name}: ${plural(said.messages, 'message')}, ${plural(said.words, 'word')}`),
		...(frequent.length > 0 ? [`Most frequent: ${frequent.map(([word, times]) => `${word} (${times})`).join(', ')}`] : []),
		...(unreadable > 0 ? [`${plural(unreadable, 'message')} I could not decrypt.`] : []),
	].join('\n');
}
