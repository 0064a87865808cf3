import { until } from '#src/sys/until.ts';
import { DEVICE, type FaultCase, PORT, sh, stubEnds, stubRuns } from './fault-lab.ts';
import { PREFIX } from './flanneld.ts';

/** Keeps what a command printed, for the mend. */
const save = (file: string, list: string): string => `${list} > /run/${file}`;

/** With flanneld stopped: what it would mend. */
export const STOPPED_FAULTS: readonly FaultCase[] = [
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
    async inject(lab) {
      await stubRuns('rival', () => [], `require('dgram').createSocket('udp4').bind(${PORT})`)(lab);
      const ask = ['ss', '-Hlnu', 'sport', '=', `:${PORT}`];
      await until(async () => (await lab.one.host.must(ask)) !== '', { what: 'another program at the port' });
    },
    mend: stubEnds('rival'),
  },
  {
    id: 'device-settings',
    inject: sh(`ip link add ${DEVICE} type vxlan id 1 dstport 4789 local 172.16.70.191 dev eth0 nolearning`),
    mend: sh(`ip link del ${DEVICE}`),
  },
];
