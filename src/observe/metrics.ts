import type { NodeStatus } from '#src/observe/node-status.ts';

/** One figure of `/metrics`. The table is also docs/reference/metrics.md. */
export interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  /** `undefined` while there is no figure. */
  value(status: NodeStatus): number | undefined;
}

export const METRICS: readonly Metric[] = [
  {
    name: 'weft_ready',
    type: 'gauge',
    help: '1 when packets flow as they should, as /readyz says',
    value: ({ ready }) => (ready ? 1 : 0),
  },
  {
    name: 'weft_registry_age_seconds',
    type: 'gauge',
    help: 'seconds since the registry last confirmed that this host knows every change',
    value: ({ registry }) => registry.ageSeconds,
  },
  {
    name: 'weft_peers',
    type: 'gauge',
    help: 'leases of other hosts that are in use',
    value: ({ peers }) => peers.accepted,
  },
  {
    name: 'weft_quarantined_leases',
    type: 'gauge',
    help: 'leases that are not used because of their content; weft status shows why',
    value: ({ peers }) => peers.quarantined.length,
  },
  {
    name: 'weft_kernel_objects_wanted',
    type: 'gauge',
    help: 'devices, addresses, routes, neighbours and forwarding entries that should be in the kernel',
    value: ({ kernel }) => kernel.wanted,
  },
  {
    name: 'weft_kernel_objects_failing',
    type: 'gauge',
    help: 'wanted objects that the kernel refused; they are tried again',
    value: ({ kernel }) => kernel.failing.length,
  },
  {
    name: 'weft_repairs_total',
    type: 'counter',
    help: 'repairs of kernel objects, rules and settings that another program changed',
    value: ({ kernel }) => kernel.repairs,
  },
  {
    name: 'weft_full_checks_total',
    type: 'counter',
    help: 'comparisons of everything in the kernel with what is wanted',
    value: ({ kernel }) => kernel.checks,
  },
  {
    name: 'weft_event_loop_delay_seconds',
    type: 'gauge',
    help: 'how late the event loop was at most since the last scrape',
    value: ({ eventLoopDelayMs }) => eventLoopDelayMs / 1000,
  },
];

/** Prometheus' text format, version 0.0.4. */
export function formatMetrics(status: NodeStatus): string {
  return METRICS.flatMap((metric) => {
    const value = metric.value(status);
    if (value === undefined) return [];
    const { name, help, type } = metric;
    return [`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`];
  }).join('');
}

/** docs/reference/metrics.md */
export function metricsPage(): string {
  const rows = METRICS.map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
  return [
    '# Metrics',
    '',
    'Served as `/metrics` beside `/healthz` when `--healthz-port` is set, in Prometheus’ text format.',
    'This page is made from `src/observe/metrics.ts` by `script/generate-docs`.',
    '',
    '| name | type | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
