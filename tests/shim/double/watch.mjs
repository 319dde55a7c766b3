// Looks for what was said in encrypted rooms wherever the server could see it: in every byte of every request, and in whatever an app hands over.
//
// A text is looked for as it is, and as it looks within JSON (with and without \u escapes), within a URL, and within base64, wherever in a
// group of three bytes it begins.

const escaped = (text) => text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

// What base64 of any bytes that hold @text must contain: the groups that lie wholly within it.
function base64Forms(text) {
	const bytes = Buffer.from(text);
	return [0, 1, 2].map((before) => {
		const whole = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
		return whole.slice(before ? 4 : 0, Math.floor((before + bytes.length) / 3) * 4);
	});
}

export class Watch {
	#forms = new Map(); // text -> its forms, as Buffers
	leaks = []; // { text, where }

	// @text was said in an encrypted room. It has to be long enough not to turn up by chance.
	forbid(text) {
		if (text.length < 8) throw new RangeError('too short to be looked for');
		const json = JSON.stringify(text).slice(1, -1);
		const forms = [text, json, escaped(json), encodeURIComponent(text), encodeURIComponent(text).replace(/%20/g, '+'), ...base64Forms(text),
			...base64Forms(json)];
		this.#forms.set(text, [...new Set(forms)].map((form) => Buffer.from(form)));
	}

	look(data, where) {
		const bytes = Buffer.isBuffer(data) ? data : Buffer.from(typeof data === 'string' ? data : JSON.stringify(data) ?? '');
		const urlSafe = bytes.includes('-') || bytes.includes('_') ? Buffer.from(bytes.toString('latin1').replace(/-/g, '+').replace(/_/g, '/'), 'latin1') : undefined;
		for (const [text, forms] of this.#forms)
			if (forms.some((form) => bytes.includes(form) || urlSafe?.includes(form))) this.leaks.push({ text, where });
	}
}
