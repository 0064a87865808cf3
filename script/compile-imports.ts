import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LOAD = 'for (const path of process.argv.slice(1)) await import(path);';

/**
 * Has Node compile what these files import of `src/`, by way of others or not, into a cache that later starts read. Modules there
 * do no work when they are imported. Those elsewhere may be programs, and those of tests would run: they are only read.
 */
export function compileImports(files: readonly string[], cache: string): void {
  const sources = new Set<string>();
  const seen = new Set<string>();
  for (const file of files) collect(file, sources, seen);
  execFileSync(process.execPath, ['--input-type=module', '-e', LOAD, '--', ...sources], {
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

const IMPORT = /(?: from |\bimport\()'(#src|\.\.?)(\/[^']+)'/g;

function collect(file: string, sources: Set<string>, seen: Set<string>): void {
  if (seen.has(file)) return;
  seen.add(file);
  for (const [, from = '', path = ''] of readFileSync(file, 'utf8').matchAll(IMPORT))
    if (from === '#src') sources.add(join(ROOT, 'src', path));
    else collect(join(dirname(file), from, path), sources, seen);
}
