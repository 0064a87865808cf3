import { type Ip, type Ipv4, isGlobalUnicast, isIpv4, prefix4 } from '#src/lib/ip.ts';
import { type Mac, macFromBytes } from '#src/lib/mac.ts';
import { deviceOf, HOST_NAMESPACE, type KernelObject } from '#src/state/object.ts';
import type { AddressRecord, Tenant } from '#src/tenant/tenant.ts';

/** A host's place on the underlay. */
export interface SegmentPlace {
  /** What other hosts send to. */
  readonly vtep: Ip;
  /** What this host sends from: another address than its VTEP's where a NAT stands in front of it. */
  readonly local: Ip;
  /** Of the underlay's device, in bytes of layer-3 payload. */
  readonly mtu: number;
  /** UDP, for all tenants. */
  readonly port: number;
}

/** Outer Ethernet is not counted: VXLAN's 8, UDP's 8, inner Ethernet's 14, and the outer IP header (RFC 7348 §5). */
const OVERHEAD = { v4: 50, v6: 70 };

export const bridgeName = (vni: number): string => `br-${vni}`;
export const vxlanName = (vni: number): string => `vx-${vni}`;

/** So much of an endpoint's ID as a device's name holds (IFNAMSIZ of linux/if.h). */
const ID_DIGITS = 13;
/** A container's port in the tenants' namespace. */
export const portName = (endpoint: string): string => `p${endpoint.slice(0, ID_DIGITS)}`;
export const isPort = (name: string): boolean => /^p[0-9a-f]{13}$/.test(name);
/** The other end, until Docker moves it into the container and names it there. */
export const containerEndName = (endpoint: string): string => `w${endpoint.slice(0, ID_DIGITS)}`;

/** Whether a device of the tenants' namespace is a segment's or a container's. */
export const isTenantDevice = (name: string): boolean => /^(br|vx)-\d{1,8}$/.test(name) || isPort(name);

/** Whether an object of the tenants' namespace was made for a tenant. Bridge ports come and go with their devices. */
export function isTenantObject(object: KernelObject): boolean {
  if (!isTenantDevice(deviceOf(object) ?? '')) return false;
  switch (object.kind) {
    case 'link':
      return true;
    case 'address':
      // The kernel gives a bridge its link-local address by itself.
      return isGlobalUnicast(object.prefix.address);
    case 'fdb':
    case 'neighbour':
      return object.permanent;
    case 'bridge-fdb':
      return object.static;
    default:
      return false;
  }
}

/** What fits into a frame of the tenant, in bytes of layer-3 payload. */
export const tenantMtu = ({ mtu }: Tenant, place: SegmentPlace): number =>
  mtu ?? place.mtu - (isIpv4(place.local) ? OVERHEAD.v4 : OVERHEAD.v6);

/** The bridge's MAC: the same for a VNI on every host, so that a container that moves keeps the gateway's. */
export function gatewayMac(vni: number): Mac {
  const bytes = Uint8Array.of(0x02, 0x57, 0, 0, 0, 0);
  new DataView(bytes.buffer).setUint32(2, vni);
  return macFromBytes(bytes);
}

/**
 * The addresses on a tenant's bridge, at which its names are answered. Each stands alone, without a subnet: with a route to
 * the subnet the kernel would answer a container that forges another tenant's address on that one's bridge. IPv6 gives an
 * address a use only with such a route, so there is none of it.
 */
export const serviceAddresses = ({ subnets }: Tenant): Ipv4[] =>
  subnets.v4 === undefined ? [] : [subnets.v4.gateway];

/**
 * Bridge and VXLAN device of a tenant, in the tenants' namespace. Nothing is learnt and nothing is flooded to other hosts:
 * ARP and ND are answered from neighbours. `forwards`: frames for a container that has moved away are passed on, out of the
 * device that they came in by.
 */
export function segmentObjects(
  tenant: Tenant,
  place: SegmentPlace,
  { forwards }: { readonly forwards: boolean },
): KernelObject[] {
  const { vni } = tenant;
  const [bridge, device] = [bridgeName(vni), vxlanName(vni)];
  const mtu = tenantMtu(tenant, place);
  return [
    {
      kind: 'link',
      name: bridge,
      type: 'bridge',
      mac: gatewayMac(vni),
      mtu,
      up: true,
      bridge: { multicastSnooping: false },
    },
    {
      kind: 'link',
      name: device,
      type: 'vxlan',
      mtu,
      up: true,
      master: bridge,
      vxlan: { vni, local: place.local, port: place.port, learning: false, gbp: false, socketIn: 'host' },
    },
    {
      kind: 'bridge-port',
      device,
      learning: false,
      neighSuppress: true,
      flood: false,
      mcastFlood: false,
      bcastFlood: false,
      hairpin: forwards,
    },
    ...serviceAddresses(tenant).map(
      (gateway): KernelObject => ({ kind: 'address', prefix: prefix4(gateway, 32), device: bridge }),
    ),
    { kind: 'sysctl', path: `net/ipv4/conf/${bridge}/rp_filter`, value: '0' },
    { kind: 'sysctl', path: `net/ipv4/conf/${bridge}/arp_ignore`, value: '1' },
  ];
}

/** What makes a container's port. */
export interface PortRequest {
  readonly endpoint: string;
  readonly mac: Mac;
  /** The container's network namespace, once it has one. */
  readonly sandbox?: string | undefined;
  /** What its device is called there, once Docker has named it. */
  readonly device?: string | undefined;
  /** Carries frames. */
  readonly up: boolean;
  /** Only frames from a MAC with an entry pass: the container's, once it has one. */
  readonly locked: boolean;
}

/** A container's port. Broadcasts go from port to port on the host, and unknown unicast nowhere. */
export function portObjects(tenant: Tenant, place: SegmentPlace, request: PortRequest): KernelObject[] {
  const { endpoint, mac, sandbox = HOST_NAMESPACE, up, locked } = request;
  const name = portName(endpoint);
  const mtu = tenantMtu(tenant, place);
  const peer = (request.sandbox && request.device) ?? containerEndName(endpoint);
  const veth = { peer, peerNamespace: sandbox, peerMac: mac, peerMtu: mtu };
  return [
    { kind: 'link', name, type: 'veth', mtu, up, master: bridgeName(tenant.vni), veth },
    { kind: 'bridge-port', device: name, learning: false, flood: false, locked },
  ];
}

/** Frames for the MAC go to this port. */
export const localEntry = ({ vni }: Tenant, mac: Mac, endpoint: string): KernelObject => ({
  kind: 'bridge-fdb',
  mac,
  bridge: bridgeName(vni),
  device: portName(endpoint),
  static: true,
});

/**
 * Entries for a MAC that no container of this host has: where frames go, and the answers to ARP and ND. `holder` is the
 * newest of the records. While nobody has the address, frames are dropped in silence, so that TCP waits.
 */
export function remoteEntries(
  { vni }: Tenant,
  mac: Mac,
  records: readonly AddressRecord[],
  holder: AddressRecord,
  self: string,
): KernelObject[] {
  const [bridge, device] = [bridgeName(vni), vxlanName(vni)];
  const isElsewhere = holder.state === 'published' && holder.host !== self;
  return [
    { kind: 'bridge-fdb', mac, bridge, device, static: true },
    ...(isElsewhere
      ? [{ kind: 'fdb', mac, device, destination: holder.vtep, permanent: true } as const]
      : []),
    ...records.map(
      ({ ip }): KernelObject => ({ kind: 'neighbour', ip, mac, device: bridge, permanent: true }),
    ),
  ];
}
