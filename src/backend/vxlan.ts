import type {
  Backend,
  BackendUnderlay,
  Inbound,
  PeerPath,
  PortSeal,
  Protection,
  Published,
  SharedSettings,
  TunnelEnd,
} from '#src/backend/backend.ts';
import { routeMetric } from '#src/backend/backend.ts';
import { directRoute, directScopes } from '#src/backend/direct-route.ts';
import type { FastEnd, FastWay } from '#src/backend/fast-way.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { type ProbedTunnel, TunnelProbing } from '#src/backend/tunnel-probing.ts';
import { vxlanClash } from '#src/backend/vxlan-clash.ts';
import { type TunnelKey, tunnelDeviceName, VxlanEncryption } from '#src/backend/vxlan-encryption.ts';
import { type DeviceNames, vxlanDeviceName } from '#src/backend/vxlan-names.ts';
import {
  type Family,
  IPV4_ONLY,
  TUNNEL_OVERHEAD,
  TUNNELS,
  type VxlanOptions,
} from '#src/backend/vxlan-options.ts';
import { containsPrefix, type Ip, isIpv4, type Prefix, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import { isUnicastMac, type Mac, parseMac } from '#src/lib/mac.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { Json, Lease, LeaseAttributes } from '#src/network/lease.ts';
import type { Identity } from '#src/network/lease-rules.ts';
import { outerFamily } from '#src/network/outer-family.ts';
import {
  type KernelObject,
  type Link,
  type Route,
  RT_SCOPE_UNIVERSE,
  RTPROT_BOOT,
} from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

/** For hosts on which new devices have no IPv6. */
const hasIpv6 = (device: string): KernelObject => ({
  kind: 'sysctl',
  path: `net/ipv6/conf/${device}/disable_ipv6`,
  value: '0',
});

/** What the vxlan backend has to know of its host and its network. */
export interface VxlanHost {
  readonly network: PerFamily<Prefix4, Prefix6>;
  readonly underlay: BackendUnderlay;
  /** The VTEPs' hardware addresses; published in the lease. */
  readonly macs: PerFamily<Mac>;
  /** This node's key, where the options ask for encryption. */
  readonly tunnelKey?: TunnelKey;
  /** Default: as flannel names them. */
  readonly names?: DeviceNames;
}

/** One family's device. */
interface Tunnel {
  readonly family: Family;
  readonly network: Prefix;
  readonly device: string;
  /** The family of the packets outside: see {@link outerFamily}. */
  readonly outer: Family;
  readonly local: Ip;
  readonly mac: Mac;
  /** Bytes. */
  readonly mtu: number;
}

/**
 * flannel's vxlan backend (v0.9.1 and HEAD, backend/vxlan): one device for each family. Each peer has a route to its
 * subnet, a permanent neighbour as that route's gateway, and a forwarding entry from the neighbour's MAC to the peer's
 * address. The host never floods and never sends ARP on the device.
 */
export class VxlanBackend implements Backend {
  readonly type = 'vxlan';
  readonly devices: readonly string[];
  readonly mtu: number;
  readonly needsLookup: boolean;
  readonly published: Published;
  readonly shared: SharedSettings;
  readonly inbound: Inbound;
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly #options: VxlanOptions;
  readonly #host: VxlanHost;
  readonly #tunnels: readonly Tunnel[];
  readonly #encryption: VxlanEncryption | undefined;
  readonly seal: PortSeal;
  readonly fastWay: FastWay | string;
  readonly protectionOf?: (lease: Lease) => Protection;

  constructor(options: VxlanOptions, host: VxlanHost) {
    const { network, underlay, macs } = host;
    this.#options = options;
    this.#host = host;
    this.#tunnels = tunnelsOf(options, host);
    const { vni, port, encrypt } = options;
    if (encrypt !== undefined) {
      if (host.tunnelKey === undefined) throw new TypeError('there is no key for the tunnel');
      const encryption = new VxlanEncryption(vni, encrypt, host.tunnelKey);
      this.#encryption = encryption;
      this.protectionOf = ({ attributes }) =>
        encryption.keyOf(attributes) === undefined ? 'none' : 'wireguard';
    }
    this.seal = this.#encryption?.seal(port) ?? { port, vni, device: tunnelDeviceName(vni), isClosed: false };
    const overlay = this.#tunnels.map(({ device }) => device);
    this.devices = this.#encryption === undefined ? overlay : [...overlay, this.#encryption.device];
    this.mtu = Math.min(...this.#tunnels.map(({ mtu }) => mtu));
    this.fastWay = this.#fastWay();
    this.needsLookup = options.directRouting;
    this.published = {
      backendType: this.type,
      ...(macs.v4 !== undefined && { backendData: { VNI: options.vni, VtepMAC: macs.v4 } }),
      ...(macs.v6 !== undefined && { backendV6Data: { VNI: options.vni, VtepMAC: macs.v6 } }),
      ...(this.#encryption !== undefined && { weft: this.#encryption.published }),
    };
    this.shared = { VNI: options.vni, Port: options.port, GBP: options.gbp };
    this.inbound = { devices: overlay, underlay: options.directRouting };
    this.scopes = [
      ...this.#tunnels.map(scopeOnDevice),
      ...(this.#encryption === undefined ? [] : [this.#encryption.scope(network)]),
      ...directScopes(underlay.name, network, this.devices),
    ];
    this.probing = new TunnelProbing(underlay, this.#probed());
  }

  #probed(): PerFamily<ProbedTunnel> {
    const { port, encrypt } = this.#options;
    const around = encrypt === undefined ? 0 : TUNNEL_OVERHEAD;
    const carrier = `UDP port ${port}`;
    const tunnels = this.#tunnels.map(({ family, device, outer, mtu }) => {
      const overhead = TUNNELS[outer].overhead + around;
      return [family, { device, outer, mtu, overhead, carrier, hasMtuOption: true }] as const;
    });
    return Object.fromEntries(tunnels);
  }

  ownObjects(subnets: PerFamily<Prefix4, Prefix6>): readonly KernelObject[] {
    const { vni, port, learning, gbp, mtu: given } = this.#options;
    const outer = Math.min(given ?? this.#host.underlay.mtu, this.#host.underlay.mtu);
    const around =
      subnets.v4 === undefined
        ? []
        : (this.#encryption?.ownObjects(outer, hostPrefix(subnets.v4.address)) ?? []);
    const overlay = this.#tunnels.flatMap(({ family, device, local, mac, mtu }): KernelObject[] => {
      const subnet = subnets[family];
      if (subnet === undefined) return [];
      const vxlan = { vni, underlay: this.#host.underlay.name, local, port, learning, gbp };
      return [
        { kind: 'link', name: device, type: 'vxlan', mac, mtu, up: true, vxlan },
        // The subnet's own base address, so that the node's packets to other subnets have a source there.
        { kind: 'address', prefix: hostPrefix(subnet.address), device },
        ...(family === 'v6' ? [hasIpv6(device)] : []),
      ];
    });
    return [...around, ...overlay];
  }

  peerObjects(lease: Lease, path: PeerPath): readonly KernelObject[] {
    const [first, second] = this.#tunnels;
    const objects = first === undefined ? [] : this.#peerOn(first, lease, path);
    return second === undefined ? objects : [...objects, ...this.#peerOn(second, lease, path)];
  }

  #peerOn(tunnel: Tunnel, { subnets, attributes }: Lease, { lookup, routeForm }: PeerPath): KernelObject[] {
    const v4 = tunnel.family === 'v4';
    const subnet = v4 ? subnets.v4 : subnets.v6;
    const vtep = tunnel.outer === 'v4' ? attributes.publicIp : attributes.publicIpv6;
    const mac = vtepMacOf(v4 ? attributes.backendData : attributes.backendV6Data);
    if (subnet === undefined || vtep === undefined || mac === undefined) return [];
    const metric = routeMetric(routeForm, tunnel.network, subnet);
    // A direct route needs a gateway of its own family.
    const isDirect = this.#options.directRouting && tunnel.outer === tunnel.family;
    const way = isDirect ? lookup?.[tunnel.family] : undefined;
    if (way !== undefined && way.via === undefined) return [directRoute(subnet, vtep, way.device, metric)];
    const { device } = tunnel;
    const encryption = this.#encryption;
    const key = encryption?.keyOf(attributes);
    const around = key === undefined || encryption === undefined ? [] : [encryption.peerObject(key, vtep)];
    const via = around.length === 0 ? undefined : encryption?.device;
    return [
      ...around,
      { kind: 'fdb', mac, destination: vtep, device, permanent: true, ...(via !== undefined && { via }) },
      { kind: 'neighbour', ip: subnet.address, mac, device, permanent: true },
      overlayRoute(subnet, device, metric),
    ];
  }

  /** What the fast path writes is what the kernel writes for a plain VXLAN device over IPv4. */
  #fastWay(): FastWay | string {
    const { vni, port, gbp, encrypt } = this.#options;
    const tunnel = this.#tunnels.find(({ family }) => family === 'v4');
    if (tunnel === undefined) return 'the network has no IPv4';
    if (encrypt !== undefined) return 'its packets are encrypted';
    if (gbp) return 'its packets carry a group policy (GBP)';
    const { device, local, mac } = tunnel;
    if (!isIpv4(local)) return 'its outer packets are IPv6';
    const underlay = this.#host.underlay.name;
    return {
      device,
      settings: { underlay, vtep: local, mac, vni, port },
      peer: (lease, path) => this.#fastEnd(lease, path),
    };
  }

  #fastEnd({ subnets, attributes }: Lease, { lookup }: PeerPath): FastEnd | string {
    const { vni, directRouting } = this.#options;
    const { publicIp: vtep, backendData } = attributes;
    const mac = vtepMacOf(backendData);
    if (subnets.v4 === undefined || vtep === undefined || mac === undefined) return 'it has no IPv4';
    const theirs = isJsonObject(backendData) ? fieldOf(backendData, 'VNI') : undefined;
    if (typeof theirs === 'number' && theirs !== vni) return `its VNI is ${theirs}`;
    if (directRouting && lookup?.v4 !== undefined && lookup.v4.via === undefined)
      return 'it has a direct route (DirectRouting)';
    return { subnet: subnets.v4, vtep, mac };
  }

  judge(attributes: LeaseAttributes): string | undefined {
    if (attributes.backendType !== this.type)
      return `its backend is "${attributes.backendType}", ours is "${this.type}"`;
    const { macs, network, underlay } = this.#host;
    const { publicIp, publicIpv6, backendData, backendV6Data } = attributes;
    const [first] = this.#tunnels;
    if (first?.outer === 'v6' && this.#encryption !== undefined)
      return `the tunnel around VXLAN ${IPV4_ONLY}`;
    if (first?.outer === 'v4' && publicIp === undefined) return 'it has no PublicIP';
    if (first?.outer === 'v6' && publicIpv6 === undefined) return 'it has no PublicIPv6';
    // A peer without an IPv6 address is a peer in IPv4 alone.
    const hasV6 = network.v6 !== undefined && (publicIpv6 !== undefined || underlay.address.v6 === undefined);
    return (
      this.#encryption?.judge(attributes) ??
      (network.v4 === undefined ? undefined : faultOf('BackendData', backendData, macs.v4)) ??
      (hasV6 ? faultOf('BackendV6Data', backendV6Data, macs.v6) : undefined)
    );
  }

  /**
   * On each device a MAC leads to one host. The two devices of one host may have the same. A key of WireGuard is one host's,
   * too.
   */
  identityOf(attributes: LeaseAttributes): Identity {
    const { v4, v6 } = this.#host.network;
    const mac4 = v4 && vtepMacOf(attributes.backendData);
    const mac6 = v6 && vtepMacOf(attributes.backendV6Data);
    const key = this.#encryption?.keyOf(attributes)?.publicKey;
    if (key === undefined && (mac4 === undefined || mac6 === undefined)) return mac4 ?? mac6;
    const texts = [key, mac4, mac6 && (v4 === undefined ? mac6 : `${mac6} (IPv6)`)];
    return texts.filter((text) => text !== undefined);
  }

  tunnelEnd({ subnets, attributes }: Lease): TunnelEnd | undefined {
    const isV4 = this.#host.network.v4 !== undefined;
    const subnet = isV4 ? subnets.v4 : subnets.v6;
    const mac = vtepMacOf(isV4 ? attributes.backendData : attributes.backendV6Data);
    return subnet && mac && { address: subnet.address, mac };
  }

  explain(object: KernelObject, error: KernelError, links: readonly Link[]): string | undefined {
    const { errno } = error;
    const aroundIt = this.#encryption?.explain(object, error);
    if (aroundIt !== undefined) return aroundIt;
    const tunnel = this.#tunnels.find(({ device }) => object.kind === 'link' && object.name === device);
    if (tunnel === undefined || (errno !== 'EEXIST' && errno !== 'EADDRINUSE')) return undefined;
    const { port } = this.#options;
    const clash = vxlanClash({ ...this.#options, ...tunnel }, links);
    if (clash !== undefined) return clash.text;
    return errno === 'EADDRINUSE'
      ? `another program has UDP port ${port}: "ss -lunp sport = :${port}" names it`
      : undefined;
  }
}

function tunnelsOf(
  { vni, mtu, encrypt }: VxlanOptions,
  { network, underlay, macs, names }: VxlanHost,
): Tunnel[] {
  return (['v4', 'v6'] as const).flatMap((family): Tunnel[] => {
    const outer = outerFamily(family, underlay.address);
    const [range, local, mac] = [network[family], underlay.address[outer], macs[family]];
    if (range === undefined || local === undefined || mac === undefined) return [];
    const device = vxlanDeviceName(vni, family, names);
    const around = encrypt === undefined ? 0 : TUNNEL_OVERHEAD;
    const room = Math.min(mtu ?? underlay.mtu, underlay.mtu) - around - TUNNELS[outer].overhead;
    return [{ family, network: range, device, outer, local, mac, mtu: room }];
  });
}

/** What is on the device is ours if it has the shape of what we make, or a flannel before us. The device itself stays. */
const scopeOnDevice = ({ device, network }: Tunnel): Scope => ({
  kinds: ['link', 'address', 'fdb', 'neighbour', 'route'],
  filter: { device },
  owns(object) {
    switch (object.kind) {
      case 'address':
        return containsPrefix(network, object.prefix);
      case 'fdb':
        return object.permanent;
      case 'neighbour':
        return object.permanent && containsPrefix(network, hostPrefix(object.ip));
      case 'route': {
        const { type, destination, onlink, via, protocol } = object;
        const isPeers = onlink && via === destination.address;
        // A change of the path has these; the kernel's own, for addresses of this host, have another protocol.
        const isGateways = via === undefined && destination.length === 128 && protocol === RTPROT_BOOT;
        return type === 'unicast' && containsPrefix(network, destination) && (isPeers || isGateways);
      }
      default:
        return false;
    }
  },
});

function faultOf(field: string, data: Json | undefined, own: Mac | undefined): string | undefined {
  const mac = vtepMacOf(data);
  if (mac === undefined) return `its ${field} has no readable VtepMAC`;
  if (!isUnicastMac(mac)) return `its VtepMAC ${mac} is not a unicast address`;
  return mac === own ? `its VtepMAC ${mac} is ours` : undefined;
}

/** Through the neighbour whose address is the subnet's first. */
const overlayRoute = (destination: Prefix, device: string, metric: number): Route => ({
  kind: 'route',
  destination,
  type: 'unicast',
  via: destination.address,
  device,
  onlink: true,
  metric,
  protocol: RTPROT_BOOT,
  scope: RT_SCOPE_UNIVERSE,
});

/** The VTEP MAC in a lease's BackendData, read as Go reads it: names in any case, the last of two counts. */
export function vtepMacOf(data: Json | undefined): Mac | undefined {
  const value = isJsonObject(data) ? fieldOf(data, 'VtepMAC') : undefined;
  return typeof value === 'string' ? parseMac(value) : undefined;
}

const hostPrefix = (ip: Ip): Prefix =>
  typeof ip === 'number' ? { family: 4, address: ip, length: 32 } : { family: 6, address: ip, length: 128 };
