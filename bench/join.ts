import { alternate, type Bench, type Benchmark, type Row, Sheet, speaking } from './benchmark.ts';
import { apiOf, LABELS, Rig, type Store } from './rig.ts';

const SIZES = [100, 1_000, 10_000, 50_000] as const;
const STORES: readonly Store[] = ['v2', 'v3', 'embedded'];
const SECOND = 1_000;

const TARGETS: Readonly<Record<number, { readonly ratio: number }>> = {
  10000: { ratio: 0.15 },
  50000: { ratio: 0.05 },
};
const MEMORY: Readonly<Record<number, { readonly atMost: number }>> = {
  10000: { atMost: 100 },
  50000: { atMost: 200 },
};

/** A host joins a network of many others. */
export const join: Benchmark = {
  name: 'join',
  title: 'Join',
  method:
    'A host that never had a flanneld joins a network of so many leases. Measured are the seconds from the start of the process until the kernel has all routes (by the kernel’s own count, read every 2 ms, above 20,000 every 20 ms) and the peak memory until then (VmHWM). Afterwards ip and bridge count neighbours, forwarding entries and routes: a run in which one is missing fails.',
  async run(bench) {
    const sheet = new Sheet();
    for (const store of STORES) {
      await using rig = await Rig.create(store, bench.signal);
      let filled = 0;
      for (const size of SIZES) {
        await rig.fill(filled, size);
        filled = size;
        await joinOne(bench, rig, size, sheet);
      }
    }
    return sheet.rows;
  },
};

async function joinOne(bench: Bench, rig: Rig, size: number, sheet: Sheet): Promise<void> {
  // flannel of today asks etcd for each lease by itself: minutes at 50,000.
  const patient = bench.long || size < 50_000;
  const programs = speaking(bench, apiOf(rig.store)).filter(
    ({ name }) => name === 'weft' || patient || rig.store === 'v2',
  );
  const rounds = size < 50_000 ? 3 : bench.long ? 3 : 1;
  const baseline = await rig.baseline();
  await alternate(programs, rounds, async (program) => {
    await rig.with(program, async (run) => {
      const done = await rig.programmed(run, size, baseline);
      const { peak } = run.memory();
      const seconds = (done - run.startedAt) / SECOND;
      const label = `${size} leases, ${LABELS[rig.store]}`;
      bench.say(`${label}: ${program.name} ${seconds.toFixed(2)} s, ${peak.toFixed(0)} MB`);
      sheet.add(`${label}: time`, 's', program.name, seconds, targetOf(rig.store, TARGETS[size]));
      sheet.add(`${label}: peak memory`, 'MB', program.name, peak, MEMORY[size]);
      sheet.add(`${label}: processor`, 's', program.name, run.cpu());
      await rig.assertProgrammed(size);
    });
  });
}

/** The targets are set against flannel v0.9.1, which speaks v2. */
const targetOf = (store: Store, target: Row['target']): Row['target'] =>
  store === 'v2' ? target : undefined;
