import { DRIVER_METRICS, formatDriverMetrics } from '#src/observe/driver-metrics.ts';
import type { DriverStatus } from '#src/observe/driver-status.ts';
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
    help: 'seconds since the registry last showed that nothing is missing here',
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
    help: 'leases that are not used because of what they say; weft status says why',
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
    help: 'those of them that the kernel refused; they are tried again',
    value: ({ kernel }) => kernel.failing.length,
  },
  {
    name: 'weft_repairs_total',
    type: 'counter',
    help: 'repairs of kernel objects, rules and settings that somebody else changed',
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

/**
 * Prometheus' text format, version 0.0.4. Several networks of one daemon have a row each, with the label `network`; the
 * only network of a daemon has none. `driver`: of the whole host; what is off has no rows.
 */
export function formatMetrics(statuses: readonly NodeStatus[], driver?: DriverStatus): string {
  return formatNetworkMetrics(statuses) + (driver === undefined ? '' : formatDriverMetrics(driver));
}

function formatNetworkMetrics(statuses: readonly NodeStatus[]): string {
  return METRICS.flatMap((metric) => {
    const { name, help, type } = metric;
    const rows = statuses.flatMap((status) => {
      const value = metric.value(status);
      const label = status.name === undefined ? '' : `{network="${status.name}"}`;
      return value === undefined ? [] : [`${name}${label} ${value}\n`];
    });
    return rows.length === 0 ? [] : [`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`, ...rows];
  }).join('');
}

/** docs/reference/metrics.md */
export function metricsPage(): string {
  const rows = METRICS.map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
  return [
    '# Metrics',
    '',
    'Served as `/metrics` beside `/healthz` when `--healthz-port` is set, in Prometheus’ text format.',
    'A daemon of several networks has one row for each, with the label `network`.',
    'This page is made from `src/observe/metrics.ts` by `script/generate-docs`.',
    '',
    '| name | type | what it says |',
    '| --- | --- | --- |',
    ...rows,
    '',
    "## Docker's driver",
    '',
    'One row for the host, where `--docker-driver` is not `off`.',
    '',
    '| name | type | what it says |',
    '| --- | --- | --- |',
    ...DRIVER_METRICS.map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`),
    '',
  ].join('\n');
}
