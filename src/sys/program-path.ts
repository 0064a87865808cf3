import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';

/**
 * Another program of this project: of a release, the link beside its executable, which itself is
 * weft under whatever name it has; or the launcher in the source's bin/.
 */
export function programPath(name: string): string {
  if (!isSea()) return fileURLToPath(new URL(`../../bin/${name}`, import.meta.url));
  const beside = join(dirname(process.execPath), name);
  return name === 'weft' && !existsSync(beside) ? process.execPath : beside;
}
