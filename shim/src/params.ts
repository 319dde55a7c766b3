// A call's params as JSON text, or why no frame can hold them. The daemon answers a frame that it cannot read without saying whose it is
// (docs/protocol.md, section 1), so that one such call, made of what some server sent, would be the end of all that are under way beside it.
import { E2eedError } from './errors';
import type { Method } from './protocol';

const UNREADABLE = /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/; // U+0000 and half a surrogate pair, as JSON.stringify writes them
const DEEPEST = 62; // of the daemon's 64; a batch and a request are around it

/** @verbatim: the member that is a payload or holds one, in which the daemon takes every text that JavaScript has. */
export function paramsText(method: Method, params: object, verbatim?: 'payload' | 'message'): string {
	const text = JSON.stringify(params ?? {});
	const refuse = (what: string) => new E2eedError('INVALID_PARAMS', `${method}: ${what}`);

	if (text?.[0] !== '{') throw refuse('params are an object');
	if (text.includes('\\u') && UNREADABLE.test(verbatim ? JSON.stringify({ ...params, [verbatim]: null }) : text))
		throw refuse('a text with U+0000 or half a surrogate pair');
	if (isDeep(text)) throw refuse(`nested deeper than ${DEEPEST} levels`);
	return text;
}

function isDeep(text: string): boolean {
	let brackets = 0;
	for (const bracket of '{[')
		for (let at = text.indexOf(bracket); at >= 0 && brackets <= DEEPEST; at = text.indexOf(bracket, at + 1)) brackets++;
	if (brackets <= DEEPEST) return false; // most texts: long ones hold base64

	let depth = 0;
	for (let at = 0, inString = false; at < text.length; at++) {
		const c = text[at];
		if (inString) {
			if (c === '\\') at++;
			else if (c === '"') inString = false;
		} else if (c === '"') inString = true;
		else if (c === '{' || c === '[') {
			if (++depth > DEEPEST) return true;
		} else if (c === '}' || c === ']') depth--;
	}
	return false;
}
