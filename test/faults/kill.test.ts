import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { until } from '#src/lib/until.ts';
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
  sharedNetwork,
  underTraffic,
} from './suite.ts';

/*
 * SIGKILL at random instants, of a start and of a burst of 200 joins or departures, while c on h1 sends 200 packets a
 * second to c on h2. Whatever was half done: the next start ends with wanted = actual, and no packet is lost.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const network = sharedNetwork(skip, { api: 3 });
const KILLS = Number(process.env.WEFT_FAULT_KILLS ?? 25);

async function kill(): Promise<void> {
  const [one] = pairOf(network());
  const daemon = await flanneldOn(one.host);
  daemon.kill('SIGKILL');
  await daemon.exited();
}

test(`SIGKILL at ${KILLS} instants of a start`, { skip }, async () => {
  const [one] = pairOf(network());
  const before = await kernelState(one.host);
  const { lost } = await underTraffic(network(), async () => {
    await kill();
    for (let n = 0; n < KILLS; n++) {
      await one.host.start('flanneld', [FLANNELD, ...one.flags]);
      await pause(Math.random() * 700);
      await kill();
    }
    await startFlanneld(one.host, one.flags);
  });
  assert.equal(await kernelState(one.host), before);
  assert.equal(lost, 0);
  reportFault({ fault: `SIGKILL at ${KILLS} instants of a start`, repairedMs: [], lost });
});

test(`SIGKILL at ${KILLS} instants of a burst of 200 joins or departures`, { skip }, async () => {
  const [one] = pairOf(network());
  const { etcd } = network();
  const subnets = freeSubnets(network(), 200);
  const routes = async (): Promise<number> =>
    (await one.host.must(['ip', '-o', 'route', 'show', 'dev', 'flannel.1'])).trim().split('\n').length;
  const atRest = await routes();
  /** etcd takes at most 128 operations in one transaction. */
  const write = async (line: (n: number) => string): Promise<void> => {
    for (const half of [subnets.slice(0, 100), subnets.slice(100)]) {
      await etcd.must(3, ['txn'], `\n${half.map(line).join('\n')}\n\n\n`);
    }
  };
  const { lost } = await underTraffic(network(), async () => {
    for (let n = 0; n < KILLS; n++) {
      const joins = n % 2 === 0;
      const burst = write((subnet) =>
        joins ? `put ${leaseKey(subnet)} ${JSON.stringify(leaseValue(subnet))}` : `del ${leaseKey(subnet)}`,
      );
      await pause(Math.random() * 200);
      await kill();
      await burst;
      await startFlanneld(one.host, one.flags);
      const wanted = atRest + (joins ? subnets.length : 0);
      await until(async () => (await routes()) === wanted, {
        what: `${wanted} routes, now ${await routes()}`,
        timeoutMs: 10_000,
      });
    }
    if (KILLS % 2 === 1) await write((subnet) => `del ${leaseKey(subnet)}`);
    await until(async () => (await routes()) === atRest, { what: 'the last departures', timeoutMs: 10_000 });
  });
  assert.equal(lost, 0);
  reportFault({ fault: `SIGKILL at ${KILLS} instants of bursts of 200`, repairedMs: [], lost });
});
