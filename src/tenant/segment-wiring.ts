/**
 * Of which devices of the tenants' namespace a segment is made. Own devices: a bridge and a VXLAN device for each tenant.
 * Shared devices: a bridge that filters VLANs and a VXLAN device for 4,094 tenants, where a tenant is a VLAN of the bridge, and
 * the bridge's own device in it.
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

/** A tenant's place in shared devices. */
export interface SharedPlace {
  /** 1 and on: which bridge and VXLAN device, for one of them has no room for more than {@link HIGHEST_VLAN} tenants. */
  readonly pair: number;
  readonly vlan: number;
}

/** VLANs of a bridge: 0 and 4095 are reserved (IEEE 802.1Q, table 9-2). */
export const HIGHEST_VLAN = 4_094;

export const bridgeName = (vni: number): string => `br-${vni}`;
export const vxlanName = (vni: number): string => `vx-${vni}`;
export const sharedBridge = (pair: number): string => `br-all${pair === 1 ? '' : pair}`;
export const sharedTunnel = (pair: number): string => `vx-all${pair === 1 ? '' : pair}`;

const TUNNEL = /^vx-(\d{1,8})$/;
const SHARED = /^(br|vx)-all([2-9]|[1-9]\d{1,3})?$/;

/** Whether it is the VXLAN device of one tenant. */
export const isOwnTunnel = (device: string): boolean => TUNNEL.test(device);

/** The pair of a shared bridge or VXLAN device; `undefined` for another device. */
export function pairOf(device: string): number | undefined {
  const read = SHARED.exec(device);
  return read === null ? undefined : Number(read[2] ?? 1);
}

/** Whether a device is of the form that {@link ownWiring} and {@link sharedWiring} name. */
export const isSegmentDevice = (device: string): boolean =>
  /^(br|vx)-\d{1,8}$/.test(device) || SHARED.test(device);

export const ownWiring = (vni: number): SegmentWiring => ({
  bridge: bridgeName(vni),
  tunnel: vxlanName(vni),
  inner: bridgeName(vni),
});

export const sharedWiring = (vni: number, { pair, vlan }: SharedPlace): SegmentWiring => ({
  bridge: sharedBridge(pair),
  tunnel: sharedTunnel(pair),
  inner: bridgeName(vni),
  vlan,
});
