// e2eed-client: what an app needs to call e2eed.
export type { Abort, CallOptions } from './call';
export { type Calls, Client, type ClientEvents, type ClientState, connect, type ConnectOptions } from './client';
export * from './errors';
export * from './protocol';
export type { Attempt, Transport, Where } from './transport';
