import {
  type Backend,
  type BackendKind,
  type BackendPlace,
  type BackendUnderlay,
  type FoundState,
  type NetworkTrace,
  type PeerPath,
  type PreparedBackend,
  routeMetric,
} from '#src/backend/backend.ts';
import { type IpsecOptions, readIpsecOptions } from '#src/backend/ipsec-options.ts';
import { isOfNetwork, peerPolicies, plainPolicies } from '#src/backend/ipsec-policies.ts';
import { IpsecProbing } from '#src/backend/ipsec-probing.ts';
import type { BackendJobs, Job } from '#src/backend/job.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsPrefix, formatIp, type Ipv4, ipv4, type Prefix4, prefix4 } from '#src/lib/ip.ts';
import type { Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import {
  type IkeConnection,
  type KernelObject,
  type Route,
  RT_SCOPE_LINK,
  RTPROT_WEFT,
} from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/**
 * flannel's ipsec backend (HEAD, backend/ipsec): for each peer three policies of the kernel's and a connection of
 * strongSwan's charon, which agrees on keys with the peer's. Packets are ESP in tunnel mode. IPv4 only, as flannel's.
 */
export const ipsec: BackendKind = {
  type: 'ipsec',
  prepare: (place) => new PreparedIpsec(place),
  leftovers,
};

/** Outer IPv4 20, ESP 8, initialization vector 16, padding up to 15, trailer 2, integrity check 16. */
const OVERHEAD = 77;
const UDP_HEADER = 8;

class PreparedIpsec implements PreparedBackend {
  readonly type = ipsec.type;
  readonly instance: string;
  readonly devices = [];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace = ['UDPEncap', 'ESPProposal', 'PSK'];
  readonly requirements = [];
  readonly #network: Prefix4;
  readonly #options: IpsecOptions;

  constructor({ instance, network, options }: BackendPlace) {
    if (network.v4 === undefined || network.v6 !== undefined)
      throw new WeftError('config', 'the backend ipsec carries IPv4 alone, as flannel’s does', {
        remedy: 'leave out EnableIPv6, or set "Backend": {"Type": "wireguard"} in the network config',
      });
    this.instance = instance;
    this.#network = network.v4;
    this.#options = readIpsecOptions(options);
    const { udpEncap, proposal, key } = this.#options;
    this.settings = { UDPEncap: udpEncap, ESPProposal: proposal, PSK: key };
  }

  check({ address, publicIp }: BackendUnderlay): readonly string[] {
    const [own, given] = [address.v4, publicIp.v4];
    if (given === undefined || given === own) return [];
    const which = `${formatIp(given)}, not ${own === undefined ? 'set' : formatIp(own)}`;
    throw new WeftError(
      'backend',
      `the backend ipsec sends from the address that peers send to, and the public IP is not the interface's (${which})`,
      {
        remedy: 'start without --public-ip, or set "Backend": {"Type": "wireguard"} in the network config',
      },
    );
  }

  make(underlay: BackendUnderlay): Backend {
    return new IpsecBackend(this.#network, this.#options, underlay);
  }
}

class IpsecBackend implements Backend {
  readonly type = ipsec.type;
  readonly devices = [];
  readonly mtu: number;
  readonly needsLookup = false;
  readonly published = { backendType: ipsec.type };
  readonly shared: Backend['shared'];
  readonly inbound = { devices: [], underlay: true };
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly jobs = JOBS;
  readonly #network: Prefix4;
  readonly #options: IpsecOptions;
  readonly #underlay: BackendUnderlay;

  constructor(network: Prefix4, options: IpsecOptions, underlay: BackendUnderlay) {
    this.#network = network;
    this.#options = options;
    this.#underlay = underlay;
    const { udpEncap } = options;
    const overhead = OVERHEAD + (udpEncap ? UDP_HEADER : 0);
    this.mtu = underlay.mtu - overhead;
    // The hosts negotiate; what one of them does not take, they don't agree on.
    this.shared = { UDPEncap: udpEncap, ESPProposal: options.proposal };
    this.scopes = scopesOf(network, underlay.name);
    const carrier = udpEncap ? 'UDP ports 500 and 4500' : 'UDP port 500 and ESP (protocol 50)';
    this.probing = new IpsecProbing(underlay, { overhead, carrier });
  }

  ownObjects({ v4 }: Subnets): readonly KernelObject[] {
    if (v4 === undefined) return [];
    return plainPolicies(this.#network, v4);
  }

  peerObjects(lease: Lease, { routeForm }: PeerPath): readonly KernelObject[] {
    const connection = this.#connectionTo(lease);
    if (connection === undefined) return [];
    const { local, remote, localSubnet, remoteSubnet } = connection;
    return [
      ...peerPolicies({
        own: { subnet: localSubnet, address: local },
        peer: { subnet: remoteSubnet, address: remote },
      }),
      linkRoute(remoteSubnet, this.#underlay.name, routeMetric(routeForm, this.#network, remoteSubnet)),
      connection,
    ];
  }

  #connectionTo({ subnets, attributes: { publicIp } }: Lease) {
    const { subnets: own = {}, address } = this.#underlay;
    if (own.v4 === undefined || address.v4 === undefined) return undefined;
    if (subnets.v4 === undefined || publicIp === undefined) return undefined;
    const { key, proposal, udpEncap } = this.#options;
    const ends: ConnectionEnds = {
      local: address.v4,
      remote: publicIp,
      localSubnet: own.v4,
      remoteSubnet: subnets.v4,
    };
    return {
      kind: 'ike-connection' as const,
      ...ends,
      proposal,
      encapsulated: udpEncap,
      secret: key,
      isUp: true,
    } satisfies IkeConnection;
  }

  judge({ backendType, publicIp }: LeaseAttributes): string | undefined {
    if (backendType !== this.type) return `its backend is "${backendType}", ours is "${this.type}"`;
    return publicIp === undefined ? 'it has no PublicIP' : undefined;
  }
}

interface ConnectionEnds {
  readonly local: Ipv4;
  readonly remote: Ipv4;
  readonly localSubnet: Prefix4;
  readonly remoteSubnet: Prefix4;
}

/**
 * flannel leaves packets to the host's default route, which a host need not have. A packet that no policy takes is asked for on
 * the link, instead of going to a gateway.
 */
const linkRoute = (destination: Prefix4, device: string, metric: number): Route => ({
  kind: 'route',
  destination,
  type: 'unicast',
  device,
  onlink: false,
  metric,
  protocol: RTPROT_WEFT,
  scope: RT_SCOPE_LINK,
});

function scopesOf(network: Prefix4, underlay: string): readonly Scope[] {
  const ownsRoute: Scope['owns'] = (object) =>
    object.kind === 'route' &&
    object.type === 'unicast' &&
    object.protocol === RTPROT_WEFT &&
    containsPrefix(network, object.destination);
  return [
    { kinds: ['route'], filter: { device: underlay }, owns: ownsRoute },
    { kinds: ['route'], filter: { protocol: RTPROT_WEFT }, owns: ownsRoute },
    { kinds: ['xfrm-policy'], owns: (object) => isOfNetwork(object, { v4: network }) },
    { kinds: ['ike-connection'], owns: (object) => isConnectionOf(object, network) },
  ];
}

const isConnectionOf = (object: KernelObject, network: Prefix4): boolean =>
  object.kind === 'ike-connection' &&
  containsPrefix(network, object.localSubnet) &&
  containsPrefix(network, object.remoteSubnet);

/**
 * charon, where no other program answers for it. It is left when flanneld ends, as kernel objects are: its end would end the
 * tunnels.
 */
const CHARON: Job = {
  kind: 'program',
  key: 'charon',
  atEnd: 'leave',
  // flannel's places (backend/ipsec/handle_charon.go): Alpine and Arch, Debian, RHEL, SUSE.
  programs: [
    'charon',
    '/usr/lib/strongswan/charon',
    '/usr/lib/ipsec/charon',
    '/usr/libexec/strongswan/charon',
    '/usr/libexec/ipsec/charon',
  ],
  remedy:
    'install strongSwan: apt install strongswan-charon strongswan-swanctl libstrongswan-standard-plugins, or charon-systemd, which then runs beside flanneld',
  args: [],
  socket: ['/run/charon.vici', '/run/strongswan/charon.vici'],
  isShared: true,
};

const JOBS: BackendJobs = { own: () => [CHARON], peer: () => [] };

const EVERYTHING = prefix4(ipv4(0), 0);

function leftovers(
  { policies = [], connections = [] }: FoundState,
  of: NetworkTrace | 'all',
): KernelObject[] {
  const isLeft = (object: KernelObject): boolean => {
    const v4 = of === 'all' ? EVERYTHING : of.network.v4;
    return v4 !== undefined && (isOfNetwork(object, { v4 }) || isConnectionOf(object, v4));
  };
  return [...connections, ...policies].filter(isLeft);
}
