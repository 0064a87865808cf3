import { setTimeout as delay } from 'node:timers/promises';
import { alternate, type Benchmark, Sheet, speaking } from './benchmark.ts';
import { Rig } from './rig.ts';

const PEERS = 1_000;
const REST_MS = 60_000;
const MINUTE = 60_000;
/** Hosts that come and go at a time. */
const WAVE = 100;
/** More than a removed peer is kept, so that each wave's peers are gone before the next one comes. */
const WAVE_PAUSE_MS = 2_000;
const SETTLE_MS = 5_000;

/** What it costs while nothing happens, and whether it grows while much does. */
export const rest: Benchmark = {
  name: 'rest',
  title: 'At rest, and under churn',
  method: `With ${PEERS} peers: memory and processor (user and system, of the process itself) over a minute without events. Then ${WAVE} hosts join and leave repeatedly, with two seconds between, for a minute or the time of --churn: memory half way and at the end, after a pause.`,
  async run(bench) {
    const sheet = new Sheet();
    await using rig = await Rig.create('v2', bench.signal);
    await rig.fill(0, PEERS);
    const baseline = await rig.baseline();
    await alternate(speaking(bench, 'v2'), 1, async (program) => {
      await rig.with(program, async (run) => {
        await rig.programmed(run, PEERS, baseline);
        await delay(SETTLE_MS);
        const before = run.cpu();
        await delay(REST_MS);
        const percent = ((run.cpu() - before) / (REST_MS / 1_000)) * 100;
        const start = run.memory().now;
        sheet.add('at rest: processor', '%', program.name, percent, { atMost: 0.2 });
        sheet.add('at rest: memory', 'MB', program.name, start);
        bench.say(`${program.name} at rest: ${percent.toFixed(2)} %, ${start.toFixed(0)} MB`);
        const middle = await churn(rig, bench.churnMinutes * MINUTE, () => run.memory().now);
        await delay(SETTLE_MS);
        const end = run.memory().now;
        const churned = `${bench.churnMinutes} minutes of churn`;
        sheet.add(`${churned}: memory half way`, 'MB', program.name, middle);
        sheet.add(`${churned}: memory at the end`, 'MB', program.name, end);
        bench.say(`${program.name} churn: ${middle.toFixed(0)} MB half way, ${end.toFixed(0)} MB at the end`);
      });
    });
    return sheet.rows;
  },
};

/** Hosts join and leave; what was read in the middle of the time. */
async function churn(rig: Rig, ms: number, read: () => number): Promise<number> {
  const began = performance.now();
  let middle: number | undefined;
  while (performance.now() - began < ms) {
    await rig.fill(PEERS, PEERS + WAVE);
    await rig.worker('drop', PEERS, PEERS + WAVE);
    await delay(WAVE_PAUSE_MS);
    if (performance.now() - began > ms / 2) middle ??= read();
  }
  return middle ?? read();
}
