import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseMac } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { type KernelObject, KINDS, RTPROT_KERNEL } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * One namespace with two networks on the two ends of a pair of devices: blue on u0, red on u1.
 */
const skip = cannotRun();
const mac = parseMac('02:00:00:00:00:09') ?? assert.fail();
const ip = (text: string) => parseIp(text) ?? assert.fail(text);

interface Host {
  readonly namespace: ScratchNamespace;
  readonly reconciler: Reconciler;
  own(device: string): Owner;
}

async function host(t: TestContext): Promise<Host> {
  const namespace = scratchNamespace(t);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  await reconciler.start(t.signal);
  const own = (device: string): Owner => {
    // The kernel's own routes come when the devices have their carrier: at any time.
    const owns = (object: KernelObject) =>
      object.kind === 'route'
        ? object.protocol !== RTPROT_KERNEL
        : object.kind !== 'link' && object.kind !== 'address';
    const scopes: readonly Scope[] = [{ kinds: KINDS.names, filter: { device }, owns }];
    return reconciler.own({ name: device, scopes: () => scopes });
  };
  return { namespace, reconciler, own };
}

const neighbour = (device: string): KernelObject => ({
  kind: 'neighbour',
  ip: ip('192.0.2.77'),
  mac,
  device,
  permanent: true,
});

test('while one network works in bulk, another’s lost neighbour is put back', { skip }, async (t) => {
  const { namespace, own } = await host(t);
  const [blue, red] = [own('u0'), own('u1')];
  red.set('peer', [neighbour('u1')]);
  await red.settled();
  const shown = () => namespace.run('ip neigh show dev u1 nud permanent').trim();
  assert.equal(shown(), '192.0.2.77 lladdr 02:00:00:00:00:09 PERMANENT');
  await blue.inBulk(async () => {
    blue.set('peer', [neighbour('u0')]);
    namespace.run('ip neigh del 192.0.2.77 dev u1');
    await until(() => shown() !== '', { what: 'the neighbour again', timeoutMs: 10_000 });
  });
  // The kernel reports a removal in two events: the second may come after the repair, and ask for another one.
  assert.ok(red.status.repairs >= 1);
});

test('an IPv6 route without a metric is as wanted once it is there', { skip }, async (t) => {
  const { namespace, reconciler, own } = await host(t);
  const blue = own('u0');
  const destination = parsePrefix('fd00:10:2::/64') ?? assert.fail();
  blue.set('peer', [
    { ...neighbour('u0'), ip: destination.address } as KernelObject,
    {
      kind: 'route',
      destination,
      type: 'unicast',
      via: destination.address,
      device: 'u0',
      onlink: true,
      metric: 0,
      protocol: 3,
      scope: 0,
    },
  ]);
  blue.allowRemoval();
  await blue.settled();
  for (let check = 0; check < 3; check++) {
    reconciler.check();
    await reconciler.settled();
  }
  assert.deepEqual({ ...blue.status, checks: 0 }, { wanted: 2, failing: [], repairs: 0, checks: 0 });
  assert.match(namespace.run('ip -6 route show dev u0'), /^fd00:10:2::\/64 via fd00:10:2:: .*metric 1024/m);
  blue.set('peer', []);
  await blue.settled();
  assert.doesNotMatch(namespace.run('ip -6 route show dev u0'), /fd00:10:2/);
});
