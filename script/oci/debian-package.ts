import { execFileSync } from 'node:child_process';
import { readTar, type TarEntry } from './tar.ts';

/** What a .deb holds (deb(5)). */
export interface DebianPackage {
  /** The text of its `control`. */
  readonly control: string;
  /** The text of its `md5sums`; a package without files of its own has none. */
  readonly md5sums: string | undefined;
  readonly entries: readonly TarEntry[];
}

export function openPackage(deb: Buffer): DebianPackage {
  const members = new Map(membersOf(deb));
  const control = new Map(tarOf(members, 'control').map((entry) => [entry.path, entry.data?.toString()]));
  return {
    control: control.get('control') ?? '',
    md5sums: control.get('md5sums'),
    entries: tarOf(members, 'data'),
  };
}

/** Of an `ar` archive: a header of 60 bytes for each member, which begins at an even place. */
function* membersOf(archive: Buffer): Generator<readonly [string, Buffer]> {
  if (archive.subarray(0, 8).toString() !== '!<arch>\n') throw new Error('a Debian package is no ar archive');
  for (let at = 8; at + 60 <= archive.length; ) {
    const header = archive.subarray(at, at + 60).toString('latin1');
    const size = Number(header.slice(48, 58));
    yield [header.slice(0, 16).trim().replace(/\/$/, ''), archive.subarray(at + 60, at + 60 + size)];
    at += 60 + size + (size & 1);
  }
}

const PROGRAMS: Readonly<Record<string, string>> = { '.xz': 'xz', '.gz': 'gzip', '.zst': 'zstd' };

function tarOf(members: ReadonlyMap<string, Buffer>, name: string): TarEntry[] {
  for (const [member, data] of members) {
    if (!member.startsWith(`${name}.tar`)) continue;
    const program = PROGRAMS[member.slice(`${name}.tar`.length)];
    const plain =
      program === undefined ? data : execFileSync(program, ['-dc'], { input: data, maxBuffer: 1 << 30 });
    return [...readTar(plain)];
  }
  throw new Error(`a Debian package has no ${name}.tar`);
}
