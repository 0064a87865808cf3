import { setTimeout as delay } from 'node:timers/promises';
import { alternate, type Bench, type Benchmark, Sheet, speaking } from './benchmark.ts';
import { Rig } from './rig.ts';
import { type Point, slope } from './statistics.ts';

const PEERS = 1_000;
const REST_MS = 60_000;
const MINUTE = 60_000;
/** Hosts that come and go at a time. */
const WAVE = 100;
/** More than a removed peer is kept, so that each wave's peers are gone before the next one comes. */
const WAVE_PAUSE_MS = 2_000;
const SETTLE_MS = 5_000;
const SAY_MS = 5 * MINUTE;

/** What it costs while nothing happens, and whether it grows while much does. */
export const rest: Benchmark = {
  name: 'rest',
  title: 'At rest, and under churn',
  method: `With ${PEERS} peers: memory and processor (user and system, of the process itself) over a minute without events. Then ${WAVE} hosts join and leave repeatedly, with two seconds between, for a minute or the time of --churn: memory half way and at the end, after a pause, and its growth in the second half, the slope of a line through the readings after each wave. Open files are counted before and after. Afterwards ip and bridge count neighbours, forwarding entries and routes: a run in which one is missing or left over fails.`,
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
        const files = run.openFiles();
        const readings = await churn(rig, bench, () => run.memory().now);
        await delay(SETTLE_MS);
        const end = run.memory().now;
        await rig.assertProgrammed(PEERS);
        const churned = `${bench.churnMinutes} minutes of churn`;
        const late = readings.slice(Math.floor(readings.length / 2));
        const middle = late[0]?.value ?? end;
        const growth = slope(late) * 60 * MINUTE;
        sheet.add(`${churned}: hosts that came and went`, '', program.name, readings.length * WAVE);
        sheet.add(`${churned}: memory half way`, 'MB', program.name, middle);
        sheet.add(`${churned}: memory at the end`, 'MB', program.name, end);
        sheet.add(`${churned}: growth in the second half, in an hour`, 'MB', program.name, growth);
        sheet.add(`${churned}: open files, more than before`, '', program.name, run.openFiles() - files);
        bench.say(
          `${program.name} churn: ${middle.toFixed(1)} MB half way, ${end.toFixed(1)} MB at the end, ${growth.toFixed(1)} MB an hour`,
        );
      });
    });
    return sheet.rows;
  },
};

/** Hosts join and leave; what was read after each wave, and when. */
async function churn(rig: Rig, { churnMinutes, say }: Bench, read: () => number): Promise<Point[]> {
  const readings: Point[] = [];
  const began = performance.now();
  for (let saidAt = 0; performance.now() - began < churnMinutes * MINUTE; ) {
    await rig.fill(PEERS, PEERS + WAVE);
    await rig.worker('drop', PEERS, PEERS + WAVE);
    await delay(WAVE_PAUSE_MS);
    const at = performance.now() - began;
    readings.push({ at, value: read() });
    if (at - saidAt < SAY_MS) continue;
    saidAt = at;
    say(`after ${(at / MINUTE).toFixed(0)} minutes: ${read().toFixed(1)} MB`);
  }
  return readings;
}
