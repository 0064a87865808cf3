import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinCounts, joinProbes } from '#src/diagnose/probes/join-probes.ts';
import type { FamilyProbe } from '#src/observe/api.ts';

const WAY = { sent: 8, answered: 8, roundTripMs: 1, fullSize: 'passes' } as const;
const UP: FamilyProbe = {
  at: '2026-01-01T00:00:00.000Z',
  state: 'up',
  findings: [],
  tunnel: WAY,
  underlay: WAY,
  tcp: 'answered',
  workingMtu: 1450,
  responder: true,
};
const DOWN: FamilyProbe = { ...UP, state: 'down', findings: ['nothing passes'], workingMtu: 1430 };

test('a peer is as well as the worse of its families, and a finding of IPv6 says so', () => {
  assert.deepEqual(joinProbes(UP, DOWN), {
    ...UP,
    state: 'down',
    findings: ['IPv6: nothing passes'],
    ipv4: UP,
    ipv6: DOWN,
  });
  assert.deepEqual(joinProbes(DOWN, UP), { ...DOWN, ipv4: DOWN, ipv6: UP });
});

test('of one family there is that alone, whichever it is', () => {
  assert.deepEqual(joinProbes(UP, undefined), UP);
  assert.deepEqual(joinProbes(undefined, DOWN), DOWN);
  assert.equal(joinProbes(undefined, undefined), undefined);
});

test('each peer counts once, by the worse of its families', () => {
  const none = { up: 0, degraded: 0, down: 0, unknown: 0 };
  const counts = joinCounts(
    {
      counts: { ...none, sent: 5, lost: 1, worstRoundTripSeconds: 0.002 },
      states: () => [
        ['a', 'up'],
        ['b', 'down'],
        ['c', undefined],
        ['d', 'up'],
      ],
    },
    {
      counts: { ...none, sent: 7, lost: 2, worstRoundTripSeconds: 0.004 },
      states: () => [
        ['a', 'degraded'],
        ['b', 'up'],
        ['c', undefined],
        ['e', undefined],
      ],
    },
  );
  assert.deepEqual(counts, {
    ...{ up: 1, degraded: 1, down: 1, unknown: 2 },
    ...{ sent: 12, lost: 3, worstRoundTripSeconds: 0.004 },
  });
});
