// Line plots as SVG text: light background, grid, labels with units, legend. Made for the few shapes that bench.mjs draws.
//
//   plot({ title, x: axis, y: axis, series: [{ name, colour, dash?, unmarked?, points: [[x, y], ...] }] }) -> SVG text
//   axis: { label, log?: true, ticks?: [numbers] }; a linear one begins at 0, and ticks are chosen where none are given
//
// A series of one point is a mark without a line.

const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 84, RIGHT = 30, BOTTOM = 62;
const TITLE = 34, LEGEND_ROW = 20;
const CHARACTER = 6.8; // pixels of a legend's character, roughly: fonts differ
const INK = '#1f2328', SOFT = '#59636e', GRID = '#e4e7eb';

export const COLOURS = { floor: '#59636e', blue: '#0969da', red: '#cf4a0c', green: '#117a5b', violet: '#8250df' };

const escape = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const near = (n) => Number(n.toFixed(2));
const number = (n) => n.toLocaleString('en-US', { maximumSignificantDigits: 6 });

function element(name, attributes, content) {
	const list = Object.entries(attributes).map(([key, value]) => ` ${key}="${escape(typeof value === 'number' ? near(value) : value)}"`);
	return content === undefined ? `<${name}${list.join('')}/>` : `<${name}${list.join('')}>${content}</${name}>`;
}

const text = (x, y, content, attributes = {}) => element('text', { x, y, fill: INK, ...attributes }, escape(content));

// ---- axes --------------------------------------------------------------------------------------------------------

// 1, 2 or 5 times a power of ten, so that about five of them reach @most.
function stepFor(most) {
	const raw = most / 5;
	const power = 10 ** Math.floor(Math.log10(raw));
	return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
}

function linear(values, ticks) {
	const most = Math.max(...values, ...(ticks ?? [])) || 1;
	if (ticks) return { ticks, at: (v) => v / most };
	const step = stepFor(most);
	const end = Math.ceil(most / step - 1e-9) * step;
	return { ticks: Array.from({ length: Math.round(end / step) + 1 }, (_, i) => i * step), at: (v) => v / end };
}

// Powers of ten; where the values span less than two of them also 2 and 5 times each.
function logarithmicTicks(low, high) {
	const factors = high / low < 100 ? [1, 2, 5] : [1];
	const all = [];
	for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) all.push(...factors.map((n) => n * 10 ** power));
	const from = all.findLastIndex((tick) => tick <= low * 1.001), to = all.findIndex((tick) => tick >= high * 0.999);
	return all.slice(from, Math.max(to, from + 1) + 1);
}

function logarithmic(values, given) {
	const ticks = given ?? logarithmicTicks(Math.min(...values), Math.max(...values));
	const from = Math.log10(ticks[0]), to = Math.log10(ticks.at(-1));
	return { ticks, at: (v) => (Math.log10(v) - from) / (to - from) };
}

const scale = (axis, values) => (axis.log ? logarithmic : linear)(values, axis.ticks);

// ---- legend ------------------------------------------------------------------------------------------------------

// Names in rows as wide as the plot: [[{ series, x }, ...], ...]
function legendRows(series) {
	const rows = [[]];
	let x = LEFT;
	for (const one of series) {
		const width = 44 + one.name.length * CHARACTER;
		if (x + width > WIDTH - RIGHT && rows.at(-1).length) {
			rows.push([]);
			x = LEFT;
		}
		rows.at(-1).push({ series: one, x });
		x += width;
	}
	return rows;
}

const stroke = ({ colour, dash }) => ({ stroke: colour, 'stroke-width': 2, ...(dash ? { 'stroke-dasharray': '6 4' } : {}) });

function legend(rows) {
	return rows.flatMap((row, i) => {
		const y = TITLE + 14 + i * LEGEND_ROW;
		return row.flatMap(({ series, x }) => [
			...(series.points.length > 1 ? [element('line', { x1: x, y1: y, x2: x + 24, y2: y, ...stroke(series) })] : []),
			...(series.unmarked ? [] : [element('circle', { cx: x + 12, cy: y, r: 3.5, fill: series.colour })]),
			text(x + 30, y + 4, series.name),
		]);
	});
}

// ---- the plot ----------------------------------------------------------------------------------------------------

export function plot({ title, x, y, series }) {
	const rows = legendRows(series);
	const top = TITLE + 16 + rows.length * LEGEND_ROW;
	const points = series.flatMap((one) => one.points);
	const xs = scale(x, points.map(([value]) => value)), ys = scale(y, points.map(([, value]) => value));
	const across = (value) => LEFT + xs.at(value) * (WIDTH - LEFT - RIGHT);
	const down = (value) => HEIGHT - BOTTOM - ys.at(value) * (HEIGHT - BOTTOM - top);
	const bottom = HEIGHT - BOTTOM, middle = (top + bottom) / 2;
	const parts = [
		element('rect', { width: WIDTH, height: HEIGHT, fill: '#ffffff' }),
		text(LEFT, TITLE - 8, title, { 'font-size': 16, 'font-weight': 'bold' }),
		...legend(rows),
		...ys.ticks.flatMap((tick) => [
			element('line', { x1: LEFT, y1: down(tick), x2: WIDTH - RIGHT, y2: down(tick), stroke: GRID }),
			text(LEFT - 8, down(tick) + 4, number(tick), { 'text-anchor': 'end', fill: SOFT }),
		]),
		...xs.ticks.flatMap((tick) => [
			element('line', { x1: across(tick), y1: bottom, x2: across(tick), y2: bottom + 5, stroke: SOFT }),
			text(across(tick), bottom + 20, number(tick), { 'text-anchor': 'middle', fill: SOFT }),
		]),
		element('line', { x1: LEFT, y1: bottom, x2: WIDTH - RIGHT, y2: bottom, stroke: SOFT }),
		element('line', { x1: LEFT, y1: top, x2: LEFT, y2: bottom, stroke: SOFT }),
		text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, x.label, { 'text-anchor': 'middle' }),
		text(20, middle, y.label, { 'text-anchor': 'middle', transform: `rotate(-90 20 ${near(middle)})` }),
		...series.flatMap((one) => [
			...(one.points.length > 1 ? [element('polyline', { fill: 'none', 'stroke-linejoin': 'round', ...stroke(one),
				points: one.points.map(([px, py]) => `${near(across(px))},${near(down(py))}`).join(' ') })] : []),
			...(one.unmarked ? [] : one.points.map(([px, py]) =>
				element('circle', { cx: across(px), cy: down(py), r: 3.5, fill: one.colour }))),
		]),
	];
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" `
		+ `font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" role="img" aria-label="${escape(title)}">\n`
		+ `${parts.join('\n')}\n</svg>\n`;
}
