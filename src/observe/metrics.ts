import type { DriverMeasured } from '#src/observe/driver-figures.ts';
import { DRIVER_METRICS } from '#src/observe/driver-metrics.ts';
import { type Family, familiesOf, type Metric } from '#src/observe/metric.ts';
import type { NetworkMeasured } from '#src/observe/network-figures.ts';
import { NETWORK_METRICS } from '#src/observe/network-metrics.ts';
import { PROBE_METRICS } from '#src/observe/probe-metrics.ts';
import { PROCESS_METRICS, type ProcessFigures } from '#src/observe/process-metrics.ts';

/** All that is measured on one host. */
export interface HostMeasured {
  readonly process: ProcessFigures;
  readonly networks: readonly NetworkMeasured[];
  /** A driver that is off has no rows. */
  readonly driver?: DriverMeasured;
}

/**
 * The metrics of a host: text by `formatFamilies`, counters by `countersOf`. Several networks of one daemon have a
 * row each, with the label `network`; the only network of a daemon has none.
 */
export function metricsOf({ process, networks, driver }: HostMeasured): Family[] {
  const measured = networks.map((source) => {
    const { name } = source.status;
    return { source, ...(name !== undefined && { labels: { network: name } }) };
  });
  const isServed = driver !== undefined && driver.status.state !== 'off';
  return [
    ...familiesOf(NETWORK_METRICS, measured),
    ...familiesOf(PROBE_METRICS, measured),
    ...familiesOf(DRIVER_METRICS, isServed ? [{ source: driver }] : []),
    ...familiesOf(PROCESS_METRICS, [{ source: process }]),
  ];
}

type Row = Pick<Metric<unknown>, 'name' | 'type' | 'help'>;

/** Every metric that there is, for the page, and for the checks of alert rules and dashboards. */
export const ALL_METRICS: readonly Row[] = [
  ...NETWORK_METRICS,
  ...PROBE_METRICS,
  ...DRIVER_METRICS,
  ...PROCESS_METRICS,
];

const table = (metrics: readonly Row[]): readonly string[] => [
  '| name | type | what it says |',
  '| --- | --- | --- |',
  ...metrics.map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`),
  '',
];

/** docs/reference/metrics.md */
export function metricsPage(): string {
  return [
    '# Metrics',
    '',
    'Served as `/metrics` beside `/healthz` when `--healthz-port` is set, in Prometheus’ text format. The same values are in the local API as `/v1/counters`.',
    'No metric has a label for each peer, container or address: a network of 10,000 hosts has as many rows as one of three.',
    '`packaging/prometheus` has alert rules and `packaging/grafana` a dashboard for them ([how](../guides/monitoring.md)).',
    'This page is made from the tables in `src/observe/` by `script/generate-docs`.',
    '',
    '## Networks',
    '',
    'A daemon of several networks has one row for each, with the label `network`.',
    '',
    ...table(NETWORK_METRICS),
    '## Probes',
    '',
    'For each network where `--probes` is on ([what is measured](../guides/probes.md)).',
    '',
    ...table(PROBE_METRICS),
    "## Docker's driver",
    '',
    'One row for the host, where `--docker-driver` is not `off`.',
    '',
    ...table(DRIVER_METRICS),
    '## The process',
    '',
    ...table(PROCESS_METRICS),
  ]
    .join('\n')
    .replace(/\n$/, '');
}
