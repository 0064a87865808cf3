import { test } from 'node:test';
import { portName } from '#src/tenant/segment-objects.ts';
import { isGone, isRepaired } from '../support/shared-drift.ts';
import { A, endpointOf, lackOfSharedDevices, sharedTenants } from '../support/shared-tenants.ts';
import { cannotRun } from '../support/test-lab.ts';

/* The hosts and tenants of test/support/shared-tenants.ts. */
const skip = cannotRun('ping', 'nft');

test('with shared devices, devices that others change come back', { skip }, async (t) => {
  const reason = await lackOfSharedDevices(t);
  if (reason !== undefined) return t.skip(reason);
  const tenants = await sharedTenants(t);
  const DRIFT: readonly string[] = [
    'bridge link set dev vx-all vlan_tunnel off',
    'bridge link set dev vx-all learning on flood on neigh_suppress off',
    `ip link set ${portName(endpointOf(tenants.a1))} nomaster`,
    'ip link set vx-all down',
    `ip link del br-${A}`,
    'ip link del vx-all',
    'ip link del br-all',
  ];
  for (const drift of DRIFT) await t.test(drift, () => isRepaired(tenants, drift));
  await t.test('and what is not wanted any more is gone', () => isGone(tenants));
});
