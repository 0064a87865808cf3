import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sourceDate } from './source-tree.ts';

test('the time is that of SOURCE_DATE_EPOCH, and never one that is no number', () => {
  assert.equal(sourceDate({ SOURCE_DATE_EPOCH: '1700000000' }), 1_700_000_000);
  for (const text of ['', 'today', '1.5', '-1', '1e3'])
    assert.throws(
      () => sourceDate({ SOURCE_DATE_EPOCH: text }),
      /SOURCE_DATE_EPOCH is not a number of seconds/,
    );
});
