// Ways to the daemon: a Unix socket by path, an abstract one, loopback TCP; which of them a runtime lets through, and what to say when none does.
//
// How sandboxes refuse (measured; docs/protocol.md says why TCP exists): Node's permission model refuses nothing before 25, then TCP and Unix
// sockets with ERR_ACCESS_DENIED. Deno refuses Unix sockets with EACCES (1.46), UNKNOWN (2.0 to 2.8) or by throwing NotCapable (2.9), and TCP
// without net permission with NotCapable (2.9), or with the very ECONNREFUSED of a port where nobody listens (before).
import * as net from 'net';
import { E2eedError } from './errors';

export type Transport = 'auto' | 'unix' | 'tcp';

export interface Where {
	/** `auto` (the default): the Unix socket if the runtime lets it through and somebody listens, else TCP */
	transport?: Transport;
	/** a path, or `@name` of an abstract socket; /run/e2eed/app.sock by default */
	socketPath?: string;
	/** a loopback address, 127.0.0.1 by default: frames are not encrypted on their way */
	host?: string;
	/** 7438 by default */
	port?: number;
}

export interface Target {
	kind: 'unix' | 'tcp';
	/** for people: `unix:/run/e2eed/app.sock`, `tcp:127.0.0.1:7438` */
	name: string;
	options: { path: string } | { host: string; port: number };
}

/** A way that was tried in vain. `denied`: the runtime forbids it, whoever may listen. */
export interface Attempt {
	target: string;
	denied: boolean;
	/** system error code, `DENIED` or `TIMEOUT` */
	code: string;
	why: string;
}

const DEFAULT_PATH = '/run/e2eed/app.sock';
const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 7438;

const invalid = (message: string) => new E2eedError('INVALID_PARAMS', message);

function isLoopback(host: string): boolean {
	return host === 'localhost' || host === '::1' || (net.isIPv4(host) && host.startsWith('127.'));
}

function unixTarget(path: string): Target {
	const abstract = path.startsWith('@') || path.startsWith('\0');
	return { kind: 'unix', name: `unix:${abstract ? `@${path.slice(1)}` : path}`, options: { path: abstract ? `\0${path.slice(1)}` : path } };
}

function tcpTarget(host: string, port: number): Target {
	if (!isLoopback(host)) throw invalid(`host: ${host} is not a loopback address; what the daemon sends must not cross a network in clear`);
	if (!Number.isInteger(port) || port < 1 || port > 65535) throw invalid('port: not a port number');
	return { kind: 'tcp', name: `tcp:${host.includes(':') ? `[${host}]` : host}:${port}`, options: { host, port } };
}

/** The ways to try, the best first. Throws INVALID_PARAMS. */
export function targetsOf({ transport = 'auto', socketPath = DEFAULT_PATH, host = DEFAULT_HOST, port = DEFAULT_PORT }: Where): Target[] {
	if (transport !== 'auto' && transport !== 'unix' && transport !== 'tcp') throw invalid('transport: one of auto, unix, tcp');
	if (socketPath.length < 2 && transport !== 'tcp') throw invalid('socketPath: a path or @name');
	if (transport === 'unix') return [unixTarget(socketPath)];
	if (transport === 'tcp') return [tcpTarget(host, port)];
	return [unixTarget(socketPath), tcpTarget(host, port)];
}

/** Rocket.Chat hides `Deno` from apps, and in its older Deno there is no `process`, which Node always has. */
function inDeno(): boolean {
	return typeof process === 'undefined' || typeof (process.versions as { deno?: string } | undefined)?.deno === 'string';
}

// libuv before 1.46, as in Node 18, takes the name for an empty one.
function knowsAbstract(): boolean {
	const [major = 0, minor = 0] = process.versions['uv']!.split('.').map(Number);
	return major > 1 || minor >= 46;
}

// Deno before 2.9 has one error for a port where nobody listens and for a net that it does not give; fetch() names the latter. (To listen
// would tell as well, but ends the process: the error comes where nobody can catch it.)
async function denoGivesNet(): Promise<boolean> {
	return fetch('http://127.0.0.1:0/').then(() => true, (error) => !isRefusal(error));
}

const isRefusal = (error: any) => error?.code === 'ERR_ACCESS_DENIED' || error?.name === 'NotCapable' || error?.name === 'PermissionDenied';

async function failed(target: Target, error: any): Promise<Attempt> {
	const code = String(error?.code ?? error?.name ?? 'UNKNOWN');
	const attempt = (denied: boolean, why: string): Attempt => ({ target: target.name, denied, code: denied ? 'DENIED' : code, why });
	const refusal = isRefusal(error);

	if (target.kind === 'tcp') {
		if (refusal || code === 'EACCES' || (code === 'ECONNREFUSED' && inDeno() && !(await denoGivesNet())))
			return attempt(true, 'this runtime gives the app no network: its app.json must list the permission "networking"');
		if (code === 'ECONNREFUSED') return attempt(false, 'nobody listens there: is e2eed running, with "tcp" set under [listen]?');
		return attempt(false, `cannot connect (${code})`);
	}
	if (inDeno() && (refusal || code === 'EACCES' || code === 'UNKNOWN' || code === 'EPERM'))
		return attempt(true, "Rocket.Chat's Deno sandbox does not let Unix sockets through: use loopback TCP");
	if (refusal) return attempt(true, 'this runtime gives the app no network: its app.json must list the permission "networking"');
	if ('path' in target.options && target.options.path.startsWith('\0') && !inDeno() && !knowsAbstract())
		return attempt(true, `Node ${process.versions.node} cannot connect to abstract sockets: use a path, loopback TCP, or Node 20`);
	if (code === 'ENOENT') return attempt(false, 'no such socket: is e2eed running, and is this its "app_socket"?');
	if (code === 'ECONNREFUSED') return attempt(false, 'nobody listens there: is e2eed running?');
	if (code === 'EACCES' || code === 'EPERM') return attempt(false, 'not allowed for this user: see "app_socket_mode", and who owns the socket');
	return attempt(false, `cannot connect (${code})`);
}

/** Opens a connection, unless what @giveUp is given is called before. Gives the socket, or why there is none; never throws. */
export function open(target: Target, timeoutMs: number, giveUp: (cancel: () => void) => void): Promise<{ socket: net.Socket } | { attempt: Attempt }> {
	return new Promise((resolve) => {
		let socket: net.Socket | undefined;
		const given = (code: string, why: string) => resolve({ attempt: { target: target.name, denied: false, code, why } });
		let connected = false; // a Deno may run a timer that was cleared when it was due
		const timer = setTimeout(() => {
			if (connected) return;
			socket?.destroy();
			given('TIMEOUT', `no connection within ${timeoutMs} ms`);
		}, timeoutMs);
		const lost = (error: unknown) => {
			clearTimeout(timer);
			void failed(target, error).then((attempt) => resolve({ attempt }));
		};

		try {
			const opening = net.connect(target.options);
			socket = opening;
			giveUp(() => {
				clearTimeout(timer);
				opening.destroy();
				given('ECONNABORTED', 'given up');
			});
			opening.on('error', lost); // stays: an error after the time-out must find a listener
			opening.once('connect', () => {
				connected = true;
				clearTimeout(timer);
				opening.setNoDelay(true);
				resolve({ socket: opening });
			});
		} catch (error) {
			lost(error); // Deno 2.9 throws
		}
	});
}

/** The error that tells every way tried and why it failed. */
export function unreachable(attempts: Attempt[]): E2eedError {
	const told = attempts.map(({ target, why }) => `${target}: ${why}`).join('; ');
	return attempts.every(({ denied }) => denied)
		? new E2eedError('NO_TRANSPORT', `no way to e2eed is open to this app: ${told}`, { data: { attempts } })
		: new E2eedError('UNREACHABLE', `cannot reach e2eed: ${told}`, { data: { attempts } });
}
