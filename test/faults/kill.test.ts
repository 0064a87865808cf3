import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { FLANNELD, startFlanneld } from '../support/flanneld.ts';
import { pairOf } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  flanneldOn,
  freeSubnets,
  leaseKey,
  leaseValue,
  pause,
  putAll,
  sharedNetwork,
  TIMES,
  transact,
  underTraffic,
} from './suite.ts';

/*
 * SIGKILL at random instants. Whatever was half done, the next start makes it whole, and the path that exists keeps
 * forwarding:
 *
 *     store .190 etcd: 200 peers that join and leave
 *     h1 .191 flanneld (killed) ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const network = sharedNetwork(skip, { api: 3 });
const KILLS = 2 * TIMES;
const JOINING = 200;

/** The state of the first node's overlay, once it is as it should be; throws with both when it never is. */
async function converged(wanted: string, what: string): Promise<void> {
  const [one] = pairOf(network());
  let found = '';
  try {
    await until(
      async () => {
        found = await kernelState(one.host);
        return found === wanted;
      },
      { what, timeoutMs: 20_000 },
    );
  } catch {
    assert.equal(found, wanted, what);
  }
}

/** Lines of {@link kernelState} that a peer brings. */
const peerLines = (n: number): string[] => {
  const mac = JSON.parse(leaseValue(n)).BackendData.VtepMAC;
  return [
    `unicast 10.0.${n}.0/24 via 10.0.${n}.0 proto boot scope global onlink `,
    `10.0.${n}.0 lladdr ${mac} PERMANENT `,
    `${mac} dst 172.16.71.${n} self permanent`,
  ];
};

test(`P7, P17 SIGKILL at ${KILLS} random instants of a start`, { skip }, async () => {
  const [one] = pairOf(network());
  const wanted = await kernelState(one.host);
  const took: number[] = [];
  const { lost } = await underTraffic(network(), async () => {
    await (await flanneldOn(one.host)).stop();
    const began = performance.now();
    await startFlanneld(one.host, one.flags);
    const startMs = performance.now() - began;
    for (let kill = 0; kill < KILLS; kill++) {
      const running = await flanneldOn(one.host);
      running.kill('SIGKILL');
      // Until its end it has the lock that the next one needs.
      await running.exited();
      // The worse half of the rounds has everything to make; in the others all is there already.
      if (kill % 2 === 0)
        await one.host.must(['sh', '-c', 'iptables -F; iptables -t nat -F; rm /run/flannel/subnet.env']);
      const daemon = await one.host.start('flanneld', [FLANNELD, ...one.flags]);
      await pause(Math.random() * startMs);
      daemon.kill('SIGKILL');
      await daemon.exited();
      const restarted = performance.now();
      await startFlanneld(one.host, one.flags);
      await converged(wanted, `the state after kill ${kill}`);
      took.push(performance.now() - restarted);
    }
  });
  reportFault({
    fault: 'SIGKILL during a start',
    repairedMs: took,
    lost,
    note: 'ok, a whole start included',
  });
  assert.equal(lost, 0);
});

test(`P18 SIGKILL at ${KILLS} random instants of a burst of ${JOINING} joins or leaves`, {
  skip,
}, async () => {
  const [one] = pairOf(network());
  const { etcd } = network();
  const alone = await kernelState(one.host);
  const joining = freeSubnets(network(), JOINING);
  assert.equal(joining.length, JOINING);
  const crowded = [...alone.split('\n'), ...joining.flatMap(peerLines)].sort().join('\n');
  const took: number[] = [];
  const { lost } = await underTraffic(network(), async () => {
    for (let kill = 0; kill < KILLS; kill++) {
      const join = kill % 2 === 0;
      const burst = join
        ? putAll(
            etcd,
            3,
            joining.map((n) => [leaseKey(n), leaseValue(n)]),
          )
        : transact(
            etcd,
            joining.map((n) => `del ${leaseKey(n)}`),
          );
      await pause(Math.random() * 600);
      const daemon = await flanneldOn(one.host);
      daemon.kill('SIGKILL');
      await daemon.exited();
      await burst;
      const restarted = performance.now();
      await startFlanneld(one.host, one.flags);
      await converged(join ? crowded : alone, `the state after kill ${kill}`);
      took.push(performance.now() - restarted);
    }
    await transact(
      etcd,
      joining.map((n) => `del ${leaseKey(n)}`),
    );
    await converged(alone, 'the state after all have left');
  });
  reportFault({
    fault: `SIGKILL during ${JOINING} joins or leaves`,
    repairedMs: took,
    lost,
    note: 'ok, a whole start included',
  });
  assert.equal(lost, 0);
});
