import { until } from '#src/sys/until.ts';
import {
  bip,
  DEVICE,
  dockerd,
  type FaultCase,
  LEASE,
  lease,
  NFT_DROP,
  otherEtcd,
  ownLease,
  PORT,
  peerLease,
  SKEWED,
  sh,
  shOn,
  stub,
  stubEnds,
  stubRuns,
  twoMembers,
  value,
} from './fault-lab.ts';
import { HOST_FAULTS } from './faults-of-the-host.ts';
import { CONFIG, PREFIX } from './flanneld.ts';

/** With flanneld running: what it does not mend. */
export const RUNNING_FAULTS: readonly FaultCase[] = [
  {
    id: 'device-forwarding-off',
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
    id: 'registry-tls',
    flags: (flags) =>
      flags.map((flag) => (flag.startsWith('-etcd-endpoints') ? flag.replaceAll('http:', 'https:') : flag)),
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
        "put filler $(head -c 90000 /dev/zero | tr '\\0' x) >/dev/null; for n in 1 2 3 4; do etcdctl put filler $(head -c 90000 /dev/zero | tr '\\0' x); done; true",
      ],
    }),
  },
  {
    id: 'config-missing',
    ...otherEtcd(2431, {}),
  },
  {
    id: 'lease-missing',
    ...otherEtcd(2451, { steps: [`put ${PREFIX}/config '${CONFIG}'`] }),
  },
  {
    id: 'lease-near-expiry',
    ...otherEtcd(2461, {
      steps: [
        `put ${PREFIX}/config '${CONFIG}'`,
        async (lab) => {
          const { key, text } = await ownLease(lab);
          return `put ${key} '${text}' --lease=$(etcdctl lease grant 60 | cut -d ' ' -f 2)`;
        },
      ],
    }),
  },
  {
    id: 'network-nearly-full',
    ...otherEtcd(2471, {
      steps: [
        async ({ one }) => {
          const only = { SubnetMin: `${one.subnet}.0`, SubnetMax: `${one.subnet}.0` };
          return `put ${PREFIX}/config '${JSON.stringify({ ...(JSON.parse(CONFIG) as object), ...only })}'`;
        },
        async (lab) => {
          const { key, text } = await ownLease(lab);
          return `put ${key} '${text}'`;
        },
      ],
    }),
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
  ...HOST_FAULTS,
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
