import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patience } from '#src/sys/until.ts';
import { assertNothingLost, assertPaths, change, configOf, ringOf } from '../support/changing-hosts.ts';
import { readLease } from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network under traffic changes to WireGuard or ipip, and back to VXLAN. Each container pings the other one:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c  ⇄  h2 .192 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping') || (await lacks('wireguard'));
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
/** An emulated machine can't send more besides what it does. */
const PER_SECOND = patience() > 1 ? 20 : 200;

test('vxlan → wireguard, and back: nothing is lost', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: CONFIG });
  const ring = await ringOf(network, PER_SECOND);
  const { code, stdout, stderr } = await change(network, '--backend=wireguard', '--accept-smaller-mtu');
  assert.equal(code, 0, stdout + stderr);
  await assertPaths(network.nodes, ['routes by flannel-wg']);
  assert.match(await configOf(network, 3), /"Backend":\{"Type":"wireguard"\}\}$/);
  for (const { host, subnet } of network.nodes) {
    assert.match(
      await readLease(network.etcd, 3, subnet),
      /"BackendData":\{"PublicKey":"[^"]+","Port":51820\}/,
    );
    assert.match((await host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1420$/m);
  }
  const back = await change(network, '--backend=vxlan', '--vni=7');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
  await assertNothingLost(ring);
  for (const { host } of network.nodes)
    assert.match((await host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1450$/m);
});

const noIpip = cannotRun('etcd', 'etcdctl', 'ping') || (await lacks('ipip'));

test('vxlan → ipip, and back: nothing is lost', { skip: noIpip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: CONFIG });
  const ring = await ringOf(network, PER_SECOND);
  const there = await change(network, '--backend=ipip');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await assertPaths(network.nodes, ['routes by flannel.ipip']);
  for (const { host } of network.nodes)
    assert.match((await host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1480$/m);
  const back = await change(network, '--backend=vxlan', '--accept-smaller-mtu');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await assertPaths(network.nodes, ['device flannel.1', 'routes by flannel.1']);
  await assertNothingLost(ring);
});
