import { setImmediate } from 'node:timers';

/** Resolves in the next turn of the event loop, after the sockets of this one have been read. */
export { setImmediate as nextTurn } from 'node:timers/promises';

/** Turns until what has come to a socket is read: it is polled in one turn, and read in the one after it. */
export const TURNS_TO_READ = 3;

/** Runs the task in the next turn of the event loop. It must not throw. */
export function inNextTurn(task: () => void): void {
  setImmediate(task);
}
