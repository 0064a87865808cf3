import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ARCHITECTURES } from '../architectures.ts';
import type { InstalledFile } from '../payload.ts';
import type { PackageRequest } from './deb.ts';
import { DESCRIPTION, LIBRARIES, packageVersion, SUMMARY } from './facts.ts';
import { MAINTAINER_SCRIPTS, maintainerScript } from './maintainer-script.ts';
import { stage } from './stage.ts';

/** Makes `weft-VERSION-1.ARCHITECTURE.rpm` with rpmbuild, and returns its name. */
export function makeRpm(request: PackageRequest): string {
  const { files, version, architecture, date, work, output } = request;
  const { rpm: target } = ARCHITECTURES[architecture];
  // Macros and shell commands of rpmbuild's own name these paths without quotes.
  if (/[^\w@+,./:-]/.test(work)) throw new Error(`rpmbuild can't work in ${work}; name another --output`);
  const root = join(work, 'root');
  stage(files, root, date);
  const spec = join(work, 'weft.spec');
  writeFileSync(spec, specOf(request, root));
  const top = join(work, 'rpmbuild');
  mkdirSync(top);
  const words = ['-bb', '--quiet', '--nodeps', `--target=${target}-linux`, '--define', `_topdir ${top}`];
  execFileSync('rpmbuild', [...words, spec], {
    env: { ...process.env, SOURCE_DATE_EPOCH: `${date}` },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const name = `weft-${packageVersion(version)}-1.${target}.rpm`;
  renameSync(join(top, 'RPMS', target, name), join(output, name));
  return name;
}

/**
 * The spec. The macros at its top keep rpmbuild from changing the files (a stripped executable has lost its program), and
 * from writing the machine's name and the time into the package. Libraries are required by symbol versions, which each
 * distribution's packages provide by themselves.
 */
function specOf({ files, version, fast }: PackageRequest, root: string): string {
  const libraries = Object.entries(LIBRARIES).flatMap(([library, symbols]) =>
    ['', ...symbols].map((symbol) => `Requires: ${library}(${symbol})(64bit)`),
  );
  const scripts = MAINTAINER_SCRIPTS.rpm.flatMap((name) => [
    `%${name}`,
    // rpm takes its own interpreter line, and expands macros.
    maintainerScript('rpm', name)
      .replace(/^#!.*\n/, '')
      .replaceAll('%', '%%'),
  ]);
  const lines = [
    '%global debug_package %{nil}',
    '%global __os_install_post %{nil}',
    '%global _build_id_links none',
    '%global _buildhost weft',
    '%global use_source_date_epoch_as_buildtime 1',
    '%global clamp_mtime_to_source_date_epoch 1',
    '%global source_date_epoch_from_changelog 0',
    '%global _binary_filedigest_algorithm 8',
    `%global _binary_payload ${fast ? 'w1.gzdio' : 'w6.xzdio'}`,
    'Name: weft',
    `Version: ${packageVersion(version)}`,
    'Release: 1',
    `Summary: ${SUMMARY}`,
    'License: Apache-2.0',
    'AutoReqProv: no',
    ...libraries,
    'Requires: (iptables or nftables)',
    'Recommends: iproute',
    'Recommends: kmod',
    'Provides: flannel',
    'Obsoletes: flannel < 1',
    '',
    '%description',
    ...DESCRIPTION,
    '',
    '%install',
    `cp -a '${root}/.' '%{buildroot}/'`,
    '',
    ...scripts,
    '%files',
    '%defattr(-,root,root,0755)',
    ...foldersOf(files).map((folder) => `%dir ${folder}`),
    ...files.map(fileLine),
  ];
  return `${lines.join('\n')}\n`;
}

/** Folders that belong to the distribution's own packages. */
const FOREIGN =
  /^\/(usr(\/(bin|lib|libexec|share(\/(doc|licenses|man(\/man\d)?))?))?|usr\/lib\/systemd(\/(system|network|system-generators))?|etc(\/(modules-load|sysctl)\.d)?)?$/;

/** Folders that rpm removes at the end when they are empty: it removes no other. Several packages may have one folder. */
function foldersOf(files: readonly InstalledFile[]): string[] {
  const folders = new Set<string>();
  for (const { path } of files) {
    for (let folder = dirname(path); !FOREIGN.test(folder); folder = dirname(folder)) folders.add(folder);
  }
  return [...folders].sort();
}

function fileLine({ path, kind, mode }: InstalledFile): string {
  if (kind === 'link') return path;
  const attributes = `%attr(${mode.toString(8).padStart(4, '0')},root,root)`;
  if (kind === 'conffile') return `${attributes} %config(noreplace) ${path}`;
  if (path.startsWith('/usr/share/licenses/')) return `${attributes} %license ${path}`;
  return path.startsWith('/usr/share/doc/') ? `${attributes} %doc ${path}` : `${attributes} ${path}`;
}
