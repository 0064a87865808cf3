import { readFile } from 'node:fs/promises';
import { getAsset, isSea } from 'node:sea';

/** Texts that belong to this program and are not code of it. */
export interface ProgramFiles {
  /** By the path from the source's root; `undefined` when there is no such file. */
  read(path: string): Promise<string | undefined>;
}

/** Files of the source tree; of a release, which is one executable, what it carries under the same names. */
export const systemProgramFiles: ProgramFiles = {
  async read(path) {
    try {
      if (isSea()) return getAsset(path, 'utf8');
      return await readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ERR_SINGLE_EXECUTABLE_APPLICATION_ASSET_NOT_FOUND') return undefined;
      throw error;
    }
  },
};
