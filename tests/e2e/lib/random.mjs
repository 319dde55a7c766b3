// Random texts and payloads as a chat sees them and worse, from a seed, so that a failing case can be had again:
// E2EED_SEED=<what the failing run printed>.

export const SEED = Number(process.env.E2EED_SEED ?? 20261123);

// Mulberry32, in the public domain (Tommy Ettinger): small, and good enough to pick test cases.
export class Random {
	constructor(seed = SEED) {
		this.state = seed >>> 0;
	}

	next() {
		this.state = (this.state + 0x6d2b79f5) >>> 0;
		let t = this.state;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	}

	below(n) {
		return Math.floor(this.next() * n);
	}

	between(low, high) {
		return low + this.below(high - low + 1);
	}

	chance(p) {
		return this.next() < p;
	}

	pick(list) {
		return list[this.below(list.length)];
	}

	times(n, make) {
		return Array.from({ length: n }, make);
	}
}

const BANKS = [
	[...'abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,:;!?'],
	[...'àéîõüßçñÆØÅÿ£§'],
	[...'привет κόσμε שלום مرحبا नमस्ते ไทย'],
	[...'密码聊天室こんにちは안녕'],
	['e\u0301', 'a\u0308\u0323', 'n\u0303', 'o\u0302\u0301', '\u0e33', 'क्षि'],
	['🔒', '👩‍👩‍👧‍👦', '🇩🇪', '👍🏽', '𝔘', '𐍈', '\u{10ffff}', '\u{1f600}'],
	['"', '\\', '/', '\b', '\f', '\n', '\r', '\t', '\u0000', '\u001f', '\u007f', '\u2028', '\u2029', '\ufeff', '\uffff'],
	['\ud800', '\udbff', '\udc00', '\udfff'],
];

export function text(rnd, max = 60) {
	if (rnd.chance(0.08)) return '';
	const banks = rnd.chance(0.4) ? [BANKS[0]] : rnd.times(rnd.between(1, 4), () => rnd.pick(BANKS));
	return rnd.times(rnd.between(1, max), () => rnd.pick(rnd.pick(banks))).join('');
}

// 64 KiB of one bank's characters, cut to the byte: the longest a message gets.
export function longText(rnd) {
	const piece = rnd.pick(BANKS.slice(0, 6)).join('');
	const bytes = Buffer.from(piece.repeat(Math.ceil(65536 / Buffer.byteLength(piece))));
	return new TextDecoder().decode(bytes.subarray(0, 65536), { stream: true });
}

export const numberText = (rnd) => rnd.pick(['0', '-0', '0.1', '1e21', '1E+2', '-1.50e-7', '5e-324', '1.7976931348623157e308',
	'123456789012345678901234567890', '9007199254740993', '1.0', '-12', String(rnd.below(2 ** 31)), String(rnd.next())]);

// The JSON text of a string: as JSON.stringify writes it, or with more escapes than needed.
export function stringText(rnd, value) {
	const plain = JSON.stringify(value);
	if (rnd.chance(0.8)) return plain;
	const unit = (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
	return `"${value.split('').map((c) => {
		if (rnd.chance(0.3) || c < ' ' || (c >= '\ud800' && c <= '\udfff')) return unit(c);
		return c === '/' ? '\\/' : JSON.stringify(c).slice(1, -1);
	}).join('')}"`;
}

const object = (members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`;

function valueText(rnd, depth = 0) {
	const kind = rnd.below(depth < 3 ? 8 : 5);
	if (kind === 0) return numberText(rnd);
	if (kind === 1) return rnd.pick(['true', 'false', 'null']);
	if (kind === 2) return object([['$date', rnd.chance(0.8) ? String(rnd.below(2 ** 31) * 1000) : numberText(rnd)]]);
	if (kind <= 4) return stringText(rnd, text(rnd, 20));
	if (kind === 5) return `[${rnd.times(rnd.below(4), () => valueText(rnd, depth + 1)).join(',')}]`;
	return object(rnd.times(rnd.below(4), (_, i) => [`${text(rnd, 6)}${i}`, valueText(rnd, depth + 1)]));
}

const fileText = (rnd) => object([['_id', stringText(rnd, `f${rnd.below(1e6)}`)], ['name', stringText(rnd, text(rnd))],
	['type', '"image/png"'], ['size', numberText(rnd)]]);

const attachmentText = (rnd) => object([
	['title', stringText(rnd, text(rnd))], ['type', '"file"'], ['description', stringText(rnd, text(rnd))],
	['title_link', '"/file-upload/x/y.png"'], ['image_dimensions', object([['width', numberText(rnd)], ['height', '480']])],
	['encryption', object([['key', object([['alg', '"A256CTR"'], ['kty', '"oct"']])], ['iv', '"AAAA"']])],
	['hashes', object([['sha256', '"e3b0c442"']])], ['ts', valueText(rnd)],
]);

// The JSON text of a message's payload, without white space between its tokens.
export function payloadText(rnd) {
	const members = [];
	if (rnd.chance(0.95)) members.push(['msg', stringText(rnd, rnd.chance(0.02) ? longText(rnd) : text(rnd))]);
	if (rnd.chance(0.3)) members.push(['attachments', `[${rnd.times(rnd.below(3), () => attachmentText(rnd)).join(',')}]`]);
	if (rnd.chance(0.2)) members.push(['files', `[${rnd.times(rnd.below(3), () => fileText(rnd)).join(',')}]`], ['file', fileText(rnd)]);
	if (rnd.chance(0.2)) members.push(['ts', object([['$date', String(rnd.below(2 ** 31) * 1000)]])]);
	for (let i = rnd.below(3); i > 0; i--) members.push([`x${i}${text(rnd, 5)}`, valueText(rnd)]);
	return object(members);
}

// An id as the protocol allows: 1 to 128 bytes of UTF-8 without control characters, and no lone surrogates.
export function idText(rnd) {
	const id = text(rnd, 20).replace(/[\u0000-\u001f\u007f-\u009f\ud800-\udfff]/gu, '');
	return id.length && Buffer.byteLength(id) <= 128 ? id : `id-${rnd.below(1e9)}`;
}

export const asciiText = (rnd, max = 40) =>
	String.fromCharCode(...rnd.times(rnd.between(1, max), () => rnd.between(0x20, 0x7e)));
export const latin1Text = (rnd, max = 40) =>
	String.fromCharCode(...rnd.times(rnd.between(1, max), () => rnd.pick([rnd.between(0x20, 0x7e), rnd.between(0xa0, 0xff)])));

// fn(i) for i below n, @width of them at a time.
export async function inFlight(n, width, fn) {
	let next = 0;
	const lane = async (_, number) => {
		for (let i = next++; i < n; i = next++) await fn(i, number);
	};
	await Promise.all(Array.from({ length: Math.min(width, n) }, lane));
}
