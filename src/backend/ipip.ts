import {
  type Backend,
  type BackendUnderlay,
  type Inbound,
  type PeerPath,
  routeMetric,
  type SharedSettings,
} from '#src/backend/backend.ts';
import { directRoute, directScopes } from '#src/backend/direct-route.ts';
import { IPIP_DEVICE, IPIP_OVERHEAD, ipipClash } from '#src/backend/ipip-device.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { TunnelProbing } from '#src/backend/tunnel-probing.ts';
import { containsPrefix, type Ipv4, type Prefix4, type Prefix6, prefix4 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { type KernelObject, type Link, RT_SCOPE_UNIVERSE, RTPROT_BOOT } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

export interface IpipHost {
  readonly network: Prefix4;
  readonly underlay: BackendUnderlay;
  /** The underlay's address: the outer source. */
  readonly local: Ipv4;
  readonly directRouting: boolean;
}

/**
 * flannel's ipip backend (HEAD, backend/ipip): one device without a remote end, and for each peer an onlink route through its
 * public address, which becomes the outer destination. IPv4 in IPv4 only (RFC 2003).
 */
export class IpipBackend implements Backend {
  readonly type = 'ipip';
  readonly devices = [IPIP_DEVICE];
  readonly mtu: number;
  readonly needsLookup: boolean;
  readonly published = { backendType: 'ipip' };
  readonly shared: SharedSettings = {};
  readonly inbound: Inbound;
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly #host: IpipHost;

  constructor(host: IpipHost) {
    const { network, underlay, directRouting } = host;
    this.#host = host;
    this.mtu = underlay.mtu - IPIP_OVERHEAD;
    this.needsLookup = directRouting;
    this.inbound = { devices: this.devices, underlay: directRouting };
    this.scopes = [scopeOnDevice(network), ...directScopes(underlay.name, { v4: network }, this.devices)];
    this.probing = new TunnelProbing(underlay, {
      v4: {
        device: IPIP_DEVICE,
        outer: 'v4',
        mtu: this.mtu,
        overhead: IPIP_OVERHEAD,
        carrier: 'IP protocol 4 (ipip)',
        hasMtuOption: false,
      },
    });
  }

  ownObjects({ v4 }: PerFamily<Prefix4, Prefix6>): readonly KernelObject[] {
    if (v4 === undefined) return [];
    const { local } = this.#host;
    const ipip = { local, ttl: 0, pathMtuDiscovery: false };
    return [
      { kind: 'link', name: IPIP_DEVICE, type: 'ipip', mtu: this.mtu, up: true, ipip },
      // The subnet's own base address, so that the node's packets to other subnets have a source there.
      { kind: 'address', prefix: prefix4(v4.address, 32), device: IPIP_DEVICE },
    ];
  }

  peerObjects({ subnets, attributes }: Lease, { lookup, routeForm }: PeerPath): readonly KernelObject[] {
    const { v4: subnet } = subnets;
    const { publicIp } = attributes;
    if (subnet === undefined || publicIp === undefined) return [];
    const { network, directRouting } = this.#host;
    const metric = routeMetric(routeForm, network, subnet);
    const way = directRouting ? lookup?.v4 : undefined;
    if (way !== undefined && way.via === undefined)
      return [directRoute(subnet, publicIp, way.device, metric)];
    return [
      {
        kind: 'route',
        destination: subnet,
        type: 'unicast',
        via: publicIp,
        device: IPIP_DEVICE,
        onlink: true,
        metric,
        protocol: RTPROT_BOOT,
        scope: RT_SCOPE_UNIVERSE,
      },
    ];
  }

  judge({ backendType, publicIp }: LeaseAttributes): string | undefined {
    if (backendType !== this.type) return `its backend is "${backendType}", ours is "${this.type}"`;
    if (publicIp === undefined) return 'it has no PublicIP';
    return publicIp === this.#host.local ? 'its PublicIP is our own tunnel’s end' : undefined;
  }

  explain(object: KernelObject, { errno }: KernelError, links: readonly Link[]): string | undefined {
    if (object.kind !== 'link' || object.name !== IPIP_DEVICE) return undefined;
    if (errno === 'EOPNOTSUPP') return 'this kernel has no ipip: load the module ("modprobe ipip")';
    return errno === 'EEXIST' ? ipipClash(this.#host.local, links)?.text : undefined;
  }
}

/** What is on the device is ours if it has the shape of what we make, or a flannel before us. The device itself stays. */
const scopeOnDevice = (network: Prefix4): Scope => ({
  kinds: ['link', 'address', 'route'],
  filter: { device: IPIP_DEVICE },
  owns(object) {
    if (object.kind === 'address') return containsPrefix(network, object.prefix);
    if (object.kind !== 'route') return false;
    return object.type === 'unicast' && object.onlink && containsPrefix(network, object.destination);
  },
});
