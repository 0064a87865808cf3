import { portName } from '#src/tenant/segment-objects.ts';
import { repairsSharedTenants } from '../support/shared-drift.ts';
import { A, endpointOf } from '../support/shared-tenants.ts';

/* The hosts and tenants of test/support/shared-tenants.ts. */
repairsSharedTenants('with shared devices, devices that others change come back', ({ a1 }) => [
  'bridge link set dev vx-all vlan_tunnel off',
  'bridge link set dev vx-all learning on flood on neigh_suppress off',
  `ip link set ${portName(endpointOf(a1))} nomaster`,
  'ip link set vx-all down',
  `ip link del br-${A}`,
  'ip link del vx-all',
  'ip link del br-all',
]);
