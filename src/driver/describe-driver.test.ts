import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeDriver } from '#src/driver/describe-driver.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { driverHost, id } from '../../test/support/driver-host.ts';

test('the networks of a host, with the containers in them', async (t) => {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const one = await driverHost(t, { n: 1, folders });
  assert.deepEqual(describeDriver(one), []);
  await one.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  const blue = { name: 'blue', vni: 70_001, subnets: ['10.5.0.0/24'], cutOff: 0 };
  assert.deepEqual(describeDriver(one), [{ ...blue, containers: [] }]);
  await one.run(1, '10.5.0.11');
  await one.run(2, '10.5.0.12');
  await one.networks.activate(id(1), id(77), ['web', 'shop']);
  assert.deepEqual(describeDriver(one), [
    {
      ...blue,
      containers: ['web', id(2).slice(0, 12)],
      addresses: { reserved: 0, published: 2, released: 0, kept: 0 },
    },
  ]);
});
