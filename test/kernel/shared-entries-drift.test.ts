import { test } from 'node:test';
import { portName } from '#src/tenant/segment-objects.ts';
import { isGone, isRepaired } from '../support/shared-drift.ts';
import { A, endpointOf, lackOfSharedDevices, sharedTenants } from '../support/shared-tenants.ts';
import { cannotRun } from '../support/test-lab.ts';

/* The hosts and tenants of test/support/shared-tenants.ts. Devices are in a file of their own, for the emulated machines' sake. */
const skip = cannotRun('ping', 'nft');

test('with shared devices, entries and VLANs that others change come back', { skip }, async (t) => {
  const reason = await lackOfSharedDevices(t);
  if (reason !== undefined) return t.skip(reason);
  const tenants = await sharedTenants(t);
  const { a1, a3 } = tenants;
  const port = portName(endpointOf(a1));
  const DRIFT: readonly string[] = [
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
  for (const drift of DRIFT) await t.test(drift, () => isRepaired(tenants, drift));
  await t.test('and what is not wanted any more is gone', () => isGone(tenants));
});
