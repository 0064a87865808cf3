import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { play } from './play.ts';
import { TARGETS } from './targets.ts';

/** A short run of script/fuzz: the seeds that were kept, and some rounds that are new each time. */
const FOR_MS = 2_000;

for (const target of TARGETS) {
  test(`random input: ${target.description}`, async (context) => {
    const seed = Date.now() % 2 ** 31;
    const { rounds, finding } = await play(target, { forMs: FOR_MS, seed });
    context.diagnostic(`${rounds} rounds from seed ${seed} on`);
    assert.equal(
      finding,
      undefined,
      `script/fuzz ${target.name} --seed ${finding?.seed}: ${inspect(finding?.error)}`,
    );
  });
}
