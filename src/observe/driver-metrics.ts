import { ADDRESS_STATES, type DriverNetwork, type DriverStatus } from '#src/observe/driver-status.ts';

/** One figure of Docker's driver in `/metrics`, or several with a label. */
export interface DriverMetric {
  readonly name: string;
  readonly type: 'gauge';
  readonly help: string;
  /** By what stands in braces behind the name; `` for nothing. */
  values(status: DriverStatus): Readonly<Record<string, number>>;
}

const sum = (networks: readonly DriverNetwork[], of: (network: DriverNetwork) => number): number =>
  networks.reduce((total, network) => total + of(network), 0);

export const DRIVER_METRICS: readonly DriverMetric[] = [
  {
    name: 'weft_tenant_driver_up',
    type: 'gauge',
    help: "1 while Docker's driver takes calls",
    values: ({ state }) => ({ '': state === 'on' ? 1 : 0 }),
  },
  {
    name: 'weft_tenant_troubles',
    type: 'gauge',
    help: 'reasons why Docker’s networks are not as they should be here; weft status has them in words',
    values: ({ troubles }) => ({ '': troubles.length }),
  },
  {
    name: 'weft_tenant_networks',
    type: 'gauge',
    help: 'networks of the driver on this host',
    values: ({ networks }) => ({ '': networks.length }),
  },
  {
    name: 'weft_tenant_networks_in_use',
    type: 'gauge',
    help: 'those of them that have a container here',
    values: ({ networks }) => ({ '': sum(networks, ({ containers }) => (containers.length > 0 ? 1 : 0)) }),
  },
  {
    name: 'weft_tenant_endpoints',
    type: 'gauge',
    help: 'connections of containers on this host to such networks',
    values: ({ networks }) => ({ '': sum(networks, ({ containers }) => containers.length) }),
  },
  {
    name: 'weft_tenant_endpoints_cut_off',
    type: 'gauge',
    help: 'those of them that are cut off, because another host has their address',
    values: ({ networks }) => ({ '': sum(networks, ({ cutOff }) => cutOff) }),
  },
  {
    name: 'weft_tenant_addresses',
    type: 'gauge',
    help: 'addresses of all hosts in the networks that are in use here, by `state`: reserved, published, released, kept',
    values: ({ networks }) =>
      Object.fromEntries(
        ADDRESS_STATES.map((state) => [
          `state="${state}"`,
          sum(networks, ({ addresses }) => addresses?.[state] ?? 0),
        ]),
      ),
  },
];

/** Prometheus' text format; nothing for a driver that is off. */
export function formatDriverMetrics(status: DriverStatus): string {
  if (status.state === 'off') return '';
  return DRIVER_METRICS.flatMap(({ name, type, help, values }) => [
    `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`,
    ...Object.entries(values(status)).map(
      ([label, value]) => `${name}${label === '' ? '' : `{${label}}`} ${value}\n`,
    ),
  ]).join('');
}
