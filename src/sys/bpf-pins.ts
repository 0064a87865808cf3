import { accessSync, constants, mkdirSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';

/** Names of BPF objects in a bpffs, synchronous as all of BPF: the files are in memory. */
export interface BpfPins {
  /** Whether a bpffs is mounted there. */
  isBpffs(path: string): boolean;
  /** Makes a folder, or takes the one that is there. Throws where nothing can be written. */
  makeFolder(path: string): void;
  /** The names in a folder; none when there is no such folder. */
  names(folder: string): string[];
  /** Removes a pin; none is fine. With the last one an object goes. */
  remove(path: string): void;
  /** Removes a folder; one that is not empty, not there, or on a read-only mount is fine. */
  removeFolder(path: string): void;
}

/** linux/magic.h */
const BPF_FS_MAGIC = 0xcafe4a11;

export const systemBpfPins: BpfPins = {
  isBpffs(path) {
    try {
      return statfsSync(path).type === BPF_FS_MAGIC;
    } catch {
      return false;
    }
  },
  makeFolder(path) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.W_OK);
  },
  names: (folder) => orElse([], () => readdirSync(folder)),
  remove: (path) => orElse(undefined, () => unlinkSync(path)),
  removeFolder: (path) => orElse(undefined, () => rmdirSync(path), ['EROFS']),
};

/** What stands in the way of a call here is none of these. */
function orElse<T>(nothing: T, work: () => T, more: readonly string[] = []): T {
  try {
    return work();
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (['ENOENT', 'ENOTEMPTY', 'EBUSY', ...more].includes(code)) return nothing;
    throw error;
  }
}
