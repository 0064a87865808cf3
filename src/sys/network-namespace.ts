import { closeSync, openSync } from 'node:fs';
import { WeftError } from '#src/lib/errors.ts';
import { SystemError } from '#src/sys/errno.ts';
import type { Libc } from '#src/sys/libc.ts';

const CLONE_NEWNET = 0x40000000;
const OWN = '/proc/thread-self/ns/net';

/**
 * Runs `make` with this thread in another network namespace; a socket stays in the namespace it was made in.
 * Nothing may be awaited inside. If the way back fails, the process ends: from then on it would change the wrong
 * host.
 */
export function inNetworkNamespace<T>(libc: Libc, path: string | undefined, make: () => T): T {
  if (path === undefined) return make();
  return awayFromHome(libc, () => enter(libc, path), make);
}

/** The same in a namespace that is made for it. It goes with what `make` made to keep it. */
export function inNewNetworkNamespace<T>(libc: Libc, make: () => T): T {
  const unshare = () => {
    if (libc.unshare(CLONE_NEWNET) < 0) throw new SystemError('unshare', libc.errno());
  };
  return awayFromHome(libc, unshare, make);
}

/** `leave` throws where the thread has not left. */
function awayFromHome<T>(libc: Libc, leave: () => void, make: () => T): T {
  const home = openSync(OWN, 'r');
  try {
    leave();
    try {
      return make();
    } finally {
      if (libc.setns(home, CLONE_NEWNET) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

function enter(libc: Libc, path: string): void {
  const away = openNamespace(path);
  try {
    if (libc.setns(away, CLONE_NEWNET) < 0)
      throw namespaceUnavailable(path, new SystemError('setns', libc.errno()));
  } finally {
    closeSync(away);
  }
}

/** An open file of a network namespace, which keeps it alive. Throws a WeftError `netns` where there is none. */
export const openNetworkNamespace = (path = OWN): number => openNamespace(path);

export const closeNetworkNamespace = (file: number): void => closeSync(file);

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw namespaceUnavailable(path, error);
  }
}

const namespaceUnavailable = (path: string, cause: unknown): WeftError =>
  new WeftError(
    'netns',
    `cannot enter the network namespace ${path}: ${cause instanceof Error ? cause.message : cause}`,
    { cause, remedy: 'see `ip netns list` for those there are' },
  );
