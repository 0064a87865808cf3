/** One file of a report: where it comes from. */
export interface ReportPart {
  /** In the archive. */
  readonly name: string;
  /** Programs whose output it has, one after the other. */
  readonly commands?: readonly (readonly [string, ...string[]])[];
  /** Or a file of the host. */
  readonly file?: string;
  /** Or what another part of this program says. */
  readonly ask?: (signal: AbortSignal) => Promise<string>;
  /** Milliseconds. Default 5,000. */
  readonly timeoutMs?: number;
}

export interface PartPlaces {
  /** In it flannel's networks have their files. */
  readonly stateFiles: readonly string[];
  readonly subnetFiles: readonly string[];
  /** The name of the network namespace of Docker's networks. */
  readonly tenantNamespace: string;
}

const part = (name: string, ...commands: (readonly [string, ...string[]])[]): ReportPart => ({
  name,
  commands,
});

/** What every host has. */
export function hostParts({ stateFiles, subnetFiles, tenantNamespace }: PartPlaces): ReportPart[] {
  const inTenants = (name: string, ...commands: (readonly [string, ...string[]])[]): ReportPart =>
    part(`docker-networks/${name}`, ...commands.map((argv) => netns(tenantNamespace, argv)));
  return [
    part(
      'versions.txt',
      ['uname', '-srvm'],
      ['cat', '/etc/os-release'],
      ['docker', '--version'],
      ['ip', '-V'],
      ['iptables', '--version'],
      ['nft', '--version'],
      ['systemctl', '--version'],
    ),
    part('links.txt', ['ip', '-d', '-s', 'link']),
    part('addresses.txt', ['ip', 'address']),
    part(
      'routes.txt',
      ['ip', 'route', 'show', 'table', 'all'],
      ['ip', '-6', 'route', 'show', 'table', 'all'],
    ),
    part('policy.txt', ['ip', 'rule'], ['ip', '-6', 'rule']),
    part('neighbours.txt', ['ip', 'neigh']),
    part('fdb.txt', ['bridge', 'fdb']),
    part('nftables.txt', ['nft', 'list', 'ruleset']),
    part('iptables.txt', ['iptables-save', '-c'], ['ip6tables-save', '-c'], ['iptables-legacy-save', '-c']),
    part('sysctls.txt', ['sysctl', '-a', '--pattern', SYSCTLS]),
    part('sockets.txt', ['ss', '-lunp'], ['ss', '-ltnp'], ['ss', '-s']),
    part('snmp.txt', ['nstat', '-az']),
    part('docker.txt', ['docker', 'info'], ['docker', 'network', 'ls'], ['docker', 'ps', '--no-trunc']),
    { name: 'docker-daemon.json', file: '/etc/docker/daemon.json' },
    part(
      'units.txt',
      ['systemctl', 'cat', 'flanneld', 'docker'],
      ['systemctl', 'status', 'flanneld', 'docker'],
    ),
    {
      ...part('log.txt', ['journalctl', '-u', 'flanneld', '-n', '5000', '--no-pager', '-o', 'short-iso']),
      timeoutMs: 10_000,
    },
    inTenants('links.txt', ['ip', '-d', '-s', 'link']),
    inTenants('neighbours.txt', ['ip', 'neigh']),
    inTenants('fdb.txt', ['bridge', 'fdb']),
    inTenants('nftables.txt', ['nft', 'list', 'ruleset']),
    ...[...subnetFiles, ...stateFiles].map((file) => ({ name: `files/${file.replace(/.*\//, '')}`, file })),
  ];
}

const netns = (name: string, argv: readonly [string, ...string[]]): readonly [string, ...string[]] => [
  'ip',
  'netns',
  'exec',
  name,
  ...argv,
];

/** Those that decide about forwarded packets, and the limits of tables. */
const SYSCTLS =
  '^net\\.(ipv[46]\\.(ip_forward|conf\\..*\\.(forwarding|rp_filter|arp_ignore|arp_announce|accept_local|send_redirects|proxy_arp)|neigh\\.default\\.gc_thresh.|ip_no_pmtu_disc|tcp_mtu_probing)|bridge\\..*|netfilter\\.nf_conntrack_(count|max)|core\\.(rmem_max|netdev_max_backlog))';
