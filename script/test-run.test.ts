import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('run-tests.ts', import.meta.url));

/** Unit test files by name, run as `script/run-tests.ts` runs those of src/: the lines of its report, and its exit code. */
async function report(
  t: TestContext,
  sources: Record<string, string>,
  // Times vary.
  shown = (text: string): string => text.replaceAll(/[0-9.]+ s\b/g, 'N s'),
): Promise<{ lines: string[]; code: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-test-run-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'src'));
  for (const [name, source] of Object.entries(sources)) {
    const imports = "import { after, before, suite, test } from 'node:test';\n";
    writeFileSync(join(folder, `src/${name}.test.mjs`), imports + source);
  }
  const files = Object.keys(sources).map((name) => `src/${name}.test.mjs`);
  // Node runs no tests in a test but for this.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return new Promise((done) => {
    const child = execFile(process.execPath, [PROGRAM, ...files], { cwd: folder, env }, (_error, stdout) => {
      done({ lines: shown(stdout.trimEnd()).split('\n'), code: child.exitCode ?? -1 });
    });
  });
}

const PASSES = "test('passes', () => {});\n";

test('each file of a group has its line, and its hooks are its own', async (t) => {
  const { lines, code } = await report(t, {
    a: `before(() => { globalThis.open = true; });\nafter(() => { globalThis.open = false; });\n${PASSES}${PASSES}`,
    b: `test('the other file is over', () => { if (globalThis.open) throw new Error('open'); });
test('it is the same process', () => { if (globalThis.open === undefined) throw new Error('unknown'); });\n`,
    c: `${PASSES}test('skipped', { skip: 'no reason' }, () => {});
test('parent', (t) => t.test('child', () => {}));\n`,
  });
  assert.deepEqual(lines, [
    'ok      src/a.test.mjs  2 passed, 0 skipped, N s',
    'ok      src/b.test.mjs  2 passed, 0 skipped, N s',
    'ok      src/c.test.mjs  3 passed, 1 skipped, N s',
    'skipped  skipped: no reason',
    '3 files in N s; N s of processor time',
    '7 passed, 0 failed, 1 skipped',
  ]);
  assert.equal(code, 0);
});

test('the processor time is that of the files and of what they start', async (t) => {
  const burn = 'const end = process.cpuUsage().user + 1_000_000; while (process.cpuUsage().user < end);';
  const child = `import { execFileSync } from 'node:child_process';
test('works', () => void execFileSync(process.execPath, ['-e', ${JSON.stringify(burn)}]));\n`;
  const seconds = async (source: string): Promise<number> => {
    const { lines } = await report(t, { a: source }, (text) => text);
    const found = /; ([0-9.]+) s of processor time$/.exec(lines.at(-2) ?? '');
    return Number(found?.[1]);
  };
  assert.ok((await seconds(child)) >= 1);
});

test('a failure is of its file: a test, a subtest with its parent, a hook', async (t) => {
  const { lines, code } = await report(t, {
    a: `${PASSES}test('fails', () => { throw new Error('of a'); });\n`,
    b: "test('parent', (t) => t.test('child', () => { throw new Error('of b'); }));\n",
    c: `after(() => { throw new Error('of c'); });\n${PASSES}`,
    d: PASSES,
  });
  const verdicts = lines.filter((line) => line.includes(' passed, '));
  assert.deepEqual(verdicts, [
    'FAILED  src/a.test.mjs  1 passed, 0 skipped, N s',
    'FAILED  src/b.test.mjs  0 passed, 0 skipped, N s',
    'FAILED  src/c.test.mjs  1 passed, 0 skipped, N s',
    'ok      src/d.test.mjs  1 passed, 0 skipped, N s',
    '3 passed, 4 failed, 0 skipped',
  ]);
  for (const name of ['fails', 'child']) assert.ok(lines.includes(`FAILED  ${name}`), lines.join('\n'));
  // A report is long, and may be cut: its end names them again.
  assert.deepEqual(
    lines.filter((line) => line.startsWith('failed')).map((line) => line.replace(/:\d+\)/, ':N)')),
    [
      'failed   fails (src/a.test.mjs:N): Error: of a',
      'failed   child (src/b.test.mjs:N): Error: of b',
      'failed   src/c.test.mjs: Error: of c',
    ],
  );
  assert.equal(code, 1);
});

for (const [what, source] of [
  ['is killed', "test('ends', () => process.kill(process.pid, 'SIGKILL'));\n"],
  ['exits', "test('ends', () => process.exit(3));\n"],
  [
    'throws after its tests',
    "test('ends', () => { setTimeout(() => { throw new Error('late'); }, 10); });\n",
  ],
] as const) {
  test(`a file that ${what} fails, and takes no test of the others away`, async (t) => {
    const { lines, code } = await report(t, { a: PASSES, b: source, c: PASSES });
    assert.ok(lines.includes('FAILED  the process of a group; its files run again alone:'), lines.join('\n'));
    for (const name of ['a', 'c']) {
      assert.ok(lines.includes(`ok      src/${name}.test.mjs  1 passed, 0 skipped, N s`), lines.join('\n'));
    }
    assert.ok(
      lines.some((line) => /^FAILED .*src\/b\.test\.mjs/.test(line)),
      lines.join('\n'),
    );
    assert.equal(code, 1);
  });
}

test('a file that can’t be loaded fails, and takes no test of the others away', async (t) => {
  const { lines, code } = await report(t, { a: PASSES, b: "import 'node:there-is-none';\n", c: PASSES });
  assert.ok(lines.includes('FAILED  src/b.test.mjs  0 passed, 0 skipped, N s'), lines.join('\n'));
  assert.equal(lines.at(-1), '2 passed, 1 failed, 0 skipped');
  assert.equal(code, 1);
});

test('a process that ends with success before its tests did is a failure', async (t) => {
  const { lines, code } = await report(t, {
    a: PASSES,
    b: `test('ends', () => process.exit(0));\n${PASSES}`,
  });
  assert.ok(lines.includes('FAILED  the process of a group; its files run again alone:'), lines.join('\n'));
  assert.equal(code, 1);
});
