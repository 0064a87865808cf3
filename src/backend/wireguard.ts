import type {
  Backend,
  BackendUnderlay,
  Inbound,
  PeerPath,
  Published,
  SharedSettings,
} from '#src/backend/backend.ts';
import { directScopes } from '#src/backend/direct-route.ts';
import type { KeyRole } from '#src/backend/key-pairs.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import {
  type KeyRotation,
  type KeySide,
  type OwnNumbers,
  otherSide,
  planOn,
} from '#src/backend/rotation-keys.ts';
import type { PeerPlan } from '#src/backend/rotation-peer.ts';
import { type ProbedTunnel, TunnelProbing } from '#src/backend/tunnel-probing.ts';
import { readWireguardData, type WireguardData, wireguardData } from '#src/backend/wireguard-data.ts';
import { endpointAddress } from '#src/backend/wireguard-endpoint.ts';
import type { WireguardKey } from '#src/backend/wireguard-key.ts';
import { markOf, WIREGUARD_OVERHEAD, type WireguardOptions } from '#src/backend/wireguard-options.ts';
import {
  tunnelObjects,
  tunnelPeer,
  tunnelRoute,
  tunnelScope,
  type WireguardTunnel,
  wireguardTunnels,
} from '#src/backend/wireguard-tunnel.ts';
import type { Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { outerFamily } from '#src/network/outer-family.ts';
import {
  readWireguardMember,
  WIREGUARD_MEMBER,
  type WireguardMember,
  writeWireguardMember,
} from '#src/network/wireguard-member.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

/** What the wireguard backend has to know of its host and its network. */
export interface WireguardHost {
  readonly network: PerFamily<Prefix4, Prefix6>;
  readonly underlay: BackendUnderlay;
  /** The public key alone where nothing is done but looked. */
  readonly key: OwnKey;
  /** Where the key is one of two. Its numbers are known by then. */
  readonly rotation?: KeyRotation & OwnNumbers;
}

type OwnKey = Pick<WireguardKey, 'publicKey'> & Partial<WireguardKey>;

/** One of our keys on its devices. */
interface KeyPlace {
  readonly role: KeyRole;
  readonly key: OwnKey;
  readonly tunnels: readonly WireguardTunnel[];
}

/** Without a rotation. */
const ONE_TUNNEL: PeerPlan = { tunnels: { current: 'current' }, awake: [], route: 'current' };
/** Seconds between keepalives of tunnels that must show who is there. */
const AWAKE_SECONDS = 1;

/**
 * flannel's wireguard backend (HEAD, backend/wireguard): one device for each family, or one for both. Each peer of the
 * network is a peer of the device, takes the packets of its subnets, and has a route to each of them.
 */
export class WireguardBackend implements Backend {
  readonly type = 'wireguard';
  readonly devices: readonly string[];
  readonly mtu: number;
  readonly needsLookup = false;
  /** Whatever goes to a peer goes through the tunnel. */
  readonly protectionOf = () => 'wireguard' as const;
  readonly published: Published;
  readonly shared: SharedSettings;
  readonly inbound: Inbound;
  readonly scopes: readonly Scope[];
  readonly probing: Probing;
  readonly #options: WireguardOptions;
  readonly #host: WireguardHost;
  /** Of the current key, with its tunnels. */
  readonly #side: KeySide;
  readonly #tunnels: readonly WireguardTunnel[];
  readonly #places: readonly KeyPlace[];

  constructor(options: WireguardOptions, host: WireguardHost) {
    const { network, underlay, key, rotation } = host;
    this.#options = options;
    this.#host = host;
    const side = rotation?.side ?? 'a';
    this.#side = side;
    this.#tunnels = wireguardTunnels(options, network, side);
    const spare = wireguardTunnels(options, network, otherSide(side));
    this.#places = [
      { role: 'current', key, tunnels: this.#tunnels },
      ...(rotation?.nextKey === undefined
        ? []
        : [{ role: 'next', key: rotation.nextKey, tunnels: spare } as const]),
    ];
    this.devices = this.#places.flatMap(({ tunnels }) => tunnels.map(({ device }) => device));
    // Rules and scopes are for both sides at any time: what comes by a new device must be let in at once.
    const both = [...this.#tunnels, ...(rotation === undefined ? [] : spare)].map(({ device }) => device);
    this.mtu = Math.min(options.mtu ?? underlay.mtu, underlay.mtu) - WIREGUARD_OVERHEAD;
    this.published = this.#publish();
    this.shared = { Mode: options.mode, PSK: markOf(options.presharedKey) ?? 'none' };
    const toCome = both.filter((device) => !this.devices.includes(device));
    this.inbound = { devices: both, underlay: false, ...(toCome.length > 0 && { toCome }) };
    this.scopes = [
      ...both.map((device) => tunnelScope(device, network)),
      ...directScopes(underlay.name, network, both),
    ];
    this.probing = new TunnelProbing(underlay, this.#probed());
  }

  #probed(): PerFamily<ProbedTunnel> {
    const { mode } = this.#options;
    const { publicIp } = this.#host.underlay;
    const tunnels = this.#tunnels.flatMap(({ device, families, port }) =>
      families.map((family) => {
        // In mode auto each peer may have another family; both ends' underlay answers in one that they have.
        const either = mode === 'ipv6' || publicIp.v4 === undefined ? 'v6' : 'v4';
        const tunnel = {
          device,
          outer: mode === 'separate' ? outerFamily(family, publicIp) : either,
          mtu: this.mtu,
          overhead: WIREGUARD_OVERHEAD,
          carrier: `UDP port ${port}`,
          hasMtuOption: true,
        } as const;
        return [family, tunnel] as const;
      }),
    );
    return Object.fromEntries(tunnels);
  }

  ownObjects(subnets: PerFamily<Prefix4, Prefix6>): readonly KernelObject[] {
    const objects = this.#places.flatMap(({ key, tunnels }) =>
      tunnels.flatMap((tunnel) => tunnelObjects(tunnel, key, this.mtu, subnets)),
    );
    return this.#host.rotation === undefined ? objects : [...objects, ...this.#loose()];
  }

  /** While one end has moved and the other has not, packets come by another device than the route's. */
  #loose(): readonly KernelObject[] {
    return this.#places.flatMap(({ tunnels }) =>
      tunnels
        .filter(({ families }) => families.includes('v4'))
        .map(({ device }): KernelObject => {
          return { kind: 'sysctl', path: `net/ipv4/conf/${device}/rp_filter`, value: '2' };
        }),
    );
  }

  peerObjects(lease: Lease, { keys: placed }: Pick<PeerPath, 'keys'> = {}): readonly KernelObject[] {
    const keys = placed === undefined ? ONE_TUNNEL : planOn(this.#side, placed);
    return this.#places.flatMap(({ role, tunnels }) => {
      const theirs = keys.tunnels[role];
      if (theirs === undefined) return [];
      const [isRoute, isAwake] = [keys.route === role, keys.awake.includes(role)];
      return tunnels.flatMap((tunnel) => this.#peerOn(tunnel, lease, { theirs, isRoute, isAwake }));
    });
  }

  #peerOn(
    { device, families, port }: WireguardTunnel,
    { subnets, attributes }: Lease,
    { theirs, isRoute, isAwake }: { theirs: KeyRole; isRoute: boolean; isAwake: boolean },
  ): KernelObject[] {
    const data = theirs === 'next' ? nextData(families, attributes) : this.#dataFor(families, attributes);
    const [family] = families;
    if (typeof data === 'string' || family === undefined) return [];
    const { mode, presharedKey } = this.#options;
    const keepalive = isAwake ? AWAKE_SECONDS : this.#options.keepalive;
    const ip = endpointAddress(mode, family, attributes, this.#host.underlay.publicIp);
    const allowed = families.flatMap((one): Prefix[] => {
      const subnet = subnets[one];
      return subnet === undefined ? [] : [subnet];
    });
    if (ip === undefined || allowed.length === 0) return [];
    const endpoint = { ip, port: data.port ?? port };
    return [
      tunnelPeer(device, { publicKey: data.publicKey, endpoint, presharedKey, keepalive }, allowed),
      ...(isRoute ? allowed.map((subnet) => tunnelRoute(subnet, device)) : []),
    ];
  }

  keyDevices(role: KeyRole): readonly string[] {
    return this.#places
      .filter((place) => place.role === role)
      .flatMap(({ tunnels }) => tunnels.map(({ device }) => device));
  }

  judge(attributes: LeaseAttributes): string | undefined {
    if (attributes.backendType !== this.type)
      return `its backend is "${attributes.backendType}", ours is "${this.type}"`;
    const { network, underlay } = this.#host;
    const own = this.#places.map(({ key }) => key.publicKey);
    const { next } = readWireguardMember(attributes);
    if (next !== undefined && own.includes(next.publicKey)) return 'its next WireGuard key is ours';
    for (const { families } of this.#tunnels) {
      const [family] = families;
      if (family === undefined || (network.v4 !== undefined && family === 'v6' && !hasV6(attributes)))
        continue;
      const data = this.#dataFor(families, attributes);
      if (typeof data === 'string') return data;
      if (own.includes(data.publicKey)) return `its PublicKey ${data.publicKey} is ours`;
      const { mode } = this.#options;
      if (endpointAddress(mode, family, attributes, underlay.publicIp) === undefined)
        return `it has no address for "Mode": "${mode}"`;
    }
    return undefined;
  }

  /** A key that two peers claim would take the packets of one of them to the other. */
  identityOf({ backendData, backendV6Data, weft }: LeaseAttributes): readonly string[] {
    const { next } = readWireguardMember(weft === undefined ? {} : { weft });
    const keys = [backendData, backendV6Data].flatMap((data) => {
      const read = data === undefined ? '' : readWireguardData(data, '');
      return typeof read === 'string' ? [] : [read.publicKey];
    });
    return [...new Set(next === undefined ? keys : [...keys, next.publicKey])];
  }

  explain(object: KernelObject, { errno }: KernelError): string | undefined {
    if (object.kind === 'link' && this.devices.includes(object.name) && errno === 'EOPNOTSUPP')
      return 'this kernel has no WireGuard: it is in Linux from 5.6 on, as the module "wireguard"';
    if (object.kind !== 'wireguard-device' || errno !== 'EADDRINUSE') return undefined;
    const port = object.listenPort;
    return `another program has UDP port ${port}: "ss -lunp sport = :${port}" names it, and "wg show" if it is WireGuard’s`;
  }

  /**
   * flannel publishes ListenPortV6 for IPv6 in any mode. Where one device carries both families nothing listens there, so
   * the port that is published is the device's.
   */
  #publish(): Published {
    const { rotation } = this.#host;
    const [current, next] = this.#places;
    const shown = rotation?.isEnding ? next : current;
    const portOf = (place: KeyPlace | undefined, family: FamilyName) =>
      place?.tunnels.find(({ families }) => families.includes(family))?.port;
    const dataOf = (family: FamilyName) => {
      const port = portOf(shown, family);
      return shown && port && wireguardData({ publicKey: shown.key.publicKey, port });
    };
    const [v4, v6] = [dataOf('v4'), dataOf('v6')];
    const member = rotation?.takesPart ? writeWireguardMember(memberOf(rotation, next)) : undefined;
    return {
      backendType: this.type,
      ...(v4 !== undefined && { backendData: v4 }),
      ...(v6 !== undefined && { backendV6Data: v6 }),
      ...(member !== undefined && { weft: { [WIREGUARD_MEMBER]: member } }),
    };
  }

  /**
   * What a peer published of the device at the other end. Where that carries both families, flannel takes the key from the
   * IPv6 part, and its port there is a dead one: only that of the IPv4 part is the device's.
   */
  #dataFor(families: readonly FamilyName[], attributes: LeaseAttributes): WireguardData | string {
    const { backendData, backendV6Data, node } = attributes;
    const v4 = families.includes('v4') ? readWireguardData(backendData, 'BackendData') : undefined;
    if (!families.includes('v6') || (v4 !== undefined && !hasV6(attributes)))
      return v4 ?? 'it has no BackendData';
    const v6 = readWireguardData(backendV6Data, 'BackendV6Data');
    if (v4 === undefined || typeof v4 === 'string' || typeof v6 === 'string') {
      const isFlannelOnOneDevice = this.#options.mode !== 'separate' && node === undefined;
      if (typeof v6 === 'string' || !isFlannelOnOneDevice) return typeof v4 === 'string' ? v4 : v6;
      return { publicKey: v6.publicKey };
    }
    return { publicKey: v6.publicKey, ...(v4.port !== undefined && { port: v4.port }) };
  }
}

/** What our lease says of both keys, beside flannel's fields. */
function memberOf({ numbers, isEnding }: OwnNumbers, next: KeyPlace | undefined): WireguardMember {
  const { current, next: number } = numbers;
  if (isEnding) return { generation: number ?? current };
  const [first, second] = next?.tunnels ?? [];
  if (next === undefined || number === undefined || first === undefined) return { generation: current };
  const { publicKey } = next.key;
  const portV6 = second?.port;
  return {
    generation: current,
    next: { publicKey, port: first.port, ...(portV6 !== undefined && { portV6 }), generation: number },
  };
}

/** A peer's next key, and where it listens for packets of these families. */
function nextData(families: readonly FamilyName[], attributes: LeaseAttributes): WireguardData | string {
  const { next } = readWireguardMember(attributes);
  if (next === undefined) return 'it has no next key';
  const { publicKey, port, portV6 } = next;
  return { publicKey, port: families.includes('v4') ? port : (portV6 ?? port) };
}

/** A peer without IPv6 data is a peer in IPv4 alone. */
const hasV6 = ({ backendV6Data }: LeaseAttributes): boolean =>
  backendV6Data !== undefined && backendV6Data !== null;
