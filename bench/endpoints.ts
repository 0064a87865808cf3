import { setTimeout as delay } from 'node:timers/promises';
import { type PluggedEndpoint, PluginDocker } from '../test/support/plugin-docker.ts';
import { type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { PREFIX } from './leases.ts';
import type { Run } from './program.ts';
import { Rig } from './rig.ts';
import { quantile } from './statistics.ts';

/** A bridge of the kernel's takes 1,023 ports (BR_MAX_PORTS), one of which is the tunnel. */
const PER_NETWORK = 500;
const STEP = 1_000;
/** Calls under way at a time. */
const WIDTH = 4;
const REST_MS = 20_000;
const SETTLE_MS = 10_000;
const REMOVED = 500;
/** A first step, to see what few of them cost. */
const FIRST = 100;
/** With so many there, some endpoints come one after the other, and nothing else happens. */
const ALONE_AT: readonly number[] = [100, 1_000, 5_000, 10_000];
const ALONE = 20;
const QUIET_MS = 3_000;

/** What the number of containers of Docker networks costs on one host. */
export const endpoints: Benchmark = {
  name: 'endpoints',
  title: 'Many endpoints of Docker’s driver on one host',
  method: `Containers in Docker networks of ${PER_NETWORK}, on one host, ${FIRST} and then ${STEP} at a time (etcd v3). The driver's socket is called as dockerd does for a container: an address, an endpoint, a join; there is no dockerd and no container, so that what is measured is flanneld, etcd and the kernel's devices. Measured are, for each step, the seconds it takes with ${WIDTH} calls at a time, the processor of flanneld for one endpoint, and its memory; of ${ALONE} endpoints that come one after the other, with ${ALONE_AT.join(', ')} there, the milliseconds and the processor for one; then processor at rest (${REST_MS / 1_000} s), an address of another host from its put to the forwarding entry, and the processor for one of ${REMOVED} endpoints that go.`,
  beside: [],
  async run(bench) {
    const sheet = new Sheet();
    const program = bench.programs.find(({ name }) => name === 'weft');
    if (program === undefined) return [];
    await using rig = await Rig.create('v3', bench.signal);
    const flags = ['--docker-driver=on', '--docker-host=unix:///run/no-docker.sock'];
    await rig.with({ ...program, flags }, async (run) => {
      await run.ready;
      await delay(SETTLE_MS);
      await fillHost(bench, rig, run, sheet);
    });
    return sheet.rows;
  },
};

async function fillHost(bench: Bench, rig: Rig, run: Run, sheet: Sheet): Promise<void> {
  const dockers: PluginDocker[] = [];
  const plugged: (readonly [PluginDocker, PluggedEndpoint])[] = [];
  const plug = async (at: number): Promise<void> => {
    const docker = dockers[Math.floor(at / PER_NETWORK)];
    if (docker === undefined) return;
    const endpoint = await docker.createEndpoint('');
    plugged.push([docker, endpoint]);
    await docker.join(endpoint);
  };
  const sizes = [FIRST, ...Array.from({ length: bench.endpoints / STEP }, (_, n) => (n + 1) * STEP)];
  for (const size of sizes) {
    const name = `${size.toLocaleString('en')} endpoints`;
    const add = (what: string, unit: string, value: number): void => sheet.add(what, unit, name, value);
    while (dockers.length * PER_NETWORK < size) {
      const tenant = dockers.length;
      const docker = new PluginDocker(rig.host, { network: `t${tenant}` });
      await docker.createNetwork(`t${tenant}`, `10.${64 + tenant}.0.0/21`, `10.${64 + tenant}.0.0/22`);
      dockers.push(docker);
    }
    const [from, to] = [plugged.length, size - (ALONE_AT.includes(size) ? ALONE : 0)];
    const filled = watch(run);
    await inLanes(from, to, plug);
    const { seconds, cpu } = filled();
    add('seconds for 1,000 more', 's', (seconds / (to - from)) * 1_000);
    add('processor for one more', 'ms', (cpu / (to - from)) * 1_000);
    add('memory', 'MB', run.memory().now);
    bench.say(
      `${name}: ${to - from} more in ${seconds.toFixed(1)} s, ${((cpu / (to - from)) * 1_000).toFixed(2)} ms each, ${run.memory().now.toFixed(0)} MB, ${run.openFiles()} open files`,
    );
    if (to === size) continue;
    await delay(QUIET_MS);
    const samples: number[] = [];
    const alone = watch(run);
    for (let at = to; at < size; at++) {
      const began = performance.now();
      await plug(at);
      samples.push(performance.now() - began);
    }
    const each = (alone().cpu / ALONE) * 1_000;
    add('one more alone: processor', 'ms', each);
    add('one more alone: p50', 'ms', quantile(samples, 0.5));
    bench.say(`${name}: alone ${quantile(samples, 0.5).toFixed(1)} ms, ${each.toFixed(2)} ms of processor`);
  }
  const name = `${bench.endpoints.toLocaleString('en')} endpoints`;
  const add = (what: string, unit: string, value: number): void => sheet.add(what, unit, name, value);
  await delay(SETTLE_MS);
  const before = { at: performance.now(), cpu: run.cpu() };
  await delay(REST_MS);
  const rest = (run.cpu() - before.cpu) / ((performance.now() - before.at) / 1_000);
  add('processor at rest', '%', rest * 100);
  add('memory at rest', 'MB', run.memory().now);
  const folder = `${PREFIX}/tenants/addresses/t0`;
  // Out of the range that containers here have theirs from: a host that loses an address cuts its container off.
  const words = [rig.url, folder, '10.64.4.1', '10.64.4.100'];
  const samples = JSON.parse(await rig.script('bench/entry-worker.ts', words)) as number[];
  add('put to entry, p50', 'ms', quantile(samples, 0.5));
  add('put to entry, p99', 'ms', quantile(samples, 0.99));
  const leaving = plugged.slice(0, REMOVED);
  const cpu = run.cpu();
  const began = performance.now();
  await inLanes(0, leaving.length, async (at) => {
    const [docker, endpoint] = leaving[at] ?? [];
    if (docker !== undefined && endpoint !== undefined) await docker.remove(endpoint);
  });
  add(`${REMOVED} fewer`, 's', (performance.now() - began) / 1_000);
  add('processor for one fewer', 'ms', ((run.cpu() - cpu) / REMOVED) * 1_000);
  bench.say(
    `${name}: at rest ${(rest * 100).toFixed(2)} %, put to entry ${quantile(samples, 0.5).toFixed(1)} ms, ${REMOVED} fewer in ${((performance.now() - began) / 1_000).toFixed(1)} s`,
  );
}

/** Seconds and seconds of processor since the call. */
function watch(run: Run): () => { readonly seconds: number; readonly cpu: number } {
  const [began, cpu] = [performance.now(), run.cpu()];
  return () => ({ seconds: (performance.now() - began) / 1_000, cpu: run.cpu() - cpu });
}

async function inLanes(from: number, to: number, task: (n: number) => Promise<void>): Promise<void> {
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < to) await task(next++);
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
}
