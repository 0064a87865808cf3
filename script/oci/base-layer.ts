import type { Architecture } from '../architectures.ts';
import { type DebianPackage, openPackage } from './debian-package.ts';
import { LayerTree } from './layer.ts';
import { fetchPackage, type LockedPackage, type PackageLock } from './package-lock.ts';
import type { TarEntry } from './tar.ts';

/** The user of the store: no user of a host is likely to have the number. */
const STORE_USER = { name: 'weft-store', id: 64532 } as const;

/** Of no use in a container that has no shell: pages, translations, and what C programs convert other charsets with. */
const LEFT_OUT = [
  /^usr\/share\/doc\/(?!.*\/copyright$)/,
  /^usr\/share\/(man|locale|info|lintian|bug|gdb|gcc|iptables|common-licenses\/GFDL|base-files)\b/,
  /^usr\/lib\/[^/]+\/(gconv|audit)(\/|$)/,
  /^(boot|home|media|mnt|opt|srv|usr\/(games|src|local))(\/|$)/,
  /^var\/(backups|local|lock|mail|run|spool|cache)(\/|$)/,
  /^etc\/(apt|cron|profile|motd|update-motd|skel|opt|dpkg|issue|rpc|ethertypes|networks|logcheck|nftables)/,
  /^usr\/lib\/systemd(\/|$)/,
  /^usr\/sbin\/ip6?tables-apply$/,
];

/** The programs by the names that Debian's alternatives give them. flanneld looks for the legacy ones by itself. */
const ALTERNATIVES: Readonly<Record<string, string>> = Object.fromEntries(
  ['iptables', 'ip6tables'].flatMap((program) =>
    ['', '-save', '-restore'].map((word) => [`usr/sbin/${program}${word}`, `${program}-nft${word}`]),
  ),
);

const PASSWD = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
${STORE_USER.name}:x:${STORE_USER.id}:${STORE_USER.id}:the embedded store:/var/lib/weft-store:/sbin/nologin
`;
const GROUP = `root:x:0:\nnogroup:x:65534:\n${STORE_USER.name}:x:${STORE_USER.id}:\n`;
const NSSWITCH = 'passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n';

/** The image's first layer: Debian's files that the executable needs, and no shell. It is the same until the lock is renewed. */
export async function baseTree(lock: PackageLock, architecture: Architecture): Promise<LayerTree> {
  const tree = new LayerTree({ mtime: lock.date });
  const packages: (readonly [LockedPackage, DebianPackage])[] = [];
  for (const locked of lock.architectures[architecture])
    packages.push([locked, openPackage(await fetchPackage(locked, lock))]);
  addPackages(tree, packages);
  for (const [path, target] of Object.entries(ALTERNATIVES)) tree.symlink(path, target);
  tree.file('etc/passwd', PASSWD);
  tree.file('etc/group', GROUP);
  tree.file('etc/nsswitch.conf', NSSWITCH);
  tree.symlink('var/run', '/run');
  for (const folder of ['run/flannel', 'var/lib/weft', 'etc/weft']) tree.folder(folder);
  tree.folder('var/lib/weft-store', 0o700, STORE_USER.id);
  return tree;
}

/** The packages' files, and the records by which scanners of images know the packages. */
export function addPackages(
  tree: LayerTree,
  packages: readonly (readonly [Pick<LockedPackage, 'name'>, DebianPackage])[],
): void {
  const merged = packages.flatMap(([, { entries }]) =>
    entries.filter(isMergedFolder).map(({ path }) => path),
  );
  for (const [{ name }, { control, md5sums, entries }] of packages) {
    for (const entry of entries) if (!isLeftOut(entry.path)) tree.add(moved(entry, merged));
    tree.file(`var/lib/dpkg/status.d/${name}`, `${control.trimEnd()}\nStatus: install ok installed\n`);
    if (md5sums !== undefined) tree.file(`var/lib/dpkg/status.d/${name}.md5sums`, md5sums);
  }
}

const isLeftOut = (path: string): boolean => LEFT_OUT.some((pattern) => pattern.test(path));

/** `/lib` → `usr/lib` of base-files: Debian's packages may still say /lib. */
const isMergedFolder = ({ path, type }: TarEntry): boolean => type === 'symlink' && !path.includes('/');

function moved(entry: TarEntry, merged: readonly string[]): TarEntry {
  const folder = entry.path.split('/')[0] ?? '';
  return merged.includes(folder) && (entry.path.includes('/') || entry.type === 'folder')
    ? { ...entry, path: `usr/${entry.path}` }
    : entry;
}
