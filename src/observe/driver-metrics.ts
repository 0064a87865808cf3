import type { CallFigures, DriverMeasured } from '#src/observe/driver-figures.ts';
import { ADDRESS_STATES, type DriverNetwork } from '#src/observe/driver-status.ts';
import { histogramSamples } from '#src/observe/histogram.ts';
import { type Metric, type Sample, samplesBy } from '#src/observe/metric.ts';

const sum = (networks: readonly DriverNetwork[], of: (network: DriverNetwork) => number): number =>
  networks.reduce((total, network) => total + of(network), 0);

export const DRIVER_METRICS: readonly Metric<DriverMeasured>[] = [
  {
    name: 'weft_tenant_driver_up',
    type: 'gauge',
    help: "1 while Docker's driver takes calls",
    value: ({ status: { state } }) => (state === 'on' ? 1 : 0),
  },
  {
    name: 'weft_tenant_troubles',
    type: 'gauge',
    help: 'reasons why Docker’s networks are not as they should be here; weft status has them in words',
    value: ({ status: { troubles } }) => troubles.length,
  },
  {
    name: 'weft_tenant_networks',
    type: 'gauge',
    help: 'networks of the driver on this host',
    value: ({ status: { networks } }) => networks.length,
  },
  {
    name: 'weft_tenant_networks_in_use',
    type: 'gauge',
    help: 'those of them that have a container here',
    value: ({ status: { networks } }) => sum(networks, ({ containers }) => (containers.length > 0 ? 1 : 0)),
  },
  {
    name: 'weft_tenant_endpoints',
    type: 'gauge',
    help: 'connections of containers on this host to such networks',
    value: ({ status: { networks } }) => sum(networks, ({ containers }) => containers.length),
  },
  {
    name: 'weft_tenant_endpoints_cut_off',
    type: 'gauge',
    help: 'those of them that are cut off, because another host has their address',
    value: ({ status: { networks } }) => sum(networks, ({ cutOff }) => cutOff),
  },
  {
    name: 'weft_tenant_addresses',
    type: 'gauge',
    help: 'addresses of all hosts in the networks that are in use here, by `state`: reserved, published, released, kept',
    value: ({ status: { networks } }) =>
      samplesBy(
        'state',
        ADDRESS_STATES.map((state) => [state, sum(networks, ({ addresses }) => addresses?.[state] ?? 0)]),
      ),
  },
  {
    name: 'weft_tenant_driver_calls_total',
    type: 'counter',
    help: 'calls of Docker that were answered, by `method`',
    value: ({ figures }) => byMethod(figures.calls, ({ seconds }) => seconds.count),
  },
  {
    name: 'weft_tenant_driver_calls_failed_total',
    type: 'counter',
    help: 'those of them that were answered with an error, by `method`; the log has each',
    value: ({ figures }) => byMethod(figures.calls, ({ failed }) => failed),
  },
  {
    name: 'weft_tenant_driver_call_duration_seconds',
    type: 'histogram',
    help: 'how long such calls took, by `method`',
    value: ({ figures }) =>
      [...figures.calls].flatMap(([method, { seconds }]) => histogramSamples(seconds, { method })),
  },
  {
    name: 'weft_tenant_dropped_packets_total',
    type: 'counter',
    help: 'packets that were dropped because of what they claim, by `reason`: a MAC or an address of another, a DHCP server, a tunnel of a stranger',
    value: ({ figures: { dropped } }) => dropped && samplesBy('reason', dropped),
  },
];

const byMethod = (
  calls: ReadonlyMap<string, CallFigures>,
  value: (call: CallFigures) => number,
): readonly Sample[] =>
  samplesBy(
    'method',
    Array.from(calls, ([method, call]) => [method, value(call)]),
  );
