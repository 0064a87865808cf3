import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import { readLease, STORES, startFlanneld } from '../support/flanneld.ts';
import { pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Stops and restarts under traffic, c on h1 to c on h2 at 200 packets a second: nothing is removed, nothing changes,
 * no packet is lost. (flannel keeps all of it at stop, and upgrades rely on that.)
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

const cases = [...STORES.map((store) => [store, 'SIGTERM'] as const), [STORES[1], 'SIGKILL'] as const];
for (const [{ api, kind, called }, how] of cases) {
  test(`${how} and a restart change nothing and lose nothing (${called})`, { skip }, async (t) => {
    const network = await testNetwork(t, { api, store: kind });
    const [one, two] = pairOf(network);
    const { host, flags } = one;
    const traffic = await Traffic.start(one.container, two.container.address);
    const daemon = (await host.daemon('flanneld')) ?? assert.fail('flanneld has no record');
    const lease = await readLease(network.etcd, api, one.subnet);
    const env = await host.read('/run/flannel/subnet.env');
    const [device] = await host.ip(['link', 'show', 'flannel.1']);
    const before = await kernelState(host);

    daemon.kill(how);
    assert.equal(await daemon.exited(), how === 'SIGTERM' ? 0 : 128 + 9);
    assert.equal(await kernelState(host), before);
    assert.equal(await host.read('/run/flannel/subnet.env'), env);
    assert.equal(await readLease(network.etcd, api, one.subnet), lease);

    const again = await startFlanneld(host, flags);
    assert.equal(again.subnetEnv, env);
    const answered = await traffic.received();
    await until(async () => (await traffic.received()) > answered + 100, {
      what: 'traffic after the restart',
    });
    assert.equal(await kernelState(host), before);
    const [same] = await host.ip(['link', 'show', 'flannel.1']);
    assert.deepEqual([same?.ifindex, same?.address], [device?.ifindex, device?.address]);
    assert.equal(await readLease(network.etcd, api, one.subnet), lease);
    const report = await traffic.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
  });
}
