import { setImmediate } from 'node:timers/promises';

/** Resolves in the next turn of the event loop, when what has come in meanwhile was handled. */
export const nextTurn = (): Promise<void> => setImmediate();
