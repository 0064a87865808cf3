import type { Dirent } from 'node:fs';
import { cp, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '#src/sys/make-folder.ts';

/** Folders that the program makes for itself and takes away again. */
export interface Folders {
  /** Makes the folder and its parents. */
  make(path: string): Promise<void>;
  /** Makes the folder, not its parents; false when it is there already. */
  claim(path: string): Promise<boolean>;
  /** The names in the folder, sorted; none when there is no such folder. */
  list(path: string): Promise<string[]>;
  /** The names of the folders in the folder, sorted; none when there is no such folder. */
  listFolders(path: string): Promise<string[]>;
  /** Removes the folder with all that is in it. No such folder is fine. */
  remove(path: string): Promise<void>;
  /** Removes folders only, the deepest first, as a control group hierarchy must be. No such folder is fine. */
  removeTree(path: string): Promise<void>;
}

export const systemFolders: Folders = {
  async make(path) {
    await makeFolder(path);
  },
  async claim(path) {
    try {
      await mkdir(path);
      return true;
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw error;
    }
  },
  async list(path) {
    return (await entriesOf(path)).map((entry) => entry.name).sort();
  },
  async listFolders(path) {
    const folders = (await entriesOf(path)).filter((entry) => entry.isDirectory());
    return folders.map((entry) => entry.name).sort();
  },
  async remove(path) {
    await rm(path, { recursive: true, force: true, maxRetries: 5 });
  },
  async removeTree(path) {
    for (const name of await this.listFolders(path)) await this.removeTree(join(path, name));
    await rmdir(path).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error;
    });
  },
};

/** Copies a folder with all that is in it; what is there already is replaced. */
export type CopyFolder = (from: string, to: string) => Promise<void>;

export const systemCopyFolder: CopyFolder = (from, to) => cp(from, to, { recursive: true });

async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
