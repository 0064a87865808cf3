import assert from 'node:assert/strict';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX, startFlanneld, WEFT } from './flanneld.ts';
import type { Network, Node } from './network.ts';

/**
 * Faults of one network of three hosts, each of which a diagnosis on the first host names by one check:
 *
 *     store .190 etcd v3      h1 .191 (the patient)      h2 .192      h3 .193      each: flanneld ── docker0 ── c
 *
 * What a running flanneld mends at once is done while it is stopped: `isStopped`.
 */
export interface FaultCase {
  /** The check that finds it. */
  readonly id: string;
  /** The patient's flanneld is stopped while it lasts: this is found as well. */
  readonly isStopped?: true;
  /** It is also why flanneld does not run: that is not said beside it. */
  readonly explainsStop?: true;
  /** flanneld's flags as the diagnosis gets them, where they are not those of the daemon. */
  readonly flags?: (flags: readonly string[], lab: FaultLab) => readonly string[];
  inject(lab: FaultLab): Promise<unknown>;
  mend(lab: FaultLab): Promise<unknown>;
  /** The hop where a packet from the patient's container to that of `two` stops; absent where it comes through. */
  readonly hop?: string;
}

export interface FaultLab {
  readonly network: Network;
  readonly one: Node;
  readonly two: Node;
  readonly three: Node;
}

export function faultLab(network: Network): FaultLab {
  const [one, two, three] = network.nodes;
  assert.ok(one && two && three);
  return { network, one, two, three };
}

const PORT = 8472;
const DEVICE = 'flannel.1';

/** Runs a line of shell on the patient. */
const sh =
  (line: string | ((lab: FaultLab) => string)) =>
  (lab: FaultLab): Promise<unknown> =>
    lab.one.host.must(['sh', '-c', typeof line === 'string' ? line : line(lab)]);

const shOn =
  (which: 'two' | 'three', line: string) =>
  (lab: FaultLab): Promise<unknown> =>
    lab[which].host.must(['sh', '-c', line]);

/** A program that does nothing, under another program's name and words. */
function stub(
  host: Host,
  name: string,
  words: readonly string[],
  code = 'setInterval(() => {}, 1e6)',
): Promise<Daemon> {
  const line = 'name=$1; node=$2; shift 2; exec -a "$name" "$node" -e "$@"';
  return host.start(`stub-${name}`, [
    'bash',
    '-c',
    line,
    'bash',
    name,
    process.execPath,
    code,
    '--',
    ...words,
  ]);
}

const stubRuns =
  (name: string, words: (lab: FaultLab) => readonly string[], code?: string) =>
  async ({ one, ...lab }: FaultLab): Promise<void> => {
    const daemon = await stub(one.host, name, words({ one, ...lab }), code);
    await until(
      async () => (await one.host.must(['cat', `/proc/${daemon.pid}/cmdline`])).startsWith(`${name}\0`),
      {
        what: `the program ${name}`,
      },
    );
  };

const stubEnds =
  (name: string) =>
  async ({ one }: FaultLab): Promise<void> => {
    await (await one.host.daemon(`stub-${name}`))?.stop();
  };

const dockerd = (words: (lab: FaultLab) => readonly string[]): Pick<FaultCase, 'inject' | 'mend'> => ({
  inject: stubRuns('dockerd', words),
  mend: stubEnds('dockerd'),
});

const bip = ({ one }: FaultLab): string => `--bip=${one.subnet}.1/24`;

/** A lease of a host that does not exist. The number is free in every network of three. */
const LEASE = `${PREFIX}/subnets/10.0.251.0-24`;
const value = (ip: string, mac: string, vni = 1, backend = 'vxlan'): string =>
  `{"PublicIP":"${ip}","BackendType":"${backend}","BackendData":{"VNI":${vni},"VtepMAC":"${mac}"}}`;

const lease = (text: (lab: FaultLab) => Promise<string> | string): Pick<FaultCase, 'inject' | 'mend'> => ({
  async inject(lab) {
    await lab.network.etcd.must(3, ['put', LEASE, await text(lab)]);
    await quarantined(lab, true);
  },
  async mend(lab) {
    await lab.network.etcd.must(3, ['del', LEASE]);
    await quarantined(lab, false);
  },
});

/** Waits until the patient's daemon has put the lease, or those that it clashes with, into quarantine, or out of it. */
async function quarantined({ one }: FaultLab, isSo: boolean): Promise<void> {
  await until(
    async () => {
      const { stdout } = await one.host.run([WEFT, 'status', '--json', ...one.flags]);
      const { peers } = JSON.parse(stdout) as { peers: { quarantined: unknown[] } };
      return peers.quarantined.length > 0 === isSo;
    },
    { what: `a lease ${isSo ? 'in' : 'out of'} quarantine`, timeoutMs: 10_000, intervalMs: 100 },
  );
}

async function peerLease({ network, two }: FaultLab): Promise<{ ip: string; mac: string }> {
  const key = `${PREFIX}/subnets/${two.subnet}.0-24`;
  const text = await network.etcd.must(3, ['get', '--print-value-only', key]);
  const { PublicIP: ip, BackendData } = JSON.parse(text) as {
    PublicIP: string;
    BackendData: { VtepMAC: string };
  };
  return { ip, mac: BackendData.VtepMAC };
}

interface OtherEtcd {
  readonly name?: string;
  /** `--initial-cluster`; alone without it. */
  readonly cluster?: (lab: FaultLab) => string;
  readonly words?: readonly string[];
  /** Of etcdctl, when it serves. */
  readonly steps?: readonly string[];
}

/** A second etcd on the store's host, for a diagnosis alone. */
const otherEtcd = (
  port: number,
  { words = [], steps = [], name = 'other', cluster }: OtherEtcd,
): Pick<FaultCase, 'inject' | 'mend' | 'flags'> => {
  const urlOf = (lab: FaultLab, offset = 0): string =>
    `http://${lab.network.lab.store.address}:${port + offset}`;
  return {
    flags: (flags, lab) => [
      ...flags.filter((flag) => !flag.startsWith('-etcd-endpoints')),
      `-etcd-endpoints=${urlOf(lab)}`,
    ],
    async inject(lab) {
      const { store } = lab.network.lab;
      await store.start(`etcd-${port}`, [
        'etcd',
        ...[`--name=${name}`, `--data-dir=/run/etcd-${port}`],
        ...(cluster === undefined ? [] : [`--initial-cluster=${cluster(lab)}`]),
        ...[`--listen-client-urls=${urlOf(lab)}`, `--advertise-client-urls=${urlOf(lab)}`],
        ...[`--listen-peer-urls=${urlOf(lab, 1)}`, `--initial-advertise-peer-urls=${urlOf(lab, 1)}`],
        ...words,
      ]);
      // It listens before it serves.
      const ask = ['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${urlOf(lab)}`, 'get', 'x'];
      await until(async () => (await store.run(ask)).code === 0, {
        what: 'another etcd',
        timeoutMs: 20_000,
      });
      for (const step of steps)
        await store.must(['sh', '-c', `ETCDCTL_API=3 etcdctl --endpoints=${urlOf(lab)} ${step}`]);
    },
    async mend(lab) {
      const { store } = lab.network.lab;
      const daemon = await store.daemon(`etcd-${port}`);
      daemon?.kill('SIGKILL');
      await daemon?.exited();
    },
  };
};

/** The same with two members, one of which is killed when both are in office: the other has no majority. */
const twoMembers = (port: number): Pick<FaultCase, 'inject' | 'mend' | 'flags'> => {
  const cluster = (lab: FaultLab): string =>
    ['other', 'second']
      .map((name, n) => `${name}=http://${lab.network.lab.store.address}:${port + 1 + 10 * n}`)
      .join(',');
  const [first, second] = [port, port + 10].map((at, n) =>
    otherEtcd(at, { name: n === 0 ? 'other' : 'second', cluster }),
  );
  assert.ok(first && second);
  return {
    ...first,
    async inject(lab) {
      await Promise.all([first.inject(lab), second.inject(lab)]);
      await second.mend(lab);
    },
  };
};

/** Answers `/health` as etcd does, with a clock of its own. */
const SKEWED = `require('http').createServer((q, a) => {
  a.setHeader('date', new Date(Date.now() + 3600e3).toUTCString());
  a.end('{"health":"true"}');
}).listen(2395, '0.0.0.0')`;

const NFT_DROP = (table: string, verdict: string): string =>
  `nft -f - <<'END'
table inet ${table} {
  chain late { type filter hook forward priority 20; policy accept; iifname "${DEVICE}" ${verdict}; }
}
END`;

/** With flanneld running: what it does not mend. */
const RUNNING: readonly FaultCase[] = [
  {
    id: 'device-forwarding-off',
    hop: 'forwarding',
    inject: sh('sysctl -qw net.ipv4.conf.docker0.forwarding=0'),
    mend: sh('sysctl -qw net.ipv4.conf.docker0.forwarding=1'),
  },
  {
    id: 'rp-filter',
    inject: sh(
      'ip link add dum0 type veth peer name dum1 && ip link set dum1 up && ip addr add 192.0.2.9/24 dev dum0 && ip link set dum0 up && ip route add 172.16.70.192/32 dev dum0 && sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.rp_filter=0',
    ),
    mend: sh('ip link del dum0; sysctl -qw net.ipv4.conf.eth0.rp_filter=0'),
  },
  {
    id: 'iptables-drops',
    inject: sh(`iptables -t mangle -A FORWARD -o ${DEVICE} -j DROP`),
    mend: sh(`iptables -t mangle -D FORWARD -o ${DEVICE} -j DROP`),
  },
  {
    id: 'legacy-drops',
    inject: sh(`iptables-legacy -t mangle -A FORWARD -o ${DEVICE} -j DROP`),
    mend: sh(`iptables-legacy -t mangle -F`),
  },
  {
    id: 'nftables-drops',
    inject: sh(NFT_DROP('site', 'drop')),
    mend: sh('nft delete table inet site'),
  },
  {
    id: 'firewalld-drops',
    inject: sh(NFT_DROP('firewalld', 'reject')),
    mend: sh('nft delete table inet firewalld'),
  },
  {
    id: 'tunnel-blocked-in',
    inject: sh(`iptables -I INPUT -p udp --dport ${PORT} -j DROP`),
    mend: sh(`iptables -D INPUT -p udp --dport ${PORT} -j DROP`),
  },
  {
    id: 'tunnel-blocked-out',
    inject: sh(`iptables -I OUTPUT -p udp --dport ${PORT} -j DROP`),
    mend: sh(`iptables -D OUTPUT -p udp --dport ${PORT} -j DROP`),
  },
  {
    id: 'overlay-masqueraded',
    inject: sh(
      ({ one }) => `iptables -t nat -A POSTROUTING -s ${one.subnet}.0/24 ! -o docker0 -j MASQUERADE`,
    ),
    mend: sh(({ one }) => `iptables -t nat -D POSTROUTING -s ${one.subnet}.0/24 ! -o docker0 -j MASQUERADE`),
  },
  {
    id: 'two-iptables',
    inject: sh(
      'for program in iptables-nft iptables-legacy; do $program -A INPUT -s 192.0.2.77 -j ACCEPT; done',
    ),
    mend: sh(
      'for program in iptables-nft iptables-legacy; do $program -D INPUT -s 192.0.2.77 -j ACCEPT; done',
    ),
  },
  {
    id: 'rule-takes-range',
    inject: sh(
      'ip route add blackhole default table 200; ip rule add to 10.0.0.0/16 lookup 200 priority 100',
    ),
    mend: sh('ip rule del priority 100; ip route flush table 200'),
  },
  {
    id: 'route-shadowed',
    inject: sh(({ two }) => `ip route add ${two.subnet}.0/25 dev eth0`),
    mend: sh(({ two }) => `ip route del ${two.subnet}.0/25 dev eth0`),
  },
  {
    id: 'bridge-address',
    inject: sh('ip addr add 10.0.250.1/24 dev docker0'),
    mend: sh('ip addr del 10.0.250.1/24 dev docker0'),
  },
  { id: 'docker-bip', ...dockerd(() => ['--bip=10.0.99.1/24', '--mtu=1450', '--ip-masq=false']) },
  { id: 'docker-mtu', ...dockerd((lab) => [bip(lab), '--mtu=1500', '--ip-masq=false']) },
  { id: 'docker-masquerade', ...dockerd((lab) => [bip(lab), '--mtu=1450']) },
  {
    id: 'docker-json',
    async inject(lab) {
      await lab.one.host.write('/run/daemon.json', '{"mtu": 1450}');
      await dockerd((it) => [
        bip(it),
        '--mtu=1450',
        '--ip-masq=false',
        '--config-file=/run/daemon.json',
      ]).inject(lab);
    },
    mend: stubEnds('dockerd'),
  },
  { id: 'bridge-down', inject: sh('ip link set docker0 down'), mend: sh('ip link set docker0 up') },
  { id: 'port-down', inject: sh('ip link set veth-c down'), mend: sh('ip link set veth-c up') },
  { id: 'container-mtu', inject: sh('ip link set veth-c mtu 1500'), mend: sh('ip link set veth-c mtu 1450') },
  { id: 'networkmanager', inject: stubRuns('NetworkManager', () => []), mend: stubEnds('NetworkManager') },
  { id: 'networkd', inject: stubRuns('systemd-networkd', () => []), mend: stubEnds('systemd-networkd') },
  {
    id: 'second-daemon',
    inject: stubRuns('flanneld', () => [`-etcd-prefix=${PREFIX}`]),
    mend: stubEnds('flanneld'),
  },
  {
    id: 'tunnel-silent',
    inject: shOn('two', `iptables -I INPUT -p udp --dport ${PORT} -j DROP`),
    mend: shOn('two', `iptables -D INPUT -p udp --dport ${PORT} -j DROP`),
  },
  {
    id: 'peer-down',
    inject: ({ network, two }) => network.lab.onWire([`link set ${two.host.name} down`]),
    mend: ({ network, two }) => network.lab.onWire([`link set ${two.host.name} up`]),
  },
  {
    id: 'path-mtu',
    inject: ({ network, two }) => network.lab.onWire([`link set ${two.host.name} mtu 1400`]),
    mend: ({ network, two }) => network.lab.onWire([`link set ${two.host.name} mtu 1500`]),
  },
  {
    id: 'registry-unreachable',
    inject: ({ network }) => Promise.all(network.etcd.members.map((member) => member.freeze())),
    mend: ({ network }) => Promise.all(network.etcd.members.map((member) => member.thaw())),
  },
  {
    id: 'registry-member',
    flags: (flags, { network }) =>
      flags.map((flag) =>
        flag.startsWith('-etcd-endpoints') ? `${flag},http://${network.lab.store.address}:2399` : flag,
      ),
    inject: async () => {},
    mend: async () => {},
  },
  {
    id: 'registry-no-leader',
    ...twoMembers(2401),
  },
  {
    id: 'registry-auth',
    ...otherEtcd(2441, { steps: ['user add root:secret', 'auth enable'] }),
  },
  {
    id: 'registry-full',
    ...otherEtcd(2421, {
      words: ['--quota-backend-bytes=100000'],
      steps: [
        "put filler $(head -c 90000 /dev/zero | tr '\\0' x) >/dev/null; for n in 1 2 3 4; do etcdctl --endpoints=$ETCD put filler $(head -c 90000 /dev/zero | tr '\\0' x); done; true",
      ],
    }),
  },
  {
    id: 'config-missing',
    ...otherEtcd(2431, {}),
  },
  {
    id: 'registry-other-api',
    flags: (flags) => [...flags, '--etcd-api=v2'],
    inject: async () => {},
    mend: async () => {},
  },
  {
    id: 'clock-skew',
    flags: (flags, { network }) => [
      ...flags.filter((flag) => !flag.startsWith('-etcd-endpoints')),
      `-etcd-endpoints=http://${network.lab.store.address}:2395`,
    ],
    async inject({ network }) {
      const { store } = network.lab;
      await stub(store, 'etcd-skewed', [], SKEWED);
      const ask = `exec 3<>/dev/tcp/${store.address}/2395`;
      await until(async () => (await store.run(['bash', '-c', ask])).code === 0, {
        what: 'a server with another clock',
      });
    },
    async mend({ network }) {
      await (await network.lab.store.daemon('stub-etcd-skewed'))?.stop();
    },
  },
  {
    id: 'duplicate-public-ip',
    inject: async (lab) =>
      lab.network.etcd.must(3, ['put', LEASE, value((await peerLease(lab)).ip, '02:00:00:00:02:51')]),
    mend: ({ network }) => network.etcd.must(3, ['del', LEASE]),
  },
  {
    id: 'duplicate-vtep-mac',
    ...lease(async (lab) => value('172.16.70.240', (await peerLease(lab)).mac)),
  },
  {
    id: 'peer-vni',
    inject: ({ network }) =>
      network.etcd.must(3, ['put', LEASE, value('172.16.70.240', '02:00:00:00:02:51', 5)]),
    mend: ({ network }) => network.etcd.must(3, ['del', LEASE]),
  },
  { id: 'peer-backend', ...lease(() => value('172.16.70.240', '02:00:00:00:02:51', 1, 'host-gw')) },
  { id: 'lease-quarantined', ...lease(() => 'this is no lease') },
  {
    id: 'subnet-file',
    inject: sh('mv /run/flannel/subnet.env /run/flannel/subnet.away'),
    mend: sh('mv /run/flannel/subnet.away /run/flannel/subnet.env'),
  },
  {
    id: 'daemon-silent',
    inject: async ({ one }) => (await one.host.daemon('flanneld'))?.kill('SIGSTOP'),
    mend: async ({ one }) => (await one.host.daemon('flanneld'))?.kill('SIGCONT'),
  },
];

/** The only permanent entries of the overlay's device, restored from what `ip -batch` reads. */
const save = (file: string, list: string): string => `${list} > /run/${file}`;

/** With flanneld stopped: what it would mend. */
const STOPPED: readonly FaultCase[] = [
  {
    id: 'daemon-not-running',
    inject: async () => {},
    mend: async () => {},
  },
  {
    id: 'ip-forward-off',
    inject: sh('sysctl -qw net.ipv4.ip_forward=0'),
    mend: sh('sysctl -qw net.ipv4.ip_forward=1'),
  },
  {
    id: 'device-mtu',
    inject: sh(`ip link set ${DEVICE} mtu 1300`),
    mend: sh(`ip link set ${DEVICE} mtu 1450`),
  },
  {
    id: 'route-missing',
    inject: sh(({ two }) => `ip route del ${two.subnet}.0/24 dev ${DEVICE}`),
    mend: sh(
      ({ two }) => `ip route add ${two.subnet}.0/24 via ${two.subnet}.0 dev ${DEVICE} onlink proto boot`,
    ),
  },
  {
    id: 'neighbour-missing',
    inject: sh(
      ({ two }) =>
        `ip neigh show ${two.subnet}.0 dev ${DEVICE} | sed 's/.*lladdr \\(\\S*\\).*/\\1/' > /run/lladdr; ip neigh del ${two.subnet}.0 dev ${DEVICE}`,
    ),
    mend: sh(
      ({ two }) => `ip neigh replace ${two.subnet}.0 lladdr $(cat /run/lladdr) dev ${DEVICE} nud permanent`,
    ),
  },
  {
    id: 'fdb-missing',
    inject: sh(
      ({ two }) =>
        `bridge fdb replace $(cat /run/lladdr) dev ${DEVICE} dst 172.16.70.250 self permanent; test -n "${two.subnet}"`,
    ),
    mend: sh(`bridge fdb replace $(cat /run/lladdr) dev ${DEVICE} dst 172.16.70.192 self permanent`),
  },
  {
    id: 'stale-entries',
    inject: sh(`bridge fdb append 02:00:00:00:0a:0b dev ${DEVICE} dst 172.16.70.250 self permanent`),
    mend: sh(`bridge fdb del 02:00:00:00:0a:0b dev ${DEVICE} dst 172.16.70.250 self`),
  },
  {
    id: 'underlay-mtu',
    inject: sh('ip link set eth0 mtu 1400'),
    mend: sh('ip link set eth0 mtu 1500'),
  },
  {
    id: 'lease-taken',
    async inject({ network, one }) {
      const key = `${PREFIX}/subnets/${one.subnet}.0-24`;
      const text = await network.etcd.must(3, ['get', '--print-value-only', key]);
      await one.host.write('/run/lease', text.trim());
      const other = JSON.stringify({ ...JSON.parse(text), PublicIP: '172.16.70.244', Node: 'another' });
      await network.etcd.must(3, ['put', key, other]);
    },
    async mend({ network, one }) {
      const key = `${PREFIX}/subnets/${one.subnet}.0-24`;
      await network.etcd.must(3, ['put', key, (await one.host.read('/run/lease')) ?? '']);
    },
  },
  {
    id: 'forward-policy',
    flags: (flags) => [...flags, '--iptables-forward-rules=false'],
    inject: sh(
      'iptables-save > /run/rules; iptables -F FORWARD; iptables -F FLANNEL-FWD; iptables -X FLANNEL-FWD; for t in raw mangle filter; do iptables -t $t -F; iptables -t $t -X; done; iptables -P FORWARD DROP',
    ),
    mend: sh('iptables -P FORWARD ACCEPT; iptables-restore < /run/rules'),
  },
  {
    id: 'rules-missing',
    inject: sh(
      'iptables-save > /run/rules; for t in raw mangle filter nat; do iptables -t $t -F; done; iptables -P FORWARD DROP',
    ),
    mend: sh('iptables -P FORWARD ACCEPT; iptables-restore < /run/rules'),
  },
  {
    id: 'daemon-socket',
    explainsStop: true,
    async inject(lab) {
      const code = `require('http').createServer((q, a) => a.end('hello')).listen(process.argv.at(-1))`;
      const { stdout } = await lab.one.host.run(['sh', '-c', 'ls /var/lib/weft/network-*.json']);
      await stubRuns('squatter', () => [stdout.trim().replace(/json$/, 'sock')], code)(lab);
      const socket = stdout.trim().replace(/json$/, 'sock');
      await until(async () => (await lab.one.host.run(['test', '-S', socket])).code === 0, {
        what: 'the socket of another program',
      });
    },
    async mend(lab) {
      await stubEnds('squatter')(lab);
      await sh('rm -f /var/lib/weft/network-*.sock')(lab);
    },
  },
  // From here on the kernel has lost what was on the device, and the end of the table starts flanneld again.
  {
    id: 'vtep-mac',
    inject: sh(
      `${save('mac', `cat /sys/class/net/${DEVICE}/address 2>/dev/null || ip -j link show ${DEVICE} | sed 's/.*"address":"\\([^"]*\\)".*/\\1/'`)}; ip link set ${DEVICE} address 02:00:00:0b:ad:01`,
    ),
    mend: sh(`ip link set ${DEVICE} address $(cat /run/mac)`),
  },
  {
    id: 'vtep-address',
    inject: sh(({ one }) => `ip addr del ${one.subnet}.0/32 dev ${DEVICE}`),
    mend: sh(({ one }) => `ip addr add ${one.subnet}.0/32 dev ${DEVICE}`),
  },
  { id: 'device-down', inject: sh(`ip link set ${DEVICE} down`), mend: async () => {} },
  { id: 'device-missing', inject: sh(`ip link del ${DEVICE}`), mend: async () => {} },
  {
    id: 'device-conflict',
    explainsStop: true,
    inject: sh(`ip link add other0 type vxlan id 1 dstport ${PORT} local 172.16.70.191 dev eth0`),
    mend: sh('ip link del other0'),
  },
  {
    id: 'port-taken',
    explainsStop: true,
    inject: stubRuns('rival', () => [], `require('dgram').createSocket('udp4').bind(${PORT})`),
    mend: stubEnds('rival'),
  },
  {
    id: 'device-settings',
    inject: sh(`ip link add ${DEVICE} type vxlan id 1 dstport 4789 local 172.16.70.191 dev eth0 nolearning`),
    mend: sh(`ip link del ${DEVICE}`),
  },
];

const STOPPED_ID = 'daemon-not-running';

/** What a diagnosis says while a fault lasts, sorted. */
export function expectedIds({ id, isStopped, explainsStop }: FaultCase): string[] {
  const also = isStopped === true && explainsStop !== true ? [STOPPED_ID] : [];
  return [...new Set([id, ...also])].sort();
}

export const FAULTS: readonly FaultCase[] = [
  ...RUNNING,
  ...STOPPED.map((fault) => ({ ...fault, isStopped: true }) as const),
];

/** Stops the patient's flanneld; what it made stays. */
export async function stopPatient({ one }: FaultLab): Promise<void> {
  await (await one.host.daemon('flanneld'))?.stop();
}

/** Starts it again; it mends what it finds. */
export async function startPatient({ one }: FaultLab): Promise<void> {
  await startFlanneld(one.host, one.flags);
}
