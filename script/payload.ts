import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bashCompletion } from '#src/cli/bash-completion.ts';
import { COMMANDS } from '#src/cli/commands.ts';
import { type Completions, completionsOf } from '#src/cli/completion-table.ts';
import { fishCompletion } from '#src/cli/fish-completion.ts';
import { zshCompletion } from '#src/cli/zsh-completion.ts';
import { manPages } from './man-pages.ts';
import { changelogOf, copyrightOf } from './packages/documents.ts';
import { ROOT } from './source-tree.ts';

/** For whom the files are: Debian's and RHEL's families keep some of them in different places. */
export type Taker = 'deb' | 'rpm' | 'image';

/** One installed file. */
export interface InstalledFile {
  /** Absolute. */
  readonly path: string;
  /** A `conffile` is the user's once it is there: an upgrade keeps the user's changes, a purge removes it. */
  readonly kind: 'file' | 'conffile' | 'link';
  /** Permissions; those of a link mean nothing. */
  readonly mode: number;
  /** A file's bytes, or where they are; a link's target. */
  readonly content: { readonly bytes: Buffer } | { readonly file: string } | { readonly target: string };
}

/** A row of the table of installed files; docs/reference/packages.md is made from it. */
export interface PayloadRow {
  /** Where it goes. With `/` at the end it is a folder, and the files keep their names. */
  readonly to: string;
  readonly kind: InstalledFile['kind'];
  readonly mode: number;
  readonly from: Origin;
  /** What it is for, as a phrase. */
  readonly about: string;
  /** Default: all. */
  readonly takers?: readonly Taker[];
}

type Origin =
  /** A program of the release, in `dist/linux-ARCHITECTURE/`. */
  | { readonly release: string }
  /** Files of the checkout, by a pattern. */
  | { readonly checkout: string }
  | { readonly target: string }
  /** Made from the code: one file, or several by their names. */
  | { readonly made: (facts: PayloadFacts) => Promise<Buffer | ReadonlyMap<string, Buffer>> };

export interface PayloadFacts {
  readonly taker: Taker;
  readonly version: string;
  /** The folder with the programs of one architecture. */
  readonly programs: string;
  /** Seconds since 1970: the time of all that is made. */
  readonly date: number;
}

const row = (
  to: string,
  from: Origin,
  about: string,
  { kind = 'file', mode = 0o644, takers }: Partial<Pick<PayloadRow, 'kind' | 'mode' | 'takers'>> = {},
): PayloadRow => ({ to, from, about, kind, mode, ...(takers && { takers }) });

const link = (to: string, target: string, about: string): PayloadRow =>
  row(to, { target }, about, { kind: 'link', mode: 0o777 });

const completion = (write: (table: readonly Completions[]) => string): Origin => ({
  made: async () => Buffer.from(`${write(await completionsOf(COMMANDS))}\n`),
});

/** Those of one section. RHEL compresses its pages, too. */
const manual = (chapter: 5 | 8): Origin => ({
  made: async ({ version, date }) => {
    const pages = [...(await manPages({ version, date: dayOf(date) }))];
    const own = pages.filter(([name]) => name.endsWith(`.${chapter}`));
    return new Map(own.map(([name, text]) => [`${name}.gz`, gzipSync(text, { level: 9 })]));
  },
});

const dayOf = (date: number): string => new Date(date * 1000).toISOString().slice(0, 10);

const DEB: readonly Taker[] = ['deb'];
const RPM: readonly Taker[] = ['rpm'];
const GENERATOR = '/usr/lib/systemd/system-generators/weft-generator';

/** Every installed file: deb, rpm and image are made from this table. */
export const PAYLOAD: readonly PayloadRow[] = [
  row('/usr/bin/weft', { release: 'weft' }, 'all programs, with Node in it', { mode: 0o755 }),
  link('/usr/bin/flanneld', 'weft', 'the daemon'),
  link('/usr/bin/mk-docker-opts', 'weft', "Docker's options of a subnet"),
  link(
    '/usr/libexec/flannel/mk-docker-opts.sh',
    '../../bin/weft',
    "the same by flannel's name, where RHEL has it",
  ),
  row('/usr/lib/systemd/system/', { checkout: 'packaging/systemd/*.{service,socket}' }, 'units'),
  link(GENERATOR, '../../../bin/weft', "makes Docker's drop-in while flanneld is enabled"),
  row(
    '/usr/lib/systemd/network/',
    { checkout: 'packaging/systemd/network/*' },
    "keeps systemd-networkd and udev off the overlay's devices",
  ),
  row(
    '/usr/lib/systemd/networkd.conf.d/',
    { checkout: 'packaging/systemd/networkd.conf.d/*' },
    'systemd-networkd keeps the routes to peers',
  ),
  row(
    '/usr/lib/NetworkManager/conf.d/',
    { checkout: 'packaging/NetworkManager/conf.d/*' },
    "keeps NetworkManager off the overlay's devices",
  ),
  row(
    '/etc/modules-load.d/weft.conf',
    { checkout: 'packaging/etc/weft-modules.conf' },
    'kernel modules that are loaded at boot',
    { kind: 'conffile' },
  ),
  row(
    '/etc/sysctl.d/60-weft.conf',
    { checkout: 'packaging/etc/60-weft.conf' },
    'forwarding, from the boot on',
    { kind: 'conffile' },
  ),
  row(
    '/usr/share/weft/',
    { checkout: 'packaging/{flanneld,store}.conf' },
    'what /etc/weft/flanneld.conf and store.conf are made from',
  ),
  row(
    '/usr/share/weft/',
    { checkout: 'packaging/compose.{env,yaml}' },
    'a site without etcd with the image, in place of this package',
  ),
  row('/usr/share/weft/prometheus/', { checkout: 'packaging/prometheus/weft-alerts.yaml' }, 'alert rules'),
  row('/usr/share/weft/grafana/', { checkout: 'packaging/grafana/*.json' }, 'a dashboard'),
  row('/usr/share/man/man5/', manual(5), 'manual pages of the settings'),
  row('/usr/share/man/man8/', manual(8), 'manual pages of the programs, and of each command of weft'),
  row('/usr/share/bash-completion/completions/weft', completion(bashCompletion), 'completion for bash'),
  row(
    '/usr/share/zsh/vendor-completions/_weft',
    completion(zshCompletion),
    'completion for zsh, where Debian has it',
    { takers: DEB },
  ),
  row('/usr/share/zsh/site-functions/_weft', completion(zshCompletion), 'completion for zsh', {
    takers: RPM,
  }),
  row('/usr/share/fish/vendor_completions.d/weft.fish', completion(fishCompletion), 'completion for fish'),
  row('/usr/share/doc/weft/copyright', { made: copyright }, 'the license, in the form that Debian wants', {
    takers: DEB,
  }),
  row(
    '/usr/share/lintian/overrides/weft',
    { checkout: 'packaging/lintian-overrides' },
    "for Debian's check of packages, with the reasons",
    { takers: DEB },
  ),
  row('/usr/share/doc/weft/changelog.gz', { made: changelog }, 'changes, in the form that Debian wants', {
    takers: DEB,
  }),
  row('/usr/share/doc/weft/', { checkout: 'CHANGELOG.md' }, 'changes', { takers: RPM }),
  row('/usr/share/licenses/weft/', { checkout: 'LICENSE' }, 'the license', { takers: RPM }),
];

/** Every file that is installed, sorted by its path. A row without a file is an error. */
export async function payload(facts: PayloadFacts): Promise<InstalledFile[]> {
  const rows = PAYLOAD.filter(({ takers }) => takers?.includes(facts.taker) ?? true);
  const files = (await Promise.all(rows.map((row) => filesOf(row, facts)))).flat();
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function filesOf({ to, kind, mode, from }: PayloadRow, facts: PayloadFacts): Promise<InstalledFile[]> {
  if ('target' in from) return [{ path: to, kind, mode, content: from }];
  if ('made' in from) {
    const made = await from.made(facts);
    const files = Buffer.isBuffer(made) ? new Map([['', made]]) : made;
    return [...files].map(([name, bytes]) => ({ path: `${to}${name}`, kind, mode, content: { bytes } }));
  }
  if ('release' in from)
    return [{ path: to, kind, mode, content: { file: join(facts.programs, from.release) } }];
  const names = globSync(from.checkout, { cwd: ROOT });
  if (names.length === 0)
    throw new Error(`no file of the checkout is ${from.checkout}, which ${to} is made from`);
  return names.map((name) => ({
    path: to.endsWith('/') ? `${to}${basename(name)}` : to,
    kind,
    mode,
    content: { file: join(ROOT, name) },
  }));
}

async function copyright(): Promise<Buffer> {
  return Buffer.from(copyrightOf(readFileSync(join(ROOT, 'LICENSE'), 'utf8')));
}

/** Without a name and a time in it: the same bytes whenever it is made. */
async function changelog({ version, date }: PayloadFacts): Promise<Buffer> {
  const text = changelogOf(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8'), { version, date });
  return gzipSync(text, { level: 9 });
}
