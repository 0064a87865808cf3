import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reportOf } from '#src/lab/traffic.ts';

const ping = (sequences: readonly number[], transmitted: number, stepMs = 10): string =>
  [
    'PING 10.0.2.2 (10.0.2.2) 56(84) bytes of data.',
    ...sequences.map((n, i) => {
      const at = (1000 + (i * stepMs) / 1000).toFixed(6);
      return `[${at}] 64 bytes from 10.0.2.2: icmp_seq=${n % 65536} ttl=62 time=0.1 ms`;
    }),
    '',
    '--- 10.0.2.2 ping statistics ---',
    `${transmitted} packets transmitted, ${sequences.length} received, 0% packet loss, time 9ms`,
  ].join('\n');

test('a gap in the numbers is loss', () => {
  assert.deepEqual(reportOf(ping([1, 2, 5], 5), 100), { sent: 5, received: 3, lost: 2, longestGapMs: 10 });
});

test('a packet under way at the end is not lost, silence at the end is', () => {
  assert.deepEqual(reportOf(ping([1, 2], 12), 100), { sent: 2, received: 2, lost: 0, longestGapMs: 10 });
  assert.deepEqual(reportOf(ping([1, 2], 13), 100), { sent: 13, received: 2, lost: 11, longestGapMs: 10 });
});

test('numbers go on after 65,535, and an answer given twice counts once', () => {
  assert.equal(reportOf(ping([65534, 65535, 65536, 65537, 65537], 65537), 100).lost, 65537 - 4);
});

test('a ping that was killed has no report', () => {
  assert.throws(() => reportOf('PING 10.0.2.2\n', 100), { code: 'lab-traffic' });
});
