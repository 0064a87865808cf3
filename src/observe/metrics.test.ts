import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Histogram } from '#src/observe/histogram.ts';
import { countersOf, formatFamilies } from '#src/observe/metric.ts';
import { ALL_METRICS, metricsOf, metricsPage } from '#src/observe/metrics.ts';
import type { NetworkFigures, NetworkMeasured } from '#src/observe/network-figures.ts';
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

const FIGURES: NetworkFigures = {
  registry: { reconnects: 1, events: 7 },
  kinds: new Map([['route', { wanted: 3, found: 2, failing: 1, repairs: 5 }]]),
  firewall: { repairs: 2, failing: true },
  devices: ['flannel.1'],
};

const counters = (n: number) => ({ bytes: n, packets: n + 1, errors: n + 2, drops: n + 3 });
const DEVICES = new Map([
  ['flannel.1', { receive: counters(10), transmit: counters(20) }],
  ['eth0', { receive: counters(30), transmit: counters(40) }],
]);

const network = (
  status: Partial<NodeStatus> = {},
  figures: Partial<NetworkFigures> = {},
): NetworkMeasured => ({
  status: { ...STATUS, ...status },
  figures: { ...FIGURES, ...figures },
  devices: DEVICES,
});

const PROCESS = { version: '0', node: 'v26.0.0', cpuSeconds: 1, residentBytes: 2, startedAt: 3 };
const familiesOf = (...networks: NetworkMeasured[]) => metricsOf({ process: PROCESS, networks });
const textOf = (...networks: NetworkMeasured[]) => formatFamilies(familiesOf(...networks));

test('metrics are lines that Prometheus reads, and what is not known is left out', () => {
  const text = textOf(network());
  assert.match(text, /^# HELP weft_ready .*\n# TYPE weft_ready gauge\nweft_ready 0$/m);
  assert.match(text, /^weft_quarantined_leases 1$/m);
  assert.match(text, /^weft_event_loop_delay_seconds 0.004$/m);
  for (const unknown of [
    'weft_registry_age_seconds',
    'weft_lease_expiry_seconds',
    'weft_subnets',
    'process_open_fds',
  ])
    assert.doesNotMatch(text, new RegExp(unknown));
  assert.match(
    textOf(network({ registry: { ...STATUS.registry, ageSeconds: 1.5 } })),
    /^weft_registry_age_seconds 1.5$/m,
  );
  assert.match(
    textOf(network({}, { lease: { remainingSeconds: 30, renewals: 2, failures: 1 } })),
    /^weft_lease_expiry_seconds 30$/m,
  );
});

test('several networks have a row each under one head, with their names', () => {
  const text = textOf(network({ name: 'blue' }), network({ name: 'red', ready: true }));
  assert.match(
    text,
    /^# TYPE weft_ready gauge\nweft_ready\{network="blue"\} 0\nweft_ready\{network="red"\} 1$/m,
  );
  assert.match(text, /^weft_objects\{network="red",kind="route",state="found"\} 2$/m);
});

test('the registry is in one of its states, and a device of the overlay has counters', () => {
  const text = textOf(network());
  assert.match(
    text,
    /^weft_registry_state\{state="connecting"\} 1\nweft_registry_state\{state="connected"\} 0$/m,
  );
  assert.match(text, /^weft_device_transmit_drops_total\{device="flannel.1"\} 23$/m);
  assert.doesNotMatch(text, /eth0/);
});

test('a histogram has cumulative buckets, a sum and a count', () => {
  const histogram = new Histogram([0.1, 1]);
  for (const seconds of [0.05, 0.1, 0.5, 3]) histogram.observe(seconds);
  const text = textOf(network({}, { putToRoute: histogram.snapshot }));
  const rows = text.split('\n').filter((line) => line.startsWith('weft_put_to_route_seconds'));
  assert.deepEqual(rows, [
    'weft_put_to_route_seconds_bucket{le="0.1"} 2',
    'weft_put_to_route_seconds_bucket{le="1"} 3',
    'weft_put_to_route_seconds_bucket{le="+Inf"} 4',
    'weft_put_to_route_seconds_sum 3.65',
    'weft_put_to_route_seconds_count 4',
  ]);
});

test('the local API has the same values by the same names', () => {
  const families = familiesOf(network({ name: 'blue' }));
  const rows = formatFamilies(families)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  assert.deepEqual(
    Object.entries(countersOf(families)).map(([name, value]) => `${name} ${value}`),
    rows,
  );
});

test('labels and help texts are escaped as the format wants it', () => {
  const [family] = familiesOf(network({ name: 'a"b\\c' }));
  assert.ok(family !== undefined);
  const text = formatFamilies([{ ...family, help: 'one\ntwo \\' }]);
  assert.match(text, /^# HELP weft_ready one\\ntwo \\\\\n/);
  assert.match(text, /\{network="a\\"b\\\\c"\} 0\n$/);
});

test('each name is there once, and a counter ends in _total', () => {
  assert.equal(new Set(ALL_METRICS.map(({ name }) => name)).size, ALL_METRICS.length);
  for (const { name, type } of ALL_METRICS) assert.equal(type === 'counter', name.endsWith('_total'), name);
});

test('docs/reference/metrics.md is what the table says', () => {
  const page = readFileSync(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8');
  assert.equal(page, metricsPage(), 'run script/generate-docs');
});
