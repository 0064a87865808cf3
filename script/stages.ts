/**
 * Runs commands of the shell one after another, each of which ends with the line `N passed, N failed, N skipped`. The last line
 * here is their sum, and a failure of one is a failure of all.
 *
 *   node script/stages.ts script/test 'script/kernels --short'
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const COUNTS = /^(\d+) passed, (\d+) failed, (\d+) skipped$/;

const sum = { passed: 0, failed: 0, skipped: 0 };
for (const stage of process.argv.slice(2)) {
  const { lastLine, code } = await runStage(stage);
  const [, passed = 0, failed = 0, skipped = 0] = (COUNTS.exec(lastLine) ?? []).map(Number);
  sum.passed += passed;
  sum.failed += failed;
  sum.skipped += skipped;
  // It ended before it had counted, or after.
  if (failed === 0 && (code !== 0 || !COUNTS.test(lastLine))) {
    process.stdout.write(`FAILED  ${stage}: it ended with ${code}, and its last line is "${lastLine}"\n`);
    sum.failed++;
  }
}
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
process.exitCode = sum.failed > 0 ? 1 : 0;

/** Its output is ours. `code`: of the exit, or the signal that ended it. */
async function runStage(stage: string): Promise<{ lastLine: string; code: number | string }> {
  process.stdout.write(`== ${stage}\n`);
  const child = spawn(stage, { shell: true, stdio: ['inherit', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let lastLine = '';
  let line = '';
  for await (const text of child.stdout.setEncoding('utf8')) {
    process.stdout.write(text);
    const lines = `${line}${text}`.split('\n');
    line = lines.pop() ?? '';
    lastLine = lines.at(-1) ?? lastLine;
  }
  const [code, signal] = await closed;
  return { lastLine: line === '' ? lastLine : line, code: code ?? signal };
}
