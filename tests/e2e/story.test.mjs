// An app takes part in an encrypted room, from joining it to being revoked (lib/story.mjs), over each kind of app socket.
import { test } from 'node:test';
import { Client } from './lib/client.mjs';
import { withDaemon } from './lib/daemon.mjs';
import { play } from './lib/story.mjs';

test('an app in a room, over the Unix socket', (t) => withDaemon({}, (daemon, admin) =>
	play({ daemon, admin, connect: (appId, token) => daemon.app(appId, token), step: (text) => t.diagnostic(text) })));

test('an app in a room, over loopback TCP', (t) => withDaemon({ config: { listen: { tcp: '127.0.0.1:0' } } }, (daemon, admin) => {
	const connect = async (appId, token) => {
		const client = await Client.connect({ host: '127.0.0.1', port: daemon.tcpPort });
		await client.authenticate(appId, token);
		return client;
	};
	return play({ daemon, admin, connect, step: (text) => t.diagnostic(text) });
}));
