import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patience } from '#src/sys/until.ts';
import { assertNothingLost, assertPaths, change, configOf, ringOf } from '../support/changing-hosts.ts';
import { readLease } from '../support/flanneld.ts';
import { lacks } from '../support/kernel-has.ts';
import { testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network under traffic changes to WireGuard. Each container pings the other one:
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c  ⇄  h2 .192 flanneld ── docker0 ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping') || (await lacks('wireguard'));
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
/** An emulated machine can't send more besides what it does. */
const PER_SECOND = patience() > 1 ? 20 : 200;

test('vxlan → wireguard: nothing is lost', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: CONFIG });
  const ring = await ringOf(network, PER_SECOND);
  const { code, stdout, stderr } = await change(network, '--backend=wireguard', '--accept-smaller-mtu');
  assert.equal(code, 0, stdout + stderr);
  await assertPaths(network.nodes, ['routes by flannel-wg']);
  await assertNothingLost(ring);
  assert.match(await configOf(network, 3), /"Backend":\{"Type":"wireguard"\}\}$/);
  for (const { host, subnet } of network.nodes) {
    assert.match(
      await readLease(network.etcd, 3, subnet),
      /"BackendData":\{"PublicKey":"[^"]+","Port":51820\}/,
    );
    assert.match((await host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1420$/m);
  }
});
