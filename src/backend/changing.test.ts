import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { type ChangeStep, ChangingBackend } from '#src/backend/changing.ts';
import { ipv4, ipv6, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { Secret } from '#src/lib/secret.ts';
import { writeChangeMember } from '#src/network/change-member.ts';
import type { ChangePhase } from '#src/network/change-plan.ts';
import { withPhase, withPlan } from '#src/network/change-plan.ts';
import type { Json, Lease, LeaseAttributes } from '#src/network/lease.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { formatObject } from '#src/state/object.ts';
import { isOwned } from '#src/state/scope.ts';

const VNI1 = '{"Type":"vxlan"}';
const VNI7 = '{"Type":"vxlan","VNI":7}';
const HOST_GW = '{"Type":"host-gw"}';
const underlay = {
  name: 'eth0',
  mtu: 1500,
  address: { v4: ipv4(0xac104601) },
  publicIp: { v4: ipv4(0xac104601) },
};
const [OWN, PEER] = ['10.0.1.0/24', '10.0.2.0/24'].map((text) => parsePrefix4(text) ?? assert.fail());

interface Wanted {
  readonly from?: string;
  readonly to?: string;
  readonly phase?: ChangePhase;
  readonly taken?: LeaseAttributes;
}

const config = ({ from = VNI1, to = VNI7, phase = 'prepare' }: Wanted = {}) => {
  const text = withPlan(`{"Network":"10.0.0.0/16","Backend":${from}}`, to, { id: 'a', by: 'h', at: '' });
  return parseNetworkConfig(phase === 'prepare' ? text : withPhase(text, phase));
};

function changing(wanted: Wanted = {}, step: Partial<ChangeStep> = {}): ChangingBackend {
  const prepared = prepareBackend(config(wanted), { links: [], identity: 'us', instance: '' });
  const backend = prepared.make(underlay, wanted.taken);
  assert.ok(backend instanceof ChangingBackend);
  return backend.at({ ...backend.step, ...step });
}

const data = (vni: number, mac = `0e:00:00:00:00:0${vni}`) => ({ VNI: vni, VtepMAC: mac });

function peer(backendData: Json | undefined, other?: LeaseAttributes, type = 'vxlan'): Lease {
  const member = other && writeChangeMember({ id: 'a', phase: 'moving', other, done: 0, of: 0, waits: {} });
  const attributes: LeaseAttributes = {
    publicIp: ipv4(0xac104602),
    backendType: type,
    ...(backendData !== undefined && { backendData }),
    node: 'peer',
    ...(member !== undefined && { weft: { Change: member } }),
  };
  return {
    name: 'p',
    subnets: { v4: PEER ?? assert.fail() },
    attributes,
    revision: 1n,
    expiry: { kind: 'reservation' },
  };
}

const objectsOf = (backend: ChangingBackend, lease: Lease): string[] =>
  backend
    .peerObjects(lease, { routeForm: 'flannel', lookup: { v4: { device: 'eth0' } } })
    .map((object) => `${object.kind} ${formatObject(object)}`)
    .sort();

const TO_7 = { backendType: 'vxlan', backendData: data(7) };
const ENTRIES = (vni: number) => [
  `fdb 0e:00:00:00:00:0${vni} dev flannel.${vni} dst 172.16.70.2 self permanent`,
  `neighbour 10.0.2.0 lladdr 0e:00:00:00:00:0${vni} dev flannel.${vni} nud permanent`,
];
const ROUTE = (vni: number) => `route 10.0.2.0/24 via 10.0.2.0 dev flannel.${vni} onlink`;

test('both devices are there, and what is published is the old path and the new', () => {
  const backend = changing({}, { isAnnounced: true, done: 1, of: 2, waits: { q: 'no' } });
  assert.deepEqual(backend.devices, ['flannel.1', 'flannel.7']);
  const own = backend.ownObjects({ v4: OWN ?? assert.fail() }).map((object) => object.kind);
  assert.deepEqual(own, ['link', 'address', 'link', 'address']);
  const { backendType, backendData, weft } = backend.published;
  assert.equal(backendType, 'vxlan');
  assert.match(JSON.stringify(backendData), /"VNI":1/);
  assert.match(
    JSON.stringify(weft),
    /^\{"Change":\{"Id":"a","Phase":"prepare","Other":\{"BackendType":"vxlan","BackendData":\{"VNI":7,.*"Done":1,"Of":2,"Waits":\{"q":"no"\}\}\}$/,
  );
  assert.doesNotMatch(JSON.stringify(changing().published.weft), /Other/);
});

test('once the config names the new backend, that is what the lease says, and the old one is the other', () => {
  const { published, mtu, type } = changing({ to: HOST_GW, phase: 'settling' }, { isAnnounced: true });
  assert.deepEqual(
    [published.backendType, published.backendData, type, mtu],
    ['host-gw', undefined, 'host-gw', 1500],
  );
  assert.match(JSON.stringify(published.weft), /"Other":\{"BackendType":"vxlan","BackendData":\{"VNI":1/);
  assert.equal(changing({ to: HOST_GW }).mtu, 1450);
});

test('entries of both paths, and a route on one of them', () => {
  const lease = peer(data(1), TO_7);
  assert.deepEqual(
    objectsOf(changing({ phase: 'moving' }), lease),
    [...ENTRIES(1), ...ENTRIES(7), ROUTE(1)].sort(),
  );
  const moved = changing({ phase: 'moving' }, { moved: new Set(['p']) });
  assert.deepEqual(objectsOf(moved, lease), [...ENTRIES(1), ...ENTRIES(7), ROUTE(7)].sort());
});

test('a peer that announced nothing stays on the old path, and one that is through with the change has the new one', () => {
  for (const moved of ['all', new Set(['p'])] as const) {
    assert.deepEqual(
      objectsOf(changing({ phase: 'moving' }, { moved }), peer(data(1))),
      [...ENTRIES(1), ROUTE(1)].sort(),
    );
  }
  assert.deepEqual(objectsOf(changing(), peer(data(7))), [...ENTRIES(7), ROUTE(7)].sort());
});

test('vxlan and host-gw: the route says it all, and a trial has a way of its own', () => {
  const lease = peer(data(1), { backendType: 'host-gw' });
  const backend = changing({ to: HOST_GW, phase: 'moving' });
  assert.deepEqual(objectsOf(backend, lease), [...ENTRIES(1), ROUTE(1)].sort());
  const tried = backend.at({ ...backend.step, tried: new Set(['p']) });
  const trial = 'route 10.0.2.0/32 via 172.16.70.2 dev eth0 proto 87';
  assert.deepEqual(objectsOf(tried, lease), [...ENTRIES(1), ROUTE(1), trial].sort());
  const moved = backend.at({ ...backend.step, moved: new Set(['p']) });
  assert.deepEqual(
    objectsOf(moved, lease),
    [...ENTRIES(1), 'route 10.0.2.0/24 via 172.16.70.2 dev eth0 proto 87'].sort(),
  );
  assert.deepEqual(backend.insideOf(lease), PEER?.address);
  assert.equal(backend.inbound.underlay, true);
});

test('a peer that the new path can not reach keeps the old one', () => {
  const lease = peer(data(1), { backendType: 'host-gw' });
  const backend = changing({ to: HOST_GW, phase: 'settling' });
  const path = { routeForm: 'flannel', lookup: { v4: { device: 'eth0', via: ipv4(0xac1046fe) } } } as const;
  const routes = backend.peerObjects(lease, path).filter(({ kind }) => kind === 'route');
  assert.deepEqual(routes.map(formatObject), ['10.0.2.0/24 via 10.0.2.0 dev flannel.1 onlink']);
  assert.equal(backend.unreachable(lease, path), undefined);
});

test('leases are judged by both paths: one that can be used suffices', () => {
  const backend = changing({ to: HOST_GW });
  assert.equal(backend.judge(peer(data(1)).attributes), undefined);
  assert.equal(backend.judge(peer(undefined, undefined, 'host-gw').attributes), undefined);
  assert.match(backend.judge(peer(undefined, undefined, 'udp').attributes) ?? '', /its backend is "udp"/);
  assert.match(backend.judge(peer({}).attributes) ?? '', /no readable VtepMAC/);
});

test('no two peers may share an identity on either path', () => {
  const { attributes } = peer(data(1), TO_7);
  assert.deepEqual(changing().identityOf(attributes), ['0e:00:00:00:00:01', '0e:00:00:00:00:07']);
  assert.deepEqual(changing().identityOf(peer(data(7)).attributes), ['0e:00:00:00:00:07']);
});

test('what can not be used of the new path is as if it were not said', () => {
  const backend = changing();
  const own = JSON.parse(JSON.stringify(backend.sides.to.published.backendData));
  for (const strange of [data(7, '01:00:00:00:00:01'), { VNI: 7 }, own, null]) {
    const lease = peer(data(1), { backendType: 'vxlan', backendData: strange });
    assert.deepEqual(backend.sightOf(lease), { toKey: undefined, speaks: 'from' });
    assert.deepEqual(objectsOf(backend, lease), [...ENTRIES(1), ROUTE(1)].sort());
  }
  assert.equal(backend.sightOf(peer(data(1), TO_7)).speaks, 'from');
  assert.equal(backend.sightOf(peer(data(7))).speaks, 'to');
});

test('what the lease says of a path is kept over a restart, whichever path it names first', () => {
  const fresh = changing();
  const taken = {
    ...peer(data(1, '0e:11:00:00:00:01'), { backendType: 'vxlan', backendData: data(7, '0e:11:00:00:00:07') })
      .attributes,
  };
  const kept = changing({ taken });
  assert.equal(kept.step.isAnnounced, true);
  assert.equal(fresh.step.isAnnounced, false);
  assert.match(JSON.stringify(kept.sides.from.published), /0e:11:00:00:00:01/);
  assert.match(JSON.stringify(kept.sides.to.published), /0e:11:00:00:00:07/);
  const settling = changing({ phase: 'settling', taken });
  assert.match(JSON.stringify(settling.published.backendData), /0e:11:00:00:00:07/);
});

test('loose filters are wanted with the devices', () => {
  const backend = changing({}, { reversePath: new Map([['flannel.7', '2']]) });
  const sysctls = backend.ownObjects({ v4: OWN ?? assert.fail() }).filter(({ kind }) => kind === 'sysctl');
  assert.deepEqual(sysctls.map(formatObject), ['net/ipv4/conf/flannel.7/rp_filter=2']);
});

const WIREGUARD = '{"Type":"wireguard"}';
const IPIP = '{"Type":"ipip"}';

/** Of a host that rotates its keys: the current one is on the second side. */
function toTunnels(wanted: Wanted, step: Partial<ChangeStep> = {}) {
  const keyRotation = { side: 'b', takesPart: true, numbers: { current: 2 }, isEnding: false } as const;
  const secrets = { wireguardKey: OWN_KEY, keyRotation };
  const prepared = prepareBackend(config(wanted), { links: [], identity: 'us', instance: '', secrets });
  const backend = prepared.make(underlay, wanted.taken);
  assert.ok(backend instanceof ChangingBackend);
  return backend.at({ ...backend.step, ...step });
}

const OWN_KEY = { publicKey: `${'o'.repeat(42)}A=`, privateKey: Secret.copyOf(new Uint8Array(32).fill(7)) };
const THEIR_KEY = { PublicKey: `${'p'.repeat(42)}A=`, Port: 51_830 };

test('loose filters are wanted on devices that there are: of keys that rotate, not on the one to come', () => {
  const reversePath = new Map<string, string>(
    ['flannel-wg.b', 'flannel-wg', 'flannel.ipip', 'eth0'].map((device) => [device, '2'] as const),
  );
  const filters = () =>
    toTunnels({ from: WIREGUARD, to: IPIP }, { reversePath })
      .ownObjects({ v4: OWN ?? assert.fail() })
      .filter(({ kind }) => kind === 'sysctl')
      .map(formatObject);
  const [ipip, eth0] = ['flannel.ipip', 'eth0'].map((device) => `net/ipv4/conf/${device}/rp_filter=2`);
  assert.deepEqual(filters(), ['net/ipv4/conf/flannel-wg.b/rp_filter=2', ipip, eth0]);
  // At the end they are as before, but for what a rotation needs.
  reversePath.set('flannel-wg.b', '1').set('flannel.ipip', '1');
  assert.deepEqual(filters().slice(0, 2), [
    'net/ipv4/conf/flannel-wg.b/rp_filter=2',
    'net/ipv4/conf/flannel.ipip/rp_filter=1',
  ]);
});

test('wireguard, whose keys were rotated, and ipip: both devices, one route, and a trial of its own', () => {
  const wanted = { from: WIREGUARD, to: IPIP, phase: 'moving' } as const;
  const lease = peer(THEIR_KEY, { backendType: 'ipip' }, 'wireguard');
  const backend = toTunnels(wanted, { isAnnounced: true });
  assert.deepEqual(backend.devices, ['flannel-wg.b', 'flannel.ipip']);
  assert.equal(backend.mtu, 1420);
  assert.deepEqual(backend.insideOf(lease), PEER?.address);
  const theirs = `wireguard-peer ${THEIR_KEY.PublicKey} dev flannel-wg.b endpoint 172.16.70.2:51830 allowed-ips 10.0.2.0/24`;
  const [old, new_] = [
    'route 10.0.2.0/24 dev flannel-wg.b scope link',
    'route 10.0.2.0/24 via 172.16.70.2 dev flannel.ipip onlink',
  ];
  assert.deepEqual(objectsOf(backend, lease), [theirs, old].sort());
  const tried = backend.at({ ...backend.step, tried: new Set(['p']) });
  const trial = 'route 10.0.2.0/32 via 172.16.70.2 dev flannel.ipip onlink';
  assert.deepEqual(objectsOf(tried, lease), [theirs, old, trial].sort());
  const moved = backend.at({ ...backend.step, moved: new Set(['p']) });
  assert.deepEqual(objectsOf(moved, lease), [theirs, new_].sort());
  // Once the config names ipip, the lease does, too, and the keys are those of the other path.
  const { published } = toTunnels({ ...wanted, phase: 'settling' }, { isAnnounced: true });
  assert.equal(published.backendType, 'ipip');
  assert.deepEqual(Object.keys(published.weft ?? {}), ['Change']);
  assert.equal(backend.sightOf(lease).speaks, 'from');
  const through = peer(undefined, undefined, 'ipip');
  assert.deepEqual(objectsOf(backend, through), [new_]);
});

test('a change of the port alone: two devices of one VNI, and leases say by their phase which path they name', () => {
  const to = '{"Type":"vxlan","Port":4789}';
  assert.deepEqual(changing({ to }).devices, ['flannel.1', 'flannel-1']);
  assert.deepEqual(changing({ to, phase: 'settling' }).devices, ['flannel.1', 'flannel-1']);
  const other = { backendType: 'vxlan', backendData: data(1, '0e:00:00:00:00:0b') };
  const saidIn = (phase: ChangePhase): Lease => {
    const lease = peer(data(1));
    const member = writeChangeMember({ id: 'a', phase, other, done: 0, of: 0, waits: {} });
    return { ...lease, attributes: { ...lease.attributes, weft: { Change: member } } };
  };
  for (const ours of ['moving', 'settling', 'aborted'] as const) {
    const backend = changing({ to, phase: ours });
    for (const theirs of ['prepare', 'moving', 'aborted'] as const)
      assert.equal(backend.sightOf(saidIn(theirs)).speaks, 'from', `${ours}, ${theirs}`);
    assert.equal(backend.sightOf(saidIn('settling')).speaks, 'to', ours);
    // Through with the change, or not yet in it.
    assert.equal(backend.sightOf(peer(data(1))).speaks, ours === 'settling' ? 'to' : 'from', ours);
  }
  const moved = changing({ to, phase: 'moving' }, { moved: 'all' });
  assert.deepEqual(
    objectsOf(moved, saidIn('moving')).filter((text) => text.startsWith('route')),
    ['route 10.0.2.0/24 via 10.0.2.0 dev flannel-1 onlink'],
  );
});

test('DirectRouting: one device, each entry once, and a direct route that is tried before it is used', () => {
  const to = '{"Type":"vxlan","DirectRouting":true}';
  const lease = peer(data(1), { backendType: 'vxlan', backendData: data(1) });
  const backend = changing({ to, phase: 'moving' });
  assert.deepEqual(backend.devices, ['flannel.1']);
  const own = backend.ownObjects({ v4: OWN ?? assert.fail() }).map((object) => object.kind);
  assert.deepEqual(own, ['link', 'address']);
  assert.equal(backend.inbound.underlay, true);
  assert.deepEqual(objectsOf(backend, lease), [...ENTRIES(1), ROUTE(1)].sort());
  const tried = backend.at({ ...backend.step, tried: new Set(['p']) });
  const trial = 'route 10.0.2.0/32 via 172.16.70.2 dev eth0 proto 87';
  assert.deepEqual(objectsOf(tried, lease), [...ENTRIES(1), ROUTE(1), trial].sort());
  // The peer may send through the tunnel still, and is answered there when the change is aborted.
  const moved = backend.at({ ...backend.step, moved: new Set(['p']) });
  const direct = 'route 10.0.2.0/24 via 172.16.70.2 dev eth0 proto 87';
  assert.deepEqual(objectsOf(moved, lease), [...ENTRIES(1), direct].sort());
  const behindRouter = moved
    .peerObjects(lease, { routeForm: 'flannel', lookup: { v4: { device: 'eth0', via: ipv4(1) } } })
    .map((object) => `${object.kind} ${formatObject(object)}`);
  assert.deepEqual(behindRouter.sort(), [...ENTRIES(1), ROUTE(1)].sort());
});

test('two paths by one device are refused where they want different things of it', () => {
  for (const more of [',"GBP":true', ',"DirectRouting":true,"MTU":1400', ''])
    assert.throws(() => changing({ to: `{"Type":"vxlan"${more}}` }), /both would be the device flannel\.1$/);
});

test('in a network of IPv6 alone a path is tried by the peer’s first two addresses, or by the route to a gateway', () => {
  const net6 = (text: string) => parsePrefix6(text) ?? assert.fail();
  const own6 = net6('fd77::/64').address;
  const backendOf = (from: string, to: string): ChangingBackend => {
    const fields = '"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:10::/48"';
    const text = withPlan(`{${fields},"Backend":${from}}`, to, { id: 'a', by: 'h', at: '' });
    const found = { links: [], identity: 'us', instance: '' };
    const address = { v6: own6 };
    const made = prepareBackend(parseNetworkConfig(withPhase(text, 'moving')), found).make({
      ...underlay,
      address,
      publicIp: address,
    });
    assert.ok(made instanceof ChangingBackend);
    return made.at({ ...made.step, tried: new Set(['p']) });
  };
  const leaseOf = (type: string, said: LeaseAttributes): Lease => {
    const { attributes, ...lease } = peer(undefined, said, type);
    const backendV6Data = type === 'vxlan' ? { backendV6Data: data(1) } : {};
    const { publicIp: _, ...rest } = attributes;
    const v6 = net6('fd00:10:0:2::/64');
    return {
      ...lease,
      subnets: { v6 },
      attributes: { ...rest, publicIpv6: ipv6(own6 + 2n), ...backendV6Data },
    };
  };
  const routesOf = (backend: ChangingBackend, lease: Lease): string[] =>
    backend
      .peerObjects(lease, { routeForm: 'flannel', lookup: { v6: { device: 'eth0' } } })
      .filter(({ kind }) => kind === 'route')
      .map(formatObject);
  const plain = leaseOf('vxlan', { backendType: 'host-gw' });
  assert.deepEqual(routesOf(backendOf(VNI1, HOST_GW), plain), [
    'fd00:10:0:2::/64 via fd00:10:0:2:: dev flannel-v6.1 onlink',
    'fd00:10:0:2::/127 via fd77::2 dev eth0 proto 87',
  ]);
  const tunnel = leaseOf('vxlan', { backendType: 'vxlan', backendV6Data: data(7) });
  assert.deepEqual(routesOf(backendOf(VNI1, VNI7), tunnel), [
    'fd00:10:0:2::/128 dev flannel-v6.7',
    'fd00:10:0:2::/64 via fd00:10:0:2:: dev flannel-v6.1 onlink',
  ]);
  assert.equal(backendOf(VNI1, VNI7).insideOf(tunnel), net6('fd00:10:0:2::/64').address);
});

test('of IPv6 each gateway has a route of its own, on the path that is used, before the route through it', () => {
  const net6 = (text: string) => parsePrefix6(text) ?? assert.fail();
  const own6 = net6('fd77::/64').address;
  const fields = '"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:10::/48"';
  const text = withPlan(`{${fields},"Backend":${VNI1}}`, VNI7, { id: 'a', by: 'h', at: '' });
  const found = { links: [], identity: 'us', instance: '' };
  const prepared = prepareBackend(parseNetworkConfig(withPhase(text, 'moving')), found);
  const address = { ...underlay.address, v6: own6 };
  const backend = prepared.make({ ...underlay, address, publicIp: address });
  assert.ok(backend instanceof ChangingBackend);
  const lease = peer(data(1), { ...TO_7, backendV6Data: data(7) });
  const both: Lease = {
    ...lease,
    subnets: { ...lease.subnets, v6: net6('fd00:10:0:2::/64') },
    attributes: { ...lease.attributes, publicIpv6: own6, backendV6Data: data(1) },
  };
  const routes = (moved: ReadonlySet<string>): string[] =>
    backend
      .at({ ...backend.step, moved })
      .peerObjects(both, { routeForm: 'flannel' })
      .filter(({ kind }) => kind === 'route')
      .map(formatObject);
  const on = (vni: number): string[] => [
    `fd00:10:0:2::/128 dev flannel-v6.${vni}`,
    `10.0.2.0/24 via 10.0.2.0 dev flannel.${vni} onlink`,
    `fd00:10:0:2::/64 via fd00:10:0:2:: dev flannel-v6.${vni} onlink`,
  ];
  assert.deepEqual(routes(new Set()), on(1));
  assert.deepEqual(routes(new Set(['p'])), on(7));
  // When the change is over nobody wants it, and the device's scope has it removed.
  const left = backend.peerObjects(both, { routeForm: 'flannel' }).find(({ kind }) => kind === 'route');
  assert.ok(left && isOwned(backend.scopes, left));
});
