// The memory of another process, through /proc: what is mapped how, and what is in it. Needs root, since the daemon makes itself
// undumpable.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { search } from './secrets.mjs';

const STEP = 1 << 20;
const OVERLAP = 64;

// [{ start, end, readable, name, flags: Set of VmFlags }]
export function mappings(pid) {
	const found = [];
	for (const line of readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
		const head = line.match(/^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$/);
		if (head) found.push({ start: parseInt(head[1], 16), end: parseInt(head[2], 16), readable: head[3][0] === 'r', name: head[4] });
		const [, flags] = line.match(/^VmFlags: (.*)/) ?? [];
		if (flags !== undefined) found.at(-1).flags = new Set(flags.trim().split(' '));
	}
	return found;
}

export const isSecretmem = (m) => m.name.startsWith('/secretmem');
export const isArena = (m) => isSecretmem(m) || (m.flags.has('dd') && m.flags.has('wf'));

// What of a mapping can be read, in pieces that overlap: fn(bytes, address). Returns how many bytes were refused.
function read(fd, m, fn) {
	const piece = Buffer.alloc(STEP + OVERLAP);
	let refused = 0;
	for (let at = m.start; at < m.end; at += STEP) {
		const n = Math.min(piece.length, m.end - at);
		try {
			fn(piece.subarray(0, readSync(fd, piece, 0, n, at)), at);
		} catch (error) {
			if (error.code !== 'EIO') throw error;
			refused += Math.min(STEP, m.end - at);
		}
	}
	return refused;
}

// { hits: [{ owner, what, at, bytes, mapping }], searched, refused: bytes, secretmem: bytes }
export function searchProcess(pid, secrets) {
	const result = { hits: [], searched: 0, refused: 0, secretmem: 0 };
	const fd = openSync(`/proc/${pid}/mem`, 'r');
	try {
		for (const mapping of mappings(pid)) {
			const size = mapping.end - mapping.start;
			if (isSecretmem(mapping)) result.secretmem += size;
			if (!mapping.readable || mapping.name === '[vvar]' || mapping.name === '[vsyscall]') continue;
			const hits = [];
			const refused = read(fd, mapping, (bytes, at) => search(secrets, bytes, hits, at));
			result.refused += refused;
			result.searched += size - refused;
			for (const hit of hits) result.hits.push({ ...hit, mapping });
		}
	} finally {
		closeSync(fd);
	}
	return result;
}

export function describe(hits) {
	const lines = hits.map(({ owner, what, at, bytes, mapping }) =>
		`${owner}: ${what}: ${bytes} bytes at ${at.toString(16)} in ${mapping ? `${mapping.name || 'anonymous memory'} ${
			mapping.start.toString(16)}-${mapping.end.toString(16)} (${[...mapping.flags].join(' ')})` : 'the core'}`);
	return `${lines.length} hits\n${lines.slice(0, 60).join('\n')}`;
}
