import { setTimeout as delay } from 'node:timers/promises';
import { until } from '#src/sys/until.ts';
import { type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { Rig } from './rig.ts';
import { quantile } from './statistics.ts';

const SIZES = [1, 10, 100, 1_000] as const;
const REST_MS = 20_000;
/** What a start leaves to do, such as the first look at all rules of the host, is done by then. */
const SETTLE_MS = 60_000;
const PUTS = 100;
const SCRIPT = 'bench/networks-worker.ts';
const READY_MS = 900_000;

/** What the number of networks costs that one daemon serves. */
export const networks: Benchmark = {
  name: 'networks',
  title: 'Many networks in one daemon',
  method: `One flanneld with --watch-networks and so many networks (etcd v3, vxlan, a range and a VNI each) on a host that never had one. Measured are the seconds until the last network runs, the most memory until then, memory and processor at rest (${REST_MS / 1_000} s), and ${PUTS} leases of peers, spread over the networks: milliseconds from the put to the kernel's report of the route, and the processor of flanneld for one of them, with what it does at rest meanwhile taken away.`,
  beside: [],
  async run(bench) {
    const sheet = new Sheet();
    for (const size of bench.networks.length > 0 ? bench.networks : SIZES) await measure(bench, size, sheet);
    return sheet.rows;
  },
};

async function measure(bench: Bench, size: number, sheet: Sheet): Promise<void> {
  const program = bench.programs.find(({ name }) => name === 'weft');
  if (program === undefined) return;
  await using rig = await Rig.create('v3', bench.signal);
  await rig.script(SCRIPT, ['config', rig.url, size]);
  const name = `${size.toLocaleString('en')} networks`;
  const add = (what: string, unit: string, value: number): void => sheet.add(what, unit, name, value);
  await rig.with({ ...program, flags: ['--watch-networks'] }, async (run) => {
    const running = (): number => run.log.split('Running backend').length - 1;
    await until(
      () => {
        if (!run.isAlive) throw new Error(`it ended:\n${run.log.slice(-2_000)}`);
        return running() >= size;
      },
      { what: `${size} networks that run`, timeoutMs: READY_MS, intervalMs: 20, signal: bench.signal },
    );
    const seconds = (performance.now() - run.startedAt) / 1_000;
    add('until all run', 's', seconds);
    add('processor until then', 's', run.cpu());
    add('the most memory until then', 'MB', run.memory().peak);
    bench.say(`${name}: all run after ${seconds.toFixed(1)} s, ${run.cpu().toFixed(1)} s of processor`);
    await delay(SETTLE_MS, undefined, { signal: bench.signal });
    const before = { at: performance.now(), cpu: run.cpu() };
    await delay(REST_MS, undefined, { signal: bench.signal });
    const rest = (run.cpu() - before.cpu) / ((performance.now() - before.at) / 1_000);
    add('processor at rest', '%', rest * 100);
    add('memory at rest', 'MB', run.memory().now);
    add('open files', '', run.openFiles());
    bench.say(`${name}: at rest ${(rest * 100).toFixed(2)} %, ${run.memory().now.toFixed(0)} MB`);
    const event = { at: performance.now(), cpu: run.cpu() };
    const samples = JSON.parse(await rig.script(SCRIPT, ['puts', rig.url, size, PUTS])) as number[];
    const idle = rest * ((performance.now() - event.at) / 1_000);
    const [p50, p99] = [quantile(samples, 0.5), quantile(samples, 0.99)];
    add('put to route, p50', 'ms', p50);
    add('put to route, p99', 'ms', p99);
    const each = (run.cpu() - event.cpu - idle) / PUTS;
    add('processor for one', 'ms', each * 1_000);
    bench.say(`${name}: put to route ${p50.toFixed(1)} ms, ${(each * 1_000).toFixed(2)} ms of processor`);
  });
}
