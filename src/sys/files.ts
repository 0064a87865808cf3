import { existsSync } from 'node:fs';
import {
  constants,
  link,
  open,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { makeFolder } from '#src/sys/make-folder.ts';

/** Files outside the program's own folder: subnet.env, caches, /proc/sys. */
export interface Files {
  /** The text, or `undefined` when there is no such file. Other failures throw node's error. */
  read(path: string): Promise<string | undefined>;
  /** Whether something is there, whatever it is. Asked at once: the threads of libuv would be woken for a promise. */
  exists(path: string): boolean;
  /** Writes in place, without a rename: for /proc/sys and the like. */
  write(path: string, text: string | Iterable<string>): Promise<void>;
  /**
   * Replaces the file so that a reader sees the old text or the new one and never part of either, also across a
   * power cut: temporary file in the same folder, fsync, rename. Makes the folder (0755) if it is missing. A long text may
   * come in pieces: each is made when the one before is written. A symlink stays
   * and its target is replaced. What is no file, such as /dev/stdout or /dev/null, is written in place.
   */
  writeAtomically(path: string, text: string | Iterable<string>, mode?: number): Promise<void>;
  /** Adds to the end of a file that is there; it is on the disk when the promise resolves. Throws node's error. */
  append(path: string, text: string): Promise<void>;
  /**
   * Creates the file (0644 unless `mode` says otherwise), whole, unless there is one: false then. Makes the folder (0755) if it is missing. Of many who
   * do so at one instant one succeeds, and all of them read its text then.
   */
  createExclusively(path: string, text: string, mode?: number): Promise<boolean>;
  /** Removes the file; no such file is fine. */
  remove(path: string): Promise<void>;
}

export const systemFiles: Files = {
  exists: existsSync,
  async remove(path) {
    await rm(path, { force: true });
  },
  async read(path) {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  },
  async write(path, text) {
    const file = await open(path, 'w');
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  },
  async append(path, text) {
    const file = await open(path, constants.O_WRONLY | constants.O_APPEND);
    try {
      await file.writeFile(text);
      await file.datasync();
    } finally {
      await file.close();
    }
  },
  async writeAtomically(path, text, mode = 0o644) {
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && !found.isFile()) return systemFiles.write(path, text);
    const target = await targetOf(path);
    const folder = dirname(target);
    const temporary = await writeBeside(target, text, mode);
    try {
      await rename(temporary, target);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      throw error;
    }
    await syncFolder(folder);
  },
  async createExclusively(path, text, mode = 0o644) {
    const temporary = await writeBeside(path, text, mode);
    try {
      // A rename would replace what another process has created meanwhile.
      await link(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    } finally {
      await unlink(temporary).catch(() => {});
    }
    await syncFolder(dirname(path));
    return true;
  },
};

/** A new file in the folder of `target`, on the disk as a whole; its path. */
async function writeBeside(target: string, text: string | Iterable<string>, mode: number): Promise<string> {
  const folder = dirname(target);
  await makeFolder(folder);
  const temporary = join(folder, `.${randomName()}.tmp`);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.chmod(mode);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  return temporary;
}

async function syncFolder(folder: string): Promise<void> {
  const directory = await open(folder);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** It need not be secret: O_EXCL refuses a file that another program made there. */
const randomName = (): string => Math.random().toString(36).slice(2).padEnd(8, '0');

/** Where a path leads, through symlinks; the last of them may lead to a file that is not there yet. */
async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const link = await readlink(path).catch(() => undefined);
    return link === undefined ? path : resolve(dirname(path), link);
  }
}
