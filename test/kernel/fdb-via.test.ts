import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { parseIpv4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseMac } from '#src/lib/mac.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { FdbEntry } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { untilCarrier } from '../support/carrier.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A vxlan device over u0, and a second device `tunnel` by which the outer packets to one peer leave although no route leads
 * there: the way of `"Encrypt": "wireguard"`.
 *
 *     flannel.1 ── outer packets to 192.0.2.9 ──┬── u0, by the routes
 *                                               └── tunnel, by the forwarding entry
 */
const MAC = parseMac('02:00:00:00:00:09') ?? assert.fail();
const DESTINATION = parseIpv4('192.0.2.9') ?? assert.fail();
const plain: FdbEntry = {
  kind: 'fdb',
  mac: MAC,
  destination: DESTINATION,
  device: 'flannel.1',
  permanent: true,
};
const through: FdbEntry = { ...plain, via: 'tunnel' };

test('a forwarding entry names the device by which the outer packets leave', {
  skip: cannotRun('bridge'),
}, async (t) => {
  const namespace = scratchNamespace(t);
  const makeTunnel = () => {
    namespace.run('ip link add tunnel type veth peer name far');
    for (const line of ['ip link set tunnel arp off up', 'ip link set far up']) namespace.run(line);
    untilCarrier(namespace.run, 'tunnel');
  };
  makeTunnel();
  namespace.run('ip link add flannel.1 type vxlan id 1 local 192.0.2.1 dev u0 dstport 8472 nolearning');
  for (const line of [
    'ip address add 10.5.1.0/32 dev flannel.1',
    'ip link set flannel.1 up',
    'ip neigh add 10.5.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent',
    'ip route add 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink',
  ])
    namespace.run(line);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const reconciler = new Reconciler(
    { actuators: [kernel], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const scopes: readonly Scope[] = [
    { kinds: ['fdb'], filter: { device: 'flannel.1' }, owns: () => true },
    { kinds: ['link'], filter: { device: 'tunnel' }, owns: () => false },
  ];
  const owner = reconciler.own({ name: 'blue', scopes: () => scopes });
  owner.set('own', [{ kind: 'link', name: 'tunnel', up: true }]);
  owner.set('peer', [through]);
  await reconciler.start(t.signal);
  owner.allowRemoval();
  const shows = (pattern: RegExp) =>
    until(() => pattern.test(namespace.run('bridge fdb show dev flannel.1')), {
      what: String(pattern),
      timeoutMs: 10_000,
    });
  await shows(/^02:00:00:00:00:09 dst 192\.0\.2\.9 via tunnel self permanent/);
  assert.equal(
    commandOf({ verb: 'replace', object: through }),
    'bridge fdb replace 02:00:00:00:00:09 dev flannel.1 dst 192.0.2.9 via tunnel self permanent',
  );

  const sent = (device: string): number => {
    const [link] = namespace.json(`ip -s link show dev ${device}`);
    return (link as { stats64: { tx: { packets: number } } }).stats64.tx.packets;
  };
  const ping = (): void => {
    try {
      namespace.run('ping -c30 -i0.02 -W1 10.5.9.1');
    } catch {
      // Nobody answers.
    }
  };
  const [before, beside] = [sent('tunnel'), sent('u0')];
  ping();
  assert.ok(sent('tunnel') - before >= 30, 'the outer packets leave by the tunnel');
  assert.ok(sent('u0') - beside < 30, 'and not by the device of the route');

  // A hand takes the device out of the entry: what would leave unencrypted is put right.
  namespace.run('bridge fdb replace 02:00:00:00:00:09 dev flannel.1 dst 192.0.2.9');
  await shows(/dst 192\.0\.2\.9 via tunnel self/);

  // The device is another one under the same name: the entry names the old one until it is put right.
  namespace.run('ip link del tunnel');
  const found = await kernel.dump({ kinds: ['fdb'] });
  assert.ok(found.some((object) => object.kind === 'fdb' && /^#\d+$/.test(object.via ?? '')));
  makeTunnel();
  await shows(/dst 192\.0\.2\.9 via tunnel self/);

  owner.set('peer', [plain]);
  await shows(/dst 192\.0\.2\.9 self permanent/);
  owner.set('peer', [through]);
  await shows(/dst 192\.0\.2\.9 via tunnel self permanent/);
  owner.set('peer', []);
  await owner.settled();
  assert.equal(namespace.run('bridge fdb show dev flannel.1'), '');
  assert.deepEqual(owner.status.failing, []);
});

/*
 * The same with outer packets of IPv6. This is why `"Encrypt": "wireguard"` is refused there: where the kernel keeps to the
 * device, it can be allowed.
 *
 *     flannel.1 ── outer packets to 2001:db8::9 ──┬── u0 2001:db8::1/64, by the routes
 *                                                 └── tunnel, named by the forwarding entry and not used
 */
test('outer packets of IPv6 leave by the routes, whatever device a forwarding entry names', {
  skip: cannotRun('bridge'),
}, (t) => {
  const { run, json } = scratchNamespace(t);
  for (const line of [
    'ip address add 2001:db8::1/64 dev u0 nodad',
    'ip link add tunnel type veth peer name far',
    'ip link set tunnel arp off up',
    'ip link set far up',
    'ip link add flannel.1 type vxlan id 1 local 2001:db8::1 dev u0 dstport 8472 nolearning',
    'ip address add 10.5.1.0/32 dev flannel.1',
    'ip link set flannel.1 up',
    'ip neigh add 10.5.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent',
    'ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:19 dev u0 nud permanent',
    'ip route add 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink',
    'bridge fdb add 02:00:00:00:00:09 dev flannel.1 dst 2001:db8::9 via tunnel',
  ])
    run(line);
  untilCarrier(run, 'tunnel');
  const sent = (device: string): number => {
    const [link] = json(`ip -s link show dev ${device}`);
    return (link as { stats64: { tx: { packets: number } } }).stats64.tx.packets;
  };
  const [before, beside] = [sent('tunnel'), sent('u0')];
  // Nobody answers.
  assert.throws(() => run('ping -c30 -i0.02 -W1 10.5.9.1'));
  assert.ok(sent('u0') - beside >= 30, 'they leave by the device of the route');
  assert.ok(sent('tunnel') - before < 30, 'and not by the tunnel');
});
