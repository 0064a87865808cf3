import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { type Ip, ipv4, type Prefix, parseIp, parsePrefix, prefix4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import {
  type Address,
  deviceOf,
  type FdbEntry,
  type KernelObject,
  type Link,
  type Neighbour,
  type Route,
  type Vxlan,
} from '#src/state/object.ts';
import type { KernelError, Operation } from '#src/state/operation.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace: u0 192.0.2.1/24 ─ u1, and flannel.1 over u0 where a test makes it. What RtnetlinkKernel does is
 * compared with what iproute2 prints, and the other way round.
 */
const skip = cannotRun();

const ip = (text: string) => parseIp(text) as Ip;
const prefix = (text: string) => parsePrefix(text) as Prefix;
const mac = (text: string) => parseMac(text) as Mac;

const VXLAN: Vxlan = {
  vni: 1,
  underlay: 'u0',
  local: ip('192.0.2.1'),
  port: 8472,
  learning: false,
  gbp: false,
};
const LINK: Link = { kind: 'link', name: 'flannel.1', up: true, vxlan: VXLAN };
const ADDRESS: Address = { kind: 'address', prefix: prefix('10.5.26.0/32'), device: 'flannel.1' };
const NEIGHBOUR: Neighbour = {
  kind: 'neighbour',
  ip: ip('10.5.9.0'),
  mac: mac('82:4b:b6:2f:54:4e'),
  device: 'flannel.1',
  permanent: true,
};
const FDB: FdbEntry = {
  kind: 'fdb',
  mac: NEIGHBOUR.mac,
  destination: ip('192.0.2.9'),
  device: 'flannel.1',
  permanent: true,
};
const ROUTE: Route = {
  kind: 'route',
  destination: prefix('10.5.9.0/24'),
  type: 'unicast',
  via: ip('10.5.9.0'),
  device: 'flannel.1',
  onlink: true,
  metric: 0,
  protocol: 3,
  scope: 0,
};

function openKernel(t: TestContext): { namespace: ScratchNamespace; kernel: RtnetlinkKernel } {
  const namespace = scratchNamespace(t);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  return { namespace, kernel };
}

/** Applies and demands that all is done. */
async function must(kernel: RtnetlinkKernel, ...operations: Operation[]): Promise<void> {
  const refused = (await kernel.apply(operations)).filter(({ done }) => !done);
  assert.deepEqual(refused, []);
}

const add = (object: KernelObject): Operation => ({ verb: 'add', object });
const replace = (object: KernelObject): Operation => ({ verb: 'replace', object });
const remove = (object: KernelObject): Operation => ({ verb: 'remove', object });

test('makes the vxlan device that flannel makes', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(kernel, add({ ...LINK, mac: mac('82:4b:b6:2f:54:4f'), mtu: 1400 }));
  const [link] = namespace.json('ip link show flannel.1');
  assert.partialDeepStrictEqual(link, {
    ifname: 'flannel.1',
    mtu: 1400,
    address: '82:4b:b6:2f:54:4f',
    qdisc: 'noqueue',
    flags: ['BROADCAST', 'MULTICAST', 'UP', 'LOWER_UP'],
    linkinfo: {
      info_kind: 'vxlan',
      info_data: {
        id: 1,
        link: 'u0',
        local: '192.0.2.1',
        port: 8472,
        learning: false,
        udp_csum: true,
        ttl: 0,
      },
    },
  });
  const shown = namespace.run('ip -d link show flannel.1');
  assert.match(
    shown,
    /vxlan id 1 local 192.0.2.1 dev u0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum/,
  );
});

test('makes a device with learning, gbp, another port, and over IPv6', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(
    kernel,
    add({ ...LINK, name: 'flannel.7', vxlan: { ...VXLAN, vni: 7, port: 4789, learning: true, gbp: true } }),
    add({ ...LINK, name: 'flannel-v6.7', vxlan: { ...VXLAN, vni: 8, local: ip('2001:db8::1') } }),
  );
  assert.match(namespace.run('ip -d link show flannel.7'), /vxlan id 7 .*dstport 4789 ttl auto .* gbp/);
  assert.match(namespace.run('ip -d link show flannel-v6.7'), /vxlan id 8 local 2001:db8::1/);
});

test('reads links as iproute2 made them', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  namespace.run('ip link add flannel.3 type vxlan id 3 dev u0 local 192.0.2.1 dstport 8472 learning gbp');
  namespace.run('ip link add br0 type bridge');
  namespace.run('ip link set u1 master br0');
  const links = new Map((await kernel.links()).map((link) => [link.name, link]));
  const shown = namespace.json('ip link show');
  assert.deepEqual([...links.keys()].sort(), shown.map(({ ifname }) => ifname).sort());
  for (const { ifname, ifindex, mtu, address } of shown)
    assert.partialDeepStrictEqual(links.get(String(ifname)), { index: ifindex, mtu, mac: address });
  assert.deepEqual(links.get('flannel.3')?.vxlan, {
    vni: 3,
    underlay: 'u0',
    local: ip('192.0.2.1'),
    port: 8472,
    learning: true,
    gbp: true,
    l2miss: false,
  });
  assert.equal(links.get('u1')?.masterIndex, links.get('br0')?.index);
  assert.equal(links.get('br0')?.type, 'bridge');
  assert.equal(links.get('u0')?.running, true);
});

test('changes MTU, MAC and state of a device, and removes it', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(kernel, add(LINK));
  const set = (link: Partial<Link>): Operation => ({
    verb: 'set',
    object: { kind: 'link', name: 'flannel.1', ...link },
  });
  await must(kernel, set({ mtu: 1300 }), set({ mac: mac('02:00:00:00:00:07') }), set({ up: false }));
  assert.partialDeepStrictEqual(namespace.json('ip link show flannel.1')[0], {
    mtu: 1300,
    address: '02:00:00:00:00:07',
    operstate: 'DOWN',
  });
  await must(kernel, remove(LINK));
  assert.ok(!(await kernel.links()).some(({ name }) => name === 'flannel.1'));
});

test("a peer's three objects look as flannel's do, and replacing them changes nothing", {
  skip,
}, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(kernel, add(LINK), add(ADDRESS));
  const peer = [replace(NEIGHBOUR), replace(FDB), replace(ROUTE), replace(ADDRESS)];
  await must(kernel, ...peer);
  await must(kernel, ...peer);
  assert.match(
    namespace.run('ip address show dev flannel.1'),
    /inet 10\.5\.26\.0\/32 scope global flannel\.1\n/,
  );
  assert.equal(
    namespace.run('ip -4 neigh show dev flannel.1'),
    '10.5.9.0 lladdr 82:4b:b6:2f:54:4e PERMANENT \n',
  );
  assert.equal(
    namespace.run('bridge fdb show dev flannel.1'),
    '82:4b:b6:2f:54:4e dst 192.0.2.9 self permanent\n',
  );
  assert.equal(
    namespace.run('ip route show 10.5.9.0/24'),
    '10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink \n',
  );
  await must(kernel, replace({ ...FDB, destination: ip('192.0.2.10') }));
  assert.match(namespace.run('bridge fdb show dev flannel.1'), /^82:4b:b6:2f:54:4e dst 192\.0\.2\.10 self/);
});

test('applied objects are found again, in both families', { skip }, async (t) => {
  const { kernel } = openKernel(t);
  const objects: KernelObject[] = [
    ADDRESS,
    { ...ADDRESS, prefix: prefix('fd00:5:26::/128') },
    NEIGHBOUR,
    { ...NEIGHBOUR, ip: ip('fd00:5:9::') },
    FDB,
    { ...FDB, mac: mac('82:4b:b6:2f:54:50'), destination: ip('192.0.2.11') },
    ROUTE,
    { ...ROUTE, metric: 17, protocol: 87 },
    { ...ROUTE, destination: prefix('fd00:5:9::/64'), via: ip('fd00:5:9::'), metric: 1024 },
    { ...ROUTE, destination: prefix('10.6.0.0/24'), via: ip('192.0.2.7'), device: 'u0', onlink: false },
    {
      kind: 'route',
      destination: prefix('10.5.0.0/16'),
      type: 'blackhole',
      onlink: false,
      metric: 9,
      protocol: 87,
      scope: 0,
    },
  ];
  await must(kernel, add(LINK), ...objects.map(replace));
  const found = await kernel.dump({ kinds: ['address', 'neighbour', 'fdb', 'route'] });
  for (const object of objects)
    assert.ok(
      // An address may say in addition that it is still being checked (tentative).
      found.some((candidate) => {
        if (candidate.kind !== 'address') return isEqual(candidate, object);
        const { flags: _, ...plain } = candidate;
        return isEqual(plain, object);
      }),
      `${JSON.stringify(object, bigints)} is not in ${JSON.stringify(found, bigints)}`,
    );
  // The last address takes the device's routes along.
  await must(kernel, ...objects.toReversed().map(remove));
  const left = await kernel.dump({ kinds: ['address', 'neighbour', 'fdb', 'route'] });
  for (const object of objects) assert.ok(!left.some((candidate) => isEqual(candidate, object)));
});

const bigints = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString(16) : value);

function isEqual(a: KernelObject, b: KernelObject): boolean {
  try {
    assert.deepEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

test('a dump of one device has nothing of another', { skip }, async (t) => {
  const { kernel } = openKernel(t);
  await must(kernel, add(LINK), add(ADDRESS), replace(NEIGHBOUR), replace(FDB), replace(ROUTE));
  const kinds = ['link', 'address', 'neighbour', 'fdb', 'route'] as const;
  const ours = await kernel.dump({ kinds, device: 'flannel.1' });
  for (const object of ours) assert.equal(deviceOf(object), 'flannel.1');
  for (const kind of kinds)
    assert.ok(
      ours.some((object) => object.kind === kind),
      kind,
    );
  assert.deepEqual(await kernel.dump({ kinds, device: 'gone0' }), []);
});

test('a removal takes exactly the route that is meant', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(
    kernel,
    add(LINK),
    add(ADDRESS),
    replace({ ...ROUTE, metric: 5 }),
    replace({ ...ROUTE, metric: 6 }),
  );
  const wrong: Route[] = [
    // The kernel itself would take metric 0 for any.
    ROUTE,
    { ...ROUTE, metric: 7 },
    { ...ROUTE, metric: 5, via: ip('10.5.9.1') },
    { ...ROUTE, metric: 5, device: 'u0' },
    { ...ROUTE, metric: 5, protocol: 4 },
  ];
  for (const result of await kernel.apply(wrong.map(remove)))
    assert.equal(result.done ? 'done' : result.error.errno, 'ESRCH');
  await must(kernel, replace(ROUTE), remove(ROUTE), remove({ ...ROUTE, metric: 6 }));
  assert.match(
    namespace.run('ip route show 10.5.9.0/24'),
    /^\S+ via 10\.5\.9\.0 dev flannel\.1 metric 5 onlink \n$/,
  );
});

test("a refusal comes with the kernel's words, for its own operation, and the rest is done", {
  skip,
}, async (t) => {
  const { kernel } = openKernel(t);
  await must(kernel, add(LINK), add(ADDRESS));
  const results = await kernel.apply([
    replace(NEIGHBOUR),
    add({ ...LINK, name: 'flannel.9', vxlan: { ...VXLAN, vni: 1 << 24 } }),
    add(ADDRESS),
    replace({ ...ROUTE, destination: prefix('10.6.0.0/24'), via: ip('10.99.0.1'), onlink: false }),
    replace({ ...FDB, device: 'gone0' }),
    replace(ROUTE),
    remove({ ...NEIGHBOUR, ip: ip('10.5.77.0') }),
    replace(FDB),
  ]);
  assert.deepEqual(
    results.map((result) => (result.done ? 'done' : wordsOf(result.error))),
    [
      'done',
      'ERANGE VXLAN ID must be lower than 16777216',
      'EEXIST ipv4: Address already assigned',
      'ENETUNREACH Nexthop has invalid gateway',
      'ENODEV there is no device gone0',
      'done',
      'ENOENT no such file or directory',
      'done',
    ],
  );
});

/** Linux 6.1 has no words of its own for an address that is there. */
const wordsOf = ({ errno, message }: KernelError): string =>
  `${errno} ${errno === 'EEXIST' && message === 'file already exists' ? 'ipv4: Address already assigned' : message}`;

test('of 10,000 operations, every hundredth wrong, exactly those are refused', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(kernel, add(LINK), add(ADDRESS));
  const operations = Array.from({ length: 10_000 }, (_, index): Operation => {
    const host = ipv4(0x0a800000 + index);
    const wrong = index % 100 === 50;
    return wrong
      ? remove({ ...NEIGHBOUR, ip: host })
      : replace({ ...ROUTE, destination: prefix4(host, 32), via: host, metric: index + 1 });
  });
  const results = await kernel.apply(operations);
  assert.deepEqual(
    results.map(({ operation, done }) => [operation, done]),
    operations.map((operation) => [operation, operation.verb === 'replace']),
  );
  const found = await kernel.dump({ kinds: ['route'], device: 'flannel.1' });
  const metrics = new Set(found.flatMap((object) => (object.kind === 'route' ? [object.metric] : [])));
  for (const [index, { verb }] of operations.entries())
    assert.equal(metrics.has(index + 1), verb === 'replace');
  assert.equal(namespace.run('ip -4 route show dev flannel.1').trim().split('\n').length, 9_900);
});

test('a device that was deleted and made again, or renamed, is the one that is programmed', {
  skip,
}, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(kernel, add(LINK), add(ADDRESS), replace(FDB));
  namespace.run('ip link del flannel.1');
  const gone = await kernel.apply([replace(FDB)]);
  assert.equal(gone[0]?.done, false);
  await must(kernel, add(LINK), replace(FDB));
  assert.match(namespace.run('bridge fdb show dev flannel.1'), /^82:4b/);
  namespace.rename('flannel.1', 'other0');
  const second: Link = { ...LINK, vxlan: { ...VXLAN, vni: 2 } };
  await must(kernel, add(second));
  await must(kernel, replace({ ...FDB, destination: ip('192.0.2.20') }));
  assert.match(namespace.run('bridge fdb show dev flannel.1'), /dst 192\.0\.2\.20/);
  assert.match(namespace.run('bridge fdb show dev other0'), /dst 192\.0\.2\.9/);
  await must(kernel, remove(second), add(second), add(ADDRESS), replace(ROUTE));
  assert.match(namespace.run('ip route show dev flannel.1'), /10\.5\.9\.0\/24/);
});

test('looks routes up as `ip route get` does', { skip }, async (t) => {
  const { namespace, kernel } = openKernel(t);
  await must(kernel, add(LINK), add(ADDRESS), replace(ROUTE));
  namespace.run('ip route add blackhole 10.66.0.0/16');
  namespace.run('ip route add 10.77.0.0/16 via 192.0.2.7');
  assert.deepEqual(await kernel.routeTo(ip('10.5.9.3')), {
    device: 'flannel.1',
    source: ip('10.5.26.0'),
    via: ip('10.5.9.0'),
  });
  assert.deepEqual(await kernel.routeTo(ip('192.0.2.3')), { device: 'u0', source: ip('192.0.2.1') });
  assert.deepEqual(await kernel.routeTo(ip('10.77.0.1')), {
    device: 'u0',
    source: ip('192.0.2.1'),
    via: ip('192.0.2.7'),
  });
  assert.equal(await kernel.routeTo(ip('10.66.0.1')), undefined);
  assert.equal(await kernel.routeTo(ip('198.51.100.1')), undefined);
  assert.equal(await kernel.routeTo(ip('2001:db8:99::1')), undefined);
});

test('a namespace that is not there is an error with its name', { skip }, async () => {
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: '/run/netns/weft-not-there' });
  await assert.rejects(kernel.links(), { code: 'netns' });
  kernel.close();
  await assert.rejects(kernel.links(), { code: 'kernel-closed' });
});
