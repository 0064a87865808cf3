import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { callerSeenBy, serveCaller, Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import {
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  PREFIX,
  readLease,
  startFlanneld,
  waitForRoute,
} from '../support/flanneld.ts';
import { pairOf, startNode, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Our flanneld and another make in one network, each as the first and as the one that joins:
 *
 *     store .190 etcd     h1 .191 first ── c     h2 .192 joins ── c     h3 .193 joins later ── c
 */
const needed = cannotRun('etcd', 'etcdctl', 'ping', 'busybox');

for (const api of [2, 3] as const) {
  const skip = needed || noPeer(api);
  const peer = (api === 2 ? PEERS.v2 : PEERS.v3) ?? '';

  for (const [order, programs] of [
    ['ours first', [FLANNELD, peer]],
    ['the peer first', [peer, FLANNELD]],
  ] as const) {
    test(`a mixed network on etcd v${api} passes traffic both ways, ${order}`, { skip }, async (t) => {
      const network = await testNetwork(t, { api, programs });
      const [one, two] = pairOf(network);
      for (const [from, to] of [
        [one, two],
        [two, one],
      ] as const) {
        await serveCaller(to.container);
        assert.equal(await callerSeenBy(from.container, to.container.address), from.container.address);
        await from.container.must(['ping', '-c1', '-W5', '-M', 'do', '-s', '1422', to.container.address]);
      }
      const joining = await network.lab.addHost('h3', 3);
      const three = await startNode(joining, flagsFor(joining, network.etcd), FLANNELD);
      for (const { host, subnet } of [one, two]) {
        await waitForRoute(host, three.subnet);
        await waitForRoute(joining, subnet);
      }
      for (const { container } of [one, two])
        await container.must(['ping', '-c1', '-W5', three.container.address]);
    });

    test(`in a mixed network on etcd v${api} a host that left goes from both sides, ${order}`, {
      skip,
    }, async (t) => {
      const network = await testNetwork(t, { api, programs });
      for (const [gone, staying] of [pairOf(network), pairOf(network).reverse()]) {
        assert.ok(gone && staying);
        const daemon = await gone.host.daemon('flanneld');
        await daemon?.stop();
        const key = `${PREFIX}/subnets/${gone.subnet}.0-24`;
        await network.etcd.must(api, [api === 2 ? 'rm' : 'del', key]);
        const routes = ['ip', 'route', 'show', `${gone.subnet}.0/24`];
        await until(async () => (await staying.host.must(routes)) === '', { what: 'removal of the route' });
        const program = programs[network.nodes.indexOf(gone)];
        await startFlanneld(gone.host, gone.flags, program);
      }
    });
  }

  test(`our flanneld takes over from the peer on etcd v${api} without a lost packet, and back`, {
    skip,
  }, async (t) => {
    const network = await testNetwork(t, { api, programs: [peer, peer] });
    const [one, two] = pairOf(network);
    const device = async () => (await one.host.ip(['link', 'show', 'flannel.1']))[0];
    const before = await device();
    const traffic = await Traffic.start(one.container, two.container.address);
    for (const program of [FLANNELD, peer]) {
      await (await one.host.daemon('flanneld'))?.stop();
      const env = await one.host.read('/run/flannel/subnet.env');
      assert.equal((await startFlanneld(one.host, one.flags, program)).subnetEnv, env);
      const after = await device();
      assert.deepEqual([after?.ifindex, after?.address], [before?.ifindex, before?.address]);
      assert.match(await readLease(network.etcd, api, one.subnet), new RegExp(String(before?.address)));
      if (program === FLANNELD) assert.deepEqual(await bareRules(one.host), []);
    }
    const report = await traffic.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));
  });
}

/** The rules that v0.9.1 appends without a comment; ours replace them. */
async function bareRules(host: Host): Promise<string[]> {
  const rules = (await host.must(['iptables-save'])).split('\n');
  return rules.filter(
    (rule) => /^-A (POSTROUTING|FORWARD) .*10\.0\./.test(rule) && !rule.includes('--comment'),
  );
}
