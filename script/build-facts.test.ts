import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { buildFacts } from './build-facts.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What `src/lib/build.ts` says in a bundle. */
async function saidBy(define: Readonly<Record<string, string>>): Promise<unknown> {
  const { outputFiles } = await build({
    stdin: {
      contents: "import { BUILD } from '#src/lib/build.ts'; console.log(JSON.stringify(BUILD ?? null))",
      resolveDir: ROOT,
    },
    write: false,
    bundle: true,
    platform: 'node',
    define,
  });
  const program = outputFiles[0]?.text ?? assert.fail('no bundle');
  return JSON.parse(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }));
}

test('an executable says what it was built from, a checkout does not', async () => {
  const facts = { version: '9.9.9', commit: 'c'.repeat(40), committedAt: '2026-01-01T00:00:00.000Z' };
  assert.deepEqual(await saidBy({ WEFT_BUILD: JSON.stringify(facts) }), facts);
  assert.equal(await saidBy({}), null);
});

test('the time is that of SOURCE_DATE_EPOCH, else of the commit, and never now', () => {
  assert.equal(
    buildFacts('1.0.0', { SOURCE_DATE_EPOCH: '1700000000' }).committedAt,
    '2023-11-14T22:13:20.000Z',
  );
  assert.deepEqual(buildFacts('1.0.0', {}), buildFacts('1.0.0', {}));
});
