export * from './errors';
export * from './protocol';
