import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseMac } from '#src/lib/mac.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import {
  deviceOf,
  HOST_NAMESPACE,
  type KernelObject,
  keyOf,
  type Link,
  RTPROT_KERNEL,
} from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace, without and with a reconciler:
 *
 *   br0 ── p0 ── w0     a port, whose other end stands for a container's
 *    └──── vx0          the tunnel
 */
const skip = cannotRun();
const mac = parseMac('02:00:00:00:00:07') ?? assert.fail();
const KINDS = ['bridge-port', 'address', 'fdb', 'bridge-fdb'] as const;

/** Returns the kinds that are there: not every kernel's bridges have VLANs. */
function bridge(namespace: ScratchNamespace): readonly KernelObject['kind'][] {
  const runAll = (commands: readonly string[]) => commands.forEach((command) => void namespace.run(command));
  let vlan = '';
  try {
    runAll(['ip link add br0 up type bridge vlan_filtering 1']);
    vlan = ' vlan 9';
  } catch {
    runAll(['ip link add br0 up type bridge']);
  }
  runAll([
    'ip link add vx0 up master br0 type vxlan id 7 dstport 8473 nolearning',
    'ip link add p0 up master br0 type veth peer name w0',
    'ip link set w0 up',
    'ip address add 192.0.2.9/32 dev br0',
    'bridge link set dev p0 learning off flood off',
    'bridge link set dev vx0 learning off neigh_suppress on',
    ...(vlan === '' ? [] : ['bridge vlan add dev p0 vid 9 pvid untagged', 'bridge vlan add dev vx0 vid 9']),
    `bridge fdb add 02:00:00:00:00:07 dev p0 master static${vlan}`,
    `bridge fdb add 02:00:00:00:00:08 dev vx0 master static${vlan}`,
    'bridge fdb add 02:00:00:00:00:08 dev vx0 self dst 198.51.100.8',
  ]);
  return vlan === '' ? KINDS : [...KINDS, 'bridge-vlan'];
}

function open(t: TestContext, namespace: ScratchNamespace): RtnetlinkKernel {
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  return kernel;
}

/** What somebody put there: the kernel gives devices link-local addresses, and learns entries. */
function isMade(object: KernelObject): boolean {
  if (object.kind === 'address') return object.prefix.family === 4;
  return object.kind === 'bridge-fdb' ? object.static : object.kind !== 'fdb' || object.permanent;
}

for (const [what, down, up] of [
  ['goes down', 'ip link set DEVICE down', 'ip link set DEVICE up'],
  ['loses its carrier', 'ip link set w0 down', 'ip link set w0 up'],
] as const) {
  const devices = down.includes('DEVICE') ? ['p0', 'vx0', 'br0'] : ['p0'];
  test(`a device that ${what} keeps its address, flags, VLANs and entries`, { skip }, async (t) => {
    const namespace = scratchNamespace(t);
    const kinds = bridge(namespace);
    const kernel = open(t, namespace);
    // A bridge's own port states change with its devices; what was set does not.
    const found = async () => {
      const all = (await kernel.dump({ kinds })).filter(isMade);
      return all
        .map((object) => JSON.stringify(object, (key, value) => (key === 'state' ? undefined : value)))
        .sort();
    };
    const before = await found();
    for (const kind of kinds)
      assert.ok(
        before.some((text) => text.includes(`"kind":"${kind}"`)),
        kind,
      );
    for (const device of devices) {
      namespace.run(down.replace('DEVICE', device));
      assert.deepEqual(await found(), before, device);
      namespace.run(up.replace('DEVICE', device));
    }
  });
}

const entry: KernelObject = { kind: 'bridge-fdb', mac, bridge: 'br0', device: 'p0', static: true };
const route: KernelObject = {
  kind: 'route',
  destination: prefix4(ipv4(0x0a090000), 16),
  type: 'unicast',
  device: 'br0',
  onlink: false,
  metric: 0,
  protocol: 3,
  scope: 253,
};

test('ports that go down or away, and devices that lose their routes, are mended without a comparison of all', {
  skip,
}, async (t) => {
  const namespace = scratchNamespace(t);
  const kernel = open(t, namespace);
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  await reconciler.start(t.signal);
  const devices = ['br0', 'p0'];
  // The kernel's own routes come when the devices have their carrier: at any time.
  const owns = (object: KernelObject): boolean =>
    devices.includes(deviceOf(object) ?? '') &&
    object !== entry &&
    !(object.kind === 'route' && object.protocol === RTPROT_KERNEL);
  const scopes: readonly Scope[] = [{ kinds: ['link', 'bridge-port', 'bridge-fdb', 'route'], owns }];
  const owner = reconciler.own({ name: 'blue', scopes: () => scopes });
  const veth = { peer: 'w0', peerNamespace: HOST_NAMESPACE, peerMac: mac, peerMtu: 1_500 };
  const port: Link = { kind: 'link', name: 'p0', type: 'veth', up: true, master: 'br0', veth };
  owner.set('own', [
    { kind: 'link', name: 'br0', type: 'bridge', up: true },
    port,
    { kind: 'bridge-port', device: 'p0', learning: false },
    entry,
    route,
  ]);
  await owner.settled();
  await until(() => namespace.run('bridge fdb show dev p0').includes('02:00:00:00:00:07'), {
    what: 'the entry',
    timeoutMs: 10_000,
  });
  const { checks } = reconciler.status;
  const isRight = async (): Promise<boolean> => {
    const all = await kernel.dump({ kinds: ['link', 'bridge-fdb', 'route'] });
    const found = new Map(all.map((object) => [keyOf(object), object]));
    const link = found.get('link p0');
    return [entry, route].every((it) => found.has(keyOf(it))) && link?.kind === 'link' && link.up === true;
  };
  for (const harm of ['ip link set p0 down', 'ip link del p0', 'ip link set br0 down']) {
    const { repairs } = reconciler.status;
    namespace.run(harm);
    await until(async () => reconciler.status.repairs > repairs && (await isRight()), {
      what: `all to be right after "${harm}"`,
      timeoutMs: 10_000,
    });
  }
  await reconciler.settled();
  assert.equal(reconciler.status.checks, checks);
});
