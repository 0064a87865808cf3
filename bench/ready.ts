import { alternate, type Benchmark, Sheet, speaking } from './benchmark.ts';
import { Rig } from './rig.ts';

const ROUNDS = 10;
const PEERS = 10;

/** How soon Docker may start. */
export const ready: Benchmark = {
  name: 'ready',
  title: 'Start to READY',
  method: `Milliseconds from the start of the process to the log line that it runs, which all versions of flannel write when they notify systemd, ${PEERS} peers. flannel writes it before it has programmed its peers, weft after.`,
  async run(bench) {
    const sheet = new Sheet();
    for (const store of ['v2', 'v3'] as const) {
      await using rig = await Rig.create(store, bench.signal);
      await rig.fill(0, PEERS);
      await alternate(speaking(bench, store), ROUNDS, async (program) => {
        await rig.with(program, async (run) => {
          const ms = (await run.ready) - run.startedAt;
          bench.say(`etcd ${store}: ${program.name} ${ms.toFixed(0)} ms`);
          sheet.add(`etcd ${store}`, 'ms', program.name, ms, { atMost: 150 });
          sheet.add(`etcd ${store}: memory`, 'MB', program.name, run.memory().peak);
        });
      });
    }
    return sheet.rows;
  },
};
