import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import { inRepository } from './flanneld.ts';

const CACHE = join(homedir(), '.cache/weft/releases');
/** What a release is made of. */
const SOURCES = ['src/**/*', 'script/*', 'bin/*', 'package.json', 'package-lock.json', 'tsconfig.json'];
/** Releases of other trees are left for a while: their tests may run now. */
const KEPT = 4;
const KEPT_MS = 3_600_000;

export interface BuiltRelease {
  /** With `linux-x64/`, `sbom.cdx.json` and `SHA256SUMS`, as `dist/` after `script/release`. */
  readonly folder: string;
  /** Its links are beside it. */
  readonly executable: string;
}

/**
 * The release of this tree for this machine's architecture, built once for each content of the tree, in half a minute
 * at most: parallel test files wait for the first. Read only.
 */
export async function builtRelease({ version = VERSION } = {}): Promise<BuiltRelease> {
  const folder = join(CACHE, contentOf(version));
  mkdirSync(CACHE, { recursive: true });
  // The lock ends with its process, whatever ends it; a release that is there is whole.
  const build =
    '[ -d "$1" ] || { SOURCE_DATE_EPOCH=0 "$2" "$3" "$4" --version="$5" --to="$1.new" && mv "$1.new" "$1"; }';
  const words = [folder, process.execPath, inRepository('script/release.ts'), process.arch, version];
  execFileSync('flock', [join(CACHE, 'lock'), 'sh', '-c', build, 'sh', ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  utimesSync(folder, new Date(), new Date());
  prune();
  return { folder, executable: join(folder, `linux-${process.arch}/weft`) };
}

function contentOf(version: string): string {
  const hash = createHash('sha256').update(`${version} ${process.version}\n`);
  const paths = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: inRepository('') }))
    .filter((path) => !path.endsWith('.test.ts') && statSync(inRepository(path)).isFile())
    .sort();
  for (const path of paths) {
    const bytes = readFileSync(inRepository(path));
    hash.update(`${path} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex').slice(0, 16);
}

function prune(): void {
  const now = Date.now();
  const byAge = readdirSync(CACHE)
    .filter((name) => /^[0-9a-f]{16}/.test(name))
    .map((name) => join(CACHE, name))
    .map((path) => ({ path, used: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((one, other) => other.used - one.used);
  for (const { path, used } of byAge.slice(KEPT)) {
    if (now - used > KEPT_MS) rmSync(path, { recursive: true, force: true });
  }
}
