import { alternate, type Bench, type Benchmark, Sheet, speaking } from './benchmark.ts';
import { apiOf, Rig, type Store } from './rig.ts';
import { quantile } from './statistics.ts';

const LEASES = 10_000;
const PUTS = 200;
const BURST = 1_000;
const ROUNDS = 3;

/** How soon a new peer is reached. */
export const putToRoute: Benchmark = {
  name: 'put-to-route',
  title: 'From a peer’s put to the route',
  method: `One process on the measured host writes a peer’s lease and listens to the kernel: milliseconds from sending the put to the kernel’s telling of the route, at ${LEASES} leases; ${PUTS} puts one by one, then ${BURST} as fast as the store takes them, of which the time from the last answer to the last route counts. etcd’s own time, disk included, is part of the first.`,
  async run(bench) {
    const sheet = new Sheet();
    for (const store of ['v2', 'v3'] as const) {
      await using rig = await Rig.create(store, bench.signal);
      await rig.fill(0, LEASES);
      await measure(bench, rig, store, sheet);
    }
    return sheet.rows;
  },
};

async function measure(bench: Bench, rig: Rig, store: Store, sheet: Sheet): Promise<void> {
  const baseline = await rig.baseline();
  await alternate(speaking(bench, apiOf(store)), ROUNDS, async (program) => {
    await rig.with(program, async (run) => {
      await rig.programmed(run, LEASES, baseline);
      await run.ready;
      const puts = JSON.parse(await rig.worker('puts', LEASES, LEASES + PUTS)) as number[];
      await rig.worker('drop', LEASES, LEASES + PUTS);
      // Others than before: a peer that comes back within a second of its leaving never lost its route.
      const [first, last] = [LEASES + PUTS, LEASES + PUTS + BURST];
      const burst = JSON.parse(await rig.worker('burst', first, last)) as { after: number };
      await rig.worker('drop', first, last);
      const [p50, p99] = [quantile(puts, 0.5), quantile(puts, 0.99)];
      bench.say(
        `etcd ${store}: ${program.name} p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms; burst ${burst.after.toFixed(0)} ms after the last put`,
      );
      const target = store === 'v2' ? { ratio: 1 } : undefined;
      sheet.add(`etcd ${store}: p50`, 'ms', program.name, p50, target);
      sheet.add(`etcd ${store}: p99`, 'ms', program.name, p99, target);
      sheet.add(
        `etcd ${store}: burst of ${BURST}, after the last put`,
        'ms',
        program.name,
        burst.after,
        target,
      );
    });
  });
}
