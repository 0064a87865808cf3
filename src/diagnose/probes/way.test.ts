import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HISTORY, Way } from '#src/diagnose/probes/way.ts';

test('the last packets count, and no older ones', () => {
  const way = new Way();
  way.lost();
  for (let n = 0; n < 3; n++) way.answered(2);
  assert.deepEqual([way.sent, way.answeredCount, way.lostInRow], [4, 3, 0]);
  for (let n = 0; n < HISTORY; n++) way.answered(2);
  assert.deepEqual([way.sent, way.answeredCount], [HISTORY, HISTORY]);
  way.lost('EPERM');
  way.lost();
  assert.deepEqual([way.answeredCount, way.lostInRow, way.refusal], [HISTORY - 2, 2, undefined]);
});

test('a late answer takes its loss back, at its own place', () => {
  const way = new Way();
  way.answered(1);
  for (let n = 0; n < 3; n++) way.lost();
  // The second of the three.
  way.answeredLate(900, 1);
  assert.deepEqual([way.answeredCount, way.lostInRow, way.roundTripMs], [2, 1, 900]);
  way.answeredLate(900, HISTORY);
  assert.equal(way.answeredCount, 2);
});

test('a full-size packet is lost when it is lost twice in a row', () => {
  const way = new Way();
  assert.equal(way.view.fullSize, 'not tried');
  way.full(false);
  assert.deepEqual([way.isFullInDoubt, way.isFullLost, way.view.fullSize], [true, false, 'not tried']);
  way.full(true);
  way.full(false);
  assert.deepEqual([way.isFullInDoubt, way.view.fullSize], [true, 'passes']);
  way.full(false);
  assert.deepEqual([way.isFullInDoubt, way.isFullLost, way.view.fullSize], [false, true, 'lost']);
  way.full(true);
  assert.equal(way.view.fullSize, 'passes');
});
