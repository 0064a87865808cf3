import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { FLANNELD, noPeer, PEERS, WEFT } from '../support/flanneld.ts';
import { INSTALLATION, type InstallationSaid, installationIds } from '../support/installation.ts';
import { type Network, type NetworkOptions, type Node, testNetwork } from '../support/network.ts';
import { untilAllUp } from '../support/probes.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Networks in which nothing is wrong, each in its own way. `weft doctor` has nothing to say on the first host, and every
 * check can look. Each has this shape, two hosts where nothing else is said:
 *
 *     store .190      h1 .191 ◀ weft doctor      h2 .192 …      each: flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables', 'nft');

const config = (backend: object, more: object = {}): string =>
  JSON.stringify({ Network: '10.0.0.0/16', SubnetLen: 24, Backend: backend, ...more });
const VXLAN = { Type: 'vxlan' };

async function doctor(host: Host, flags: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await host.run([WEFT, 'doctor', '--json', ...flags]);
  const said =
    stdout === ''
      ? { networks: [] }
      : (JSON.parse(stdout) as {
          installation?: InstallationSaid;
          networks: readonly { findings: unknown; unknown: unknown }[];
        });
  const seen = said.networks.map(({ findings, unknown }) => ({ findings, unknown }));
  assert.deepEqual(
    seen,
    seen.map(() => ({ findings: [], unknown: [] })),
    stderr,
  );
  assert.deepEqual([code, installationIds(said)], [INSTALLATION.code, INSTALLATION.ids], stderr);
  assert.ok(seen.length > 0);
}

/** A firewall as ufw makes it: everything that comes in is dropped but what is named; the overlay may pass. */
const UFW = `
iptables -P INPUT DROP
iptables -P FORWARD DROP
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A INPUT -p icmp --icmp-type echo-request -j ACCEPT
iptables -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
iptables -A INPUT -p udp -m udp --dport 8472 -j ACCEPT
iptables -N ufw-reject
iptables -A ufw-reject -j LOG --log-prefix "[UFW BLOCK] " || true
iptables -A ufw-reject -j REJECT
iptables -A INPUT -j ufw-reject`;

interface Variant extends NetworkOptions {
  readonly called: string;
  /** Shell on each host, when all of them run. */
  readonly afterwards?: string;
}

const VARIANTS: readonly Variant[] = [
  { called: 'etcd v2', api: 2 },
  { called: 'etcd v3', api: 3 },
  { called: 'the embedded store', api: 3, store: 'embedded' },
  { called: 'nftables', api: 3, config: config(VXLAN, { EnableNFTables: true }) },
  { called: 'DirectRouting', api: 3, config: config({ ...VXLAN, DirectRouting: true }) },
  { called: 'host-gw', api: 3, config: config({ Type: 'host-gw' }) },
  {
    called: 'another VNI, port and MTU',
    api: 3,
    config: config({ ...VXLAN, VNI: 70_001, Port: 4789, MTU: 1400 }),
  },
  { called: 'a firewall like ufw that lets the overlay pass', api: 3, afterwards: UFW },
  {
    called: 'a strict reverse path filter, and rules of policy routing for others',
    api: 3,
    afterwards:
      'sysctl -qw net.ipv4.conf.all.rp_filter=1; ip rule add fwmark 0x99 lookup 99; ip rule add from 192.0.2.0/24 lookup 99; ip route add default dev lo table 99',
  },
  { called: 'ten hosts', api: 3, programs: Array.from({ length: 10 }, () => FLANNELD) },
  { called: 'without --ip-masq', api: 3, flags: ['--ip-masq=false'] },
];

/** The host that doctor runs on has measured the others: one of them may have come a moment ago. */
const untilMeasured = async ([first, ...others]: readonly Node[]): Promise<void> =>
  untilAllUp(first ?? assert.fail(), { peers: others.length });

async function whole(t: TestContext, options: NetworkOptions): Promise<Network> {
  return testNetwork({ signal: t.signal, after: (cleanUp) => t.after(cleanUp) }, options);
}

test('doctor says nothing of a healthy host', { skip, concurrency: 3 }, async (t) => {
  await Promise.all(
    VARIANTS.map(({ called, afterwards, ...options }) =>
      t.test(called, async (t) => {
        const { nodes } = await whole(t, options);
        await untilMeasured(nodes);
        if (afterwards !== undefined) for (const { host } of nodes) await host.must(['sh', '-c', afterwards]);
        const [first] = nodes;
        assert.ok(first);
        await doctor(first.host, first.flags);
      }),
    ),
  );
});

for (const api of [2, 3] as const) {
  const peer = api === 2 ? PEERS.v2 : PEERS.v3;
  test(`a peer that runs flannel, etcd v${api}`, { skip: skip || noPeer(api) }, async (t) => {
    const { nodes } = await whole(t, { api, programs: [FLANNELD, peer ?? ''] });
    const [first] = nodes;
    assert.ok(first);
    await doctor(first.host, first.flags);
  });
}

test('two networks on one host', { skip }, async (t) => {
  const { lab, etcd, nodes } = await whole(t, { api: 3 });
  const other = '/other/network';
  const second = JSON.stringify({ Network: '10.9.0.0/16', Backend: { Type: 'vxlan', VNI: 9 } });
  await etcd.must(3, ['put', `${other}/config`, second]);
  for (const host of lab.hosts) {
    const flags = [
      `-etcd-endpoints=${etcd.endpoints.join(',')}`,
      `-etcd-prefix=${other}`,
      `--iface=${host.address}`,
    ];
    const daemon = await host.start('flanneld-2', [
      FLANNELD,
      ...flags,
      '--subnet-file=/run/flannel/other.env',
    ]);
    await daemon.waitForLog(/Running backend/, 20_000);
  }
  const [first] = nodes;
  assert.ok(first);
  await untilMeasured(nodes);
  await untilAllUp(first, { peers: 1, prefix: other });
  await doctor(first.host, first.flags);
  await doctor(first.host, [
    `-etcd-endpoints=${etcd.endpoints.join(',')}`,
    `-etcd-prefix=${other}`,
    '--subnet-file=/run/flannel/other.env',
  ]);
});
