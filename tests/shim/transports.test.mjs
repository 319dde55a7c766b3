// Which ways to e2eed each of Rocket.Chat's sandboxes lets an app go (the table in engine/sandboxes.mjs), and what the client makes of it.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startDaemon } from '../e2e/lib/daemon.mjs';
import { uuid } from '../e2e/lib/rc.mjs';
import { RocketChat } from './double/server.mjs';
import { packApp } from './engine/pack.mjs';
import { SANDBOXES } from './engine/sandboxes.mjs';

const PROBE = fileURLToPath(new URL('engine/probe', import.meta.url));
const CLIENT = fileURLToPath(new URL('../../shim/dist/index.js', import.meta.url));
const VARIABLE = 'RC_APPS_0D5B8A4E_6C5E_4A53_9A55_5D6F0D3C7A11_WAYS';
const APP = 'probe';

// A port of loopback where nobody listens: one that was just given back.
const unusedPort = () => new Promise((resolve) => {
	const server = createServer().listen(0, '127.0.0.1', () => {
		const { port } = server.address();
		server.close(() => resolve(port));
	});
});

let byPath, byName, ways;
before(async () => {
	byPath = await startDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } });
	byName = await startDaemon({ config: { listen: { app_socket: `@e2eed-${uuid()}` } } });
	const made = [];
	for (const daemon of [byPath, byName]) made.push(await (await daemon.admin()).call('createApp', { appId: APP }));
	const [first, second] = made.map(({ token }) => ({ appId: APP, token }));
	const nobody = { socketPath: `${byPath.dir}/nobody.sock`, port: await unusedPort() };
	ways = {
		plain: {
			unix: { path: byPath.appSocket }, abstract: { path: byName.appSocket }, tcp: { host: '127.0.0.1', port: byPath.tcpPort },
		},
		client: {
			unix: { ...first, transport: 'unix', socketPath: byPath.appSocket },
			abstract: { ...second, transport: 'unix', socketPath: byName.appSocket },
			tcp: { ...first, transport: 'tcp', port: byPath.tcpPort },
			auto: { ...first, socketPath: byPath.appSocket, port: byPath.tcpPort },
			nobody: { ...first, ...nobody },
		},
	};
});
after(() => Promise.all([byPath?.stop(), byName?.stop()]));

const PERMISSIONS = ['message.read', 'env.read', 'persistence'];
const NETWORKING = /must list the permission "networking"/;

describe('ways to e2eed', { timeout: 120_000 }, () => {
	for (const sandbox of SANDBOXES)
		for (const networking of [true, false])
			test(`${sandbox.name}, app ${networking ? 'with' : 'without'} networking`, async (t) => {
				const expected = networking ? sandbox.ways : sandbox.bare;
				const rc = new RocketChat({ version: sandbox.server });
				const host = await sandbox.open(rc, { environment: { [VARIABLE]: JSON.stringify(ways) } });
				t.after(() => host.close());
				const permissions = [...PERMISSIONS, ...(networking ? ['networking'] : [])].map((name) => ({ name }));
				await host.install(await packApp(PROBE, { info: { classFile: 'transports.js', implements: ['IPostMessageSent'], permissions }, alias: { 'e2eed-client': CLIENT } }));
				const ada = rc.createUser('ada');
				const found = new Promise((resolve) => host.once('persisted', resolve));
				rc.sendMessage(ada, { rid: rc.createRoom('p', 'room', ada)._id, msg: 'look' });
				const { plain, client } = await found;

				assert.deepEqual(Object.fromEntries(Object.entries(plain).map(([way, it]) => [way, it.code ?? it.name ?? it])), expected);
				for (const [way, becomes] of Object.entries(expected)) {
					const { transport, reason, message, attempts } = client[way];
					if (becomes === 'connected') {
						assert.match(transport ?? message, way === 'tcp' ? /^tcp:127\.0\.0\.1:/ : way === 'unix' ? /^unix:\// : /^unix:@/);
						continue;
					}
					assert.deepEqual([reason, attempts.map(({ denied }) => denied)], ['NO_TRANSPORT', [true]], message);
					assert.match(message, way === 'tcp' ? NETWORKING : /does not let Unix sockets through: use loopback TCP/);
				}

				// by itself it takes the best way there is, and it tells "nobody is there" from "this app may not"
				if (expected.tcp === 'connected') {
					assert.match(client.auto.transport, expected.unix === 'connected' ? /^unix:/ : /^tcp:/);
					assert.equal(client.nobody.reason, 'UNREACHABLE');
					assert.match(client.nobody.message, /tcp:127\.0\.0\.1:\d+: nobody listens there/);
				} else
					for (const { reason, message } of [client.auto, client.nobody]) {
						assert.equal(reason, 'NO_TRANSPORT');
						assert.match(message, NETWORKING);
					}
				assert.deepEqual(host.errors, []);
			});
});
