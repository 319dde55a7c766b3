// A zip of the same bytes from the same files: no compression, which differs between versions of zlib, and no times.
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
	for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
	return n;
});

function crc32(bytes) {
	let crc = 0xffffffff;
	for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
	return (crc ^ 0xffffffff) >>> 0;
}

const VERSION = 20; // of the format: 2.0
const UTF8_NAMES = 0x0800;
const FIRST_DAY = 0x0021; // 1 January 1980

const u16 = (value) => [value & 0xff, value >>> 8];
const u32 = (value) => [...u16(value & 0xffff), ...u16(value >>> 16)];

/** @files: [name, bytes] in the order in which they are to lie. */
export function zip(files) {
	const entries = [], directory = [];
	let offset = 0;

	for (const [name, bytes] of files) {
		const nameBytes = Buffer.from(name);
		const about = [...u16(VERSION), ...u16(UTF8_NAMES), ...u16(0), ...u16(0), ...u16(FIRST_DAY), ...u32(crc32(bytes)), ...u32(bytes.length), ...u32(bytes.length),
			...u16(nameBytes.length), ...u16(0)];
		const entry = Buffer.concat([Buffer.from([0x50, 0x4b, 3, 4, ...about]), nameBytes, bytes]);
		directory.push(Buffer.from([0x50, 0x4b, 1, 2, ...u16(VERSION), ...about, ...u16(0), ...u16(0), ...u16(0), ...u32(0), ...u32(offset)]), nameBytes);
		entries.push(entry);
		offset += entry.length;
	}
	const length = directory.reduce((sum, part) => sum + part.length, 0);
	const end = Buffer.from([0x50, 0x4b, 5, 6, ...u16(0), ...u16(0), ...u16(files.length), ...u16(files.length), ...u32(length), ...u32(offset), ...u16(0)]);
	return Buffer.concat([...entries, ...directory, end]);
}
