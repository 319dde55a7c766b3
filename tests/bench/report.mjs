// What was measured as Markdown tables and plots, and into docs/performance.md: the text there is written by hand, what stands
// between <!-- bench:NAME --> and <!-- /bench:NAME --> comes from here, so that figures and plots are of one run.
import { COLOURS, plot } from './plot.mjs';

const MIB = 2 ** 20;

const fixed = (n, digits = 0) => n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const seconds = (n) => fixed(n, n < 10 ? 3 : 1);
const mib = (n) => fixed(n / MIB, 1);
const pair = ({ p50us, p99us }) => `${fixed(p50us)} / ${fixed(p99us)}`;

function table(heads, rows) {
	const line = (cells) => `| ${cells.join(' | ')} |`;
	return [line(heads), `|${'---:|'.repeat(heads.length)}`, ...rows.map(line)].join('\n');
}

// ---- the sections: { text, plot? } out of their figures ----------------------------------------------------------

const machine = (m) => ({
	text: `Measured on ${m.date} with e2eed ${m.version}, on ${m.cores} cores (${m.cpu}) and ${fixed(m.memoryBytes / 2 ** 30)} GiB of `
		+ `memory, Linux ${m.kernel}. Appends go to ${m.diskFileSystem}; stores that are only read lie on ${m.memoryFileSystem}.`,
});

function open(rows) {
	const many = rows.filter((row) => row.rooms !== 1 || row.keys === 1);
	const one = rows.filter((row) => !many.includes(row));
	const series = (name, colour, field, from) => ({ name, colour, points: from.map((row) => [row.records, row[field]]) });
	const target = many.map((row) => row.records).filter((n) => n >= 1000); // below, starting the process is what takes time
	return {
		text: table(['room keys', 'rooms', 'records', 'file, MiB', 'replay, s', 'records/s', 'exec to first answer, s'],
			rows.map((row) => [fixed(row.keys), fixed(row.rooms), fixed(row.records), mib(row.bytes), seconds(row.replaySeconds),
				fixed(row.records / row.replaySeconds), seconds(row.startSeconds)])),
		plot: plot({
			title: 'Opening a keystore',
			x: { label: 'records in the keystore', log: true },
			y: { label: 'time, s', log: true },
			series: [
				series('exec to first answer', COLOURS.blue, 'startSeconds', many),
				series('replay alone', COLOURS.green, 'replaySeconds', many),
				...one.map((row) => series(`exec to first answer, ${fixed(row.keys)} keys in one room`, COLOURS.red, 'startSeconds', [row])),
				{ name: 'target: 1 s per 100,000 records', colour: COLOURS.floor, dash: true, unmarked: true, points: target.map((n) => [n, n / 1e5]) },
			],
		}),
	};
}

function append(rows) {
	const series = (name, colour, field, percentile) => ({
		name: `${name}, ${percentile}`, colour, dash: percentile === 'p99',
		points: rows.map((row) => [row.records, row[field][`${percentile}us`]]),
	});
	return {
		text: table(['records', 'floor', 'grant', 'room key', 'floor beside the socket', 'authorizeRoom over the socket'],
			rows.map((row) => [fixed(row.records), pair(row.floor), pair(row.grant), pair(row.key), pair(row.socketFloor),
				pair(row.socket)])),
		plot: plot({
			title: 'One mutation on disk, by what the keystore holds',
			x: { label: 'records in the keystore', log: true },
			y: { label: 'latency, µs', log: true },
			series: [['floor: write + fdatasync', COLOURS.floor, 'floor'], ['room key added', COLOURS.green, 'key'],
				['authorizeRoom over the socket', COLOURS.blue, 'socket']].flatMap(([name, colour, field]) =>
				['p50', 'p99'].map((percentile) => series(name, colour, field, percentile))),
		}),
	};
}

function group(rows) {
	const series = (name, colour, value) => ({ name, colour, points: rows.map((row) => [row.connections, value(row)]) });
	return {
		text: table(['connections', 'mutations/s', 'fdatasyncs/s (floor)', 'mutations per floor', 'latency p50 / p99, µs'],
			rows.map((row) => [row.connections, fixed(row.perSecond), fixed(row.floorPerSecond),
				fixed(row.perSecond / row.floorPerSecond, 2), pair(row.answer)])),
		plot: plot({
			title: 'Mutations per second, each connection waiting for its answer',
			x: { label: 'connections', log: true, ticks: rows.map((row) => row.connections) },
			y: { label: 'per second' },
			series: [series('authorizeRoom over the socket', COLOURS.blue, (row) => row.perSecond),
				series('floor: write + fdatasync, one after the other', COLOURS.floor, (row) => row.floorPerSecond)],
		}),
	};
}

function memory(rows) {
	const [base] = rows;
	const each = (row, field) => (row.keys > base.keys ? fixed((row[field] - base[field]) / (row.keys - base.keys)) : '');
	const series = (name, colour, field) => ({ name, colour, points: rows.map((row) => [row.keys, row[field] / MIB]) });
	return {
		text: table(['room keys', 'resident, MiB', 'bytes per key', 'peak at start, MiB', 'arena, MiB', 'used of it, bytes per key',
			'locked, MiB', 'mlock'],
		rows.map((row) => [fixed(row.keys), mib(row.rssBytes), each(row, 'rssBytes'), mib(row.peakBytes), mib(row.arenaMappedBytes),
			each(row, 'arenaUsedBytes'), mib(row.lockedBytes), row.mlock])),
		plot: plot({
			title: 'Memory of a daemon that has just started',
			x: { label: 'room keys' },
			y: { label: 'MiB' },
			series: [series('resident', COLOURS.blue, 'rssBytes'), series('arena: what is to be locked', COLOURS.red, 'arenaMappedBytes'),
				series('locked', COLOURS.green, 'lockedBytes')],
		}),
	};
}

function rewrite({ methods, rows }) {
	if (methods.length === 0) return { text: 'This version has none of these methods.' };
	return {
		text: table(['room keys', 'file, MiB', ...methods.map((name) => `${name}, s`)],
			rows.map((row) => [fixed(row.keys), mib(row.bytes), ...methods.map((name) => seconds(row.seconds[name]))])),
		plot: plot({
			title: 'What reads or writes the whole keystore',
			x: { label: 'room keys' },
			y: { label: 'time, s' },
			series: methods.map((name, i) => ({ name, colour: [COLOURS.blue, COLOURS.red, COLOURS.green, COLOURS.violet][i],
				points: rows.map((row) => [row.keys, row.seconds[name]]) })),
		}),
	};
}

const files = (rows) => ({
	text: table(['direction', 'under way', 'file, MiB', 'time, s', 'MiB/s', 'floor, MiB/s', 'of the floor', 'resident before, MiB', 'peak, MiB'],
		rows.map((row) => [row.mode, row.depth, fixed(row.bytes / MIB), seconds(row.seconds), fixed(row.mibPerSecond), fixed(row.floorMibPerSecond),
			fixed(row.mibPerSecond / row.floorMibPerSecond, 2), mib(row.rssBytes), mib(row.peakBytes)])),
});

const wrap = (rows) => ({
	text: table(['workers', 'recipients', 'keys', 'fastest, ms', 'median, ms', 'wraps/s (fastest)'],
		rows.map((row) => [row.threads, row.recipients, row.keys, fixed(1000 * row.fastestSeconds, 1), fixed(1000 * row.medianSeconds, 1),
			fixed((row.recipients * row.keys) / row.fastestSeconds)])),
});

const events = (rows) => ({
	text: table(['events', 'subscribers', 'changes/s', 'time, s', 'events/s to all'],
		rows.map((row) => [row.what, row.subscribers, row.changesPerSecond ? fixed(row.changesPerSecond) : '', seconds(row.seconds),
			row.subscribers ? fixed((row.subscribers * row.events) / row.seconds) : ''])),
});

const client = (rows) => ({
	text: table(['calls of one tick', 'client, calls/s', 'frames, calls/s', 'batches, calls/s', 'client, µs of CPU a call', 'frames', 'batches'],
		rows.map(({ width, client, frames, batches }) => [fixed(width), ...[client, frames, batches].map(({ perSecond }) => fixed(perSecond)),
			...[client, frames, batches].map(({ cpuMicroseconds }) => fixed(cpuMicroseconds, 1))])),
});

const SECTIONS = { machine, open, append, group, memory, rewrite, wrap, events, files, client };

export const describe = (name, figures) => SECTIONS[name](figures);

// @document with @parts ({ name: text }) between their marks; a part that has none there is a mistake.
export function insert(document, parts) {
	return Object.entries(parts).reduce((all, [name, text]) => {
		const [before, after] = [`<!-- bench:${name} -->\n`, `\n<!-- /bench:${name} -->`];
		const from = all.indexOf(before), to = all.indexOf(after, from);
		if (from < 0 || to < 0) throw new Error(`docs/performance.md has no place for "${name}": <!-- bench:${name} --> ... <!-- /bench:${name} -->`);
		return all.slice(0, from + before.length) + text + all.slice(to);
	}, document);
}
