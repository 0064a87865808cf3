import { alternate, type Bench, type Benchmark, type Row, Sheet, speaking } from './benchmark.ts';
import { apiOf, LABELS, Rig, type Store } from './rig.ts';
import { quantile } from './statistics.ts';

const LEASES = 10_000;
const PUTS = 1_000;
const BURST = 1_000;
const ROUNDS = 3;

/** How soon a new peer is reached. */
export const putToRoute: Benchmark = {
  name: 'put-to-route',
  title: 'From a peer’s put to the route',
  method: `One process on the measured host writes a peer’s lease and listens to the kernel. Measured are the milliseconds from sending the put to the kernel’s report of the route, at ${LEASES} leases: ${PUTS} puts one by one, then ${BURST} as fast as the store takes them (v2: 32 at a time; v3: transactions of 128). Each of these is timed in the same way, and all of them by the time from the last answer to the last route. etcd’s own time, disk included, is part of it.`,
  async run(bench) {
    const sheet = new Sheet();
    for (const store of ['v2', 'v3', 'embedded'] as const) {
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
      const burst = JSON.parse(await rig.worker('burst', first, last)) as { after: number; each: number[] };
      await rig.worker('drop', first, last);
      const target = store === 'v2' ? { ratio: 1 } : undefined;
      const add = (what: string, ms: number, target?: Row['target']) =>
        sheet.add(`${LABELS[store]}: ${what}`, 'ms', program.name, ms, target);
      const [p50, p99] = [quantile(puts, 0.5), quantile(puts, 0.99)];
      bench.say(
        `${LABELS[store]}: ${program.name} p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms; burst ${burst.after.toFixed(0)} ms after the last put`,
      );
      add('p50', p50, target);
      add('p99', p99, target);
      add(`in a burst of ${BURST}: p50`, quantile(burst.each, 0.5));
      add(`in a burst of ${BURST}: p99`, quantile(burst.each, 0.99));
      add(`burst of ${BURST}, after the last put`, burst.after, target);
    });
  });
}
