import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DriverStatus } from '#src/observe/driver-status.ts';
import { Histogram } from '#src/observe/histogram.ts';
import { formatFamilies } from '#src/observe/metric.ts';
import { metricsOf } from '#src/observe/metrics.ts';

const STATUS: DriverStatus = {
  state: 'on',
  troubles: ['Docker has not answered yet'],
  networks: [
    {
      name: 'blue',
      vni: 70_001,
      subnets: ['10.5.0.0/24'],
      containers: ['web', 'db'],
      cutOff: 1,
      addresses: { reserved: 1, published: 5, released: 2, kept: 0 },
    },
    { name: 'red', vni: 70_002, subnets: ['10.5.0.0/24'], containers: [], cutOff: 0 },
  ],
};

const JOIN = new Histogram([1]);
JOIN.observe(0.5);
JOIN.observe(2);

const rowsOf = (status: DriverStatus): string[] => {
  const figures = {
    calls: new Map([['NetworkDriver.Join', { seconds: JOIN.snapshot, failed: 1 }]]),
    dropped: new Map([['false-mac', 3]]),
  };
  const process = { version: '0', node: 'v26.0.0', cpuSeconds: 1, residentBytes: 2, startedAt: 3 };
  return formatFamilies(metricsOf({ process, networks: [], driver: { status, figures } }))
    .split('\n')
    .filter((line) => line.startsWith('weft_tenant_'));
};

test("the figures of Docker's driver", () => {
  const call = 'weft_tenant_driver_call_duration_seconds';
  assert.deepEqual(rowsOf(STATUS), [
    'weft_tenant_driver_up 1',
    'weft_tenant_troubles 1',
    'weft_tenant_networks 2',
    'weft_tenant_networks_in_use 1',
    'weft_tenant_endpoints 2',
    'weft_tenant_endpoints_cut_off 1',
    'weft_tenant_addresses{state="reserved"} 1',
    'weft_tenant_addresses{state="published"} 5',
    'weft_tenant_addresses{state="released"} 2',
    'weft_tenant_addresses{state="kept"} 0',
    'weft_tenant_driver_calls_total{method="NetworkDriver.Join"} 2',
    'weft_tenant_driver_calls_failed_total{method="NetworkDriver.Join"} 1',
    `${call}_bucket{method="NetworkDriver.Join",le="1"} 1`,
    `${call}_bucket{method="NetworkDriver.Join",le="+Inf"} 2`,
    `${call}_sum{method="NetworkDriver.Join"} 2.5`,
    `${call}_count{method="NetworkDriver.Join"} 2`,
    'weft_tenant_dropped_packets_total{reason="false-mac"} 3',
  ]);
  assert.deepEqual(rowsOf({ ...STATUS, state: 'off' }), []);
});
