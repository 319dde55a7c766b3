// What room keys take in memory, as one JSON object: [{ roomKeys, lockedBytes, rssBytes, arenaBytes, and each per key }].
//
//   node tests/memory/roomkeys.mjs [COUNT...]     1000 and 100000 unless given
//
// lockedBytes is what getStatus calls memory.lockedBytes: of a daemon that may lock everything (root's, or one without a limit) that
// is all of its address space, else the arena. arenaBytes is the arena alone, rssBytes what is resident, both heaps together.
import { readFileSync } from 'node:fs';
import { newApp } from '../e2e/lib/actors.mjs';
import { startDaemon } from '../e2e/lib/daemon.mjs';
import * as rc from '../e2e/lib/rc.mjs';
import { isArena, mappings } from './lib/procmem.mjs';

const PER_ROOM = 100; // in one request

const measure = async (daemon, admin) => ({
	lockedBytes: (await admin.call('getStatus')).memory.lockedBytes,
	rssBytes: 1024 * Number(readFileSync(`/proc/${daemon.pid}/status`, 'latin1').match(/^VmRSS:\s+(\d+)/m)[1]),
	arenaBytes: mappings(daemon.pid).filter((m) => m.readable && isArena(m)).reduce((n, m) => n + m.end - m.start, 0),
});

const counts = process.argv.slice(2).map(Number);
const report = [];
for (const count of counts.length ? counts : [1000, 100_000]) {
	const daemon = await startDaemon();
	const admin = await daemon.admin();
	const app = await newApp(daemon, admin);
	const before = await measure(daemon, admin);
	for (let n = 0; n < count; ) {
		const roomId = `room-${n}`;
		const end = Math.min(n + PER_ROOM, count);
		await admin.call('authorizeRoom', { appId: app.appId, roomId, permissions: ['read'] });
		// the same key under many kids: to the daemon each is a key of its own, and only the daemon's time is spent on them
		const keys = Array.from({ length: end - n }, () => ({ e2eKeyId: rc.uuid(), E2EKey: app.key.e2eKey.slice(-344) }));
		const { imported } = await app.client.call('importRoomKeys', { roomId, keys });
		if (imported.length !== keys.length) throw new Error(`${keys.length - imported.length} keys were refused`);
		n = end;
	}
	const after = await measure(daemon, admin);
	const perKey = Object.keys(before).map((name) => [`${name}PerKey`, Math.round((after[name] - before[name]) / count)]);
	report.push({ roomKeys: count, ...after, ...Object.fromEntries(perKey) });
	await daemon.stop();
}
console.log(JSON.stringify(report, null, 2));
