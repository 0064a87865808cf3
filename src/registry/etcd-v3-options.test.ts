import assert from 'node:assert/strict';
import { test } from 'node:test';
import { patienceAmong, watchPatience } from '#src/registry/etcd-v3-options.ts';

test('a watch asks after 3 s in a small network, and later in a large one, up to half a minute', () => {
  let hosts = 0;
  const patience = patienceAmong(watchPatience({}), () => hosts);
  const quiet = [0, 3_000, 5_000, 10_001, 50_000].map((count) => {
    hosts = count;
    return [patience.quietMs, patience.quietForCallMs, patience.answerMs];
  });
  assert.deepEqual(quiet, [
    [3_000, 10_000, 2_000],
    [3_000, 10_000, 2_000],
    [5_000, 10_000, 2_000],
    [10_001, 10_001, 2_000],
    [30_000, 30_000, 2_000],
  ]);
});
