import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownFact } from '#src/diagnose/facts/fact.ts';
import { routeOf, ruleOf } from '#src/diagnose/facts/ip-rules.ts';
import { knownNetworkOf } from '#src/diagnose/known-network.ts';
import type { KnownPlace } from '#src/diagnose/routes/address-place.ts';
import { explainWay } from '#src/diagnose/routes/explain-way.ts';
import type { RouteReader } from '#src/diagnose/routes/route-reader.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { formatIp, type Ip, ipv4, parseIp, parsePrefix4 } from '#src/lib/ip.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';
import type { Address, Link } from '#src/state/object.ts';

/*
 * This host has 10.5.1.0/24 behind 172.16.0.1 on eth0. Peers: 10.5.2.0/24 behind 172.16.0.2, on the same link, and
 * 10.5.3.0/24 behind 172.16.9.3, behind the gateway 172.16.0.254.
 */
const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const prefix = (text: string) => parsePrefix4(text) ?? assert.fail(text);

const ETH0: Link = {
  kind: 'link',
  name: 'eth0',
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, 1)),
  mtu: 1500,
  up: true,
  running: true,
};
const ADDRESSES: readonly Address[] = [
  { kind: 'address', prefix: prefix('172.16.0.1/24'), device: 'eth0' },
  { kind: 'address', prefix: prefix('10.5.1.1/24'), device: 'docker0' },
];

const record = (n: number, publicIp: string) => ({
  name: `10.5.${n}.0-24`,
  value: JSON.stringify({
    PublicIP: publicIp,
    BackendType: 'vxlan',
    BackendData: { VtepMAC: `02:00:00:00:00:0${n}` },
  }),
});

function place(backend: object = { Type: 'vxlan' }, parts: Partial<KnownPlace> = {}): KnownPlace {
  const remembered = {
    at: 0,
    config: JSON.stringify({ Network: '10.5.0.0/16', Backend: backend }),
    own: record(1, '172.16.0.1'),
    peers: [record(2, '172.16.0.2'), record(3, '172.16.9.3')],
  };
  const traces = { remembered, subnetFile: undefined, status: undefined };
  const known = knownNetworkOf(traces, { links: [ETH0], addresses: ADDRESSES }) ?? assert.fail();
  return { known, routeForm: 'flannel', quarantined: [], ...parts };
}

const MAIN = 254;
const way = (device: string, via?: string, table = MAIN): RouteDecision => ({
  outcome: 'way',
  type: 'unicast',
  device,
  ...(via !== undefined && { via: ip(via) }),
  table,
});

interface Host {
  /** By the question: `10.5.2.7`, or `10.5.2.7 by docker0`. */
  readonly ways?: Readonly<Record<string, RouteDecision>>;
  readonly rules?: readonly object[];
  readonly routes?: readonly object[];
  /** Whether the kernel has what the peers need. */
  readonly isProgrammed?: boolean;
  readonly at?: KnownPlace;
}

/** A host whose ways to peers are right, unless the test has others. */
async function reader({ ways = {}, rules = [], routes = [], isProgrammed = true, at = place() }: Host = {}) {
  const kernel = new MemoryKernel();
  for (const object of ADDRESSES) kernel.interfere({ verb: 'add', object });
  for (const { lease: name, subnets, attributes } of isProgrammed ? at.known.peers : []) {
    const lease = {
      name,
      subnets,
      attributes,
      expiry: { kind: 'reservation' },
      revision: 0n,
    } as const;
    const lookup = { v4: { device: 'eth0' } };
    for (const object of at.known.backend?.peerObjects(lease, { lookup, routeForm: 'flannel' }) ?? [])
      kernel.interfere({ verb: 'add', object });
  }
  const normal: Readonly<Record<string, RouteDecision>> = {
    '10.5.2.7': way('flannel.1', '10.5.2.0'),
    '10.5.2.7 by docker0': way('flannel.1', '10.5.2.0'),
    '172.16.0.2': way('eth0'),
    '172.16.9.3': way('eth0', '172.16.0.254'),
    ...ways,
  };
  const made: RouteReader = {
    kernel,
    async route({ to, by }) {
      const question = by === undefined ? formatIp(to) : `${formatIp(to)} by ${by}`;
      return normal[question] ?? way('eth0', '172.16.0.254');
    },
    rules: async () => knownFact(rules.map((rule) => ruleOf(rule as Parameters<typeof ruleOf>[0]))),
    routes: async () => knownFact(routes.flatMap((route) => routeOf(route as Parameters<typeof routeOf>[0]))),
    close: () => {},
  };
  return made;
}

const explain = async (address: string, host: Host = {}, docker: readonly DriverNetwork[] = []) => {
  const at = host.at ?? place();
  return explainWay(ip(address), { places: [at], docker }, await reader({ ...host, at }));
};

test('an address of a peer: what is wanted, what is there, what the kernel would do', async () => {
  const report = await explain('10.5.2.7');
  assert.equal(report.text, '10.5.2.7 is in 10.5.2.0/24, the subnet of the peer with public IP 172.16.0.2');
  assert.deepEqual([report.place, report.lease, report.publicIp], ['peer', '10.5.2.0-24', '172.16.0.2']);
  assert.deepEqual(
    report.wanted.map(({ kind, differences }) => [kind, differences]),
    [
      ['route', []],
      ['neighbour', []],
      ['fdb', []],
    ],
  );
  assert.deepEqual(
    report.kernel.map(({ command, isWanted }) => [command, isWanted]),
    [
      ['ip route get 10.5.2.7', true],
      ['ip route get 10.5.2.7 from 10.5.1.254 iif docker0', true],
      ['ip route get 172.16.0.2', true],
    ],
  );
  assert.deepEqual(report.wrong, []);
});

test('why the way is direct, or is not', async () => {
  const direct = place({ Type: 'vxlan', DirectRouting: true });
  const near = await explain('10.5.2.7', {
    at: direct,
    ways: { '10.5.2.7': way('eth0', '172.16.0.2'), '10.5.2.7 by docker0': way('eth0', '172.16.0.2') },
  });
  assert.deepEqual(near.wrong, []);
  assert.match(
    near.why[1] ?? '',
    /^DirectRouting is on, and that host is on a link of this one: .* by eth0$/,
  );
  const ways = {
    '10.5.3.7': way('flannel.1', '10.5.3.0'),
    '10.5.3.7 by docker0': way('flannel.1', '10.5.3.0'),
  };
  const far = await explain('10.5.3.7', { at: direct, ways });
  assert.match(
    far.why[1] ?? '',
    /^DirectRouting is on, but 172\.16\.9\.3 is behind the gateway 172\.16\.0\.254: /,
  );
});

test('what the kernel lacks is named', async () => {
  const { wanted, wrong } = await explain('10.5.2.7', { isProgrammed: false });
  assert.ok(wanted.every(({ differences }) => differences[0] === 'it is not there'));
  assert.equal(wrong.length, 3);
  assert.match(
    wrong[2]?.what ?? '',
    /^the forwarding entry 02:00:00:00:00:02 .* is not as wanted: it is not there$/,
  );
});

const RULES = [
  { priority: 0, src: 'all', table: 'local' },
  { priority: 100, src: 'all', dst: '10.0.0.0', dstlen: 8, table: '200' },
  { priority: 101, src: 'all', dst: '192.168.0.0', dstlen: 16, table: '200' },
  { priority: 32_766, src: 'all', table: 'main' },
];

test('the rule that sends it to another table is named, with what removes it', async () => {
  const ways = { '10.5.2.7': way('eth0', '172.16.0.254', 200) };
  const { wrong, kernel } = await explain('10.5.2.7', { ways, rules: RULES });
  assert.deepEqual(wrong, [
    {
      what: 'the rule "100: from all to 10.0.0.0/8 lookup 200" sends it to table 200: there it goes by eth0 via 172.16.0.254',
      remedy: 'ip rule del pref 100; or except the network: ip rule add pref 99 to 10.5.0.0/16 lookup main',
    },
  ]);
  assert.deepEqual(
    kernel.map(({ isWanted }) => isWanted),
    [false, true, true],
  );
});

test('a route that wins over the wanted one is named, also one that refuses', async () => {
  const ours = { dst: '10.5.2.0/24', gateway: '10.5.2.0', dev: 'flannel.1' };
  const narrow = { dst: '10.5.2.0/28', dev: 'eth1' };
  const ways = { '10.5.2.7': way('eth1'), '10.5.2.7 by docker0': way('eth1') };
  assert.deepEqual((await explain('10.5.2.7', { ways, routes: [ours, narrow] })).wrong, [
    {
      what: 'the route 10.5.2.0/28 dev eth1 is more specific than the wanted one',
      remedy: 'ip route del 10.5.2.0/28 dev eth1',
    },
  ]);
  const refused: RouteDecision = { outcome: 'refused', errno: 'EHOSTUNREACH', message: 'no way' };
  const refusal = { type: 'unreachable', dst: '10.5.2.7' };
  const both = { '10.5.2.7': refused, '10.5.2.7 by docker0': refused };
  const { wrong } = await explain('10.5.2.7', { ways: both, routes: [ours, refusal] });
  assert.equal(wrong[0]?.remedy, 'ip route del unreachable 10.5.2.7/32');
});

test('a refusal that no route explains is left to the doctor', async () => {
  const refused: RouteDecision = { outcome: 'refused', errno: 'EXDEV', message: 'source refused' };
  const ours = { dst: '10.5.2.0/24', gateway: '10.5.2.0', dev: 'flannel.1' };
  const { wrong } = await explain('10.5.2.7', { ways: { '10.5.2.7 by docker0': refused }, routes: [ours] });
  assert.match(wrong[0]?.what ?? '', /iif docker0" is refused: source refused \(EXDEV\)$/);
  assert.match(wrong[0]?.remedy ?? '', /weft doctor/);
});

test('a way to the peer’s host that leads into the overlay is a loop', async () => {
  const { wrong } = await explain('10.5.2.7', { ways: { '172.16.0.2': way('flannel.1') } });
  assert.match(wrong[0]?.what ?? '', /leads into the overlay itself \(flannel\.1\)$/);
});

test('an address of this host’s own subnet', async () => {
  const here = await explain('10.5.1.7', { ways: { '10.5.1.7': way('docker0') } });
  assert.equal(here.place, 'own');
  assert.deepEqual(here.wrong, []);
  assert.match((await explain('10.5.1.7')).wrong[0]?.what ?? '', /elsewhere than to docker0/);
  const local: RouteDecision = { outcome: 'way', type: 'local', device: 'lo', table: 255 };
  const own = await explain('10.5.1.1', { ways: { '10.5.1.1': local } });
  assert.deepEqual(own.why, ['it is an address of this host itself, on docker0']);
});

test('addresses that no peer has', async () => {
  const free = await explain('10.5.99.1');
  assert.equal(free.text, '10.5.99.1 is in the network 10.5.0.0/16, and no host has a lease for it');
  const lease = { lease: '10.5.98.0-24', subnet: '10.5.98.0/24', reason: 'its PublicIP 172.16.0.1 is ours' };
  const refused = await explain('10.5.98.1', { at: place(undefined, { quarantined: [lease] }) });
  assert.deepEqual([refused.place, refused.wrong.length], ['quarantined', 1]);
  assert.match(refused.why[0] ?? '', /is ours$/);
  assert.match(
    (await explain('172.16.0.2')).text,
    /is the host of the peer 10\.5\.2\.0\/24, outside the overlay$/,
  );
  const outside = await explain('198.51.100.1', {
    routes: [{ dst: 'default', gateway: '172.16.0.254', dev: 'eth0' }],
  });
  assert.deepEqual(outside.why, [
    'the most specific route of the host for it is default via 172.16.0.254 dev eth0',
  ]);
});

test('an address of a Docker network is on its segment, whatever routes there are', async () => {
  const blue = {
    name: 'blue',
    vni: 10_000,
    subnets: ['10.5.200.0/24', 'fd00::/64'],
    containers: ['web'],
    cutOff: 0,
  };
  for (const address of ['10.5.200.9', 'fd00::9']) {
    const { place: kind, text, why, wrong } = await explain(address, {}, [blue]);
    assert.equal(kind, 'docker');
    assert.match(text, /the subnet of Docker's network blue \(VNI 10000\)$/);
    assert.match(why.join('\n'), /weft address ls blue/);
    assert.deepEqual(wrong, []);
  }
  assert.equal((await explain(formatIp(ipv4(0x0a05_0207)), {}, [blue])).place, 'peer');
});
