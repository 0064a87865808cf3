import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import { Etcd } from '#src/lab/etcd.ts';
import { kernelState } from '#src/lab/faults.ts';
import type { Store } from '#src/lab/store.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { flagsFor, PREFIX, startFlanneld, WEFT, waitForRoute, writeConfig } from '../support/flanneld.ts';
import { type Node, startNode } from '../support/network.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * docs/guides/store-to-etcd.md, step by step, under traffic of 200 packets a second in both directions:
 *
 *     small .187 weft store serve     store .190, store2 .189, store3 .188 etcd
 *     h1 .191 flanneld ── docker0 ── c ◀──── traffic ────▶ c ── docker0 ── flanneld .192 h2     later: h3 .193
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

test('a network moves from the embedded store to three etcds: same subnets, no packet lost', {
  skip,
  timeout: 300_000,
}, async (t: TestContext) => {
  const lab = await testLab(t, { hosts: 2 });
  const small = await lab.addHost('small', -3);
  const store = await EmbeddedStore.start(small, [WEFT]);
  await writeConfig(store, 3);
  const nodes: Node[] = [];
  for (const host of lab.hosts) nodes.push(await startNode(host, flagsFor(host, store)));
  const [one, two] = nodes;
  assert.ok(one && two);
  await waitForRoute(one.host, two.subnet);
  await waitForRoute(two.host, one.subnet);
  const traffic = await Promise.all([
    Traffic.start(one.container, two.container.address),
    Traffic.start(two.container, one.container.address),
  ]);
  const before = await Promise.all(nodes.map(stateOf));

  const etcd = await Etcd.start(lab, { members: 3 });
  const move = [WEFT, 'store', 'export', `--store=${store.endpoints[0]}`];
  const rehearsed = await small.run([...move, '--dry-run', etcd.endpoints.join(',')]);
  assert.match(rehearsed.stderr, /^would copy 3 keys, 2 with a lease, /m);
  const keys = [`${PREFIX}/config`, ...nodes.map(({ subnet }) => `${PREFIX}/subnets/${subnet}.0-24`)].sort();
  assert.deepEqual(
    rehearsed.stdout
      .replaceAll(/ {2}\(\d+ s left\)/g, '')
      .trim()
      .split('\n')
      .sort(),
    keys,
  );
  assert.deepEqual(await valuesIn(etcd), {});
  const moved = await small.run([...move, etcd.endpoints.join(',')]);
  assert.match(moved.stderr, /^copied 3 keys, 2 with a lease, /m);
  assert.deepEqual(await valuesIn(etcd), await valuesIn(store));

  for (const { host } of nodes) {
    await (await host.daemon('flanneld'))?.stop();
    await startFlanneld(host, flagsFor(host, etcd));
    assert.deepEqual(await Promise.all(nodes.map(stateOf)), before);
  }
  for (const member of store.members) await member.stop();

  // The hosts that moved learn of a host that never knew the embedded store.
  const three = await lab.addHost('h3', 3);
  const { subnet } = await startNode(three, flagsFor(three, etcd));
  for (const { host } of nodes) await waitForRoute(host, subnet);
  for (const report of await Promise.all(traffic.map((it) => it.stop()))) {
    assert.ok(report.received > 200, JSON.stringify(report));
    assert.equal(report.lost, 0, JSON.stringify(report));
  }
  assert.match(await etcd.must(3, ['lease', 'list']), /found 3 leases/, 'one for each host');
});

/** What must not change on a host. */
async function stateOf({ host }: Node): Promise<readonly [string | undefined, string]> {
  return [await host.read('/run/flannel/subnet.env'), await kernelState(host)];
}

/** Keys and values below the network's prefix. */
async function valuesIn(store: Store): Promise<Readonly<Record<string, string>>> {
  const { kvs = [] } = JSON.parse(await store.must(3, ['get', '--prefix', '-w', 'json', PREFIX])) as {
    kvs?: { key: string; value: string }[];
  };
  return Object.fromEntries(kvs.map(({ key, value }) => [key, value]));
}
