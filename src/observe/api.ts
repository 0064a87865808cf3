import type { HostEventType } from '#src/lib/host-events.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';

/**
 * What the local API answers, version 1: JSON over a unix socket, one for each network of the host
 * (node/network-id.ts). Every time is ISO 8601 in UTC. docs/reference/openapi.json describes the same.
 *
 *     GET /v1/status    NodeStatus
 *     GET /v1/peers     Peers
 *     GET /v1/leases    Leases
 *     GET /v1/view      View
 *     GET /v1/events    Events; with "Accept: text/event-stream" each event as it comes, `?after=ID`
 *     GET /v1/counters  Counters
 *     GET /v1/openapi   the OpenAPI document
 *
 * A refusal is {@link Refusal} with status 4xx or 5xx.
 */
export interface Refusal {
  /** What could not be done, to what, why, and what to do. */
  readonly error: string;
}

export interface Peers {
  readonly peers: readonly Peer[];
}

/** A host of the network that is not this one. */
export interface Peer {
  /** The lease's name in the registry: `10.0.65.0-24`. */
  readonly lease: string;
  /** `10.0.65.0/24`; absent where the record can't be read. */
  readonly subnet?: string;
  readonly publicIp?: string;
  /** `vxlan`, `host-gw`, … */
  readonly backend?: string;
  /** The identity of the node; absent for flannel's. */
  readonly node?: string;
  /** The other end of the tunnel; absent where the backend has none. */
  readonly vtep?: { readonly address: string; readonly mac: string };
  /** What keeps packets to it from being read on the way: `none` is nothing. Absent where the backend never encrypts. */
  readonly encryption?: 'wireguard' | 'ipsec' | 'none';
  /** What WireGuard says of the tunnel to it; absent where there is none. */
  readonly wireguard?: WireguardFigures;
  /** When its lease was last written or renewed, as seen here. */
  readonly lastSeen: string;
  /** Seconds until the lease expires; absent for a reservation, and where the registry does not say. */
  readonly remainingSeconds?: number;
  /** Whether what it needs is in the kernel. `reason` says why not. */
  readonly programmed: 'yes' | 'no' | 'quarantined';
  /** Since when it is so. */
  readonly since: string;
  readonly reason?: string;
  /** What was measured of it; absent before the first round, and where probes are off. */
  readonly probe?: PeerProbe;
}

/** Of all tunnels of one peer. */
export interface WireguardFigures {
  /** Where packets go now: `192.0.2.1:51820`. It may be another address than the lease's, behind a NAT. */
  readonly endpoint?: string;
  /** The last handshake; absent before the first. A tunnel in use has one each two minutes. */
  readonly handshakeAt?: string;
  /** Bytes on the wire since the peer was added. */
  readonly received: number;
  readonly sent: number;
}

/**
 * What one node measured of one peer. In a network of both families state and findings are of both, and the other fields are
 * IPv4's.
 */
export interface PeerProbe extends FamilyProbe {
  /** The same of each family alone; absent where the peer is measured in one only. */
  readonly ipv4?: FamilyProbe;
  readonly ipv6?: FamilyProbe;
}

/** What one node measured of one peer in one family. */
export interface FamilyProbe {
  readonly at: string;
  /** `up`: everything passes. `degraded`: some of it. `down`: nothing passes inside the tunnel. */
  readonly state: 'up' | 'degraded' | 'down';
  /** What is wrong, one clause each. */
  readonly findings: readonly string[];
  /** Inside the tunnel, to the VTEP's address. */
  readonly tunnel: ProbedWay;
  /** Outside of it, to the public IP. */
  readonly underlay: ProbedWay;
  /** A TCP connection inside the tunnel: ICMP passes where a wrong checksum stops TCP. `refused` is an answer, too. */
  readonly tcp: 'answered' | 'refused' | 'silent' | 'not tried';
  /** Bytes of the largest packet that passes inside the tunnel; absent while it is not known. */
  readonly workingMtu?: number;
  /** Whether the peer has weft's responder. flannel's peers have none. */
  readonly responder: boolean;
}

export interface ProbedWay {
  /** Of the last packets: sent, and answered. */
  readonly sent: number;
  readonly answered: number;
  /** Milliseconds, of the last answer; absent when none came. */
  readonly roundTripMs?: number;
  /** Whether packets of the device's MTU pass, not in fragments. */
  readonly fullSize: 'passes' | 'lost' | 'not tried';
}

/** The subnets of one family of a network. */
export interface SubnetCounts {
  readonly network: string;
  /** Bits of a lease's prefix. */
  readonly subnetLength: number;
  /** Subnets that can be given out. */
  readonly capacity: number;
  readonly used: number;
}

/** The whole network, from the registry. The fields beside the leases are those of IPv4, or of IPv6 in a network without it. */
export interface Leases extends SubnetCounts {
  /** Of a network that has both families. */
  readonly ipv6?: SubnetCounts;
  readonly leases: readonly LeaseView[];
}

export interface LeaseView {
  readonly lease: string;
  /** The IPv4 subnet, or the IPv6 one of a network without IPv4. */
  readonly subnet?: string;
  /** Of a lease that has both. */
  readonly ipv6Subnet?: string;
  readonly publicIp?: string;
  /** Of a lease that has both. */
  readonly publicIpv6?: string;
  readonly backend?: string;
  readonly node?: string;
  /** It is this node's own. */
  readonly own: boolean;
  readonly expiry: 'expires' | 'reservation' | 'unknown';
  readonly remainingSeconds?: number;
  /** Why it is not used; absent when it is. */
  readonly quarantined?: string;
}

/** Everything that is wanted or was found in the kernel, slot by slot. */
export interface View {
  readonly slots: readonly ViewSlot[];
}

export interface ViewSlot {
  readonly key: string;
  /** `link`, `address`, `route`, `neighbour`, `fdb`, `sysctl`, … */
  readonly kind: string;
  readonly owner?: string;
  /** What it is wanted for: `own`, or a lease's name. */
  readonly subject?: string;
  /** The command that makes it. */
  readonly wanted?: string;
  readonly found?: string;
  readonly failure?: string;
}

export interface Events {
  /** Oldest first. */
  readonly events: readonly HostEvent[];
  /** The ring forgot this many older ones. */
  readonly forgotten: number;
}

export type { HostEventType };

/** Something that happened on this host. */
export interface HostEvent {
  /** Rises with each event of the process; a repetition has an id of its own. */
  readonly id: number;
  /** When it last happened. */
  readonly at: string;
  readonly type: HostEventType;
  readonly severity: 'info' | 'warning' | 'error';
  /** The network's name in a daemon of several networks; absent for what is of the whole host. */
  readonly network?: string;
  /** A lease, a device, the registry, a peer. */
  readonly subject: string;
  /** One sentence. */
  readonly text: string;
  /** How often it happened in a row, or within a minute each; a repetition takes the place of the event before. */
  readonly count: number;
  /** When it first happened in this row. */
  readonly firstAt: string;
}

export interface Counters {
  /** As `/metrics` has them: the name with its labels, and the value. */
  readonly counters: Readonly<Record<string, number>>;
}

/** What each path of version 1 answers. */
export interface Answers {
  readonly '/v1/status': NodeStatus;
  readonly '/v1/peers': Peers;
  readonly '/v1/leases': Leases;
  readonly '/v1/view': View;
  readonly '/v1/events': Events;
  readonly '/v1/counters': Counters;
}
