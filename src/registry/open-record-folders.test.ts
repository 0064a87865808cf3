import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Answer, chooseFolders } from '#src/registry/open-record-folders.ts';

const answers: Answer = { kind: 'answers' };
const failed: Answer = { kind: 'failed', error: 'refused' };
const unsupported: Answer = { kind: 'unsupported', error: 'no v3 API there' };

/** v3, v2, which is taken, and what is logged where none is. */
const CASES = [
  [answers, answers, 0, undefined],
  [answers, failed, 0, undefined],
  [answers, unsupported, 0, undefined],
  [failed, answers, -1, 'refused'],
  [failed, failed, -1, 'refused'],
  [unsupported, answers, 1, undefined],
  [unsupported, failed, -1, 'refused'],
  [unsupported, unsupported, -1, 'no v3 API there'],
] as const;

for (const [v3, v2, at, error] of CASES) {
  test(`v3 ${v3.kind}, v2 ${v2.kind}: ${['wait', 'v3', 'v2'][at + 1]}`, () => {
    const choice = chooseFolders([v3, v2]);
    assert.deepEqual([choice.at, choice.error], [at, error]);
  });
}

test('one API that was asked for is waited for', () => {
  assert.equal(chooseFolders([answers]).at, 0);
  assert.deepEqual(chooseFolders([unsupported]), { at: -1, error: 'no v3 API there' });
});
