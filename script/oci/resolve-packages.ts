import { compareVersions } from './debian-version.ts';
import type { LockedPackage } from './package-lock.ts';

/** What is wanted of Debian: what the executable is linked with, the programs that it calls, and those of `weft doctor`. */
const WANTED = [
  'base-files',
  'libatomic1',
  'libc6',
  'libgcc-s1',
  'libstdc++6',
  'iptables',
  'nftables',
  'iproute2',
  'iputils-ping',
] as const;
/** Wanted by others for their maintainer scripts, which do not run in an image. */
const LEFT_OUT: readonly string[] = ['awk', 'debconf', 'libcap2-bin'];

/** A paragraph of Debian's list of packages. */
export type Paragraph = Readonly<Record<string, string>>;

/** A list of packages, and where they are. */
export interface PackageList {
  readonly archive: LockedPackage['archive'];
  readonly paragraphs: readonly Paragraph[];
}

/**
 * {@link WANTED} and all that they depend on, in the highest version of any list, by name. Of alternatives the first is
 * taken. Throws when one is in no list.
 */
export function resolvePackages(
  lists: readonly PackageList[],
  wanted: readonly string[] = WANTED,
): LockedPackage[] {
  const known = new Map<string, { paragraph: Paragraph; archive: LockedPackage['archive'] }>();
  for (const { archive, paragraphs } of lists)
    for (const paragraph of paragraphs) {
      const name = paragraph.Package ?? '';
      const other = known.get(name)?.paragraph.Version;
      if (other === undefined || compareVersions(paragraph.Version ?? '', other) > 0)
        known.set(name, { paragraph, archive });
    }
  const found = new Map<string, LockedPackage>();
  const open: string[] = [...wanted];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name) || LEFT_OUT.includes(name)) continue;
    const entry = known.get(name);
    if (entry === undefined) throw new Error(`no list of Debian's has the package ${name}`);
    const {
      Version,
      Architecture,
      Filename,
      SHA256,
      Depends = '',
      'Pre-Depends': before = '',
    } = entry.paragraph;
    found.set(name, {
      name,
      version: Version ?? '',
      architecture: Architecture ?? '',
      archive: entry.archive,
      path: Filename ?? '',
      sha256: SHA256 ?? '',
    });
    open.push(...namesOf(Depends), ...namesOf(before));
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** `libc6 (>= 2.34), default-x | x:any` → libc6, default-x. */
const namesOf = (field: string): string[] =>
  field
    .split(',')
    .map((choice) => /^[a-z0-9.+-]+/.exec(choice.trim())?.[0] ?? '')
    .filter(Boolean);

/** Debian's files of fields: paragraphs with an empty line between them, one field a line, its further lines indented. */
export const parseParagraphs = (text: string): Paragraph[] =>
  text
    .split(/\n\n+/)
    .filter((paragraph) => paragraph.trim() !== '')
    .map((paragraph) =>
      Object.fromEntries(
        paragraph
          .matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)
          .map(([, key = '', value = '']) => [key, value]),
      ),
    );
