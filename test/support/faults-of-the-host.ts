import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { bip, DEVICE, dockerd, type FaultCase, type FaultLab, SKEWED, sh, shOn, stub } from './fault-lab.ts';
import { startFlanneld, WEFT } from './flanneld.ts';
import { statusOf } from './node-status.ts';
import { apiSocketOf } from './probes.ts';

/** Docker's table as dockerd 29 makes it for docker0, without the options that let the overlay in. */
const DOCKER_BRIDGES = `nft -f - <<'END'
table ip docker-bridges {
  map filter-forward-in-jumps {
    type ifname : verdict
    elements = { "docker0" : jump filter-forward-in__docker0 }
  }
  chain filter-FORWARD {
    type filter hook forward priority filter; policy accept;
    oifname vmap @filter-forward-in-jumps
  }
  chain filter-forward-in__docker0 {
    ct state established,related counter accept
    iifname "docker0" counter accept
    counter drop comment "UNPUBLISHED PORT DROP"
  }
}
END`;

/** The underlay was away: waits until flanneld has its registry again. */
const mended = (mend: FaultCase['mend']) => async (lab: FaultLab) => {
  await mend(lab);
  await until(async () => (await statusOf(lab.one.host)).ready, {
    what: 'a flanneld that is ready',
    timeoutMs: 20_000,
    intervalMs: 100,
  });
};

/** Resolves when it has its routes again: they are made after the start. */
async function restarted({ one, two, three }: FaultLab, flags: readonly string[]): Promise<void> {
  await (await one.host.daemon('flanneld'))?.stop();
  await startFlanneld(one.host, flags);
  await until(
    async () => {
      const { peers } = await askApi(apiSocketOf(one), '/v1/peers');
      const used = peers.filter(({ programmed }) => programmed === 'yes').map(({ subnet }) => subnet);
      return [two, three].every(({ subnet }) => used.includes(`${subnet}.0/24`));
    },
    { what: 'peers after a start', timeoutMs: 20_000 },
  );
}

/** Where something answers in place of the second host's responder. */
const PLACE_PORT = 2395;
const RESPONDER_PORT = 8474;
const REDIRECT = `PREROUTING -i ${DEVICE} -p tcp --dport ${RESPONDER_PORT} -j REDIRECT --to-ports ${PLACE_PORT}`;
/** The second host's responder, as one that runs with another network config. */
const OTHER_PORT = `require('http').createServer((q, a) => {
  a.end(JSON.stringify({ version: '1', backend: 'vxlan', shared: { VNI: 1, Port: 4789 } }));
}).listen(${PLACE_PORT}, '0.0.0.0')`;
/** Something else answers there. */
const answersInPlace = (code: string): Pick<FaultCase, 'inject' | 'mend'> => ({
  async inject(lab) {
    const { host } = lab.two;
    await stub(host, 'in-place', [], code);
    const ask = ['bash', '-c', `exec 3<>/dev/tcp/127.0.0.1/${PLACE_PORT}`];
    await until(async () => (await host.run(ask)).code === 0, { what: 'a server in place of the responder' });
    await shOn('two', `iptables -t nat -I ${REDIRECT}`)(lab);
  },
  async mend(lab) {
    await shOn('two', `iptables -t nat -D ${REDIRECT}`)(lab);
    await (await lab.two.host.daemon('stub-in-place'))?.stop();
  },
});
const NO_TCP = `INPUT -i ${DEVICE} -p tcp --dport ${RESPONDER_PORT} -j DROP`;

/** What the underlay, the containers' bridge, a peer and the kernel's tables can have, with flanneld running. */
export const HOST_FAULTS: readonly FaultCase[] = [
  {
    id: 'bridge-missing',
    async inject(lab) {
      await dockerd((it) => [bip(it), '--mtu=1450', '--ip-masq=false']).inject(lab);
      await sh(({ one }) => `ip addr del ${one.subnet}.1/24 dev docker0`)(lab);
    },
    async mend(lab) {
      await sh(({ one }) => `ip addr add ${one.subnet}.1/24 brd + dev docker0`)(lab);
      await dockerd(() => []).mend(lab);
    },
  },
  {
    id: 'docker-drops',
    inject: sh(DOCKER_BRIDGES),
    mend: sh('nft delete table ip docker-bridges'),
  },
  // Both limits are the machine's. This host alone reads other ones.
  {
    id: 'conntrack-full',
    inject: sh('echo 1 > /run/most && mount -n --bind /run/most /proc/sys/net/netfilter/nf_conntrack_max'),
    mend: sh('umount -n /proc/sys/net/netfilter/nf_conntrack_max'),
  },
  {
    id: 'neighbour-table-full',
    inject: sh(
      'mount -n -t tmpfs limits /proc/sys/net/ipv4/neigh && mkdir /proc/sys/net/ipv4/neigh/default && echo 1 > /proc/sys/net/ipv4/neigh/default/gc_thresh3',
    ),
    mend: sh('umount -n /proc/sys/net/ipv4/neigh'),
  },
  {
    id: 'peer-clock-skew',
    ...answersInPlace(SKEWED),
  },
  {
    id: 'peer-settings',
    ...answersInPlace(OTHER_PORT),
  },
  {
    id: 'tcp-lost',
    async inject(lab) {
      await shOn('two', `iptables -I ${NO_TCP}`)(lab);
      await until(async () => (await tcpOf(lab)) === 'silent', {
        what: 'a probe without an answer over TCP',
        timeoutMs: 30_000,
        intervalMs: 100,
      });
    },
    mend: shOn('two', `iptables -D ${NO_TCP}`),
  },
  {
    id: 'wrong-underlay',
    async inject(lab) {
      await sh(
        'ip link add dum0 type veth peer name dum1; ip link set dum1 up; ip addr add 192.0.2.9/24 dev dum0; ip link set dum0 up',
      )(lab);
      const flags = lab.one.flags.map((flag) => (flag.startsWith('--iface=') ? '--iface=dum0' : flag));
      await restarted(lab, flags);
    },
    async mend(lab) {
      await restarted(lab, lab.one.flags);
      await sh('ip link del dum0')(lab);
    },
  },
  {
    id: 'underlay-down',
    inject: ({ network, one }) => network.lab.onWire([`link set ${one.host.name} down`]),
    mend: mended(({ network, one }) => network.lab.onWire([`link set ${one.host.name} up`])),
  },
  {
    id: 'underlay-gone',
    inject: sh('ip addr del 172.16.70.191/16 dev eth0'),
    mend: mended(sh('ip addr add 172.16.70.191/16 dev eth0; ip route add default via 172.16.70.1')),
  },
];

/** What the patient's probes say of TCP to the second host. */
async function tcpOf({ one, two }: FaultLab): Promise<string | undefined> {
  const { stdout } = await one.host.run([WEFT, 'peers', '--json', ...one.flags]);
  const { peers } = JSON.parse(stdout) as { peers: { lease: string; probe?: { tcp: string } }[] };
  return peers.find(({ lease }) => lease.startsWith(`${two.subnet}.`))?.probe?.tcp;
}
