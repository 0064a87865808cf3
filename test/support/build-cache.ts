import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { inRepository } from './flanneld.ts';

/** Builds of other trees are left for a while: their tests may run now. */
const KEPT = 4;
const KEPT_MS = 3_600_000;

export interface Build {
  /** The folder of its kind below `~/.cache/weft`. */
  readonly kind: string;
  /** What it depends on beside the sources. */
  readonly facts: string;
  /** Patterns of this checkout; unit tests do not count. */
  readonly sources: readonly string[];
  /** The program of this checkout that builds, and its words: it makes the folder that it gets. */
  readonly program: string;
  readonly words: (folder: string) => readonly string[];
}

/** A folder that is built once for each content of the tree: parallel test files wait for the first. Read only. */
export function builtOnce({ kind, facts, sources, program, words }: Build): string {
  const cache = join(homedir(), '.cache/weft', kind);
  const folder = join(cache, contentOf(facts, sources));
  mkdirSync(cache, { recursive: true });
  // The lock ends with its process, whatever ends it; a folder that is there is whole.
  const build =
    'folder=$1; shift; [ -d "$folder" ] || { SOURCE_DATE_EPOCH=0 "$@" >&2 && mv "$folder.new" "$folder"; }';
  const command = [process.execPath, inRepository(program), ...words(`${folder}.new`)];
  execFileSync('flock', [join(cache, 'lock'), 'sh', '-c', build, 'sh', folder, ...command], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  utimesSync(folder, new Date(), new Date());
  prune(cache);
  return folder;
}

function contentOf(facts: string, sources: readonly string[]): string {
  const hash = createHash('sha256').update(`${facts}\n`);
  const paths = sources
    .flatMap((pattern) => globSync(pattern, { cwd: inRepository('') }))
    .filter((path) => !path.endsWith('.test.ts') && statSync(inRepository(path)).isFile())
    .sort();
  for (const path of paths) {
    const bytes = readFileSync(inRepository(path));
    hash.update(`${path} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex').slice(0, 16);
}

function prune(cache: string): void {
  const now = Date.now();
  const byAge = readdirSync(cache)
    .filter((name) => /^[0-9a-f]{16}/.test(name))
    .map((name) => join(cache, name))
    .map((path) => ({ path, used: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((one, other) => other.used - one.used);
  for (const { path, used } of byAge.slice(KEPT)) {
    if (now - used > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}
