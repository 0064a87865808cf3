import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import { buildFacts } from '../../script/build-facts.ts';
import { PT_LOAD, PT_PHDR, readSegments } from '../../script/elf-file.ts';
import { inRepository } from './flanneld.ts';

const CACHE = join(homedir(), '.cache/weft/releases');
/** What a release is made of. */
const SOURCES = ['src/**/*', 'script/**/*', 'bin/*', 'package.json', 'package-lock.json', 'tsconfig.json'];
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
 * The release of this tree for one architecture, default this machine's, built once for each content of the tree, in half a minute
 * at most: parallel test files wait for the first. Read only.
 */
export async function builtRelease({
  version = VERSION,
  architecture = process.arch,
} = {}): Promise<BuiltRelease> {
  const folder = join(CACHE, contentOf(version, architecture));
  mkdirSync(CACHE, { recursive: true });
  // The lock ends with its process, whatever ends it; a release that is there is whole.
  const build =
    '[ -d "$1" ] || { SOURCE_DATE_EPOCH=0 "$2" "$3" "$4" --version="$5" --to="$1.new" && mv "$1.new" "$1"; }';
  const words = [folder, process.execPath, inRepository('script/release.ts'), architecture, version];
  execFileSync('flock', [join(CACHE, 'lock'), 'sh', '-c', build, 'sh', ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  utimesSync(folder, new Date(), new Date());
  prune();
  return { folder, executable: join(folder, `linux-${architecture}/weft`) };
}

function contentOf(version: string, architecture: string): string {
  // The executable says of which commit it is.
  const facts = JSON.stringify(buildFacts(version, { SOURCE_DATE_EPOCH: '0' }));
  const hash = createHash('sha256').update(`${facts} ${architecture} ${process.version}\n`);
  const paths = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: inRepository('') }))
    .filter((path) => !path.endsWith('.test.ts') && statSync(inRepository(path)).isFile())
    .sort();
  for (const path of paths) {
    const bytes = readFileSync(inRepository(path));
    hash.update(`${path} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex').slice(0, 16);
}

/** No page is of two segments, and the program headers are where Linux before 5.18 looks for them. */
export function assertMappable(executable: string, page: number): void {
  const segments = readSegments(readFileSync(executable));
  const loaded = segments.filter(({ type }) => type === PT_LOAD);
  for (const [index, { address }] of loaded.entries()) {
    const before = loaded[index - 1];
    if (before === undefined) continue;
    const end = Math.ceil((before.address + before.bytes) / page) * page;
    assert.ok(address - (address % page) >= end, `segment ${index} begins in a page of the one before`);
  }
  const headers = segments.find(({ type }) => type === PT_PHDR);
  const [first] = loaded;
  assert.ok(headers !== undefined && first !== undefined);
  assert.equal(headers.address - headers.offset, first.address - first.offset);
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
