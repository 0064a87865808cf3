import { globSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { inspect } from 'node:util';
import { systemLabComponents } from '#src/lab/components.ts';
import { LAB_ROOT, Lab } from '#src/lab/lab.ts';
import { faultTable, REPORT_VARIABLE } from '../test/support/fault-report.ts';
import { TEST_LAB } from '../test/support/test-lab.ts';

/** End-to-end tests wait as much as they work: for a grace to end, for a program to give up. */
const CONCURRENCY = availableParallelism() + 1;
const TIMEOUT_MS = 8 * 60_000;

const given = process.argv.slice(2);
const files =
  given.length > 0 ? given : globSync(['test/**/*.test.ts', 'src/**/*.test.ts', 'script/**/*.test.ts']);
await removeLabsOfEndedRuns();

const reportFolder = mkdtempSync(join(tmpdir(), 'weft-faults-'));
const report = join(reportFolder, 'rows');
writeFileSync(report, '');
process.env[REPORT_VARIABLE] = report;

const skips: string[] = [];
const counts = { passed: 0, failed: 0, skipped: 0 };
const started = performance.now();
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const tests = run({ files, concurrency: CONCURRENCY, timeout: TIMEOUT_MS });
tests.on('test:pass', ({ name, skip }) => {
  if (skip !== undefined) skips.push(`${name}: ${skip === true ? 'no reason given' : skip}`);
});
tests.on('test:fail', ({ name, file, line, details }) => {
  const error = details.error.cause ?? details.error;
  // A parent whose subtest failed says nothing new.
  if ('failureType' in details.error && details.error.failureType === 'subtestsFailed') return;
  process.stdout.write(`FAILED  ${name}\n  ${file}:${line}\n${inspect(error).replaceAll(/^/gm, '  ')}\n`);
});
tests.on('test:summary', ({ file, counts: { tests, passed, skipped, todo }, duration_ms }) => {
  const failed = tests - passed - skipped - todo;
  if (file === undefined) {
    Object.assign(counts, { passed, failed, skipped: skipped + todo });
  } else {
    const path = file.replace(`${process.cwd()}/`, '');
    const verdict = failed > 0 ? 'FAILED' : 'ok    ';
    process.stdout.write(
      `${verdict}  ${path}  ${passed} passed, ${skipped} skipped, ${seconds(duration_ms)}\n`,
    );
  }
});
for await (const _ of tests);

const table = faultTable(report);
rmSync(reportFolder, { recursive: true });
if (table !== '') process.stdout.write(`\n${table}\n`);
for (const skip of skips.sort()) process.stdout.write(`skipped  ${skip}\n`);
process.stdout.write(`${files.length} files in ${seconds(performance.now() - started)}\n`);
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;

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
