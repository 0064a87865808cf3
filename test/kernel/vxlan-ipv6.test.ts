import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import { vxlan } from '#src/backend/vxlan-kind.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { type Ipv4, type Ipv6, type Prefix4, type Prefix6, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import { planOf } from '#src/reconcile/plan.ts';
import { LINK } from '#src/state/kinds/link.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { untilCarrier } from '../support/carrier.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * What the vxlan backend wants of a network of both families, in a real kernel:
 *
 *     one  eth0 192.0.2.101, 2001:db8::1 ─── eth0 192.0.2.102, 2001:db8::2  two
 *          flannel.1, flannel-v6.1                flannel.1, flannel-v6.1
 *          lo 10.5.1.5, fd05:0:0:1::5             lo 10.5.2.5, fd05:0:0:2::5
 */
const skip = cannotRun('ping');

const NETWORK = { v4: net<Prefix4>('10.5.0.0/16'), v6: net<Prefix6>('fd05::/48') };

function net<P>(text: string): P {
  return (parsePrefix(text) ?? assert.fail(text)) as P;
}

/** The host with this number, its backend and what it publishes. */
function hostNumber(number: 1 | 2, links: readonly Link[] = []) {
  const address = {
    v4: parseIp(`192.0.2.10${number}`) as Ipv4,
    v6: parseIp(`2001:db8::${number}`) as Ipv6,
  };
  const subnets = { v4: net<Prefix4>(`10.5.${number}.0/24`), v6: net<Prefix6>(`fd05:0:0:${number}::/64`) };
  const place = {
    network: NETWORK,
    options: new GoObject({}),
    identity: `n${number}`,
    links,
    instance: 'a',
  };
  const underlay = { name: 'eth0', mtu: 1500, address, publicIp: address };
  const prepared = vxlan.prepare(place);
  const backend = prepared.make(underlay);
  const lease: Lease = {
    subnets,
    name: String(number),
    revision: 1n,
    expiry: { kind: 'reservation' },
    attributes: { publicIp: address.v4, publicIpv6: address.v6, ...backend.published },
  };
  return { prepared, underlay, backend, lease, subnets };
}

test('packets of both families pass between two hosts, at the full size of each', { skip }, async (t) => {
  const spaces = [scratchNamespace(t), scratchNamespace(t)] as const;
  spaces[0].run(`ip link add eth0 type veth peer name eth0 netns ${basename(spaces[1].path)}`);
  const hosts = [hostNumber(1), hostNumber(2)] as const;
  for (const index of [0, 1] as const) {
    const [space, host, peer] = [spaces[index], hosts[index], hosts[1 - index]];
    assert.ok(peer);
    const number = index + 1;
    space.run(`ip address add 192.0.2.10${number}/32 dev eth0`);
    space.run(`ip address add 2001:db8::${number}/64 dev eth0 nodad`);
    space.run('ip link set eth0 up');
    space.run('ip link set lo up');
    space.run(`ip route add 192.0.2.10${3 - number}/32 dev eth0`);
    space.run(`ip address add 10.5.${number}.5/32 dev lo`);
    space.run(`ip address add fd05:0:0:${number}::5/128 dev lo`);
    const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: space.path });
    t.after(() => kernel.close());
    assert.deepEqual(host.prepared.check(host.underlay, { links: await kernel.links() }), []);
    const wanted: readonly KernelObject[] = [
      ...host.backend.ownObjects(host.subnets),
      ...host.backend.peerObjects(peer.lease, { routeForm: 'flannel' }),
    ].filter(({ kind }) => kind !== 'sysctl');
    const results = await kernel.apply(
      planOf(wanted.map((object) => ({ wanted: object, found: undefined }))),
    );
    assert.deepEqual(
      results.filter(({ done }) => !done),
      [],
    );
    const found = await kernel.links();
    for (const link of wanted.filter((object) => object.kind === 'link')) {
      const made = found.find(({ name }) => name === link.name);
      assert.ok(made);
      assert.deepEqual(LINK.mustRecreate(link, made), []);
      assert.deepEqual([made.mac, made.mtu, made.up], [link.mac, link.mtu, true]);
    }
    // Both devices have one VNI and port, and neither is in the other's way.
    assert.deepEqual(host.prepared.check(host.underlay, { links: found }), []);
  }
  for (const space of spaces) untilCarrier(space.run, 'eth0');
  const [{ run }] = spaces;
  run('ping -4 -c1 -W5 -M do -s 1422 -I 10.5.1.5 10.5.2.5');
  run('ping -6 -c1 -W5 -M do -s 1382 -I fd05:0:0:1::5 fd05:0:0:2::5');
});
