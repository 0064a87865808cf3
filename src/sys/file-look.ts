import { lstat, readlink, realpath, statfs } from 'node:fs/promises';

/** What a path is, without what is in it. */
export interface FileSeen {
  readonly kind: 'file' | 'folder' | 'link' | 'socket' | 'other';
  /** The permission bits: 0o600. */
  readonly mode: number;
  readonly uid: number;
}

/** Room in a file system, for a program without privileges. */
export interface Space {
  readonly freeBytes: number;
  /** Files that can still be made; absent where the file system has no such limit. */
  readonly freeFiles?: number;
}

/** Looks at files from outside. A path that is not there, or must not be looked at, is `undefined`. */
export interface FileLook {
  /** The path itself, and not what a link leads to: lstat(2). */
  see(path: string): Promise<FileSeen | undefined>;
  /** What a link says: readlink(2). */
  target(path: string): Promise<string | undefined>;
  /** Where a path leads at last. */
  resolve(path: string): Promise<string | undefined>;
  /** statfs(2) */
  space(path: string): Promise<Space | undefined>;
}

export const systemFileLook: FileLook = {
  see: (path) =>
    orUndefined(
      lstat(path).then((found) => ({
        kind: found.isFile()
          ? 'file'
          : found.isDirectory()
            ? 'folder'
            : found.isSymbolicLink()
              ? 'link'
              : found.isSocket()
                ? 'socket'
                : 'other',
        mode: found.mode & 0o7777,
        uid: found.uid,
      })),
    ),
  target: (path) => orUndefined(readlink(path)),
  resolve: (path) => orUndefined(realpath(path)),
  space: (path) =>
    orUndefined(
      statfs(path).then(({ bavail, bsize, files, ffree }) => ({
        freeBytes: bavail * bsize,
        ...(files > 0 && { freeFiles: ffree }),
      })),
    ),
};

const orUndefined = <T>(promise: Promise<T>): Promise<T | undefined> => promise.catch(() => undefined);
