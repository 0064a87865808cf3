import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DRIVER_METRICS, formatDriverMetrics } from '#src/observe/driver-metrics.ts';
import type { DriverStatus } from '#src/observe/driver-status.ts';

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

test("the figures of Docker's driver", () => {
  const rows = formatDriverMetrics(STATUS)
    .split('\n')
    .filter((line) => !line.startsWith('#') && line !== '');
  assert.deepEqual(rows, [
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
  ]);
  assert.equal(formatDriverMetrics({ ...STATUS, state: 'off' }), '');
});

test('each has a help text, and a name of its own', () => {
  for (const { help } of DRIVER_METRICS) assert.doesNotMatch(help, /\n|\\/);
  assert.equal(new Set(DRIVER_METRICS.map(({ name }) => name)).size, DRIVER_METRICS.length);
});
