// EJSON, in which clients write what they encrypt (Meteor's EJSON: $date, $binary, $InfNaN, $escape). What this does not know (custom types,
// regular expressions) stays as it came.

const isPlain = (value: unknown): value is Record<string, unknown> =>
	typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date) && !ArrayBuffer.isView(value);

/** A member of its own, also where its name is `__proto__`. */
function put(object: Record<string, unknown>, name: string, value: unknown): void {
	Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
}

function each(object: Record<string, unknown>, change: (value: unknown) => unknown): Record<string, unknown> {
	const changed: Record<string, unknown> = {};
	for (const name of Object.keys(object)) put(changed, name, change(object[name]));
	return changed;
}

/** Whether @object would be taken for one of EJSON's own. */
function looksLikeEjson(object: Record<string, unknown>): boolean {
	const names = Object.keys(object);
	if (names.length === 1) return ['$date', '$binary', '$InfNaN', '$escape'].includes(names[0]!);
	return names.length === 2 && ((names.includes('$type') && names.includes('$value')) || (names.includes('$regexp') && names.includes('$flags')));
}

/** JS values out of EJSON: Date, Uint8Array, Infinity, NaN. Gives a copy. */
export function fromEjson(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(fromEjson);
	if (!isPlain(value)) return value;
	const names = Object.keys(value);
	if (names.length === 1) {
		const inner = value[names[0]!];
		switch (names[0]) {
			case '$date':
				if (typeof inner === 'number') return new Date(inner);
				break;
			case '$binary':
				if (typeof inner === 'string') return new Uint8Array(Buffer.from(inner, 'base64'));
				break;
			case '$InfNaN':
				if (inner === 1 || inner === -1) return inner * Infinity;
				if (inner === 0) return NaN;
				break;
			case '$escape':
				if (isPlain(inner)) return each(inner, fromEjson); // what stands within is not EJSON's, whatever it looks like
				break;
		}
	}
	return each(value, fromEjson);
}

/** EJSON out of JS values. Functions and undefined go, as with JSON. Gives a copy. */
export function toEjson(value: unknown): unknown {
	if (typeof value === 'number' && !Number.isFinite(value)) return { $InfNaN: Number.isNaN(value) ? 0 : Math.sign(value) };
	if (value instanceof Date) return { $date: value.getTime() };
	if (ArrayBuffer.isView(value)) return { $binary: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
	if (Array.isArray(value)) return value.map(toEjson);
	if (!isPlain(value)) return value;
	const changed = each(value, toEjson);
	return looksLikeEjson(value) ? { $escape: changed } : changed;
}
