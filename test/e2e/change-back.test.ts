import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { withPhase, withPlan } from '#src/network/change-plan.ts';
import { progressOf } from '#src/network/change-progress.ts';
import { until } from '#src/sys/until.ts';
import {
  assertNothingLost,
  assertPaths,
  CONFIG,
  change,
  configOf,
  ringOf,
  strict,
} from '../support/changing-hosts.ts';
import { PREFIX, readLease, startFlanneld } from '../support/flanneld.ts';
import { type Network, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A change that is taken back in its first phase and in its last one, under traffic:
 *
 *     store .190 etcd     h1 .191 flanneld ── c  ⇄  h2 .192 flanneld ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');

async function networkOf(t: TestContext): Promise<Network> {
  const network = await testNetwork(t, { api: 3, config: CONFIG });
  await strict(network.nodes.map(({ host }) => host));
  return network;
}

async function assertAborted(network: Network): Promise<void> {
  const { code, stdout, stderr } = await change(network, '--abort');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^aborted: every host uses the old path$/m);
  assert.equal(await configOf(network, 3), CONFIG);
  await assertPaths(network.nodes, ['device flannel.1', 'routes by flannel.1']);
  for (const { subnet } of network.nodes)
    await until(async () => !/Weft/.test(await readLease(network.etcd, 3, subnet)), {
      what: `the lease of ${subnet} without a change`,
    });
}

test('an abort in the first phase: a host that is down is not waited for, and has the old path later', {
  skip,
}, async (t) => {
  const network = await networkOf(t);
  const [one, two] = pairOf(network);
  const ring = await ringOf(network);
  await (await two.host.daemon('flanneld'))?.stop();
  const held = await change(network, '--vni=7', '--wait=3s');
  assert.equal(held.code, 3, held.stdout + held.stderr);
  await assertPaths([one], ['device flannel.1', 'device flannel.7', 'routes by flannel.1']);
  await assertAborted(network);
  await startFlanneld(two.host, two.flags);
  await assertPaths(network.nodes, ['device flannel.1', 'routes by flannel.1']);
  await assertNothingLost(ring);
});

test('an abort in the last phase, when config and leases name the new backend already', {
  skip,
}, async (t) => {
  const network = await networkOf(t);
  const { etcd, nodes } = network;
  const ring = await ringOf(network);
  const write = (text: string) => etcd.must(3, ['put', `${PREFIX}/config`, text]);
  // The command's part, up to the phase that it would leave by itself.
  let text = withPlan(CONFIG, '{"Type":"vxlan","VNI":7}', { id: 'a', by: 'test', at: '' });
  await write(text);
  for (const phase of ['prepare', 'moving'] as const) {
    await until(
      async () => {
        const leases = await Promise.all(
          nodes.map(async ({ subnet }) => ({
            name: `${subnet}.0-24`,
            value: await readLease(etcd, 3, subnet),
          })),
        );
        return progressOf({ id: 'a', phase }, leases).next;
      },
      { what: `the end of phase ${phase}`, timeoutMs: 20_000 },
    );
    text = withPhase(text, phase === 'prepare' ? 'moving' : 'settling');
    await write(text);
  }
  for (const { subnet } of nodes)
    await until(async () => JSON.parse(await readLease(etcd, 3, subnet)).BackendData.VNI === 7, {
      what: `the lease of ${subnet} with the new path`,
    });
  await assertAborted(network);
  await assertNothingLost(ring);
});
