import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Traffic } from '#src/lab/traffic.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import { until } from '#src/sys/until.ts';
import { type DualNode, dualNetwork, readDualLease, route6, wholePacket } from '../support/dual-network.ts';
import { startFlanneld, WEFT, writeConfig } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Networks of both families, of IPv6 alone, and of one family over an underlay of the other:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c     h2 .192 fd77::2 flanneld ── docker0 ── c
 *          └───────────────────────── br0 172.16.70.0/24, fd77::/64 ─────────────────────────┘
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');

const BOTH = '"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48"';
const VXLAN = `{${BOTH},"Backend":{"Type":"vxlan"}}`;
const DIRECT = `{${BOTH},"Backend":{"Type":"vxlan","DirectRouting":true}}`;
const HOST_GW = `{${BOTH},"Backend":{"Type":"host-gw"}}`;

const pairs = (one: DualNode, two: DualNode) =>
  [
    [one, two],
    [two, one],
  ] as const;

async function statusOf({ host, flags }: DualNode): Promise<NodeStatus> {
  return JSON.parse((await host.run([WEFT, 'status', '--json', ...flags])).stdout);
}

for (const api of [2, 3] as const) {
  test(`vxlan on etcd v${api}: containers reach each other in each family, with packets of the whole MTU`, {
    skip,
  }, async (t) => {
    const { etcd, one, two } = await dualNetwork(t, { api, config: VXLAN });
    for (const [here, there] of pairs(one, two)) {
      assert.match(
        here.subnetEnv,
        /^FLANNEL_NETWORK=10\.0\.0\.0\/16\nFLANNEL_SUBNET=.*\nFLANNEL_IPV6_NETWORK=fd00:10::\/48\nFLANNEL_IPV6_SUBNET=.*\nFLANNEL_MTU=1430\n/m,
      );
      const links = await here.host.ip(['link', 'show', 'type', 'vxlan']);
      assert.deepEqual(links.map(({ ifname, mtu }) => `${ifname} ${mtu}`).sort(), [
        'flannel-v6.1 1430',
        'flannel.1 1450',
      ]);
      const macOf = (name: string) => links.find(({ ifname }) => ifname === name)?.address;
      const lease = await readDualLease(etcd, api, here);
      assert.equal(
        lease.replace(/,"Node":"[^"]+"\}$/, '}'),
        `{"PublicIP":"${here.host.address}","PublicIPv6":"${here.host6}","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${macOf('flannel.1')}"},"BackendV6Data":{"VNI":1,"VtepMAC":"${macOf('flannel-v6.1')}"}}`,
      );
      assert.match(await route6(here.host, there.subnet6), /^\S+ via \S+:: dev flannel-v6\.1 .*onlink/);
      assert.ok(await wholePacket(here.container, there.container.address, 1430), 'IPv4');
      assert.ok(await wholePacket(here.container, there.address6, 1430), 'IPv6');
      assert.equal(
        (await here.host.must(['sysctl', '-n', 'net.ipv6.conf.flannel-v6/1.accept_ra'])).trim(),
        '0',
      );
      const status = await statusOf(here);
      assert.equal(status.ready, true, status.troubles.join());
      assert.equal(status.network?.ipv6Subnet, here.subnet6);
      assert.equal(status.network?.publicIpv6, here.host6);
    }
  });
}

for (const [what, config] of [
  ['vxlan', VXLAN],
  ['vxlan with DirectRouting', DIRECT],
  ['host-gw', HOST_GW],
] as const) {
  test(`${what}: a restart and a kill lose no packet in either family`, { skip }, async (t) => {
    const { one, two } = await dualNetwork(t, { config });
    const traffics = [
      await Traffic.start(one.container, two.container.address),
      await Traffic.start(one.container, two.address6),
    ];
    await (await one.host.daemon('flanneld'))?.stop();
    const { daemon } = await startFlanneld(one.host, one.flags);
    daemon.kill('SIGKILL');
    await daemon.exited();
    const { subnetEnv } = await startFlanneld(one.host, one.flags);
    assert.equal(subnetEnv, one.subnetEnv);
    for (const traffic of traffics) {
      const report = await traffic.stop();
      assert.equal(report.lost, 0, JSON.stringify(report));
    }
  });
}

for (const [what, config] of [
  ['host-gw', HOST_GW],
  ['DirectRouting', DIRECT],
] as const) {
  test(`${what}: a plain route in each family, and the underlay's whole MTU`, { skip }, async (t) => {
    const { one, two } = await dualNetwork(t, { config });
    for (const [here, there] of pairs(one, two)) {
      assert.match(
        await route6(here.host, there.subnet6),
        new RegExp(`^\\S+ via ${there.host6} dev eth0 proto 87`),
      );
      const mtu = what === 'host-gw' ? 1500 : 1430;
      assert.ok(await wholePacket(here.container, there.container.address, mtu), 'IPv4');
      assert.ok(await wholePacket(here.container, there.address6, mtu), 'IPv6');
    }
  });
}

test('a network that gets IPv6 leaves its hosts their IPv4 subnets', { skip }, async (t) => {
  const config = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
  const { etcd, one, two } = await dualNetwork(t, { config });
  await writeConfig(etcd, 3, VXLAN);
  await until(
    async () =>
      (await statusOf(one)).troubles.some((text) => text.includes('EnableIPv6 is now true instead of false')),
    { what: 'the field that waits for a restart' },
  );
  // The containers' packets in IPv4 go on, while one host has IPv6 and the other has not.
  const traffic = await Traffic.start(one.container, two.container.address);
  for (const { host, flags, subnet } of [one, two]) {
    await (await host.daemon('flanneld'))?.stop();
    const { subnetEnv } = await startFlanneld(host, flags);
    assert.match(subnetEnv, new RegExp(`^FLANNEL_SUBNET=${subnet}\\.1/24$`, 'm'));
    assert.match(subnetEnv, /^FLANNEL_IPV6_SUBNET=fd00:10:/m);
  }
  const report = await traffic.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
});
