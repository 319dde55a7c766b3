// The sandboxes that Rocket.Chat puts apps into: a server's version, its engine, its runtime.
//
// `ways` says what becomes of net.connect() in an app with the permission "networking", and `bare` the same of an app whose manifest lists permissions
// without that one: 'connected', or the code (else the name) of the error. transports.test.mjs holds this against the runtimes. In whole:
//
//	            Unix socket by path          abstract Unix socket         loopback TCP, without net      how
//	Deno 1.46   Error EACCES                 Error EACCES                 (the engine gives it the net)  'error' event, "connect EACCES <path>"
//	Deno 2.0-2.8  Error UNKNOWN              Error UNKNOWN                Error ECONNREFUSED             'error' event, "connect UNKNOWN <path>"
//	Deno 2.9    NotCapable, no code          NotCapable without net,      NotCapable, no code            thrown by connect(), "Requires read access to
//	                                         else it connects                                            "<path>"", "Requires net access to ..."
//	Node 20-24  connects                     connects                     connects                       their permission model knows no net
//
// Without net, Deno before 2.9 answers with the very ECONNREFUSED of a port where nobody listens. To listen does not tell either: that throws NotCapable
// (PermissionDenied in 1.46) where no app can catch it. The engine of 7.0 takes the -1 of "not found" for having found the permission: every app has the net.
import { hasDeno } from '../programs.mjs';
import { EngineHost } from './host.mjs';

const all = (unix, abstract, tcp) => ({ unix, abstract, tcp });
const EVERYTHING = all('connected', 'connected', 'connected');

function sandbox(runtime, server, ways, bare, how) {
	return { name: `Rocket.Chat ${server}, ${runtime}`, runtime: runtime.toLowerCase(), server, ways, bare, deno: how.deno, open: (rc, options) => EngineHost.open(rc, { ...how, ...options }) };
}

/** Of the Denos, those that there are for this processor. */
export const SANDBOXES = [
	sandbox('Deno 1.46', '7.0.3', all('EACCES', 'EACCES', 'connected'), all('EACCES', 'EACCES', 'connected'), { version: '7.0', deno: '1' }),
	sandbox('Deno 2.0', '7.10.0', all('UNKNOWN', 'UNKNOWN', 'connected'), all('UNKNOWN', 'UNKNOWN', 'ECONNREFUSED'), { version: '7.9', deno: '2.0' }),
	sandbox('Deno 2.3', '8.3.0', all('UNKNOWN', 'UNKNOWN', 'connected'), all('UNKNOWN', 'UNKNOWN', 'ECONNREFUSED'), { version: '7.9', deno: '2.3' }),
	sandbox('Deno 2.9', '8.3.0', all('NotCapable', 'connected', 'connected'), all('NotCapable', 'NotCapable', 'NotCapable'), { version: '7.9', deno: '2' }),
	sandbox('Node 20', '8.3.0', EVERYTHING, EVERYTHING, { version: '7.9', node: '20' }),
	sandbox('Node 22', '8.3.0', EVERYTHING, EVERYTHING, { version: '7.9', node: '22' }),
	sandbox('Node 24', '8.3.0', EVERYTHING, EVERYTHING, { version: '7.9', node: '24' }),
].filter(({ deno }) => !deno || hasDeno(deno));

/** Each engine and each kind of runtime: for tests that take long. */
export const FEW = SANDBOXES.filter(({ runtime }) => ['deno 1.46', 'deno 2.0', 'deno 2.9', 'node 22'].includes(runtime));
