import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHECKS } from '#src/diagnose/checks.ts';
import { absentFact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { sharedIn } from '#src/diagnose/facts/reach.ts';
import type { RegistrySeen } from '#src/diagnose/facts/registry.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { knownNetworkOf } from '#src/diagnose/known-network.ts';
import { runChecks } from '#src/diagnose/run-checks.ts';
import { parseNftRuleset } from '#src/firewall/nft-listing.ts';
import { type Ipv4, type Prefix4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { Link } from '#src/state/object.ts';

/*
 * One healthy host, as values. Each case changes what the labs of test/diagnose can't: the machine's own limits, its
 * kernel, the time. What real kernel objects show is tested there.
 */
const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);

const CONFIG = '{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"}}';
const value = (address: string, vtep: string): string =>
  `{"PublicIP":"${address}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${vtep}"}}`;
const OWN = { name: '10.0.65.0-24', value: value('192.0.2.1', '4e:00:00:00:00:01') };
const PEER = { name: '10.0.32.0-24', value: value('192.0.2.2', '4e:00:00:00:00:02') };
const SUBNET_FILE =
  'FLANNEL_NETWORK=10.0.0.0/16\nFLANNEL_SUBNET=10.0.65.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n';
const ETH0: Link = { kind: 'link', name: 'eth0', mtu: 1500, up: true, running: true };
const FLANNEL: Link = {
  kind: 'link',
  name: 'flannel.1',
  type: 'vxlan',
  mac: mac('4e:00:00:00:00:01'),
  mtu: 1450,
  up: true,
  vxlan: { vni: 1, port: 8472, learning: false, gbp: false, underlay: 'eth0', local: ip('192.0.2.1') },
};
const record = ({ name, value: text }: typeof OWN) => ({
  ...{ name, value: text, revision: 1n },
  expiry: { kind: 'reservation' } as const,
});
const REGISTRY: RegistrySeen = {
  endpoints: [{ url: 'http://192.0.2.9:2379', healthy: true, aheadMs: 200 }],
  stores: {
    v2: { kind: 'failed', reason: 'protocol', why: 'no v2' },
    v3: { kind: 'read', config: CONFIG, records: [record(OWN), record(PEER)] },
  },
  api: 'auto',
};
const ADDRESSES = [
  { kind: 'address', prefix: net('192.0.2.1/24'), device: 'eth0' },
  { kind: 'address', prefix: net('10.0.65.0/32'), device: 'flannel.1' },
] as const;

function healthy(changes: Partial<HostFacts> = {}): HostFacts {
  const links = changes.links ?? [ETH0, FLANNEL];
  const addresses = changes.addresses ?? ADDRESSES;
  const remembered = { at: 1, config: CONFIG, instance: '', own: OWN, peers: [PEER] };
  const known = knownNetworkOf(
    {
      remembered,
      subnetFile: SUBNET_FILE,
      status: changes.daemon?.state === 'running' ? changes.daemon.status.network : undefined,
    },
    { links, addresses },
  );
  const node = known ?? assert.fail();
  const peer = node.peers[0] ?? assert.fail();
  const objects =
    node.backend?.peerObjects(
      {
        ...{ name: peer.lease, subnets: peer.subnets, attributes: peer.attributes },
        ...{ revision: 0n, expiry: { kind: 'reservation' } },
      },
      { routeForm: 'flannel' },
    ) ?? [];
  return {
    place: { socket: '/s.sock', stateFile: '/s.json', subnetFile: '/run/flannel/subnet.env' },
    options: {
      registry: { endpoints: '', prefix: '/x', api: 'auto', tls: {} },
      ...{
        ipMasq: false,
        forwardRules: true,
        randomFully: true,
        dockerMark: 0,
        publicIp: '',
        publicIpv6: '',
      },
      leaseTtlMs: 86_400_000,
    },
    // Of a daemon that runs: nothing of it is known, and nothing is wrong with it.
    daemon: { state: 'unknown', why: '' },
    network: knownFact(node),
    subnetFile: SUBNET_FILE,
    programs: [],
    links,
    addresses,
    routes: objects.filter((object) => object.kind === 'route'),
    neighbours: objects.filter((object) => object.kind === 'neighbour'),
    fdb: objects.filter((object) => object.kind === 'fdb'),
    ways: new Map([[PEER.name, { device: 'eth0' }]]),
    waysOfFamilies: new Map([[PEER.name, { v4: { device: 'eth0' } }]]),
    sysctls: new Map([['net/ipv4/ip_forward', '1']]),
    ipRules: knownFact([]),
    policyRoutes: knownFact([]),
    sockets: knownFact([]),
    dockerd: absentFact('no Docker'),
    linkManagers: [],
    offloads: knownFact({ txChecksum: true }),
    conntrack: knownFact({ used: 10, most: 1000 }),
    neighbourTable: knownFact({ used: 10, most: 1024 }),
    filter: knownFact({ filters: { iptables: [], nftables: [] }, mixed: false, faults: [] }),
    registry: knownFact(REGISTRY),
    reach: knownFact([
      { lease: PEER.name, underlay: 'yes', tunnel: 'yes', fullSize: 'yes', tcp: 'yes', aheadMs: 0 },
    ]),
    modules: knownFact([{ module: 'vxlan', buildOption: 'CONFIG_VXLAN', loaded: true, installed: true }]),
    handshakes: absentFact('no WireGuard'),
    now: 0,
    ...changes,
  };
}

const checks = CHECKS.filter(({ id }) => id !== 'daemon-socket');
const handshake = (seen: object) => ({
  ...{ device: 'flannel-wg', publicKey: 'k', at: 0, sent: 0, sentMeanwhile: 0 },
  ...seen,
});
const idsOf = (changes: Partial<HostFacts>): string[] =>
  runChecks(healthy(changes), checks).findings.map(({ id }) => id);
const reach = (changes: object): Pick<HostFacts, 'reach'> => ({
  reach: knownFact([
    { lease: PEER.name, underlay: 'yes', tunnel: 'yes', fullSize: 'yes', tcp: 'yes', ...changes },
  ]),
});
const registry = (changes: Partial<RegistrySeen>): Pick<HostFacts, 'registry'> => ({
  registry: knownFact({ ...REGISTRY, ...changes }),
});

const STATUS: NodeStatus = {
  ...{ version: '1', node: 'n', ready: true, troubles: [], eventLoopDelayMs: 0 },
  network: {
    ...{ network: '10.0.0.0/16', subnet: '10.0.65.0/24', backend: 'vxlan', mtu: 1450, routes: 'flannel' },
    ...{ underlay: 'eth0 (192.0.2.1)', publicIp: '192.0.2.1' },
  },
  registry: { description: 'etcd v3', state: 'following' },
  peers: { accepted: 1, quarantined: [] },
  kernel: { wanted: 5, failing: [], repairs: 0, checks: 1 },
};
const running = (changes: Partial<NodeStatus> = {}): Pick<HostFacts, 'daemon'> => ({
  daemon: { state: 'running', status: { ...STATUS, ...changes } },
});
const failing = [{ key: 'route 10.0.32.0/24', reason: 'ENOSPC' }];
const dockerd = (...words: string[]): Pick<HostFacts, 'dockerd'> => ({
  dockerd: knownFact({ pid: 7, words, file: '/etc/docker/daemon.json', json: undefined }),
});
const WITHOUT_UNDERLAY = ADDRESSES.filter(({ device }) => device !== 'eth0');
const WITH_BRIDGE: Partial<HostFacts> = {
  links: [ETH0, FLANNEL, { kind: 'link', name: 'docker0', type: 'bridge', mtu: 1450, up: true }],
  addresses: [...ADDRESSES, { kind: 'address', prefix: net('10.0.65.1/24'), device: 'docker0' }],
};
/** Packets forwarded from the overlay are dropped in Docker's own table. */
const dockerDrops = parseNftRuleset(
  JSON.stringify({
    nftables: [
      { table: { family: 'ip', name: 'docker-bridges' } },
      {
        chain: {
          ...{ family: 'ip', table: 'docker-bridges', name: 'filter-forward' },
          ...{ type: 'filter', hook: 'forward', prio: 0, policy: 'accept' },
        },
      },
      {
        rule: {
          ...{ family: 'ip', table: 'docker-bridges', chain: 'filter-forward' },
          expr: [
            { match: { op: '==', left: { meta: { key: 'oifname' } }, right: 'docker0' } },
            { drop: null },
          ],
        },
      },
    ],
  }),
);
const filter = (nftables = dockerDrops): Pick<HostFacts, 'filter'> => ({
  filter: knownFact({ filters: { iptables: [], nftables }, mixed: false, faults: [] }),
});

test('nothing is found on the healthy host', () => assert.deepEqual(idsOf({}), []));

const NARROW = '{"Network":"10.0.0.0/16","SubnetMin":"10.0.100.0","Backend":{"Type":"vxlan"}}';
const crowd = Array.from({ length: 150 }, (_, n) =>
  record({
    name: `10.0.${n + 100}.0-24`,
    value: value(`198.51.100.${n}`, `4e:00:00:00:01:${n.toString(16).padStart(2, '0')}`),
  }),
);

for (const [id, changes] of [
  ['underlay-gone', { addresses: WITHOUT_UNDERLAY }],
  ['underlay-gone', { addresses: WITHOUT_UNDERLAY, ...running() }],
  ['bridge-missing', dockerd('--bip=10.0.65.1/24', '--mtu=1450')],
  ['docker-drops', { ...WITH_BRIDGE, ...filter() }],
  ['kernel-failing', running({ kernel: { ...STATUS.kernel, failing } })],
  ['not-ready', running({ ready: false, troubles: ['waiting for a subnet lease'] })],
  ['conntrack-full', { conntrack: knownFact({ used: 990, most: 1000 }) }],
  ['neighbour-table-full', { neighbourTable: knownFact({ used: 1024, most: 1024 }) }],
  [
    'kernel-module',
    {
      links: [ETH0],
      modules: knownFact([{ module: 'vxlan', buildOption: 'CONFIG_VXLAN', loaded: false, installed: false }]),
    },
  ],
  [
    'wrong-underlay',
    {
      ways: new Map([[PEER.name, { device: 'eth1' }]]),
      ...reach({ tunnel: 'no', fullSize: 'no', tcp: 'no' }),
    },
  ],
  ['underlay-down', { links: [{ ...ETH0, running: false }, FLANNEL] }],
  ['plain-peers', running({ peers: { accepted: 2, quarantined: [], plain: 1 } })],
  ['lease-near-expiry', registry({ ownRemainingMs: 60_000 })],
  [
    'lease-missing',
    registry({
      stores: { ...REGISTRY.stores, v3: { kind: 'read', config: CONFIG, records: [record(PEER)] } },
    }),
  ],
  [
    'network-nearly-full',
    registry({
      stores: {
        ...REGISTRY.stores,
        v3: { kind: 'read', config: NARROW, records: [record(OWN), record(PEER), ...crowd] },
      },
    }),
  ],
  [
    'registry-tls',
    registry({ endpoints: [{ url: 'https://e', why: 'unable to verify the first certificate' }] }),
  ],
  ['peer-clock-skew', reach({ aheadMs: 60_000 })],
  ['wireguard-handshake', { handshakes: knownFact([handshake({ at: 0, sent: 148 })]) }],
  [
    'wireguard-handshake',
    { now: 1_000_000, handshakes: knownFact([handshake({ at: 800_000, sent: 900, sentMeanwhile: 148 })]) },
  ],
  ['peer-settings', reach({ shared: { VNI: 1, Port: 4789 } })],
  ['tcp-lost', reach({ tcp: 'no' })],
  ['path-mtu', reach({ fullSize: 'no' })],
  ['tunnel-silent', reach({ tunnel: 'no', fullSize: 'no', tcp: 'unknown' })],
  ['peer-down', reach({ tunnel: 'no', fullSize: 'no', underlay: 'no', tcp: 'unknown' })],
] as const satisfies readonly (readonly [string, Partial<HostFacts>])[]) {
  test(`${id} and nothing else: ${Object.keys(changes).join(', ')}`, () =>
    assert.deepEqual(idsOf(changes), [id]));
}

test('each of these is fine', () => {
  assert.deepEqual(idsOf(running()), []);
  assert.deepEqual(idsOf({ ...WITH_BRIDGE, ...dockerd('--bip=10.0.65.1/24', '--mtu=1450') }), []);
  assert.deepEqual(idsOf({ ...WITH_BRIDGE, ...filter([]) }), []);
});

test('what both ends have alike, and what this version does not know, is no difference', () => {
  assert.deepEqual(idsOf(reach({ shared: { VNI: 1, Port: 8472, GBP: false, Other: 9 } })), []);
  assert.deepEqual(sharedIn('{"version":"1","shared":{"VNI":5,"Odd":[1]}}'), { VNI: 5 });
  for (const body of [
    '',
    '[]',
    'null',
    '{"version":"1"}',
    '{"shared":{"VNI":5}}',
    '{"version":"1","shared":1}',
  ])
    assert.equal(sharedIn(body), undefined, body);
});

test('entries are those of no host only where the registry has no lease of it', () => {
  const written = healthy();
  const { routes, neighbours, fdb } = written;
  const network = written.network.kind === 'known' ? written.network.value : assert.fail();
  // The peer came after flanneld had last written its leases down.
  const late = { routes, neighbours, fdb, network: knownFact({ ...network, peers: [] }) };
  assert.deepEqual(idsOf(late), []);
  const stores = {
    ...REGISTRY.stores,
    v3: { kind: 'read', config: CONFIG, records: [record(OWN)] },
  } as const;
  assert.deepEqual(idsOf({ ...late, ...registry({ stores }) }), ['stale-entries']);
  const { findings, unknown } = runChecks(
    healthy({ ...late, registry: unknownFact('no answer') }),
    checks.filter(({ id }) => id === 'stale-entries'),
  );
  assert.deepEqual([findings, unknown.map(({ id }) => id)], [[], ['stale-entries']]);
});

test('a registry whose leases were read answers, whatever its endpoints say of themselves', () => {
  const endpoints = [{ url: 'http://192.0.2.9:2379', why: 'no answer' }];
  assert.deepEqual(idsOf(registry({ endpoints })), []);
  const failed = { kind: 'failed', reason: 'timeout', why: 'no answer in time' } as const;
  assert.deepEqual(idsOf(registry({ endpoints, stores: { v2: failed, v3: failed } })), [
    'registry-unreachable',
  ]);
});

test('a tunnel without an answer names what may differ there', () => {
  const { findings } = runChecks(healthy(reach({ tunnel: 'no', fullSize: 'no', tcp: 'unknown' })), checks);
  assert.match(
    findings[0]?.remedy ?? '',
    /another VNI or port: compare "ip -d link show flannel\.1" on both/,
  );
});

test('peers that answer in the tunnel are reached, whatever the route outside of it', () => {
  assert.deepEqual(idsOf({ ways: new Map([[PEER.name, { device: 'eth1' }]]) }), []);
});

test('a host whose underlay is not known is judged by no route', () => {
  const links = [ETH0];
  const routes = [{ ...(healthy().routes[0] ?? assert.fail()), device: 'flannel.1' }];
  const { findings, unknown } = runChecks(
    healthy({ addresses: WITHOUT_UNDERLAY, links, routes }),
    checks.filter(({ id }) => id === 'route-shadowed'),
  );
  assert.deepEqual([findings, unknown.map(({ id }) => id)], [[], ['route-shadowed']]);
});

test('behind a NAT no device has the public IP, and its flanneld or its flag says so', () => {
  const network = { ...STATUS.network, publicIp: '203.0.113.9' } as NonNullable<NodeStatus['network']>;
  assert.deepEqual(idsOf(running({ network })), []);
  const { options } = healthy();
  const flag = { addresses: WITHOUT_UNDERLAY, options: { ...options, publicIp: '192.0.2.1' } };
  assert.deepEqual(idsOf(flag), []);
});

test('what flanneld says in general is left out beside what is said exactly', () => {
  const changes = { ...running({ ready: false, troubles: ['x'] }), ...reach({ fullSize: 'no' }) };
  assert.deepEqual(idsOf(changes), ['path-mtu']);
});

test('a firewall of the peer that drops pings is no fault of the tunnel while TCP passes', () => {
  assert.deepEqual(idsOf(reach({ tunnel: 'no', fullSize: 'no', tcp: 'yes' })), []);
});

test('a host without a route back and a strict filter names the peer that is cut off', () => {
  const sysctls = new Map([
    ['net/ipv4/ip_forward', '1'],
    ['net/ipv4/conf/eth0/rp_filter', '1'],
  ]);
  const ways = new Map([[PEER.name, { device: 'eth1' }]]);
  const silent = reach({ tunnel: 'no', fullSize: 'no', tcp: 'unknown' });
  const { consequences } = runChecks(healthy({ sysctls, ways, ...silent }), checks);
  assert.deepEqual(consequences, [
    { id: 'rp-filter', of: 'wrong-underlay' },
    { id: 'tunnel-silent', of: 'rp-filter' },
  ]);
});

test('with the network unknown to the registry, no lease of it is judged', () => {
  const empty = { kind: 'read', config: undefined, records: [] } as const;
  assert.deepEqual(idsOf(registry({ stores: { v2: empty, v3: empty } })), ['config-missing']);
});
