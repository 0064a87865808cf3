import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Traffic } from '#src/lab/traffic.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { assertNothingLost, assertPaths, change, configOf } from '../support/changing-hosts.ts';
import { type DualNode, dualNetwork, route6 } from '../support/dual-network.ts';
import { apiSocketOf, PATIENT } from '../support/probes.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network of both families changes its backend. Each container pings the other one, in each family:
 *
 *     store .190 etcd     h1 .191 fd77::1 flanneld ── docker0 ── c  ⇄  h2 .192 fd77::2 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

const trafficOf = (pairs: readonly (readonly [DualNode, DualNode])[]): Promise<Traffic[]> =>
  Promise.all(
    pairs.flatMap(([from, to]) =>
      [to.container.address, to.address6].map((address) =>
        Traffic.start(from.container, address, { perSecond: 100 }),
      ),
    ),
  );

const isUp = async (node: DualNode): Promise<boolean> => {
  const { peers } = await askApi(apiSocketOf(node), '/v1/peers', PATIENT);
  return peers[0]?.probe?.ipv4?.state === 'up' && peers[0].probe.ipv6?.state === 'up';
};

test('both families move: VNI 1 → 7, plain routes where there are any, host-gw, and nothing is lost', {
  skip,
}, async (t) => {
  const network = await dualNetwork(t, { config: CONFIG });
  const { one, two } = network;
  const nodes = [one, two];
  const ring = await trafficOf([
    [one, two],
    [two, one],
  ]);
  const routes6 = async (pattern: RegExp): Promise<void> => {
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      const found = await route6(from.host, to.subnet6);
      assert.match(found, pattern, from.host.name);
    }
  };
  const there = await change(network, '--vni=7');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await assertPaths(nodes, ['device flannel-v6.7', 'device flannel.7', 'routes by flannel.7']);
  await routes6(/ dev flannel-v6\.7 /);
  // The new device has its first address after the bridge's anycast address is there.
  for (const node of nodes)
    await until(() => isUp(node), { what: `${node.host.name} that measures both`, timeoutMs: 30_000 });
  const direct = await change(network, '--option=DirectRouting=true');
  assert.equal(direct.code, 0, direct.stdout + direct.stderr);
  await assertPaths(nodes, ['device flannel-v6.7', 'device flannel.7', 'routes by eth0']);
  await routes6(/ via fd77::\d dev eth0 /);
  const on = await change(network, '--backend=host-gw');
  assert.equal(on.code, 0, on.stdout + on.stderr);
  await assertPaths(nodes, ['routes by eth0']);
  await routes6(/ via fd77::\d dev eth0 /);
  await assertNothingLost(ring);
  assert.match(await configOf(network, 3), /"Backend":\{"Type":"host-gw"\}\}$/);
});
