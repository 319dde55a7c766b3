// The cases and what they check with, for runtimes that have no test framework which all of them share.
const cases = [];

/** needs: what the runtime has to let through (`unix`, `abstract`, `tcp`), or the case says nothing there. */
export const test = (name, needs, body) => cases.push({ name, needs, body });

const HANGS_MS = 30_000; // a promise that never settles is then named, where else the whole run would end without a word

let failCase;
/** The case that runs has failed, whatever it waits for. */
export const blame = (error) => failCase(error);

export async function runAll(lets, report, context) {
	for (const { name, needs, body } of cases) {
		if (!needs.every((way) => lets[way])) continue;
		const fails = new Promise((_, reject) => (failCase = reject));
		const timer = setTimeout(() => failCase(new Error('hangs')), HANGS_MS);
		const cleanups = [];
		const after = (cleanup) => cleanups.push(cleanup);
		let error;
		try {
			await Promise.race([body({ ...context, after }), fails]);
		} catch (thrown) {
			error = thrown;
		}
		for (const cleanup of cleanups.reverse()) await cleanup();
		clearTimeout(timer);
		report({ name, error: error && String(error.stack ?? error) });
	}
}

const shown = (value) => JSON.stringify(value, (_, member) => (member === undefined ? '(undefined)' : member))?.slice(0, 500) ?? String(value);

export function ok(value, what = 'a true value') {
	if (!value) throw new Error(`expected ${what}, got ${shown(value)}`);
	return value;
}

function same(a, b) {
	if (Object.is(a, b)) return true;
	if (typeof a !== 'object' || typeof b !== 'object' || !a || !b || Array.isArray(a) !== Array.isArray(b)) return false;
	const names = Object.keys(a);
	return names.length === Object.keys(b).length && names.every((name) => name in b && same(a[name], b[name]));
}

export function equal(actual, expected, what = '') {
	if (!same(actual, expected)) throw new Error(`${what} expected ${shown(expected)}, got ${shown(actual)}`);
}

export function match(text, pattern) {
	if (typeof text !== 'string' || !pattern.test(text)) throw new Error(`expected ${pattern}, got ${shown(text)}`);
}

/** The error that @promise rejects with, which must have this reason. */
export async function refused(promise, reason) {
	const outcome = await promise.then((value) => ({ value }), (error) => ({ error }));
	if (!outcome.error) throw new Error(`expected ${reason}, got ${shown(outcome.value)}`);
	if (outcome.error.name !== 'E2eedError' || outcome.error.reason !== reason) throw new Error(`expected ${reason}, got ${outcome.error.stack}`);
	ok(typeof outcome.error.code === 'number' && typeof outcome.error.data === 'object' && outcome.error.message !== '', 'code, data and message');
	return outcome.error;
}

/** The next time that @emitter emits @name, as [...args]. */
export const next = (emitter, name) => new Promise((resolve) => emitter.once(name, (...args) => resolve(args)));

const kinds = {
	base64: (value) => typeof value === 'string' && /^[A-Za-z0-9+/]+={0,2}$/.test(value),
	hex: (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value),
	time: (value) => typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value),
	uuid: (value) => typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
	text: (value) => typeof value === 'string' && value !== '',
	number: (value) => Number.isSafeInteger(value),
};

/** @value has exactly the members of @shape: of a kind named above, of a nested shape, or equal to { is: ... }. */
export function shaped(value, shape, where = 'it') {
	if (typeof shape === 'string') return ok(kinds[shape](value), `${where} to be ${shape}, not ${shown(value)}, hence`);
	if ('is' in shape) return equal(value, shape.is, where);
	equal(Object.keys(value).sort(), Object.keys(shape).sort(), where);
	for (const [name, inner] of Object.entries(shape)) shaped(value[name], inner, `${where}.${name}`);
	return value;
}
