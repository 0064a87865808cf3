import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import { inRepository } from './flanneld.ts';
import { builtRelease } from './release.ts';

const CACHE = join(homedir(), '.cache/weft/packages');
/** What packages are made of, beside the release. */
const SOURCES = ['packaging/**/*', 'script/**/*', 'src/**/*.ts', 'CHANGELOG.md', 'LICENSE'];
/** Packages of other trees are left for a while: their tests may run now. */
const KEPT = 4;
const KEPT_MS = 3_600_000;

export interface BuiltPackages {
  /** With both packages and SHA256SUMS. */
  readonly folder: string;
  /** Paths. */
  readonly deb: string;
  readonly rpm: string;
  /** The folder with the programs that are in them. */
  readonly programs: string;
}

/** Why packages can't be made here; `false` when they can. */
export function noPackages(): string | false {
  for (const [program, from] of [
    ['dpkg-deb', 'dpkg'],
    ['rpmbuild', 'rpm'],
  ] as const) {
    const found = (process.env.PATH ?? '').split(':').some((place) => isThere(join(place, program)));
    if (!found) return `there is no ${program}; apt install ${from}`;
  }
  return false;
}

/**
 * deb and rpm of this tree for this machine's architecture, on top of {@link builtRelease}, built once for each content
 * of the tree, in seconds: parallel test files wait for the first. They are compressed little. Read only.
 */
export async function builtPackages({ version = VERSION } = {}): Promise<BuiltPackages> {
  const { folder: release, executable } = await builtRelease({ version });
  const programs = join(release, `linux-${process.arch}`);
  const folder = join(CACHE, contentOf(version, executable));
  mkdirSync(CACHE, { recursive: true });
  // The lock ends with its process, whatever ends it; packages that are there are whole.
  const build =
    '[ -d "$1" ] || { SOURCE_DATE_EPOCH=0 "$2" "$3" "$4" --fast --version="$5" --release="$6" --output="$1.new" >&2 && mv "$1.new" "$1"; }';
  const words = [folder, process.execPath, inRepository('script/package.ts'), process.arch, version, release];
  execFileSync('flock', [join(CACHE, 'lock'), 'sh', '-c', build, 'sh', ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  utimesSync(folder, new Date(), new Date());
  prune();
  const named = (end: string): string => {
    const name = readdirSync(folder).find((it) => it.endsWith(end));
    if (name === undefined) throw new Error(`no ${end} in ${folder}`);
    return join(folder, name);
  };
  return { folder, deb: named('.deb'), rpm: named('.rpm'), programs };
}

/** The release's executable is not read: its place and size say which it is. */
function contentOf(version: string, executable: string): string {
  const { size, mtimeMs } = statSync(executable);
  const hash = createHash('sha256').update(`${version} ${executable} ${size} ${mtimeMs}\n`);
  const paths = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: inRepository('') }))
    .filter((path) => !basename(path).endsWith('.test.ts') && statSync(inRepository(path)).isFile())
    .sort();
  for (const path of paths) {
    const bytes = readFileSync(inRepository(path));
    hash.update(`${path} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex').slice(0, 16);
}

const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

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
