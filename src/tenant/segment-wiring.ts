/**
 * Of which devices of the tenants' namespace a segment is made. Own devices: a bridge and a VXLAN device for each tenant.
 * Shared devices: one bridge that filters VLANs and one VXLAN device for all, where a tenant is a VLAN of the bridge, and the
 * bridge's own device in it.
 */
export interface SegmentWiring {
  /** In which ports and tunnel are. */
  readonly bridge: string;
  /** The VXLAN device. */
  readonly tunnel: string;
  /** With the tenant's own addresses, and neighbours by which ARP and ND are answered. */
  readonly inner: string;
  /** The tenant's VLAN on this host, of shared devices. */
  readonly vlan?: number;
}

export const bridgeName = (vni: number): string => `br-${vni}`;
export const vxlanName = (vni: number): string => `vx-${vni}`;
export const SHARED_BRIDGE = 'br-all';
export const SHARED_TUNNEL = 'vx-all';
/** VLANs of a bridge: 0 and 4095 are reserved (IEEE 802.1Q, table 9-2). */
export const HIGHEST_VLAN = 4_094;

export const ownWiring = (vni: number): SegmentWiring => ({
  bridge: bridgeName(vni),
  tunnel: vxlanName(vni),
  inner: bridgeName(vni),
});

export const sharedWiring = (vni: number, vlan: number): SegmentWiring => ({
  bridge: SHARED_BRIDGE,
  tunnel: SHARED_TUNNEL,
  inner: bridgeName(vni),
  vlan,
});
