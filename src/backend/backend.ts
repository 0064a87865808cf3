import type { FastWay } from '#src/backend/fast-way.ts';
import type { BackendJobs, ShellCommand } from '#src/backend/job.ts';
import type { KeyRole } from '#src/backend/key-pairs.ts';
import type { Probing } from '#src/backend/probe-ends.ts';
import type { KeyRotation, PlacedPlan } from '#src/backend/rotation-keys.ts';
import type { WireguardKey } from '#src/backend/wireguard-key.ts';
import type { Ipv4, Ipv6, Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Secret } from '#src/lib/secret.ts';
import type { BackendConfig } from '#src/network/backend-config.ts';
import type { GoObject } from '#src/network/go-json.ts';
import type { Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import type { Identity } from '#src/network/lease-rules.ts';
import type { Address, IkeConnection, KernelObject, Link, Route, XfrmPolicy } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';
import type { Scope } from '#src/state/scope.ts';

/**
 * One type of backend. Backends are pure: they turn leases into wanted kernel state and never ask the machine anything.
 * What a backend has to know of its host comes in, first to `prepare`, then to `make`.
 */
export interface BackendKind {
  /** As the network config names it, in lower case. */
  readonly type: string;

  /** Reads the backend's options and the host. Throws WeftError `config` with the field's name. */
  prepare(place: BackendPlace): PreparedBackend;

  /** Which secrets of the node it works with, given its options. The node reads them before `prepare`. Absent: none. */
  secrets?(options: GoObject): readonly SecretName[];

  /** What this type of backend left on a host for one network, or for all: what `weft cleanup` removes, in this order. */
  leftovers(found: FoundState, of: NetworkTrace | 'all'): readonly KernelObject[];

  /** The VNI under which the network may have closed its port to plain packets: see {@link PortSeal}. */
  sealOf?(of: NetworkTrace): number | undefined;
}

/** `wireguard-key`: the node's own pair of keys. */
export type SecretName = 'wireguard-key';

/** Secrets of the node, as far as they were asked for. */
export interface BackendSecrets {
  readonly wireguardKey?: WireguardKey;
  /** Where the key is one of two: `--wireguard-rotate`. */
  readonly keyRotation?: KeyRotation;
}

/** One network on one host, before its lease is known. */
export interface BackendPlace {
  readonly network: PerFamily<Prefix4, Prefix6>;
  /** `Backend` of the network config. */
  readonly options: GoObject;
  /** The node's stable identity. Hardware addresses are derived from it. */
  readonly identity: string;
  /** All devices of the host. */
  readonly links: readonly Link[];
  /** A short name of the network, for backends whose options have none. */
  readonly instance: string;
  /** Absent where nothing is done but looked. */
  readonly secrets?: BackendSecrets;
  /** Of a network that changes its path: the other one. */
  readonly beside?: OtherPath;
}

export interface OtherPath {
  readonly backend: BackendConfig;
  /** It was there first. */
  readonly isOld: boolean;
}

/** The backend of one network on this host. Its underlay and its lease may still change. */
export interface PreparedBackend {
  readonly type: string;
  /** What distinguishes this network's names from those of other networks on the host: the VNI, for example. */
  readonly instance: string;
  /** The devices it will make. */
  readonly devices: readonly string[];
  /** The options by their names in the network config, with defaults filled in. */
  readonly settings: Readonly<Record<string, boolean | number | string | Secret | undefined>>;
  /** Those of them that a network can change while it runs. */
  readonly inPlace: readonly string[];
  /**
   * Those of them that only choose between routes, so that the paths with either value can be on one host at once, with the
   * same device. Absent where there are none.
   */
  readonly routeOptions?: readonly string[];
  /** What the kernel must be able to do. The preflight tries it. */
  readonly requirements: readonly Requirement[];
  /**
   * A command whose output the lease publishes. It runs once, after {@link check} and before the lease is taken, and what it
   * prints is handed to {@link make}. Absent for most backends.
   */
  readonly preparation?: ShellCommand;

  /**
   * Looks for what would make a start do harm or fail, before anything is touched. Returns what the operator should
   * know, one clause each. Throws WeftError `foreign-device`, `device-clash` or `backend`.
   */
  check(underlay: BackendUnderlay, found: Pick<FoundState, 'links'>): readonly string[];

  /**
   * `taken`: what the lease says that this node holds already. Peers send by it, so it is kept where it can be. `output`: what
   * {@link preparation} printed.
   */
  make(underlay: BackendUnderlay, taken?: Partial<Published>, output?: string): Backend;
}

/** A type of device that the kernel must know. */
export interface Requirement {
  /** The kernel's module, which is also the word in `ip link add … type`. */
  readonly module: string;
  /** The kernel's build option. */
  readonly buildOption: string;
  /** A file that exists where the module is loaded or built in; its absence proves nothing. */
  readonly evidence: string;
  /** A device to make and remove again: the kernel loads a module when it is first asked for. */
  readonly probe: Link;
}

/** The device that carries the outer packets. */
export interface BackendUnderlay {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** The device's own addresses: the source of outer packets. */
  readonly address: PerFamily<Ipv4, Ipv6>;
  /** Where peers send to. It differs from `address` behind a NAT. */
  readonly publicIp: PerFamily<Ipv4, Ipv6>;
  /** This host's own; absent before it has a lease. */
  readonly subnets?: Subnets;
}

/** What the node publishes in its lease in addition to its addresses. */
export type Published = Pick<LeaseAttributes, 'backendType' | 'backendData' | 'backendV6Data' | 'weft'>;

export type SharedSettings = Readonly<Record<string, boolean | number | string>>;

/** What was read from the kernel. */
export interface FoundState {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  /** Absent where nobody has to know. */
  readonly policies?: readonly XfrmPolicy[];
  readonly connections?: readonly IkeConnection[];
}

/** What is still known of a network that is to be removed from a host: subnet.env and the node's memory say it. */
export interface NetworkTrace {
  readonly network: PerFamily<Prefix4, Prefix6>;
  /** `Backend` of the network config, where it is remembered. */
  readonly options?: GoObject;
}

/** A network's backend on this host, as it is now. Another underlay or another lease makes another one. */
export interface Backend {
  readonly type: string;
  /** The devices it makes. Everything on them is the network's. */
  readonly devices: readonly string[];
  /** Bytes of payload that containers may use: FLANNEL_MTU. */
  readonly mtu: number;
  /** Whether {@link PeerPath.lookup} is needed. It costs one question to the kernel for each peer. */
  readonly needsLookup: boolean;
  readonly published: Published;
  /** What both ends of a way must have alike, by the options' names in the network config, with defaults filled in. */
  readonly shared: SharedSettings;
  /** By which ways packets of the overlay come in from other hosts. */
  readonly inbound: Inbound;
  /** Where its objects are in the kernel, and which of them it may remove. */
  readonly scopes: readonly Scope[];
  /** The UDP port whose packets the host's packet filter looks at; absent where none needs it. */
  readonly seal?: PortSeal;
  /** How flows may go past the host's rules (`--fast-path`), or why they can't. Absent: this backend knows no such way. */
  readonly fastWay?: FastWay | string;
  /** Its second interface: programs and commands, which the node runs. Absent where kernel state is all. */
  readonly jobs?: BackendJobs;
  /** How the ways to its peers are measured; `undefined` where it carries no packets. */
  readonly probing: Probing | undefined;

  /** What the node needs once, whatever its peers are. */
  ownObjects(subnets: PerFamily<Prefix4, Prefix6>): readonly KernelObject[];

  /** What one peer needs. Called only for leases that {@link judge} accepts. */
  peerObjects(lease: Lease, path: PeerPath): readonly KernelObject[];

  /** Why what a peer published can't be used with this backend; `undefined` when it can. */
  judge(attributes: LeaseAttributes): string | undefined;

  /** The devices of one of our keys, where keys are rotated; absent for backends without keys of their own. */
  keyDevices?(role: KeyRole): readonly string[];

  /** Whether packets to this peer are encrypted; absent where the backend never encrypts. */
  readonly protectionOf?: (lease: Lease) => Protection;

  /** What no two peers may share, such as their VTEP MACs; absent for backends that have none. */
  identityOf?(attributes: LeaseAttributes): Identity;

  /** The other end of the tunnel to a peer; absent where none has a hardware address. */
  tunnelEnd?(lease: Lease): TunnelEnd | undefined;

  /**
   * Why packets can't reach a peer by this path, though its lease is good; `undefined` when they can. A peer that can't be
   * reached has no objects. Absent where the tunnel reaches whatever the underlay reaches.
   */
  unreachable?(lease: Lease, path: PeerPath): string | undefined;

  /** What a refusal of the kernel means, where its own words don't say what is in the way; absent where they do. */
  explain?(object: KernelObject, error: KernelError, links: readonly Link[]): string | undefined;
}

/** What keeps packets to a peer from being read on the way. */
export type Protection = 'wireguard' | 'ipsec' | 'none';

/** The end of a tunnel on a peer. */
export interface TunnelEnd {
  /** In the overlay. */
  readonly address: Ipv4 | Ipv6;
  readonly mac: string;
}

/** Whether VXLAN packets of a network are taken from anywhere, or only as they come out of the tunnel around them. */
export interface PortSeal {
  /** UDP. */
  readonly port: number;
  readonly vni: number;
  /** The tunnel's device. */
  readonly device: string;
  readonly isClosed: boolean;
}

/** A firewall that drops what other hosts send to containers has to let these in. */
export interface Inbound {
  /** Devices of the overlay itself. */
  readonly devices: readonly string[];
  /**
   * Those of them that are not there now: rules are ready for the next one. Settings of theirs can't be wanted, because nothing
   * is whole that wants something of a device that nobody makes.
   */
  readonly toCome?: readonly string[];
  /** Packets also come in by the underlay as they are, with addresses of the overlay. */
  readonly underlay: boolean;
  /** They may also come by devices that the backend does not know of. Where packets should go is then not checked. */
  readonly others?: boolean;
}

/** What is known of the way to a peer when its state is planned. */
export interface PeerPath {
  /** The kernel's route to the peer's public address; only looked up for backends that ask for it. */
  readonly lookup?: PerFamily<RouteLookup>;
  readonly routeForm: RouteForm;
  /** Between which keys of both ends tunnels are, and which of them is used; absent where there is one of each. */
  readonly keys?: PlacedPlan;
}

/**
 * `flannel`: `ip route` prints exactly what flannel's would. `linear`: each route has a metric of its own, because the
 * kernel keeps all routes that differ only in their gateway in one hash chain (fib_info_hashfn, net/ipv4/fib_semantics.c),
 * so that adding n of them takes n² steps: 37 s for 50,000 against 0.5 s.
 */
export type RouteForm = 'flannel' | 'linear';

/** The metric of a subnet's route: its number within the network, from 1. 0 is no metric. */
export function routeMetric(form: RouteForm, network: Prefix, subnet: Prefix): number {
  if (form === 'flannel') return 0;
  if (network.family === 4 && subnet.family === 4) {
    return Math.floor((subnet.address - network.address) / 2 ** (32 - subnet.length)) + 1;
  }
  if (network.family === 6 && subnet.family === 6) {
    // More than 2^31 subnets share metrics; a chain is then a few routes long.
    const number = (subnet.address - network.address) >> BigInt(128 - subnet.length);
    return Number(number % 0x7fff_ffffn) + 1;
  }
  return 0;
}
