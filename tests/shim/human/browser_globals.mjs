// What rc.mjs takes from Node, in a page: WebCrypto is the browser's own; of Buffer only what rc.mjs uses of it.
export const webcrypto = globalThis.crypto;
export const createPrivateKey = undefined;
export const readFileSync = undefined;

const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');

class Bytes extends Uint8Array {
	toString(form) {
		if (form === 'hex') return Array.from(this, (byte) => byte.toString(16).padStart(2, '0')).join('');
		return btoa(latin1(this));
	}
}

export const Buffer = {
	from(value, offset, length) {
		if (typeof value === 'string') return Bytes.from(atob(value), (char) => char.charCodeAt(0));
		if (value instanceof ArrayBuffer) return new Bytes(value, offset, length);
		return Bytes.from(value);
	},
	concat: (parts) => Bytes.from(parts.flatMap((part) => [...part])),
};
export const process = { env: {}, pid: 0 };
