import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatMetrics, metricsPage } from '#src/observe/metrics.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';

const STATUS: NodeStatus = {
  version: '0',
  node: 'n',
  ready: false,
  troubles: ['waiting for a lease'],
  registry: { description: 'etcd', state: 'connecting' },
  peers: { accepted: 3, quarantined: [{ lease: 'x', reason: 'its key is not a subnet' }] },
  kernel: { wanted: 11, failing: [], repairs: 2, checks: 1 },
  eventLoopDelayMs: 4,
};

test('metrics are lines that Prometheus reads, and what is not known is left out', () => {
  const text = formatMetrics([STATUS]);
  assert.match(text, /^# HELP weft_ready .*\n# TYPE weft_ready gauge\nweft_ready 0$/m);
  assert.match(text, /^weft_quarantined_leases 1$/m);
  assert.match(text, /^weft_event_loop_delay_seconds 0.004$/m);
  assert.doesNotMatch(text, /weft_registry_age_seconds/);
  assert.match(
    formatMetrics([{ ...STATUS, registry: { ...STATUS.registry, ageSeconds: 1.5 } }]),
    /^weft_registry_age_seconds 1.5$/m,
  );
});

test('several networks have a row each under one head, with their names', () => {
  const text = formatMetrics([
    { ...STATUS, name: 'blue' },
    { ...STATUS, name: 'red', ready: true },
  ]);
  assert.match(
    text,
    /^# TYPE weft_ready gauge\nweft_ready\{network="blue"\} 0\nweft_ready\{network="red"\} 1$/m,
  );
});

test('docs/reference/metrics.md is what the table says', () => {
  const page = readFileSync(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8');
  assert.equal(page, metricsPage(), 'run script/generate-docs');
});
