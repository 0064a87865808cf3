import type { Backend, PeerPath } from '#src/backend/backend.ts';
import { routeMetric } from '#src/backend/backend.ts';
import type { VxlanOptions } from '#src/backend/vxlan-options.ts';
import { containsPrefix, type Ip, type Ipv4, type Prefix, type Prefix4 } from '#src/lib/ip.ts';
import { isUnicastMac, type Mac, parseMac } from '#src/lib/mac.ts';
import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { Json, Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import {
  type KernelObject,
  type Link,
  type Route,
  RT_SCOPE_UNIVERSE,
  RTPROT_BOOT,
  RTPROT_WEFT,
} from '#src/state/object.ts';

/** What the vxlan backend has to know of its host and its network. */
export interface VxlanHost {
  readonly network: Prefix4;
  /** The device that carries the outer packets, and its MTU in bytes. */
  readonly underlay: { readonly name: string; readonly mtu: number; readonly address: Ipv4 };
  /** The VTEP's hardware address; published in the lease. */
  readonly mac: Mac;
}

/** Outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348 §5). */
export const VXLAN_OVERHEAD_BYTES = 50;

/**
 * flannel's vxlan backend (v0.9.1 and HEAD, backend/vxlan): one device, and for each peer a route to its subnet
 * through a neighbour that is never asked for, to a MAC whose VTEP is known. Nothing is flooded or learnt.
 */
export class VxlanBackend implements Backend {
  readonly type = 'vxlan';
  readonly devices: readonly string[];
  readonly mtu: number;
  readonly needsLookup: boolean;
  readonly published: Backend['published'];
  readonly #options: VxlanOptions;
  readonly #host: VxlanHost;
  readonly #device: string;

  constructor(options: VxlanOptions, host: VxlanHost) {
    this.#options = options;
    this.#host = host;
    this.#device = vxlanDeviceName(options.vni);
    this.devices = [this.#device];
    this.mtu = (options.mtu ?? host.underlay.mtu) - VXLAN_OVERHEAD_BYTES;
    this.needsLookup = options.directRouting;
    this.published = { backendType: this.type, backendData: { VNI: options.vni, VtepMAC: host.mac } };
  }

  ownObjects({ v4 }: Subnets): readonly KernelObject[] {
    if (v4 === undefined) return [];
    const { vni, port, learning, gbp } = this.#options;
    const { underlay, mac } = this.#host;
    const link: Link = {
      kind: 'link',
      name: this.#device,
      type: 'vxlan',
      mac,
      mtu: this.mtu,
      up: true,
      vxlan: { vni, underlay: underlay.name, local: underlay.address, port, learning, gbp },
    };
    // The subnet's own base address, so that the node's packets to other subnets have a source there.
    return [link, { kind: 'address', prefix: { ...v4, length: 32 }, device: this.#device }];
  }

  peerObjects(lease: Lease, { lookup, routeForm }: PeerPath): readonly KernelObject[] {
    const subnet = lease.subnets.v4;
    const vtep = lease.attributes.publicIp;
    const mac = vtepMacOf(lease.attributes.backendData);
    if (subnet === undefined || vtep === undefined || mac === undefined) return [];
    const metric = routeMetric(routeForm, this.#host.network, subnet);
    if (this.#options.directRouting && lookup !== undefined && lookup.via === undefined)
      return [directRoute(subnet, vtep, lookup.device, metric)];
    const device = this.#device;
    return [
      { kind: 'fdb', mac, destination: vtep, device, permanent: true },
      { kind: 'neighbour', ip: subnet.address, mac, device, permanent: true },
      overlayRoute(subnet, device, metric),
    ];
  }

  judge(attributes: LeaseAttributes): string | undefined {
    if (attributes.backendType !== this.type)
      return `its backend is "${attributes.backendType}", ours is "${this.type}"`;
    if (attributes.publicIp === undefined) return 'it has no PublicIP';
    const mac = vtepMacOf(attributes.backendData);
    if (mac === undefined) return 'its BackendData has no readable VtepMAC';
    if (!isUnicastMac(mac)) return `its VtepMAC ${mac} is not a unicast address`;
    if (mac === this.#host.mac) return `its VtepMAC ${mac} is ours`;
    return undefined;
  }

  identityOf(attributes: LeaseAttributes): string | undefined {
    return vtepMacOf(attributes.backendData);
  }

  owns(object: KernelObject): boolean {
    switch (object.kind) {
      case 'link':
        return false; // A device goes only with `weft cleanup`.
      case 'address':
        return object.device === this.#device && this.#covers(object.prefix);
      case 'fdb':
        return object.device === this.#device && object.permanent;
      case 'neighbour':
        return object.device === this.#device && object.permanent && this.#covers(hostPrefix(object.ip));
      case 'route':
        return this.#ownsRoute(object);
    }
  }

  #ownsRoute(route: Route): boolean {
    if (route.type !== 'unicast' || !this.#covers(route.destination)) return false;
    if (route.device === this.#device) return route.onlink && route.via === route.destination.address;
    return route.protocol === RTPROT_WEFT;
  }

  #covers(prefix: Prefix): boolean {
    return containsPrefix(this.#host.network, prefix);
  }
}

/** Through the neighbour whose address is the subnet's first. */
const overlayRoute = (destination: Prefix4, device: string, metric: number): Route => ({
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

/** DirectRouting: to the host itself, which is on a link of ours. */
const directRoute = (destination: Prefix4, via: Ipv4, device: string, metric: number): Route => ({
  kind: 'route',
  destination,
  type: 'unicast',
  via,
  device,
  onlink: false,
  metric,
  protocol: RTPROT_WEFT,
  scope: RT_SCOPE_UNIVERSE,
});

/** `flannel.1` for VNI 1, as flannel names it. */
export const vxlanDeviceName = (vni: number): string => `flannel.${vni}`;

/** The VTEP MAC in a lease's BackendData, read as Go reads it: names in any case, the last of two counts. */
export function vtepMacOf(data: Json | undefined): Mac | undefined {
  const value = isJsonObject(data) ? fieldOf(data, 'VtepMAC') : undefined;
  return typeof value === 'string' ? parseMac(value) : undefined;
}

const hostPrefix = (ip: Ip): Prefix =>
  typeof ip === 'number' ? { family: 4, address: ip, length: 32 } : { family: 6, address: ip, length: 128 };
