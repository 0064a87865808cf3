import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALL_ARCHITECTURES, ARCHITECTURES, type Architecture } from '../architectures.ts';
import { sha256Of } from '../checksums.ts';
import { LOCK_FILE, mirrorOf, type PackageLock } from './package-lock.ts';
import { type PackageList, parseParagraphs, resolvePackages } from './resolve-packages.ts';

const RELEASE = 'trixie';
const LISTS = [
  { archive: 'debian', suite: RELEASE },
  { archive: 'debian', suite: `${RELEASE}-updates` },
  { archive: 'debian-security', suite: `${RELEASE}-security` },
] as const;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Writes the lock again, with the versions that Debian has now. Debian's signature vouches for its lists. */
export async function renewLock(): Promise<void> {
  if (!existsSync(KEYRING)) {
    throw new Error(`the lock is renewed with gpgv and ${KEYRING}: apt install gpgv debian-archive-keyring`);
  }
  const releases = await Promise.all(
    LISTS.map(async (list) => ({ ...list, release: await fetchRelease(list) })),
  );
  const architectures = {} as Record<Architecture, PackageLock['architectures']['x64']>;
  for (const architecture of ALL_ARCHITECTURES) {
    const lists: PackageList[] = [];
    for (const list of releases) lists.push(await fetchList(list, ARCHITECTURES[architecture].debian));
    architectures[architecture] = resolvePackages(lists);
  }
  const dates = releases.map(({ release }) => Date.parse(release.Date ?? '') / 1000);
  const number = releases[0]?.release.Version?.split('.')[0] ?? '';
  const lock: PackageLock = { suite: RELEASE, release: number, date: Math.max(...dates), architectures };
  writeFileSync(LOCK_FILE, `${JSON.stringify(lock, undefined, 2)}\n`);
}

type Place = (typeof LISTS)[number];
type Release = Readonly<Record<string, string>>;

async function fetchRelease({ archive, suite }: Place): Promise<Release> {
  const signed = await get(`${mirrorOf(archive)}/dists/${suite}/InRelease`);
  const folder = mkdtempSync(join(tmpdir(), 'weft-lock-'));
  try {
    const [file, text] = [join(folder, 'InRelease'), join(folder, 'Release')];
    writeFileSync(file, signed);
    execFileSync('gpgv', ['--quiet', '--keyring', KEYRING, '--output', text, file], { stdio: 'pipe' });
    return parseParagraphs(readFileSync(text, 'utf8'))[0] ?? {};
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function fetchList(
  { archive, suite, release }: Place & { readonly release: Release },
  architecture: string,
): Promise<PackageList> {
  const path = `main/binary-${architecture}/Packages.xz`;
  const packed = await get(`${mirrorOf(archive)}/dists/${suite}/${path}`);
  const named = release.SHA256?.split('\n').some((line) => {
    const [sum, , name] = line.trim().split(/\s+/);
    return name === path && sum === sha256Of(packed);
  });
  if (named !== true)
    throw new Error(`${suite}: ${path} is not the list that the signed Release names; try again`);
  const text = execFileSync('xz', ['-dc'], { input: packed, maxBuffer: 1 << 30, encoding: 'utf8' });
  return { archive, paragraphs: parseParagraphs(text) };
}

async function get(url: string): Promise<Buffer> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`could not fetch ${url}: HTTP status ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}
