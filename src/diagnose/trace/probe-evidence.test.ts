import assert from 'node:assert/strict';
import { test } from 'node:test';
import { probeEvidence } from '#src/diagnose/trace/probe-evidence.ts';
import type { PeerProbe } from '#src/observe/api.ts';

const NOW = Date.parse('2026-01-01T00:00:09Z');
const WAY = { sent: 20, answered: 20, roundTripMs: 0.42, fullSize: 'passes' } as const;
const SILENT = { sent: 20, answered: 0, fullSize: 'not tried' } as const;
const UP: PeerProbe = {
  ...{ at: '2026-01-01T00:00:05Z', state: 'up', findings: [], responder: false },
  ...{ tunnel: WAY, underlay: WAY, tcp: 'refused' },
};
const TUNNEL = { kind: 'tunnel', to: '172.16.70.192', mac: '02:00:00:00:00:01', vni: 1, port: 8472 } as const;

const look = (probe: Partial<PeerProbe> | undefined, port: number = TUNNEL.port) =>
  probeEvidence({ probe: probe && { ...UP, ...probe }, port: 8472, now: NOW }, { ...TUNNEL, port });

test('nothing was measured', () => {
  assert.equal(look(undefined), undefined);
  assert.equal(look({ tunnel: { ...SILENT, sent: 0 }, underlay: { ...SILENT, sent: 0 } }), undefined);
});

test('the tunnel answers', () => {
  assert.deepEqual(look({}), {
    found: ['the other end of the tunnel answered in 0.4 ms', 'by the probes of this host, 4 s ago'],
    ok: true,
  });
});

test('the underlay answers and the tunnel does not: its packets are dropped', () => {
  const dead = look({ state: 'down', findings: ['nothing passes'], tunnel: SILENT });
  assert.equal(dead?.ok, false);
  assert.equal(dead.found[0], 'nothing passes');
  assert.match(dead.remedy ?? '', /^let UDP port 8472 pass/);
});

test('neither answers: the host is gone, or everything is dropped', () => {
  const dead = look({ state: 'down', findings: ['neither'], tunnel: SILENT, underlay: SILENT });
  assert.equal(dead?.ok, false);
  assert.match(dead.remedy ?? '', /^look whether the other host runs/);
});

test('another tunnel than the one that is measured: only the underlay counts', () => {
  assert.equal(look({}, 4789)?.ok, 'unknown');
  assert.equal(look({ state: 'down', tunnel: SILENT }, 4789)?.ok, 'unknown');
  assert.equal(look({ state: 'down', tunnel: SILENT, underlay: SILENT }, 4789)?.ok, false);
});

test('a silence that may have another cause says nothing', () => {
  const quiet = { state: 'degraded', findings: ['no bridge yet'], tunnel: SILENT } as const;
  const direct = { kind: 'direct', to: '172.16.70.192' } as const;
  const evidence = probeEvidence({ probe: { ...UP, ...quiet }, port: undefined, now: NOW }, direct);
  assert.deepEqual([evidence?.ok, evidence?.found[0]], ['unknown', 'no bridge yet']);
});
