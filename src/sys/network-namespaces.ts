import { closeSync, constants, fstatSync, mkdirSync, openSync, rmSync, statfsSync, statSync } from 'node:fs';
import { constants as os } from 'node:os';
import { WeftError } from '#src/lib/errors.ts';
import { SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { bringUpLoopback } from '#src/sys/loopback.ts';
import {
  closeNetworkNamespace,
  inNetworkNamespace,
  inNewNetworkNamespace,
  openNetworkNamespace,
} from '#src/sys/network-namespace.ts';

/** Network namespaces with names, as `ip netns` has them: a name is a file on which the namespace is mounted. */
export interface NetworkNamespaces {
  /**
   * Makes the namespace unless it is there, and brings its loopback up. Equals `ip netns add NAME` and
   * `ip -n NAME link set lo up`. Throws a WeftError `netns-make`.
   */
  ensure(name: string): Promise<void>;
  /**
   * Takes the name away; none is fine. With it the namespace goes, and the virtual devices in it, unless a process or an
   * open file still holds it. Equals `ip netns del NAME`. Throws a WeftError `netns-make`.
   */
  remove(name: string): Promise<void>;
  isThere(name: string): Promise<boolean>;
  /** Keeps the namespace alive, also without its name. Throws a WeftError `netns` where there is none. */
  hold(name: string): Promise<HeldNamespace>;
}

/** A namespace that lives as long as this is open. */
export interface HeldNamespace {
  /** What has the name now. */
  readonly named: 'this' | 'another' | 'none';
  /**
   * Gives it its name again. Equals `touch FILE` and `mount -c --bind /proc/PID/fd/N FILE`. Throws a WeftError
   * `netns-make`.
   */
  restoreName(): void;
  close(): void;
}

const FOLDER = '/run/netns';

/** The file of a namespace's name. */
export const networkNamespacePath = (name: string): string => `${FOLDER}/${name}`;

export const systemNetworkNamespaces: NetworkNamespaces = {
  async ensure(name) {
    const libc = await loadLibc();
    attempt('make', name, () => {
      if (!isNamespace(networkNamespacePath(name))) make(libc, networkNamespacePath(name));
      inNetworkNamespace(libc, networkNamespacePath(name), () => bringUpLoopback(libc));
    });
  },
  async remove(name) {
    const libc = await loadLibc();
    attempt('remove', name, () => {
      const path = networkNamespacePath(name);
      // One mount may be upon another: a name that was given twice.
      while (isNamespace(path)) demand(libc, 'umount2', libc.umount(path, MNT_DETACH));
      rmSync(path, { force: true });
    });
  },
  async isThere(name) {
    return isNamespace(networkNamespacePath(name));
  },
  async hold(name) {
    const libc = await loadLibc();
    return new OpenNamespace(libc, name, openNetworkNamespace(networkNamespacePath(name)));
  },
};

class OpenNamespace implements HeldNamespace {
  readonly #libc: Libc;
  readonly #name: string;
  readonly #file: number;

  constructor(libc: Libc, name: string, file: number) {
    this.#libc = libc;
    this.#name = name;
    this.#file = file;
  }

  get named(): HeldNamespace['named'] {
    const path = networkNamespacePath(this.#name);
    if (!isNamespace(path)) return 'none';
    const [own, there] = [fstatSync(this.#file), statSync(path)];
    return own.ino === there.ino && own.dev === there.dev ? 'this' : 'another';
  }

  restoreName(): void {
    attempt('name', this.#name, () => {
      const path = networkNamespacePath(this.#name);
      makeFile(this.#libc, path);
      demand(this.#libc, 'mount', this.#libc.mount(`/proc/self/fd/${this.#file}`, path, 'none', MS_BIND));
    });
  }

  close(): void {
    closeNetworkNamespace(this.#file);
  }
}

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673;
/** sys/mount.h */
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SHARED = 0x100000;
const MNT_DETACH = 2;

/** A file that was left of a namespace is none. */
function isNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function make(libc: Libc, path: string): void {
  makeFile(libc, path);
  try {
    inNewNetworkNamespace(libc, () =>
      demand(libc, 'mount', libc.mount('/proc/thread-self/ns/net', path, 'none', MS_BIND)),
    );
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}

/** The file that a namespace is mounted on. One that was left over will do. */
function makeFile(libc: Libc, path: string): void {
  mkdirSync(FOLDER, { recursive: true, mode: 0o755 });
  shareFolder(libc);
  closeSync(openSync(path, constants.O_RDONLY | constants.O_CREAT, 0));
}

/**
 * Makes the folder a mount that is shared: names that one mount namespace makes or removes appear and go in the others
 * that have it (as `ip netns add` does, which is why containers don't keep a namespace alive).
 */
function shareFolder(libc: Libc): void {
  const share = () => libc.mount('', FOLDER, 'none', MS_SHARED | MS_REC);
  if (share() === 0) return;
  // No mount yet.
  if (libc.errno() !== os.errno.EINVAL) throw new SystemError('mount', libc.errno());
  demand(libc, 'mount', libc.mount(FOLDER, FOLDER, 'none', MS_BIND | MS_REC));
  demand(libc, 'mount', share());
}

function demand(libc: Libc, syscall: string, result: number): void {
  if (result < 0) throw new SystemError(syscall, libc.errno());
}

function attempt(what: string, name: string, work: () => void): void {
  try {
    work();
  } catch (cause) {
    throw new WeftError(
      'netns-make',
      `cannot ${what} the network namespace ${name}: ${cause instanceof Error ? cause.message : cause}`,
      { cause, remedy: 'run as root or with CAP_SYS_ADMIN, and without RestrictNamespaces= in the unit' },
    );
  }
}
