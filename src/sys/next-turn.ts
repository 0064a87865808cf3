import { setImmediate } from 'node:timers';

/** Resolves in the next turn of the event loop, after the sockets of this one have been read. */
export { setImmediate as nextTurn } from 'node:timers/promises';

/** Runs the task in the next turn of the event loop. It must not throw. */
export function inNextTurn(task: () => void): void {
  setImmediate(task);
}
