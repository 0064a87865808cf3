import { type Ip, type Ipv4, isGlobalUnicast, isIpv4, prefix4 } from '#src/lib/ip.ts';
import { type Mac, macFromBytes } from '#src/lib/mac.ts';
import { deviceOf, HOST_NAMESPACE, type KernelObject, type Vxlan } from '#src/state/object.ts';
import {
  isSegmentDevice,
  type SegmentWiring,
  sharedBridge,
  sharedTunnel,
} from '#src/tenant/segment-wiring.ts';
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

/** So much of an endpoint's ID as a device's name holds (IFNAMSIZ of linux/if.h). */
const ID_DIGITS = 13;
/** A container's port in the tenants' namespace. */
export const portName = (endpoint: string): string => `p${endpoint.slice(0, ID_DIGITS)}`;
export const isPort = (name: string): boolean => /^p[0-9a-f]{13}$/.test(name);
/** The other end, until Docker moves it into the container and names it there. */
export const containerEndName = (endpoint: string): string => `w${endpoint.slice(0, ID_DIGITS)}`;

/** Whether a device of the tenants' namespace is a segment's or a container's. */
export const isTenantDevice = (name: string): boolean => isSegmentDevice(name) || isPort(name);

/** Whether an object of the tenants' namespace was made for a tenant. Bridge ports come and go with their devices. */
export function isTenantObject(object: KernelObject): boolean {
  if (!isTenantDevice(deviceOf(object) ?? '')) return false;
  switch (object.kind) {
    case 'link':
    case 'bridge-vlan':
    case 'vni':
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
export const tenantMtu = ({ mtu }: Tenant, place: SegmentPlace): number => mtu ?? room(place);

const room = ({ mtu, local }: SegmentPlace): number => mtu - (isIpv4(local) ? OVERHEAD.v4 : OVERHEAD.v6);

/**
 * The MAC of each tenant's gateway on every host, so that a container that moves keeps it. With shared devices it is the
 * bridge's own: with another one the bridge would hand each of its frames to the host too.
 */
const GATEWAY_MAC: Mac = macFromBytes(Uint8Array.of(0x02, 0x57, 0, 0, 0, 0));

/**
 * The addresses on a tenant's bridge, at which its names are answered. Each stands alone, without a subnet: with a route to
 * the subnet the kernel would answer a container that forges another tenant's address on that one's bridge. IPv6 gives an
 * address a use only with such a route, so there is none of it.
 */
export const serviceAddresses = ({ subnets }: Tenant): Ipv4[] =>
  subnets.v4 === undefined ? [] : [subnets.v4.gateway];

/** How frames come in and go out of a VXLAN device: nothing is learnt, and nothing is flooded to other hosts. */
interface Tunnelling {
  /** Frames for a container that has moved away are passed on, out of the device that they came in by. */
  readonly forwards: boolean;
}

/** Nothing is learnt and nothing is flooded: ARP and ND are answered from neighbours. */
const tunnelPort = (device: string, { forwards }: Tunnelling) =>
  ({
    kind: 'bridge-port',
    device,
    learning: false,
    neighSuppress: true,
    flood: false,
    mcastFlood: false,
    bcastFlood: false,
    hairpin: forwards,
  }) as const;

/** What a tenant's segment is made of in the tenants' namespace, without the devices that it shares with others. */
export const segmentObjects = (
  tenant: Tenant,
  wiring: SegmentWiring,
  place: SegmentPlace,
  tunnelling: Tunnelling,
): KernelObject[] => [
  ...(wiring.vlan === undefined
    ? ownDevices(tenant, wiring, place, tunnelling)
    : partOfShared(tenant, wiring, wiring.vlan, place)),
  ...serviceAddresses(tenant).map(
    (gateway): KernelObject => ({ kind: 'address', prefix: prefix4(gateway, 32), device: wiring.inner }),
  ),
  { kind: 'sysctl', path: `net/ipv4/conf/${wiring.inner}/rp_filter`, value: '0' },
  { kind: 'sysctl', path: `net/ipv4/conf/${wiring.inner}/arp_ignore`, value: '1' },
];

/** Bridge and VXLAN device of one tenant. */
function ownDevices(
  tenant: Tenant,
  { bridge, tunnel }: SegmentWiring,
  place: SegmentPlace,
  tunnelling: Tunnelling,
): KernelObject[] {
  const { vni } = tenant;
  const { local, port } = place;
  const mtu = tenantMtu(tenant, place);
  return [
    {
      kind: 'link',
      name: bridge,
      type: 'bridge',
      mac: GATEWAY_MAC,
      mtu,
      up: true,
      bridge: { multicastSnooping: false },
    },
    {
      kind: 'link',
      name: tunnel,
      type: 'vxlan',
      mtu,
      up: true,
      master: bridge,
      vxlan: { vni, local, port, learning: false, gbp: false, socketIn: 'host' },
    },
    tunnelPort(tunnel, tunnelling),
  ];
}

/** A VLAN of the shared bridge, which is a VNI of the shared tunnel, and the bridge's own device in it. */
function partOfShared(
  tenant: Tenant,
  { bridge, tunnel, inner }: SegmentWiring,
  vlan: number,
  place: SegmentPlace,
): KernelObject[] {
  const { vni } = tenant;
  return [
    { kind: 'vni', device: tunnel, vni },
    { kind: 'bridge-vlan', device: tunnel, vlan, untagged: false, vni },
    { kind: 'bridge-vlan', device: bridge, vlan, untagged: false, self: true },
    {
      kind: 'link',
      name: inner,
      type: 'vlan',
      mtu: tenantMtu(tenant, place),
      up: true,
      vlan: { id: vlan, parent: bridge },
    },
  ];
}

/** It has its VNIs from the kind `vni`. */
export const sharedVxlan = ({ local, port }: SegmentPlace): Vxlan => ({
  vni: 0,
  external: true,
  vniFilter: true,
  local,
  port,
  learning: false,
  gbp: false,
  socketIn: 'host',
});

/** A pair of devices that tenants of a host share. Their MTU is the most that the underlay leaves. */
export function sharedObjects(pair: number, place: SegmentPlace, tunnelling: Tunnelling): KernelObject[] {
  const mtu = room(place);
  const [bridge, tunnel] = [sharedBridge(pair), sharedTunnel(pair)];
  return [
    {
      kind: 'link',
      name: bridge,
      type: 'bridge',
      mac: GATEWAY_MAC,
      mtu,
      up: true,
      bridge: { multicastSnooping: false, vlanFiltering: true },
    },
    {
      kind: 'link',
      name: tunnel,
      type: 'vxlan',
      mtu,
      up: true,
      master: bridge,
      vxlan: sharedVxlan(place),
    },
    { ...tunnelPort(tunnel, tunnelling), vlanTunnel: true },
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
export function portObjects(
  tenant: Tenant,
  { bridge, vlan }: SegmentWiring,
  place: SegmentPlace,
  request: PortRequest,
): KernelObject[] {
  const { endpoint, mac, sandbox = HOST_NAMESPACE, up, locked } = request;
  const name = portName(endpoint);
  const mtu = tenantMtu(tenant, place);
  const peer = (request.sandbox && request.device) ?? containerEndName(endpoint);
  const veth = { peer, peerNamespace: sandbox, peerMac: mac, peerMtu: mtu };
  return [
    { kind: 'link', name, type: 'veth', mtu, up, master: bridge, veth },
    { kind: 'bridge-port', device: name, learning: false, flood: false, locked },
    ...(vlan === undefined ? [] : [{ kind: 'bridge-vlan', device: name, vlan, untagged: true } as const]),
  ];
}

/** Frames for the MAC go to this port. */
export const localEntry = ({ bridge, vlan }: SegmentWiring, mac: Mac, endpoint: string): KernelObject => ({
  kind: 'bridge-fdb',
  mac,
  bridge,
  device: portName(endpoint),
  static: true,
  ...(vlan !== undefined && { vlan }),
});

/**
 * Entries for a MAC that no container of this host has: where frames go, and the answers to ARP and ND. `holder` is the
 * newest of the records. While nobody has the address, frames are dropped in silence, so that TCP waits.
 */
export function remoteEntries(
  { vni }: Tenant,
  { bridge, tunnel: device, inner, vlan }: SegmentWiring,
  mac: Mac,
  records: readonly AddressRecord[],
  holder: AddressRecord,
  self: string,
): KernelObject[] {
  const isShared = vlan !== undefined;
  const isElsewhere = holder.state === 'published' && holder.host !== self;
  return [
    { kind: 'bridge-fdb', mac, bridge, device, static: true, ...(isShared && { vlan }) },
    ...(isElsewhere
      ? [
          {
            kind: 'fdb',
            mac,
            device,
            destination: holder.vtep,
            permanent: true,
            ...(isShared && { vni }),
          } as const,
        ]
      : []),
    ...records.map(
      ({ ip }): KernelObject => ({ kind: 'neighbour', ip, mac, device: inner, permanent: true }),
    ),
  ];
}
