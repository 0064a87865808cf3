import type { CleanMachine } from './clean-machine.ts';

/** Folders whose content comes and goes without a package: logs, caches, dpkg's own book. Other mounts are left out. */
const RESTLESS = [
  '/tmp',
  '/var/cache',
  '/var/lib/apt',
  '/var/lib/dnf',
  '/var/lib/dpkg',
  '/var/lib/systemd/timers',
  '/var/log',
  '/var/tmp',
];
const RESTLESS_IN_RUN = ['/run/containerd', '/run/docker', '/run/log', '/run/systemd'];
/** The lock of all that use iptables, made by the first of them. */
const SHARED_LOCK = '/run/xtables.lock';

const prune = (folders: readonly string[]): string => folders.map((it) => `-path '${it}/*'`).join(' -o ');
const list = (place: string, but: readonly string[]): string =>
  `find ${place} -xdev \\( ${prune(but)} \\) -prune -o ! -path ${SHARED_LOCK} -printf '%p %y %m %u %l\\n' | sort`;

/** What a package and its programs can leave on a machine, each by the command that lists it. */
const PARTS: Readonly<Record<string, string>> = {
  files: list('/', RESTLESS),
  run: list('/run', RESTLESS_IN_RUN),
  settings: 'find /etc -type f ! -name ld.so.cache -exec cksum {} + | sort -k3',
  units: 'systemctl list-unit-files --no-legend --no-pager | sort',
  loaded:
    'systemctl list-units --all --plain --no-legend --no-pager --type=service,socket | cut -d" " -f1 | sort',
  users: 'getent passwd; getent group',
  devices: 'ip -br -d link | cut -d" " -f1 | cut -d@ -f1 | sort',
  addresses: 'ip -br address | grep -v ^veth | sed "s/ fe80[^ ]*//" | sort',
  routes: 'ip -4 route show table all | sort; ip -6 route show table all | grep -v -e fe80 -e ff00 | sort',
  policies: 'ip rule; ip -6 rule',
  neighbours: 'ip neigh show nud permanent; bridge fdb show | grep -v -e 33:33 -e 01:00:5e | grep dst || :',
  rules: 'nft list ruleset | sed "s/packets [0-9]* bytes [0-9]*/packets N/"',
  legacy: 'cat /proc/net/ip_tables_names /proc/net/ip6_tables_names',
  namespaces: 'ip netns list',
  sysctls:
    'sysctl -a --pattern "^net[.](ipv4[.](ip_forward|conf[.](all|default)|neigh[.]default)|ipv6[.]conf[.](all|default)|bridge)" 2>/dev/null',
};

export type MachineState = Readonly<Record<string, readonly string[]>>;

/** All that a purge has to bring back: files, units, users, and the kernel's state of the network. */
export async function machineState(machine: CleanMachine): Promise<MachineState> {
  const parts = Object.entries(PARTS).map(
    async ([name, command]) => [name, linesOf(name, await machine.script(command))] as const,
  );
  return Object.fromEntries(await Promise.all(parts));
}

const linesOf = (name: string, text: string): string[] =>
  (name === 'rules' ? withoutEmptyTables(text) : text).split('\n').filter(Boolean);

/**
 * A table of iptables' that has no rule is no trace: iptables-nft makes one at each question, and never removes it, as nobody
 * can say whose it is. Its chains are those of iptables, and accept.
 */
const withoutEmptyTables = (ruleset: string): string =>
  ruleset.replaceAll(
    /^table ip6? (filter|nat|mangle|raw|security) \{\n(\s*chain [A-Z]+ \{\n\s*type .* policy accept;\n\s*\}\n*)*\}\n/gm,
    '',
  );

/** What differs, one line each: `files: + /etc/weft d 755 root`. */
export function changesBetween(before: MachineState, after: MachineState): string[] {
  const changes: string[] = [];
  for (const name of Object.keys(PARTS)) {
    const [was, is] = [before[name] ?? [], after[name] ?? []];
    for (const line of was) if (!is.includes(line)) changes.push(`${name}: - ${line}`);
    for (const line of is) if (!was.includes(line)) changes.push(`${name}: + ${line}`);
  }
  return changes;
}
