import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { faultCalled, kernelState } from '#src/lab/faults.ts';
import { until } from '#src/sys/until.ts';
import { reportFault } from '../support/fault-report.ts';
import { readLease, STORES, WEFT, writeConfig } from '../support/flanneld.ts';
import { pairOf } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  assertFollowed,
  cpuMs,
  flanneldOn,
  MOST_CPU_PERCENT,
  pause,
  sharedNetwork,
  underTraffic,
} from './suite.ts';

/*
 * What happens to etcd, or to the embedded store in its place, while c on h1 sends 200 packets a
 * second to c on h2. Forwarding must not notice: no packet lost, nothing in the kernel changed, no
 * busy loop; and when etcd is back, the next peer must be seen.
 *
 *     store .190 etcd (killed, frozen, cut off, emptied, …)
 *     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const OUTAGE_MS = 10_000;

const FAULTS = [
  ['P8', 'killed', 'etcd-killed'],
  ['P8', 'frozen', 'etcd-frozen'],
  ['P8', 'partitioned', 'etcd-partitioned'],
  ['P8', 'slow (500 ms)', 'etcd-slow'],
  ['P9', 'compacted', 'etcd-compacted'],
  ['P8', 'restarted empty', 'etcd-emptied'],
] as const;

for (const { api, kind, called } of STORES.filter((store) => store.api === 3)) {
  describe(called, () => {
    const network = sharedNetwork(skip, { api, store: kind });
    for (const [number, what, name] of FAULTS) {
      const title = `${number} ${called} ${what}`;
      test(`${title}: forwarding goes on, and the registry is followed again`, { skip }, async () => {
        const { etcd, lab } = network();
        const [one, two] = pairOf(network());
        const fault = faultCalled(name);
        const target = { lab, etcd, host: one.host, relay: [WEFT, 'lab', 'relay'] };
        const before = await kernelState(one.host);
        const { pid } = await flanneldOn(one.host);
        let cpuPercent = Number.NaN;
        const { lost } = await underTraffic(network(), async () => {
          await fault.start(target);
          const cpuBefore = cpuMs(pid);
          await pause(OUTAGE_MS);
          cpuPercent = ((cpuMs(pid) - cpuBefore) / OUTAGE_MS) * 100;
          await fault.end(target);
          await etcd.ready();
          await pause(1_000);
        });
        assert.equal(await kernelState(one.host), before);
        reportFault({ fault: title, repairedMs: [], lost, note: `ok, CPU ${cpuPercent.toFixed(1)} %` });
        assert.equal(lost, 0);
        assert.ok(cpuPercent < MOST_CPU_PERCENT, `${cpuPercent} % CPU`);
        for (const { subnet } of [one, two]) {
          await until(async () => (await readLease(etcd, 3, subnet)) !== '', {
            what: `the lease of ${subnet}`,
            timeoutMs: 20_000,
          });
        }
        await writeConfig(etcd, 3);
        await assertFollowed(network(), 3);
      });
    }
  });
}
