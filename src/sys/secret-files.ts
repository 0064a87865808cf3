import { link, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder } from '#src/sys/make-folder.ts';
import { secretBytes } from '#src/sys/random.ts';

/** Files that hold a secret: as bytes, which can be overwritten when they are done with, and for their owner alone. */
export interface SecretFiles {
  /** The bytes, or `undefined` when there is no such file. Other failures throw node's error. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Creates the file (0400), whole, unless there is one: false then. Makes the folder (0755) if it is missing. */
  create(path: string, bytes: Uint8Array): Promise<boolean>;
  /** The file takes the place of another, in one step: rename(2). */
  replace(path: string, by: string): Promise<void>;
  /** When the file was last written, in milliseconds since the epoch; `undefined` when there is none. */
  writtenAt(path: string): Promise<number | undefined>;
}

export const systemSecretFiles: SecretFiles = {
  async replace(path, by) {
    await rename(by, path);
  },
  async writtenAt(path) {
    return (await stat(path).catch(() => undefined))?.mtimeMs;
  },
  async read(path) {
    try {
      return await readFile(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  async create(path, bytes) {
    const folder = dirname(path);
    await makeFolder(folder);
    const temporary = join(folder, `.${secretBytes(6).toString('hex')}.tmp`);
    try {
      const file = await open(temporary, 'wx', 0o400);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      // A rename would replace what another process has created meanwhile.
      await link(temporary, path);
      return true;
    } catch (error) {
      const { code, syscall } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && syscall === 'link') return false;
      throw error;
    } finally {
      await unlink(temporary).catch(() => {});
    }
  },
};
