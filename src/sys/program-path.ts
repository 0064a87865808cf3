import { dirname, join } from 'node:path';
import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';

/**
 * Another program of this project: next to the executable of a release, or the launcher in the
 * source's bin/.
 */
export const programPath = (name: string): string =>
  isSea()
    ? join(dirname(process.execPath), name)
    : fileURLToPath(new URL(`../../bin/${name}`, import.meta.url));
