import {
  type Backend,
  type BackendKind,
  type BackendPlace,
  type BackendUnderlay,
  type PeerPath,
  type PreparedBackend,
  routeMetric,
} from '#src/backend/backend.ts';
import { directRoute, directScopes } from '#src/backend/direct-route.ts';
import { HostGwProbing } from '#src/backend/host-gw-probing.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp } from '#src/lib/ip.ts';
import { familyText } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/**
 * flannel's host-gw backend (v0.9.1 and HEAD, backend/hostgw): no device, and for each peer a route to its subnet through
 * the peer's own address. All hosts have to be on one link. It has no options.
 */
export const hostGw: BackendKind = {
  type: 'host-gw',
  prepare: (place) => new PreparedHostGw(place),
  // Its routes are known by their protocol, which all backends share.
  leftovers: () => [],
};

class PreparedHostGw implements PreparedBackend {
  readonly type = hostGw.type;
  readonly instance: string;
  readonly devices = [];
  readonly settings = {};
  readonly inPlace = [];
  readonly requirements = [];
  readonly #network: BackendPlace['network'];

  constructor({ instance, network }: BackendPlace) {
    this.instance = instance;
    this.#network = network;
  }

  check({ address, publicIp }: BackendUnderlay): readonly string[] {
    for (const family of ['v4', 'v6'] as const) {
      const [own, given] = [address[family], publicIp[family]];
      if (this.#network[family] !== undefined && own === undefined) {
        throw new WeftError(
          'backend',
          `the network has ${familyText(family)}, and the interface has no address in it: host-gw has no tunnel to carry it`,
          {
            remedy:
              'start without --underlay-family, or set "Backend": {"Type": "vxlan"} in the network config',
          },
        );
      }
      if (this.#network[family] === undefined || given === undefined || given === own) continue;
      const which = `${formatIp(given)}, not ${own === undefined ? 'set' : formatIp(own)}`;
      throw new WeftError(
        'backend',
        `your PublicIP differs from interface IP, meaning that probably you're on a NAT, which is not supported by host-gw backend (${which})`,
        { remedy: 'start without --public-ip, or set "Backend": {"Type": "vxlan"} in the network config' },
      );
    }
    return [];
  }

  make(underlay: BackendUnderlay): Backend {
    return new HostGwBackend(this.#network, underlay);
  }
}

const FAMILIES = ['v4', 'v6'] as const;

class HostGwBackend implements Backend {
  readonly type = hostGw.type;
  readonly devices = [];
  readonly mtu: number;
  readonly needsLookup = true;
  readonly published = { backendType: hostGw.type };
  readonly shared = {};
  readonly inbound = { devices: [], underlay: true };
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly #network: BackendPlace['network'];

  constructor(network: BackendPlace['network'], underlay: BackendUnderlay) {
    this.#network = network;
    this.mtu = underlay.mtu;
    this.scopes = directScopes(underlay.name, network, this.devices);
    this.probing = new HostGwProbing(underlay);
  }

  ownObjects(): readonly KernelObject[] {
    return [];
  }

  peerObjects(lease: Lease, path: PeerPath): readonly KernelObject[] {
    return FAMILIES.flatMap((family): KernelObject[] => {
      const [network, subnet] = [this.#network[family], lease.subnets[family]];
      const [via, way] = [gatewayOf(lease, family), path.lookup?.[family]];
      if (network === undefined || subnet === undefined || via === undefined) return [];
      if (way === undefined || faultOf(way) !== undefined) return [];
      return [directRoute(subnet, via, way.device, routeMetric(path.routeForm, network, subnet))];
    });
  }

  judge({ backendType, publicIp, publicIpv6 }: LeaseAttributes): string | undefined {
    if (backendType !== this.type) return `its backend is "${backendType}", ours is "${this.type}"`;
    if (this.#network.v4 !== undefined) return publicIp === undefined ? 'it has no PublicIP' : undefined;
    return publicIpv6 === undefined ? 'it has no PublicIPv6' : undefined;
  }

  unreachable(lease: Lease, path: PeerPath): string | undefined {
    for (const family of FAMILIES) {
      const via = gatewayOf(lease, family);
      if (this.#network[family] === undefined || lease.subnets[family] === undefined || via === undefined)
        continue;
      const way = path.lookup?.[family];
      const fault = way === undefined ? 'this host has no route to it' : faultOf(way);
      if (fault !== undefined)
        return `its address ${formatIp(via)} has to be on a link of this host, but ${fault}`;
    }
    return undefined;
  }
}

const gatewayOf = ({ attributes: { publicIp, publicIpv6 } }: Lease, family: 'v4' | 'v6') =>
  family === 'v4' ? publicIp : publicIpv6;

type Way = NonNullable<NonNullable<PeerPath['lookup']>['v4']>;

/** Why a way leads to no neighbour on a link. */
function faultOf({ via, device }: Way): string | undefined {
  if (via !== undefined) return `it is behind the gateway ${formatIp(via)} on ${device}`;
  return device === 'lo' ? 'it is an address of this host itself' : undefined;
}
