import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callerSeenBy, serveCaller } from '#src/lab/traffic.ts';
import { pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * P3: Docker sets the FORWARD chain's policy to DROP; P24: masquerading must not hide who calls.
 *
 *     c 10.0.A.2 ── h1 ══ flannel.1 ══ h2 ── c 10.0.B.2        store: outside the overlay
 */
const skip = cannotRun('etcd', 'etcdctl', 'iptables', 'nft', 'busybox');

for (const firewall of ['iptables', 'nftables'] as const) {
  const config = JSON.stringify({
    Network: '10.0.0.0/16',
    EnableNFTables: firewall === 'nftables',
    Backend: { Type: 'vxlan' },
  });
  test(`with Docker's FORWARD DROP, ${firewall} rules let the overlay through`, { skip }, async (t) => {
    const network = await testNetwork(t, { api: 3, config });
    const [one, two] = pairOf(network);
    for (const { host } of network.nodes) await host.must(['iptables', '-P', 'FORWARD', 'DROP']);
    await serveCaller(two.container);
    assert.equal(await callerSeenBy(one.container, two.container.address), one.container.address);
    await one.container.must(['ping', '-c1', '-W5', two.container.address]);
  });

  test(`with ${firewall} rules only what leaves the overlay is masqueraded`, { skip }, async (t) => {
    const network = await testNetwork(t, { api: 3, config });
    const [one, two] = pairOf(network);
    await serveCaller(network.lab.store);
    await serveCaller(two.container);
    assert.equal(await callerSeenBy(one.container, network.lab.store.address), one.host.address);
    assert.equal(await callerSeenBy(one.container, two.container.address), one.container.address);
  });
}
