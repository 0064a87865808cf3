import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Architecture } from '../architectures.ts';
import { sha256Of } from '../checksums.ts';

/** The Debian packages of the image's base, as packaging/image/debian-packages.json holds them. */
export interface PackageLock {
  /** Debian's name and number of the release. */
  readonly suite: string;
  readonly release: string;
  /** When the lists were published that this was made from: seconds since 1970. */
  readonly date: number;
  readonly architectures: Readonly<Record<Architecture, readonly LockedPackage[]>>;
}

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** Debian's word: `amd64`, `arm64`, `all`. */
  readonly architecture: string;
  /** Of Debian's two archives. */
  readonly archive: 'debian' | 'debian-security';
  /** Below the archive: `pool/main/…`. */
  readonly path: string;
  readonly sha256: string;
}

export const LOCK_FILE = fileURLToPath(
  new URL('../../packaging/image/debian-packages.json', import.meta.url),
);
const DEBIAN = 'http://deb.debian.org';

export const readLock = (file = LOCK_FILE): PackageLock =>
  JSON.parse(readFileSync(file, 'utf8')) as PackageLock;

/**
 * Where an archive of Debian is. `WEFT_DEBIAN_MIRROR` is the URL of a mirror with both; `{archive}` in it stands for the
 * archive's name, which is the last word without it.
 */
export function mirrorOf(archive: string, mirror = process.env.WEFT_DEBIAN_MIRROR || DEBIAN): string {
  const url = mirror.replace(/\/$/, '');
  return url.includes('{archive}') ? url.replace('{archive}', archive) : `${url}/${archive}`;
}

/** Where fetched packages are kept, outside of the checkout. */
const packageCache = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'weft/image-packages');

/** A package's file, from the cache or the mirror; never one with another checksum. */
export async function fetchPackage(
  wanted: LockedPackage,
  { date }: Pick<PackageLock, 'date'>,
  { cache = packageCache(), mirror }: { readonly cache?: string; readonly mirror?: string } = {},
): Promise<Buffer> {
  const { name, version, archive, path, sha256 } = wanted;
  const file = join(cache, `${sha256}-${basename(path)}`);
  if (existsSync(file)) {
    const kept = readFileSync(file);
    if (sha256Of(kept) === sha256) return kept;
  }
  const url = `${mirrorOf(archive, mirror)}/${path}`;
  const response = await fetch(url).catch((error: Error) => {
    throw new Error(`could not fetch ${url}: ${causeOf(error)}; see that the mirror is reached`);
  });
  if (response.status === 404) {
    throw new Error(
      `${name} ${version} is not on the mirror any more (${url}): renew the lock with "script/image --lock", or take it from WEFT_DEBIAN_MIRROR='${snapshotOf(date)}'`,
    );
  }
  if (!response.ok)
    throw new Error(`could not fetch ${url}: HTTP status ${response.status}; try again later`);
  const data = Buffer.from(await response.arrayBuffer());
  const found = sha256Of(data);
  if (found !== sha256) {
    throw new Error(
      `${url} has the checksum ${found} and not ${sha256}: another mirror may have the right one`,
    );
  }
  mkdirSync(cache, { recursive: true });
  // Two builds at once write the same.
  writeFileSync(`${file}.${process.pid}`, data);
  renameSync(`${file}.${process.pid}`, file);
  return data;
}

/** Debian keeps every version that ever was at snapshot.debian.org, by the time of its lists. */
function snapshotOf(date: number): string {
  const time = new Date(date * 1000).toISOString().replace(/[-:]|\.\d+/g, '');
  return `https://snapshot.debian.org/archive/{archive}/${time}`;
}

/** fetch() says why only in the cause. */
const causeOf = (error: Error): string =>
  error.cause instanceof Error ? error.cause.message : error.message;
