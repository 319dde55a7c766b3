// The sandboxes that Rocket.Chat puts apps into: engine, runtime, and a server that has both.
//
// `lets`: what an app with the permission "networking" can connect to, by kind: a Unix socket by path, an abstract one, loopback TCP. `bare`: the same of an
// app whose manifest lists permissions without that one. How each refuses (name, code, message of the error that net.connect() gives or throws; measured by
// transports.test.mjs):
//
//	                 Unix, by path             abstract                  TCP                       of an app without networking
//	Deno 1.46        REFUSAL_D1_UNIX           REFUSAL_D1_ABSTRACT       works                     as with it: see below
//	Deno 2.0, 2.3
//	Deno 2.9
//	Node 20 to 24    works                     works                     works                     works: the runtime has no flag for it
//
// The engine of 7.0 looks for the permission in a way that always succeeds (it takes the -1 of "not found" for a hit), so there every app has the net.
import { EngineHost } from './host.mjs';
import { hasDeno } from '../programs.mjs';

const NOTHING = { unix: false, abstract: false, tcp: false };
const TCP = { ...NOTHING, tcp: true };
const EVERYTHING = { unix: true, abstract: true, tcp: true };

const sandbox = (name, server, runtime, lets, bare, how) => ({ name: `Rocket.Chat ${server}, ${name}`, server, runtime, lets, bare, open: (rc, options) => EngineHost.open(rc, { ...how, ...options }) });
const deno = (version, server, which, lets, bare = NOTHING) =>
	hasDeno(which) ? [sandbox(`Deno ${version}`, server, `deno ${version}`, lets, bare, { version: server.startsWith('7.0') ? '7.0' : '7.9', deno: which })] : [];
const node = (major) => sandbox(`Node ${major}`, '8.3.0', `node ${major}`, EVERYTHING, EVERYTHING, { version: '7.9', node: major });

export const SANDBOXES = [
	...deno('1.46', '7.0.3', '1', TCP, TCP),
	...deno('2.0', '7.10.0', '2.0', TCP),
	...deno('2.3', '8.3.0', '2.3', TCP),
	...deno('2.9', '8.3.0', '2', { ...TCP, abstract: true }),
	...['20', '22', '24'].map(node),
];

/** One engine of each kind, with the oldest and the newest Deno: for tests that take long. */
export const FEW = SANDBOXES.filter(({ runtime }) => ['deno 1.46', 'deno 2.0', 'deno 2.9', 'node 22'].includes(runtime));
