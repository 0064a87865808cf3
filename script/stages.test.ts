import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('stages.ts', import.meta.url));

function run(...stages: string[]): { lines: string[]; code: number | null } {
  const { stdout, status } = spawnSync(process.execPath, [PROGRAM, ...stages], { encoding: 'utf8' });
  return { lines: stdout.trimEnd().split('\n'), code: status };
}

test('the output of all stages is shown, and the last line is the sum of theirs', () => {
  const { lines, code } = run(
    'echo some; echo 5 passed, 0 failed, 1 skipped',
    'printf "2 passed, 0 "; echo failed, 3 skipped',
  );
  assert.deepEqual(lines, [
    '== echo some; echo 5 passed, 0 failed, 1 skipped',
    'some',
    '5 passed, 0 failed, 1 skipped',
    '== printf "2 passed, 0 "; echo failed, 3 skipped',
    '2 passed, 0 failed, 3 skipped',
    '7 passed, 0 failed, 4 skipped',
  ]);
  assert.equal(code, 0);
});

test('a failure of either stage is one of the whole, and the other one runs', () => {
  const passes = 'echo 2 passed, 0 failed, 0 skipped';
  const fails = 'echo 1 passed, 1 failed, 0 skipped; exit 1';
  for (const { lines, code } of [run(passes, fails), run(fails, passes)]) {
    assert.equal(lines.at(-1), '3 passed, 1 failed, 0 skipped');
    assert.equal(code, 1);
  }
});

for (const [what, stage, said] of [
  ['has no count', 'echo over', 'it ended with 0, and its last line is "over"'],
  ['prints nothing', 'exit 2', 'it ended with 2, and its last line is ""'],
  ['is killed', 'kill -KILL $$', 'it ended with SIGKILL, and its last line is ""'],
  [
    'fails after its count',
    'echo 9 passed, 0 failed, 0 skipped; exit 3',
    'it ended with 3, and its last line is "9 passed, 0 failed, 0 skipped"',
  ],
] as const) {
  test(`a stage that ${what} is one failure`, () => {
    const { lines, code } = run(stage, 'echo 1 passed, 0 failed, 0 skipped');
    assert.ok(lines.includes(`FAILED  ${stage}: ${said}`), lines.join('\n'));
    assert.match(lines.at(-1) ?? '', / passed, 1 failed, 0 skipped$/);
    assert.equal(code, 1);
  });
}
