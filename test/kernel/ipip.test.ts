import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ipip } from '#src/backend/ipip-kind.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { type Ipv4, type Prefix4, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { untilCarrier } from '../support/carrier.ts';
import { lacks } from '../support/kernel-has.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * What the ipip backend wants of a host, under a reconciler in a real kernel; `ip` is the other program that changes things:
 *
 *     one  eth0 192.0.2.101 ─── eth0 192.0.2.102  two
 *          flannel.ipip 10.5.1.0      flannel.ipip 10.5.2.0
 */
const skip = cannotRun('ping') || (await lacks('ipip'));

const net = (text: string): Prefix4 => (parsePrefix(text) ?? assert.fail(text)) as Prefix4;
const NETWORK = { v4: net('10.5.0.0/16') };

interface Side {
  readonly space: ScratchNamespace;
  readonly owner: Owner;
}

function backendOf(number: number) {
  const address = { v4: parseIp(`192.0.2.10${number}`) as Ipv4 };
  const place = { network: NETWORK, options: new GoObject({}), identity: `n${number}`, links: [] };
  const underlay = { name: 'eth0', mtu: 1500, address, publicIp: address };
  const backend = ipip.prepare({ ...place, instance: 'a' }).make(underlay);
  const subnets = { v4: net(`10.5.${number}.0/24`) };
  const lease: Lease = {
    subnets,
    name: String(number),
    revision: 1n,
    expiry: { kind: 'reservation' },
    attributes: { publicIp: address.v4, ...backend.published },
  };
  return { backend, subnets, lease };
}

async function sideOf(t: TestContext, space: ScratchNamespace, number: 1 | 2): Promise<Side> {
  space.run(`ip address add 192.0.2.10${number}/32 dev eth0`);
  space.run('ip link set eth0 up');
  space.run(`ip route add 192.0.2.10${3 - number}/32 dev eth0`);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: space.path });
  t.after(() => kernel.close());
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const { backend, subnets } = backendOf(number);
  const owner = reconciler.own({ name: 'blue', scopes: () => backend.scopes });
  await reconciler.start(t.signal);
  owner.allowRemoval();
  owner.set('own', backend.ownObjects(subnets));
  owner.set('peer', backend.peerObjects(backendOf(3 - number).lease, { routeForm: 'flannel' }));
  await owner.settled();
  assert.deepEqual(owner.status.failing, []);
  return { space, owner };
}

test('packets of the whole MTU pass by ipip, and what others change is put back', { skip }, async (t) => {
  const spaces = [scratchNamespace(t), scratchNamespace(t)] as const;
  spaces[0].run(`ip link add eth0 type veth peer name eth0 netns ${basename(spaces[1].path)}`);
  const { space, owner } = await sideOf(t, spaces[0], 1);
  await sideOf(t, spaces[1], 2);
  for (const { run } of spaces) untilCarrier(run, 'eth0');
  const passes = (): void => {
    // 1480 bytes with IPv4's header and ICMP's.
    space.run('ping -n -c1 -W5 -M do -s 1452 -I 10.5.1.0 10.5.2.0');
  };
  passes();
  const route = () => space.run('ip route show 10.5.2.0/24').trim();
  const isRight = (): boolean =>
    /^10\.5\.2\.0\/24 via 192\.0\.2\.102 dev flannel\.ipip onlink\s*$/.test(route());
  assert.ok(isRight(), route());
  const faults: readonly (readonly [what: string, command: string])[] = [
    ['route that is gone', 'ip route del 10.5.2.0/24'],
    ['route to elsewhere', 'ip route replace 10.5.2.0/24 via 192.0.2.7 dev flannel.ipip onlink'],
    ['device that is down', 'ip link set flannel.ipip down'],
    ['device that is gone', 'ip link del flannel.ipip'],
  ];
  for (const [what, command] of faults) {
    space.run(command);
    await until(isRight, { what: `repair of a ${what}` });
    await owner.settled();
    passes();
  }
});
