import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ARCHITECTURES, type Architecture } from '../architectures.ts';
import type { InstalledFile } from '../payload.ts';
import { DESCRIPTION, MAINTAINER, packageVersion, SUMMARY } from './facts.ts';
import { MAINTAINER_SCRIPTS, maintainerScript } from './maintainer-script.ts';
import { settle, stage } from './stage.ts';

export interface PackageRequest {
  readonly files: readonly InstalledFile[];
  readonly version: string;
  readonly architecture: Architecture;
  /** Seconds since 1970. */
  readonly date: number;
  /** Compresses less, in a tenth of the time: for tests. */
  readonly fast: boolean;
  /** A folder for what is in between; it is empty, and stays the caller's. */
  readonly work: string;
  /** The folder that the package goes to. */
  readonly output: string;
}

/** Node is built for glibc 2.28 (Debian 10); dpkg-shlibdeps says the same about the executable. */
const DEPENDS = [
  'libc6 (>= 2.28)',
  'libstdc++6 (>= 7)',
  'libgcc-s1 (>= 4.2) | libgcc1',
  'libatomic1 (>= 4.8)',
  'iptables | nftables',
];
/** `ip` is what a purge removes devices with, and modprobe loads modules where they are not built in. */
const RECOMMENDS = ['iproute2', 'kmod'];
const SUGGESTS = ['docker.io | docker-ce', 'etcd-server', 'criu'];

/** Makes `weft_VERSION_ARCHITECTURE.deb` with dpkg-deb, and returns its name. */
export function makeDeb({ files, version, architecture, date, fast, work, output }: PackageRequest): string {
  const root = join(work, 'root');
  const control = join(root, 'DEBIAN');
  stage(files, root, date);
  mkdirSync(control);
  const put = (name: string, text: string, mode = 0o644): void => {
    writeFileSync(join(control, name), text);
    chmodSync(join(control, name), mode);
  };
  put('control', controlOf({ version, architecture, size: sizeOf(files, root) }));
  put('conffiles', linesOf(files.filter(({ kind }) => kind === 'conffile').map(({ path }) => path)));
  const plain = files.filter(({ kind }) => kind === 'file').map(({ path }) => path.slice(1));
  put('md5sums', linesOf(plain.map((path) => `${md5Of(join(root, path))}  ${path}`)));
  for (const name of MAINTAINER_SCRIPTS.deb) put(name, maintainerScript('deb', name), 0o755);
  settle(root, date);
  const name = `weft_${packageVersion(version)}_${ARCHITECTURES[architecture].debian}.deb`;
  // Two threads make other bytes than one, and any number above makes the same.
  const compression = fast ? ['-Zgzip', '-z1'] : ['-Zxz', '-z6', '--threads-max=2'];
  execFileSync('dpkg-deb', ['--root-owner-group', ...compression, '--build', root, join(output, name)], {
    env: { ...process.env, SOURCE_DATE_EPOCH: `${date}` },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return name;
}

/** deb-control(5). `flannel` is the package of Ubuntu and of others: the programs and the unit have the same names. */
function controlOf(facts: { version: string; architecture: Architecture; size: number }): string {
  return linesOf([
    'Package: weft',
    `Version: ${packageVersion(facts.version)}`,
    `Architecture: ${ARCHITECTURES[facts.architecture].debian}`,
    `Maintainer: ${MAINTAINER}`,
    `Installed-Size: ${facts.size}`,
    `Depends: ${DEPENDS.join(', ')}`,
    `Recommends: ${RECOMMENDS.join(', ')}`,
    `Suggests: ${SUGGESTS.join(', ')}`,
    'Conflicts: flannel',
    'Replaces: flannel',
    'Provides: flannel',
    'Section: net',
    'Priority: optional',
    `Description: ${SUMMARY}`,
    ...DESCRIPTION.map((line) => ` ${line}`),
  ]);
}

/** In KiB, each file rounded up, as dpkg-gencontrol counts. */
function sizeOf(files: readonly InstalledFile[], root: string): number {
  return files.reduce((sum, { path }) => sum + Math.ceil(lstatSync(join(root, path)).size / 1024), 0);
}

const md5Of = (file: string): string => createHash('md5').update(readFileSync(file)).digest('hex');
const linesOf = (lines: readonly string[]): string => `${lines.join('\n')}\n`;
