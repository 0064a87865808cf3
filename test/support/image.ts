import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import type { Architecture } from '../../script/architectures.ts';
import { inRepository } from './flanneld.ts';
import { builtRelease } from './release.ts';

const CACHE = join(homedir(), '.cache/weft/images');
/** What an image is made of beside a release. */
const SOURCES = ['script/image.ts', 'script/oci/*.ts', 'packaging/image/*', 'LICENSE'];
const KEPT = 4;
const KEPT_MS = 3_600_000;

export interface BuiltImage {
  /** `weft:0.1.0`, as it is called when it is loaded. */
  readonly name: string;
  /** For `docker load` and `ctr image import`. */
  readonly archive: string;
  readonly sbom: string;
}

/** The image of {@link builtRelease}, made once for each content of the tree. Read only. */
export async function builtImage({
  version = VERSION,
  architecture = process.arch as Architecture,
}: {
  readonly version?: string;
  readonly architecture?: Architecture;
} = {}): Promise<BuiltImage> {
  const release = await builtRelease({ version, architecture });
  const folder = join(CACHE, contentOf(release.folder));
  mkdirSync(CACHE, { recursive: true });
  const build =
    '[ -d "$1" ] || { SOURCE_DATE_EPOCH=0 "$2" "$3" "$4" --version="$5" --release="$6" --output="$1.new" && mv "$1.new" "$1"; }';
  const program = [process.execPath, inRepository('script/image.ts'), architecture];
  const words = [folder, ...program, version, release.folder];
  execFileSync('flock', [join(CACHE, 'lock'), 'sh', '-c', build, 'sh', ...words], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  utimesSync(folder, new Date(), new Date());
  prune();
  return {
    name: `weft:${version}`,
    archive: join(folder, `weft-${version}-oci-${architecture}.tar`),
    sbom: join(folder, `weft-${version}-image-${architecture}.cdx.json`),
  };
}

/** The release's folder is named by its content. */
function contentOf(release: string): string {
  const hash = createHash('sha256').update(release);
  const paths = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: inRepository('') })).sort();
  for (const path of paths)
    if (!path.endsWith('.test.ts')) hash.update(`${path}\n`).update(readFileSync(inRepository(path)));
  return hash.digest('hex').slice(0, 16);
}

function prune(): void {
  const now = Date.now();
  const byAge = readdirSync(CACHE)
    .map((name) => join(CACHE, name))
    .filter((path) => existsSync(path) && statSync(path).isDirectory())
    .map((path) => ({ path, used: statSync(path).mtimeMs }))
    .sort((one, other) => other.used - one.used);
  for (const { path, used } of byAge.slice(KEPT))
    if (now - used > KEPT_MS) rmSync(path, { recursive: true, force: true });
}
