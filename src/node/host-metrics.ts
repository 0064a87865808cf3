import { VERSION } from '#src/lib/version.ts';
import { parseDeviceCounters } from '#src/observe/device-counters.ts';
import type { DriverFigures } from '#src/observe/driver-figures.ts';
import type { DriverStatus } from '#src/observe/driver-status.ts';
import type { Family } from '#src/observe/metric.ts';
import { metricsOf } from '#src/observe/metrics.ts';
import type { DeviceCounters, NetworkFigures } from '#src/observe/network-figures.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { Files } from '#src/sys/files.ts';
import { readOwnProcess } from '#src/sys/process-figures.ts';

export interface HostMetricsComponents {
  readonly files: Pick<Files, 'read'>;
}

/** What a host is asked for when its metrics are read. */
export interface MetricsSource {
  networks(): readonly { readonly status: NodeStatus; readonly figures: NetworkFigures }[];
  driverStatus(): DriverStatus;
  /** `undefined` while the driver is not loaded. */
  driverFigures(): Promise<DriverFigures> | undefined;
}

/** Reads all metrics of a host, for `/metrics` and `/v1/counters`. */
export async function hostMetrics(
  { files }: HostMetricsComponents,
  source: MetricsSource,
): Promise<Family[]> {
  const [devices, figures] = await Promise.all([readDevices(files), source.driverFigures()]);
  return metricsOf({
    process: { version: VERSION, ...readOwnProcess() },
    networks: source.networks().map((network) => ({ ...network, devices })),
    driver: { status: source.driverStatus(), figures: figures ?? { calls: new Map() } },
  });
}

/** Of the network namespace of this process, which /sys may not be of. Equals `ip -s link`. */
async function readDevices(files: Pick<Files, 'read'>): Promise<ReadonlyMap<string, DeviceCounters>> {
  const text = await files.read('/proc/self/net/dev').catch(() => undefined);
  return parseDeviceCounters(text ?? '');
}
