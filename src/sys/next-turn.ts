/** Resolves in the next turn of the event loop, after the sockets of this one have been read. */
export { setImmediate as nextTurn } from 'node:timers/promises';
