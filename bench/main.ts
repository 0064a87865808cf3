import { spawnSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { backends } from './backends.ts';
import type { Benchmark } from './benchmark.ts';
import { check } from './check.ts';
import { dataPath } from './data-path.ts';
import { driverRest } from './driver-rest.ts';
import { endpoints } from './endpoints.ts';
import { fastPath } from './fast-path.ts';
import { fastPathPrograms } from './fast-path-programs.ts';
import { join } from './join.ts';
import { netlink } from './netlink.ts';
import { networks } from './networks.ts';
import { probes } from './probes.ts';
import { inRepository, type Program } from './program.ts';
import { putToRoute } from './put-to-route.ts';
import { ready } from './ready.ts';
import { keep, tables, writePage } from './report.ts';
import { rest } from './rest.ts';
import { scale } from './scale.ts';
import { scaleFailover } from './scale-failover.ts';
import { tenants } from './tenants.ts';

const BENCHMARKS: readonly Benchmark[] = [
  join,
  putToRoute,
  ready,
  check,
  rest,
  probes,
  netlink,
  dataPath,
  fastPath,
  fastPathPrograms,
  backends,
  tenants,
  driverRest,
  networks,
  endpoints,
  scale,
  scaleFailover,
];
const USAGE = `script/bench [NAME …] [--peer FLANNELD] [--peer-v3 FLANNELD] [--flanneld FLANNELD] [--long]

Measures, prints min, median and max, and writes bench/results and docs/performance.md.
${BENCHMARKS.map(({ name, title }) => `  ${name.padEnd(18)} ${title}`).join('\n')}
  --peer FLANNELD     a flannel that speaks etcd v2 (v0.9.1), measured beside ours in the same run
  --peer-v3 FLANNELD  one that speaks etcd v3
  --flanneld FLANNELD ours; default bin/flanneld; a release's file is what counts
  --nlprog FILE       a C program that programs a VXLAN device as fast as the kernel takes it (nlprog DEVICE N MODE BATCH)
  --long              more repetitions
  --churn MINUTES     how long hosts come and go; default 1
  --agents NUMBER     real agents in a large network, at the most; default 200; each takes 80 to 300 MB
  --hosts N,N…        how many hosts a large network has, in place of the steps of the benchmark
  --networks N,N…     in one daemon, at most 1024, in place of the steps of the benchmark
  --endpoints NUMBER  of Docker's driver on one host, by the thousand; default 10000
  --page              only writes the page again
`;

const { values, positionals } = commandLine();
const order = BENCHMARKS.map(({ name }) => name);
const stranger = positionals.find((name) => !order.includes(name));
if (values.help || stranger !== undefined) {
  process.stderr.write(stranger === undefined ? USAGE : `bench: there is no ${stranger}\n${USAGE}`);
  process.exit(values.help ? 0 : 2);
}
const churnMinutes = Number(values.churn);
if (!(churnMinutes > 0)) {
  process.stderr.write(`bench: --churn is a number of minutes, not ${values.churn}\n`);
  process.exit(2);
}
const agents = Number(values.agents);
const hosts = values.hosts === undefined ? [] : values.hosts.split(',').map(Number);
if (!(Number(values.endpoints) >= 1_000 && Number(values.endpoints) <= 50_000)) {
  process.stderr.write('bench: --endpoints is a number from 1000 to 50000\n');
  process.exit(2);
}
if (!(agents >= 1) || !hosts.every((count) => count >= 100 && count <= 60_000)) {
  process.stderr.write('bench: --agents is a number from 1 on, --hosts are numbers from 100 to 60000\n');
  process.exit(2);
}
if (process.getuid?.() !== 0) {
  process.stderr.write('bench: hosts are network namespaces, which only root makes: run it as root\n');
  process.exit(1);
}

const programs = values.page ? [] : programsToMeasure();
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error('interrupted')));
if (!values.page) {
  for (const benchmark of BENCHMARKS) {
    if (positionals.length === 0 || positionals.includes(benchmark.name)) await measure(benchmark);
  }
}
writePage(order);

async function measure({
  name,
  title,
  method,
  beside,
  ratiosByRound,
  plotted,
  run,
}: Benchmark): Promise<void> {
  process.stderr.write(`== ${title}\n`);
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const rows = await run({
    programs,
    nlprog: values.nlprog,
    long: values.long,
    churnMinutes,
    agents,
    hosts,
    networks: values.networks === undefined ? [] : values.networks.split(',').map(Number),
    endpoints: Number(values.endpoints),
    signal: stop.signal,
    say,
  });
  process.stdout.write(`\n${title}\n\n${tables({ rows, beside, ratiosByRound })}\n\n`);
  keep({
    name,
    title,
    method,
    beside,
    ratiosByRound,
    plotted,
    when: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, Linux ${release()}`,
    programs: programs.map(({ name, version, apis }) => `${name} ${version} (etcd ${apis.join(', ')})`),
    rows,
  });
}

function programsToMeasure(): Program[] {
  const { peer, 'peer-v3': newer, flanneld = inRepository('bin/flanneld') } = values;
  const found: Program[] = [{ ...describe('weft', flanneld), apis: ['v2', 'v3'] }];
  if (peer !== undefined) found.push({ ...describe('flannel', peer), apis: ['v2'] });
  if (newer !== undefined) found.push({ ...describe('flannel', newer), apis: ['v3'] });
  if (found.length === 1)
    process.stderr.write('bench: no --peer flanneld to compare with: these are our figures alone\n');
  return found;
}

/** A program is started in /, so that a path is made absolute. */
function describe(name: Program['name'], given: string): Pick<Program, 'name' | 'path' | 'version'> {
  const path = resolve(given);
  // flannel prints its version on standard error.
  const { stdout, stderr, status, error } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  if (status !== 0) {
    process.stderr.write(`bench: cannot measure ${path}: ${error?.message ?? stderr.trim()}\n`);
    process.exit(1);
  }
  return { name, path, version: `${stdout}${stderr}`.trim().replace(/ \(weft\)$/, '') };
}

function commandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        peer: { type: 'string' },
        'peer-v3': { type: 'string' },
        flanneld: { type: 'string' },
        nlprog: { type: 'string' },
        long: { type: 'boolean', default: false },
        churn: { type: 'string', default: '1' },
        agents: { type: 'string', default: '200' },
        hosts: { type: 'string' },
        networks: { type: 'string' },
        endpoints: { type: 'string', default: '10000' },
        page: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    process.stderr.write(`bench: ${(error as Error).message.split('. ')[0]}\n${USAGE}`);
    process.exit(2);
  }
}
