import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { pairOf } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import { freeSubnets, leaseKey, leaseValue, putAll, sharedNetwork, transact, underTraffic } from './suite.ts';

/*
 * A network that grows past --linear-routes-above and shrinks again, while c on h1 sends 200 packets a second to c on h2.
 *
 *     store .190 etcd     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 *                          └── routes to 60 peers that exist only in the registry
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const LIMIT = 20;
const MANY = 60;

const network = sharedNetwork(skip, { api: 3, flags: [`--linear-routes-above=${LIMIT}`] });

/** Peers' routes on h1, and whether each has a metric of its own. */
async function routes(): Promise<{ count: number; metrics: Set<string | undefined> }> {
  const [one] = pairOf(network());
  const lines = (await one.host.must(['ip', 'route', 'show', 'dev', 'flannel.1'])).trim().split('\n');
  const metrics = new Set(lines.map((line) => /metric (\d+)/.exec(line)?.[1]));
  return { count: lines.length, metrics };
}

test('crossing the size in either direction loses no packet and ends in one form', { skip }, async () => {
  const { etcd } = network();
  const numbers = freeSubnets(network(), MANY);
  const peers = MANY + 1;
  assert.deepEqual(await routes(), { count: 1, metrics: new Set([undefined]) });
  const { lost } = await underTraffic(network(), async () => {
    await putAll(
      etcd,
      3,
      numbers.map((n) => [leaseKey(n), leaseValue(n)]),
    );
    const linear = async () => {
      const { count, metrics } = await routes();
      return count === peers && metrics.size === peers && !metrics.has(undefined);
    };
    await until(linear, {
      what: 'a route with a metric of its own to each peer, and no other',
      timeoutMs: 20_000,
    });
    await transact(
      etcd,
      numbers.map((n) => `del ${JSON.stringify(leaseKey(n))}`),
    );
    const plain = async () => {
      const { count, metrics } = await routes();
      return count === 1 && metrics.has(undefined);
    };
    await until(plain, { what: 'one route without a metric', timeoutMs: 20_000 });
  });
  reportFault({ fault: 'past --linear-routes-above and back', repairedMs: [], lost, note: 'ok, one form' });
  assert.equal(lost, 0);
});
