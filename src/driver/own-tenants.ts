import type { DeviceChoice } from '#src/driver/choose-devices.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import { isTenantObject } from '#src/tenant/segment-objects.ts';

const KINDS = ['link', 'bridge-port', 'address', 'fdb', 'bridge-fdb', 'neighbour', 'sysctl'] as const;
/** Kernels without them refuse to list them. */
const SHARED_KINDS = [...KINDS, 'bridge-vlan', 'vni'] as const;
/** Nothing goes from one tenant to another, and devices give themselves no addresses. */
const NAMESPACE_SETTINGS = [
  ['net/ipv4/ip_forward', '0'],
  // With it, ARP for an address without a subnet gets no answer.
  ['net/ipv4/conf/all/rp_filter', '0'],
  ['net/ipv6/conf/all/forwarding', '0'],
  ['net/ipv6/conf/default/addr_gen_mode', '1'],
  ['net/ipv6/conf/default/accept_dad', '0'],
  // Rules for routed packets would see bridged frames too (br_netfilter, which Docker loads). There are none here, and to
  // look for them takes a tenth of a round trip.
  ['net/bridge/bridge-nf-call-iptables', '0'],
  ['net/bridge/bridge-nf-call-ip6tables', '0'],
  ['net/bridge/bridge-nf-call-arptables', '0'],
] as const;

const SCOPES = {
  own: [{ kinds: KINDS, owns: isTenantObject }],
  shared: [{ kinds: SHARED_KINDS, owns: isTenantObject }],
} as const;

/**
 * The owner of all that is in the tenants' namespace, which wants the namespace's own settings already. `devices`: of which
 * form they are now.
 */
export function ownTenants(
  reconciler: Reconciler,
  devices: () => DeviceChoice['kind'],
  events?: HostEvents,
): Owner {
  const owner = reconciler.own({
    name: 'tenants',
    scopes: () => SCOPES[devices()],
    ...(events && { events }),
  });
  owner.set(
    'settings',
    NAMESPACE_SETTINGS.map(([path, value]) => ({ kind: 'sysctl', path, value })),
  );
  return owner;
}
