import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, formatSpan, formatTime } from '#src/cli/spans.ts';

test('a length of time is said in its two largest units', () => {
  const spans = { 0: '0s', 999: '0s', 40000: '40s', 312000: '5m12s', 300000: '5m', 86399000: '23h59m' };
  for (const [ms, text] of Object.entries(spans)) assert.equal(formatSpan(Number(ms)), text);
  assert.equal(formatSpan(86_400_000), '1d');
  assert.equal(formatSpan(90_061_000), '1d1h');
  assert.equal(formatSpan(86_405_000), '1d', 'seconds do not follow days');
});

test('a clock that was set back makes no age below zero', () => {
  assert.equal(formatSpan(-5_000), '0s');
  assert.equal(formatAge('2026-01-01T00:00:10Z', Date.UTC(2026, 0, 1)), '0s');
});

test('what is no time is shown as such', () => {
  assert.equal(formatAge('soon', 0), '-');
  assert.equal(formatTime('soon', 0), '-');
});

test('a time of another day has its day', () => {
  const noon = new Date(2026, 4, 7, 12, 30, 5).getTime();
  const iso = new Date(noon).toISOString();
  assert.equal(formatTime(iso, noon + 1000), '12:30:05');
  assert.equal(formatTime(iso, noon + 86_400_000), '2026-05-07 12:30:05');
});
