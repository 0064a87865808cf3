import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assertNothingLost,
  assertPaths,
  CONFIG,
  change,
  configOf,
  ringOf,
  strict,
  waitForSourceCheck,
} from '../support/changing-hosts.ts';
import { dualNetwork, route6 } from '../support/dual-network.ts';
import { daemonLog, FLANNELD, startFlanneld } from '../support/flanneld.ts';
import { testNetwork } from '../support/network.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network changes its UDP port and keeps its VNI, under traffic: for a while each host has two devices of one VNI.
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c  →  h2 .192 flanneld ── docker0 ── c  →  h3 … →  h1
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');

test('the port alone, twice, and a restart between: nothing is lost', { skip }, async (t) => {
  const network = await testNetwork(t, {
    api: 3,
    config: CONFIG,
    programs: [FLANNELD, FLANNELD, FLANNELD],
  });
  const { nodes } = network;
  await strict(nodes.map(({ host }) => host));
  const ring = await ringOf(network);
  const there = await change(network, '--port=4789');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await assertPaths(nodes, ['device flannel-1', 'routes by flannel-1']);
  assert.match(await configOf(network, 3), /"Backend":\{"Type":"vxlan","Port":4789\}\}$/);
  for (const { host } of nodes) {
    assert.match(await host.must(['ip', '-d', 'link', 'show', 'flannel-1']), /vxlan id 1 .* dstport 4789/);
    await waitForSourceCheck(host, 'flannel-1');
    assert.doesNotMatch(await daemonLog(host), /error|warning/i);
  }

  // A start goes on with the device that there is, whatever it is called.
  const [one, two] = nodes;
  assert.ok(one && two);
  const index = async () => (await one.host.ip(['link', 'show', 'flannel-1']))[0]?.ifindex;
  const before = await index();
  await (await one.host.daemon('flanneld'))?.stop();
  await startFlanneld(one.host, one.flags);
  assert.equal(await index(), before);
  await assertPaths(nodes, ['device flannel-1', 'routes by flannel-1']);

  const back = await change(network, '--port=8473');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await assertPaths(nodes, ['device flannel.1', 'routes by flannel.1']);
  await assertNothingLost(ring);

  // Where the device is gone, as after a boot, it has its usual name again.
  const third = await change(network, '--port=4789');
  assert.equal(third.code, 0, third.stdout + third.stderr);
  await (await two.host.daemon('flanneld'))?.stop();
  await two.host.must(['ip', 'link', 'del', 'flannel-1']);
  await startFlanneld(two.host, two.flags);
  await assertPaths([two], ['device flannel.1', 'routes by flannel.1']);
  await assertPaths([one], ['device flannel-1', 'routes by flannel-1']);
  await waitForAnswer(two.container, one.container.address);
});

test('the port of both families, and an abort in the middle', { skip }, async (t) => {
  const config =
    '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';
  const network = await dualNetwork(t, { config });
  const { one, two } = network;
  const nodes = [one, two];
  const routesBy = async (device: string): Promise<void> => {
    const device6 = device.replace('flannel', 'flannel-v6');
    await assertPaths(nodes, [`device ${device}`, `device ${device6}`, `routes by ${device}`].sort());
    assert.match(await route6(one.host, two.subnet6), new RegExp(` dev ${device6} `));
  };
  // What comes by the new path is dropped there, so that the change stands still.
  await two.host.must([
    'nft',
    'add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in udp dport 4789 drop',
  ]);
  const held = await change(network, '--port=4789', '--wait=3s');
  assert.equal(held.code, 3, held.stdout + held.stderr);
  const aborted = await change(network, '--abort');
  assert.equal(aborted.code, 0, aborted.stdout + aborted.stderr);
  await routesBy('flannel.1');
  assert.equal(await configOf(network, 3), config);
  await two.host.must(['nft', 'delete table ip t']);
  const { code, stdout, stderr } = await change(network, '--port=4789');
  assert.equal(code, 0, stdout + stderr);
  await routesBy('flannel-1');
});
