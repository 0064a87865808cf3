import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '#src/lib/version.ts';
import { builtOnce } from './build-cache.ts';
import { builtRelease } from './release.ts';

/** What packages are made of, beside the release. */
const SOURCES = ['packaging/**/*', 'script/**/*', 'src/**/*.ts', 'CHANGELOG.md', 'LICENSE'];

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
  // The release's executable is not read: its place and size say which it is.
  const { size, mtimeMs } = statSync(executable);
  const folder = builtOnce({
    kind: 'packages',
    facts: `${version} ${executable} ${size} ${mtimeMs}`,
    sources: SOURCES,
    program: 'script/package.ts',
    words: (to) => [process.arch, '--fast', `--version=${version}`, `--release=${release}`, `--output=${to}`],
  });
  const named = (end: string): string => {
    const name = readdirSync(folder).find((it) => it.endsWith(end));
    if (name === undefined) throw new Error(`no ${end} in ${folder}`);
    return join(folder, name);
  };
  return { folder, deb: named('.deb'), rpm: named('.rpm'), programs };
}

const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
