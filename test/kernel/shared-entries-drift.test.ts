import { portName } from '#src/tenant/segment-objects.ts';
import { repairsSharedTenants } from '../support/shared-drift.ts';
import { A, endpointOf } from '../support/shared-tenants.ts';

/* The hosts and tenants of test/support/shared-tenants.ts. */
repairsSharedTenants('with shared devices, entries and VLANs that others change come back', ({ a1, a3 }) => {
  const port = portName(endpointOf(a1));
  return [
    `bridge fdb del ${a3.mac} dev vx-all master vlan 1`,
    `bridge fdb del ${a3.mac} dev vx-all dst 172.31.0.3 src_vni ${A} self`,
    `bridge fdb replace ${a3.mac} dev vx-all dst 172.31.0.2 src_vni ${A} self permanent`,
    `bridge fdb del ${a1.mac} dev ${port} master vlan 1`,
    `ip neigh del ${a3.ip} dev br-${A}`,
    `bridge vni delete dev vx-all vni ${A}`,
    'bridge vlan del dev vx-all vid 1',
    `bridge vlan del dev vx-all vid 1 tunnel_info id ${A}`,
    'bridge vlan del dev br-all vid 1 self',
    `bridge vlan del dev ${port} vid 1`,
    `bridge vlan add dev ${port} vid 1 untagged`,
  ];
});
