import { DEFAULT_DOCKER_FWMARK, parseDockerFwmark } from '#src/docker/docker-fwmark.ts';
import { DOCKER_HOST, parseDockerHost } from '#src/docker/docker-host.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Flag, OptionsOf } from '#src/lib/go-flags.ts';
import { parseVmodule } from '#src/lib/klog.ts';

/**
 * All flags of flanneld: the one table that the command line, the environment, `--help`,
 * docs/reference/flags.md and {@link FlanneldOptions} come from. Names and defaults of flannel's
 * flags are flannel's (main.go of v0.9.1 and of the 2026 HEAD).
 */
export interface FlanneldFlagNotes {
  readonly group: FlagGroup;
  /** `all`: flannel v0.9.1 and today's. `new`: came after v0.9.1. `weft`: flannel does not know it. */
  readonly since: 'all' | 'new' | 'weft';
  /** Written to no log. */
  readonly secret?: true;
}

export const FLAG_GROUPS = [
  'etcd',
  'Interface and addresses',
  'Lease',
  'Trust',
  'Packet filter and routes',
  'Docker networks',
  'Probes',
  'Health',
  'Logging',
  'Kubernetes',
  'Other',
] as const;
export type FlagGroup = (typeof FLAG_GROUPS)[number];

/** Prefix of the environment variables: `--etcd-prefix` is also `FLANNELD_ETCD_PREFIX`. */
export const ENVIRONMENT_PREFIX = 'FLANNELD_';

const checkVmodule = (text: string): string | undefined =>
  parseVmodule(text) === undefined ? 'syntax error: expect comma-separated list of filename=N' : undefined;
const checkBacktraceAt = (text: string): string | undefined =>
  text === '' || /^[^:]+\.[^:]*:[0-9]+$/.test(text) ? undefined : 'syntax error: expect file.go:234';

const checkDockerFwmark = (text: string): string | undefined => {
  const read = parseDockerFwmark(text);
  return 'problem' in read ? read.problem : undefined;
};

const checkDockerHost = (text: string): string | undefined => {
  try {
    parseDockerHost(text);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
};

export const FLANNELD_FLAGS = {
  'etcd-endpoints': {
    group: 'etcd',
    since: 'all',
    kind: 'list',
    default: ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
    description:
      'etcd servers as `URLs`, separated by commas; the next one is tried when one does not answer',
  },
  'etcd-prefix': {
    group: 'etcd',
    since: 'all',
    kind: 'string',
    default: '/coreos.com/network',
    description: 'the `key` below which the network config and the leases are kept',
  },
  networks: {
    group: 'etcd',
    since: 'weft',
    kind: 'list',
    default: [],
    description:
      'serve several networks: their `names`, separated by commas; the config of each is at PREFIX/NAME/config',
  },
  'watch-networks': {
    group: 'etcd',
    since: 'weft',
    kind: 'bool',
    default: false,
    description:
      'serve every network that has a config at PREFIX/NAME/config, or those of --networks; they come and go while the daemon runs',
  },
  'etcd-api': {
    group: 'etcd',
    since: 'weft',
    kind: 'choice',
    default: 'auto',
    choices: ['auto', 'v2', 'v3'],
    description: "etcd's API; auto takes the one in which the network config is found",
  },
  'etcd-keyfile': {
    group: 'etcd',
    since: 'all',
    kind: 'string',
    default: '',
    description: "PEM `file` with the client certificate's key",
  },
  'etcd-certfile': {
    group: 'etcd',
    since: 'all',
    kind: 'string',
    default: '',
    description: 'PEM `file` with the client certificate to show to etcd',
  },
  'etcd-cafile': {
    group: 'etcd',
    since: 'all',
    kind: 'string',
    default: '',
    description: "PEM `file` with the authority that signed etcd's certificate",
  },
  'etcd-username': {
    group: 'etcd',
    since: 'all',
    kind: 'string',
    default: '',
    description: '`user` to log in to etcd as',
  },
  'etcd-password': {
    group: 'etcd',
    since: 'all',
    kind: 'string',
    default: '',
    secret: true,
    description: "that user's `password`; given as FLANNELD_ETCD_PASSWORD it stays out of the process list",
  },
  iface: {
    group: 'Interface and addresses',
    since: 'all',
    kind: 'repeatable',
    default: [],
    description:
      'interface (`name` or IP) that leads to the other hosts; may be repeated, the first match wins',
  },
  'iface-regex': {
    group: 'Interface and addresses',
    since: 'all',
    kind: 'repeatable',
    default: [],
    description:
      '`expression` that matches the address or the name of that interface; may be repeated, comes after --iface',
  },
  'iface-can-reach': {
    group: 'Interface and addresses',
    since: 'new',
    kind: 'string',
    default: '',
    description: 'take the interface by which this `IP` is reached',
  },
  'public-ip': {
    group: 'Interface and addresses',
    since: 'all',
    kind: 'string',
    default: '',
    description: '`IP` that other hosts reach this one by, if it is not the address of the interface',
  },
  'public-ipv6': {
    group: 'Interface and addresses',
    since: 'new',
    kind: 'string',
    default: '',
    description:
      '`IPv6` address that other hosts reach this one by, if it is not the address of the interface',
  },
  'underlay-family': {
    group: 'Interface and addresses',
    since: 'weft',
    kind: 'choice',
    default: 'auto',
    choices: ['auto', 'v4', 'v6'],
    description:
      "which addresses of the interface the outer packets have: auto takes those of the network's own families, v4 or v6 one of them for all packets; the same on all hosts",
  },
  'subnet-file': {
    group: 'Lease',
    since: 'all',
    kind: 'string',
    default: '/run/flannel/subnet.env',
    description: "`file` to write this host's subnet and MTU to, for Docker",
  },
  'subnet-lease-renew-margin': {
    group: 'Lease',
    since: 'all',
    kind: 'int',
    default: 60,
    description: 'renew the lease this many `minutes` before it ends, 1 to 1439',
  },
  'lease-ttl': {
    group: 'Lease',
    since: 'weft',
    kind: 'duration',
    default: 86_400_000,
    description: 'how long the lease outlives this host, at most, when it is gone for good',
  },
  'state-dir': {
    group: 'Lease',
    since: 'weft',
    kind: 'string',
    default: '/var/lib/weft',
    description: "`folder` for the host's identity and for what it last knew of its peers",
  },
  'wireguard-rotate': {
    group: 'Lease',
    since: 'weft',
    kind: 'duration',
    default: 0,
    description:
      'renew the WireGuard keys of the network so often, without a lost packet; all hosts need the flag, and UDP port ListenPort+10; 0 is never',
  },
  'wireguard-rotate-wait': {
    group: 'Lease',
    since: 'weft',
    kind: 'duration',
    default: 300_000,
    description: 'how long such a renewal waits for a host from which nothing comes',
  },
  trust: {
    group: 'Trust',
    since: 'weft',
    kind: 'choice',
    default: 'off',
    choices: ['off', 'first-use', 'allow-list'],
    description:
      'whose leases are used: everybody’s; in each subnet those of the key that was seen first there; those of the keys that --trust-file names',
  },
  'trust-file': {
    group: 'Trust',
    since: 'weft',
    kind: 'string',
    default: '/etc/weft/trusted-keys',
    description: '`file` with the keys of --trust=allow-list, and the subnets that each may hold',
  },
  'trust-unsigned': {
    group: 'Trust',
    since: 'weft',
    kind: 'choice',
    default: 'auto',
    choices: ['auto', 'accept', 'refuse'],
    description:
      'leases without a signature, such as flannel’s; auto accepts them with --trust=first-use and refuses them with --trust=allow-list',
  },
  'ip-masq': {
    group: 'Packet filter and routes',
    since: 'all',
    kind: 'bool',
    default: false,
    description: 'masquerade what leaves the overlay network',
  },
  'ip-masq-fully-random-disable': {
    group: 'Packet filter and routes',
    since: 'new',
    kind: 'bool',
    default: false,
    description: 'masquerade without fully random source ports',
  },
  'iptables-forward-rules': {
    group: 'Packet filter and routes',
    since: 'new',
    kind: 'bool',
    default: true,
    description: 'accept forwarded packets from and to the overlay network',
  },
  'iptables-resync': {
    group: 'Packet filter and routes',
    since: 'new',
    kind: 'int',
    default: 5,
    description: 'check every so many `seconds` that the packet filter rules are in place',
  },
  'docker-fwmark': {
    group: 'Packet filter and routes',
    since: 'weft',
    kind: 'string',
    default: DEFAULT_DOCKER_FWMARK,
    check: checkDockerFwmark,
    description:
      'the `bit` to set in the mark of packets that come from peers, which Docker accepts with --bridge-accept-fwmark; 0 for none',
  },
  'ip-blackhole-route': {
    group: 'Packet filter and routes',
    since: 'new',
    kind: 'bool',
    default: false,
    description:
      'add a blackhole route for the own subnet: packets to containers that are gone stay on the host',
  },
  'full-check-interval': {
    group: 'Packet filter and routes',
    since: 'weft',
    kind: 'duration',
    default: 0,
    description:
      'compare all kernel state with what is wanted this often; 0 is each minute, or as seldom as keeps it below a thousandth of a processor; changes are repaired at once anyway',
  },
  'linear-routes-above': {
    group: 'Packet filter and routes',
    since: 'weft',
    kind: 'int',
    default: 500,
    description: 'above this many `peers` each route gets a metric of its own, which keeps adding them fast',
  },
  'fast-path': {
    group: 'Packet filter and routes',
    since: 'weft',
    kind: 'choice',
    default: 'off',
    choices: ['off', 'on'],
    description:
      "on: established flows between containers go past the host's rules, which still see each flow once a second; the network's own FastPath comes first",
  },
  'allow-overlap': {
    group: 'Packet filter and routes',
    since: 'weft',
    kind: 'bool',
    default: false,
    description: 'start even if the network overlaps a network that this host is on',
  },
  'docker-driver': {
    group: 'Docker networks',
    since: 'weft',
    kind: 'choice',
    default: 'auto',
    choices: ['auto', 'on', 'off'],
    description:
      "serve Docker's network driver weft; auto does so once there is Docker's socket on this host",
  },
  'docker-networks': {
    group: 'Docker networks',
    since: 'weft',
    kind: 'choice',
    default: 'all',
    choices: ['all', 'created'],
    description: "which networks Docker has on this host: all of the registry's, or only those created on it",
  },
  'docker-host': {
    group: 'Docker networks',
    since: 'weft',
    kind: 'string',
    default: DOCKER_HOST,
    check: checkDockerHost,
    description: "Docker's `socket`, as unix:///PATH",
  },
  'tenant-port': {
    group: 'Docker networks',
    since: 'weft',
    kind: 'int',
    default: 8473,
    description:
      "UDP `port` at which hosts take each other's packets of Docker's networks, the same on all hosts",
  },
  'address-grace': {
    group: 'Docker networks',
    since: 'weft',
    kind: 'duration',
    default: 86_400_000,
    description:
      "how long a host has to be gone before the addresses of its containers are free for others; 0 is for ever, until 'weft address free'",
  },
  'accept-moves': {
    group: 'Docker networks',
    since: 'weft',
    kind: 'bool',
    default: false,
    description:
      "let 'weft move' on other hosts make and start containers here; everybody with write access to the registry can then start any container on this host, as root",
  },
  probes: {
    group: 'Probes',
    since: 'weft',
    kind: 'bool',
    default: true,
    description: 'measure every peer, inside the tunnel and outside of it; false sends nothing',
  },
  'probe-budget': {
    group: 'Probes',
    since: 'weft',
    kind: 'int',
    default: 50,
    description: 'most probe `packets` a second, however many peers there are',
  },
  'responder-port': {
    group: 'Probes',
    since: 'weft',
    kind: 'int',
    default: 8474,
    description:
      "TCP and UDP `port` at which hosts answer each other's probes inside the tunnel, the same on all hosts; 0 for none",
  },
  'healthz-ip': {
    group: 'Health',
    since: 'all',
    kind: 'string',
    default: '0.0.0.0',
    description: '`IP` to serve /healthz and /readyz on',
  },
  'healthz-port': {
    group: 'Health',
    since: 'all',
    kind: 'int',
    default: 0,
    description: 'TCP `port` to serve /healthz and /readyz on; 0 for neither',
  },
  v: {
    group: 'Logging',
    since: 'all',
    kind: 'int',
    default: 0,
    description: 'log `level`: 0 is what an operator needs, more is for finding faults',
  },
  vmodule: {
    group: 'Logging',
    since: 'all',
    kind: 'string',
    default: '',
    check: checkVmodule,
    description: 'log levels of single files, as `pattern=N,...`: vxlan=2,etcd*=3',
  },
  log_backtrace_at: {
    group: 'Logging',
    since: 'all',
    kind: 'string',
    default: '',
    check: checkBacktraceAt,
    description: 'a `file:N`; without effect, accepted because flannel accepts it',
  },
  'log-format': {
    group: 'Logging',
    since: 'weft',
    kind: 'choice',
    default: 'text',
    choices: ['text', 'json'],
    description: "lines as flannel writes them (klog's format), or one JSON object a line",
  },
  'kube-subnet-mgr': {
    group: 'Kubernetes',
    since: 'all',
    kind: 'bool',
    default: false,
    description: 'take leases from Kubernetes instead of etcd; not there yet',
  },
  'kube-api-url': {
    group: 'Kubernetes',
    since: 'all',
    kind: 'string',
    default: '',
    description: "`URL` of Kubernetes' API server",
  },
  'kube-annotation-prefix': {
    group: 'Kubernetes',
    since: 'new',
    kind: 'string',
    default: 'flannel.alpha.coreos.com',
    description: '`prefix` of the annotations on nodes',
  },
  'kubeconfig-file': {
    group: 'Kubernetes',
    since: 'all',
    kind: 'string',
    default: '',
    description: '`file` that says how to reach Kubernetes',
  },
  'net-config-path': {
    group: 'Kubernetes',
    since: 'new',
    kind: 'string',
    default: '/etc/kube-flannel/net-conf.json',
    description: '`file` with the network config',
  },
  'set-node-network-unavailable': {
    group: 'Kubernetes',
    since: 'new',
    kind: 'bool',
    default: true,
    description: "clear the node's NetworkUnavailable condition when ready",
  },
  version: {
    group: 'Other',
    since: 'all',
    kind: 'bool',
    default: false,
    environment: false,
    description: 'print the version and exit',
  },
} as const satisfies Readonly<Record<string, Flag & FlanneldFlagNotes>>;

/** The table's values by camelCase name: `--etcd-endpoints` is `etcdEndpoints`. */
export type FlanneldOptions = OptionsOf<typeof FLANNELD_FLAGS>;
