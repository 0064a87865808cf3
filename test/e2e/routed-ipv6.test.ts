import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { until } from '#src/sys/until.ts';
import {
  type DualNetwork,
  type DualNode,
  dualNetwork,
  route6,
  startDualNode,
  wholePacket,
} from '../support/dual-network.ts';
import { daemonLog, flagsFor, waitForRoute } from '../support/flanneld.ts';
import { readyOn, statusOf } from '../support/node-status.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A third host is on the link of the others in IPv4, and behind a router in IPv6:
 *
 *     h1 .191 fd77::1 flanneld ── c     h2 .192 fd77::2 flanneld ── c     h3 .193 fd78::3 flanneld ── c
 *      └────────────── br0 172.16.70.0/24, fd77::254/64, fd78::254/64 ─────┘
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const configOf = (backend: string): string =>
  `{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":${backend}}`;

async function routedPeer(t: TestContext, backend: string): Promise<DualNetwork & { three: DualNode }> {
  const network = await dualNetwork(t, { config: configOf(backend) });
  const { lab, etcd, one, two } = network;
  await lab.onWire(['addr add fd77::254/64 dev br0 nodad', 'addr add fd78::254/64 dev br0 nodad']);
  const forward = ['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1'];
  await lab.components.commands.run(['ip', 'netns', 'exec', lab.wire, ...forward]);
  for (const { host } of [one, two]) await host.batch(['route add fd78::/64 via fd77::254 dev eth0']);
  const host = await lab.addHost('h3', 3);
  await host.batch(['addr add fd78::3/64 dev eth0 nodad', 'route add fd77::/64 via fd78::254 dev eth0']);
  const three = await startDualNode(host, 'fd78::3', flagsFor(host, etcd));
  for (const node of [one, two]) {
    await waitForRoute(node.host, three.subnet);
    await waitForRoute(host, node.subnet);
  }
  return { ...network, three };
}

test('DirectRouting: a peer behind a router in IPv6 alone has a plain route in IPv4, and the tunnel in IPv6', {
  skip,
}, async (t) => {
  const { one, two, three } = await routedPeer(t, '{"Type":"vxlan","DirectRouting":true}');
  for (const [here, there] of [
    [one, three],
    [three, one],
  ] as const) {
    await until(async () => (await route6(here.host, there.subnet6)) !== '', { what: 'the route in IPv6' });
    assert.match(
      await here.host.must(['ip', 'route', 'show', `${there.subnet}.0/24`]),
      new RegExp(`via ${there.host.address} dev eth0 proto 87`),
    );
    assert.match(await route6(here.host, there.subnet6), /^\S+ via \S+:: dev flannel-v6\.1 .*onlink/);
    await waitForAnswer(here.container, there.address6);
    assert.ok(await wholePacket(here.container, there.container.address, 1430), 'IPv4');
    assert.ok(await wholePacket(here.container, there.address6, 1430), 'IPv6');
  }
  assert.match(await route6(one.host, two.subnet6), / via fd77::2 dev eth0 proto 87/);
  await readyOn(one.host);
});

test('host-gw: a peer behind a router in IPv6 is named with that address, and has its route in IPv4', {
  skip,
}, async (t) => {
  const { one, two, three } = await routedPeer(t, '{"Type":"host-gw"}');
  const lease = `${three.subnet}.0-24&${three.subnet6.replace('/', '-')}`;
  const { ready, kernel, peers } = await until(
    async () => {
      const status = await statusOf(one.host);
      return status.peers.quarantined.length > 0 ? status : undefined;
    },
    { what: 'the peer that is named' },
  );
  assert.deepEqual(peers.quarantined, [
    {
      lease,
      reason:
        'its address fd78::3 has to be on a link of this host, but it is behind the gateway fd77::254 on eth0',
    },
  ]);
  assert.deepEqual([ready, kernel.failing], [true, []]);
  assert.match(await daemonLog(one.host), /No way to the peer .*: its address fd78::3/);
  assert.equal(await route6(one.host, three.subnet6), '');
  await waitForAnswer(one.container, three.container.address);
  for (const to of [two.container.address, two.address6]) await waitForAnswer(one.container, to);
});
