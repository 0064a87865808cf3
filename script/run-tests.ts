import { globSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemLabComponents } from '#src/lab/components.ts';
import { LAB_ROOT, Lab } from '#src/lab/lab.ts';
import { faultTable, REPORT_VARIABLE } from '../test/support/fault-report.ts';
import { TEST_LAB } from '../test/support/test-lab.ts';
import { takeRelease } from './take-release.ts';
import { processorRoom, type QueueOptions } from './test-queue.ts';
import { TestRun } from './test-run.ts';

/** Twice as long on a slow machine, such as an emulated one. */
const TIMEOUT_MS = 8 * 60_000 * Math.min(2, Number(process.env.WEFT_PATIENCE) || 1);
/**
 * The first makes packages of the release, which other files share: they wait for it if they come before it is there. Then
 * those that take longest, so that none of them is alone at the end.
 */
const FIRST = [
  'test/packaging/packages.test.ts',
  'test/e2e/docker-engines.test.ts',
  'test/tenants/crowd.test.ts',
  'test/diagnose/faults.test.ts',
  'test/faults/outage.test.ts',
  'test/firewall/packets.test.ts',
  'test/firewall/rules.test.ts',
  'test/e2e/lab-tenants.test.ts',
  'test/e2e/fast-path-docker.test.ts',
  'test/e2e/fast-path.test.ts',
  'test/e2e/change-backend.test.ts',
  'test/e2e/fast-path-networks.test.ts',
  'test/faults/networks.test.ts',
  'test/packaging/compose.test.ts',
  'test/packaging/release-arm64.test.ts',
  'test/packaging/deb.test.ts',
];

/** How many of the most expensive files the report of a long run names. */
const MOST_EXPENSIVE = 20;

const given = process.argv.slice(2);
const found = (): string[] =>
  globSync(['test/**/*.test.ts', 'src/**/*.test.ts', 'script/**/*.test.ts', 'bench/**/*.test.ts']);
const files = given.length > 0 ? given : [...new Set([...FIRST, ...found()])];
await removeLabsOfEndedRuns();

const reportFolder = mkdtempSync(join(tmpdir(), 'weft-faults-'));
const report = join(reportFolder, 'rows');
writeFileSync(report, '');
process.env[REPORT_VARIABLE] = report;
// Where bin/* keep what Node compiled: hundreds of processes load the same sources.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../node_modules/.cache/weft', import.meta.url));

const started = performance.now();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
if (given.length === 0) print(`the programs under test are ${await takeRelease()}`);
const tests = new TestRun({ queue: filesAtOnce(), timeout: TIMEOUT_MS, scratch: reportFolder, print });
const paths = files.map((file) => resolve(file));
const isUnit = (path: string): boolean => path.startsWith(resolve('src'));
await tests.run(
  paths.filter((path) => !isUnit(path)),
  paths.filter(isUnit),
);

const { costs } = tests;
const table = faultTable(report);
rmSync(reportFolder, { recursive: true });
if (table !== '') print(`\n${table}`);
for (const skip of [...tests.skips].sort()) print(`skipped  ${skip}`);
for (const failure of tests.failures) print(`failed   ${failure}`);
for (const { path, seconds } of costs.length > MOST_EXPENSIVE ? costs.slice(0, MOST_EXPENSIVE) : [])
  print(`processor time  ${path}  ${seconds.toFixed(1)} s`);
const { passed, failed, skipped } = tests.counts;
const processor = costs.reduce((sum, { seconds }) => sum + seconds, 0);
const wall = (performance.now() - started) / 1000;
print(`${files.length} files in ${wall.toFixed(1)} s; ${processor.toFixed(1)} s of processor time`);
print(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

/** End-to-end tests work for a third of their time. Where processors have nothing to do, another file begins. */
function filesAtOnce(): QueueOptions {
  const processors = availableParallelism();
  const given = Number(process.env.WEFT_TESTS_AT_ONCE);
  const [least, most] = given > 0 ? [given, given] : [processors, processors * 3];
  return { least, most, hasRoom: processorRoom() };
}

/** A run that was killed could not take its labs away. */
async function removeLabsOfEndedRuns(): Promise<void> {
  const components = systemLabComponents();
  let names: string[];
  try {
    names = readdirSync(LAB_ROOT);
  } catch {
    return;
  }
  for (const name of names) {
    const pid = Number(TEST_LAB.exec(name)?.[1]);
    if (pid > 0 && components.processes.find(pid) === undefined) await Lab.remove(components, { name });
  }
}
