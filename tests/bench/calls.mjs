// What the TypeScript client costs: decrypts of 1 KiB through it, against the same frames from a loop that does nothing but write, split and
// parse. Both are one connection in one process and await all calls of a tick before the next.
import { randomBytes } from 'node:crypto';
import { connect as open } from 'node:net';
import { startDaemon } from '../e2e/lib/daemon.mjs';
import { connect } from '../../shim/dist/index.mjs';
import { proofOf } from '../e2e/lib/client.mjs';

const PLAIN_BYTES = 1024;
const WIDTHS = [1, 16, 1000]; // calls of one tick
const SECONDS = 2;
const REPEATS = 3; // in turn, so that both meet the same machine; the fastest counts

// The least that can be done in JavaScript: tick(n) sends n requests as frames (or as one batch, of which the daemon takes 256 at most).
async function rawLoop(path, appId, token, batched) {
	const socket = open(path);
	let parts = [], left = 0, done;
	socket.on('data', (chunk) => {
		let start = 0;
		for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
			parts.push(chunk.subarray(start, end));
			const frame = JSON.parse(Buffer.concat(parts).toString());
			parts = [];
			start = end + 1;
			left -= Array.isArray(frame) ? frame.length : 1;
			if (left === 0) done(frame);
		}
		parts.push(chunk.subarray(start));
	});
	const send = (text, n) => new Promise((resolve) => {
		[left, done] = [n, resolve];
		socket.write(text);
	});
	let id = 0;
	const request = (method, params) => ({ jsonrpc: '2.0', id: ++id, method, params });
	const ask = async (method, params) => (await send(`${JSON.stringify(request(method, params))}\n`, 1)).result;
	const { challenge } = await ask('hello', { protocol: [1] });
	const nonce = randomBytes(32).toString('base64');
	await ask('authenticate', { appId, nonce, proof: proofOf('client', token, appId, challenge, nonce) });
	return {
		tick(n, params) {
			const requests = Array.from({ length: n }, () => request('decrypt', params));
			if (!batched) return send(requests.map((each) => `${JSON.stringify(each)}\n`).join(''), n);
			let text = '';
			for (let at = 0; at < n; at += 64) text += `${JSON.stringify(requests.slice(at, at + 64))}\n`;
			return send(text, n);
		},
		close: () => socket.destroy(),
	};
}

async function perSecond(tick, width) {
	const before = performance.now(), cpu = process.cpuUsage();
	let calls = 0, seconds;
	do {
		await tick(width);
		calls += width;
		seconds = (performance.now() - before) / 1000;
	} while (seconds < SECONDS);
	const { user, system } = process.cpuUsage(cpu);
	return { perSecond: calls / seconds, cpuMicroseconds: (user + system) / calls };
}

const best = (a, b) => (!a || b.perSecond > a.perSecond ? b : a);

/** Rows: { width, client, frames, batches }, of each { perSecond, cpuMicroseconds } per call. */
export async function calls(say) {
	const daemon = await startDaemon();
	const admin = await daemon.admin();
	const roomId = 'room';
	const { token } = await admin.call('createApp', { appId: 'app', rooms: [{ roomId, permissions: ['read', 'write', 'create'] }] });
	const client = await connect({ appId: 'app', token, transport: 'unix', socketPath: daemon.appSocket });
	await client.createRoomKey({ roomId });
	const params = { roomId, ...await client.encrypt({ roomId, payload: { msg: 'x'.repeat(PLAIN_BYTES - '{"msg":""}'.length) } }) };
	const raw = await rawLoop(daemon.appSocket, 'app', token, false);
	const batched = await rawLoop(daemon.appSocket, 'app', token, true);
	const ticks = {
		client: (n) => Promise.all(Array.from({ length: n }, () => client.decrypt(params))),
		frames: (n) => raw.tick(n, params),
		batches: (n) => batched.tick(n, params),
	};
	const rows = [];
	for (const width of WIDTHS) {
		const row = { width };
		for (let i = 0; i < REPEATS; i++)
			for (const [name, tick] of Object.entries(ticks)) row[name] = best(row[name], await perSecond(tick, width));
		rows.push(row);
		say(`  ${width} a tick: ${Object.keys(ticks).map((name) => `${name} ${Math.round(row[name].perSecond)}/s`).join(', ')}`);
	}
	raw.close();
	batched.close();
	await client.close();
	await daemon.stop();
	return rows;
}
