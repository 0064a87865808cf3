import type { DriverStatus } from '#src/observe/driver-status.ts';

/** What every status of a host has. */
export interface HostStatus {
  readonly version: string;
  /** The node's identity. */
  readonly node: string;
  readonly ready: boolean;
  /** Why packets don't flow as they should, one clause each. */
  readonly troubles: readonly string[];
  /** Of the whole host, in the status of each of its networks. */
  readonly docker?: DriverStatus;
}

/** How far the rotation of WireGuard keys is. */
export interface RotationStatus {
  /** Number of the key in force. */
  readonly generation: number;
  /** `moving`: peers go over to the next key. `ending`: the lease names it, and the old device goes soon. */
  readonly phase: 'idle' | 'moving' | 'ending';
  /** While it moves: peers there are, and those to which packets go by the next key. */
  readonly peers?: number;
  readonly moved?: number;
  /** At rest: seconds until this node begins one, if nobody else does. */
  readonly nextSeconds?: number;
  /** Peers for which it waits. */
  readonly heldUp: readonly { readonly lease: string; readonly reason: string }[];
  /** Why none can begin. */
  readonly reason?: string;
}

/** How far a change of the network's path is on this node. */
export interface ChangeStatus {
  /** The plan's. */
  readonly id: string;
  readonly phase: 'prepare' | 'moving' | 'settling' | 'aborted';
  /** Types of backends, of the old path and the new one. */
  readonly from: string;
  readonly to: string;
  /** With so many of its peers the node is done in this phase. */
  readonly done: number;
  readonly of: number;
  /** Some of the others. */
  readonly waits: readonly { readonly lease: string; readonly reason: string }[];
  /** Why the node can't do its part. */
  readonly trouble?: string;
}

/** What one node knows of one network, for `weft status`, the metrics and every client of the local API. */
export interface NodeStatus extends HostStatus {
  /** The network's name in a daemon of several networks; absent for the only one of a daemon. */
  readonly name?: string;
  /** Absent until the network is up. */
  readonly network?: {
    /** Of IPv4, or of IPv6 in a network without IPv4; so are the subnet, the underlay's address and the public IP. */
    readonly network: string;
    readonly subnet: string;
    /** Of a network that has both families. */
    readonly ipv6Network?: string;
    readonly ipv6Subnet?: string;
    readonly backend: string;
    readonly underlay: string;
    readonly publicIp: string;
    /** Of an underlay that has both families. */
    readonly ipv6Address?: string;
    readonly publicIpv6?: string;
    /** Bytes. */
    readonly mtu: number;
    /** How routes to peers are written: as flannel does, or with a metric each. */
    readonly routes: 'flannel' | 'linear';
  };
  readonly registry: {
    readonly description: string;
    readonly state: string;
    /** Seconds since it last showed that nothing is missing here; absent before the first time. */
    readonly ageSeconds?: number;
  };
  readonly peers: {
    readonly accepted: number;
    /** Leases that are not used, with the reason. */
    readonly quarantined: readonly { readonly lease: string; readonly reason: string }[];
    /** Accepted peers to which packets are not encrypted; absent where the backend never encrypts. */
    readonly plain?: number;
  };
  /** Absent where all leases are used, signed or not (`--trust=off`). */
  readonly trust?: TrustStatus;
  readonly kernel: {
    readonly wanted: number;
    readonly failing: readonly { readonly key: string; readonly reason: string }[];
    /** Repairs of what had been right, since the start. */
    readonly repairs: number;
    /** Comparisons of everything, since the start. */
    readonly checks: number;
  };
  /** Absent where neither the network nor the node asks for the fast path. */
  readonly fastPath?: FastPathStatus;
  /** Absent where WireGuard keys are not rotated. */
  readonly rotation?: RotationStatus;
  /** Absent while the network's path does not change. */
  readonly change?: ChangeStatus;
  /** Milliseconds that the event loop was late at most in the last while. */
  readonly eventLoopDelayMs: number;
}

/** Flows between containers that go past the host's rules. */
export interface FastPathStatus {
  /** `paused`: somebody has to see all packets for a while. `refused`: see {@link reasons}. */
  readonly state: 'starting' | 'on' | 'paused' | 'refused';
  /** Why flows do not go fast, one clause each. */
  readonly reasons: readonly string[];
  /** Addresses of containers here whose flows may go fast. */
  readonly containers: number;
  /** Peers to which flows may go fast. */
  readonly peers: number;
  /** The other accepted peers. */
  readonly slowPeers: readonly { readonly lease: string; readonly reason: string }[];
  /** Devices of containers that stay slow, because packets wait in a queue there. */
  readonly queues: readonly { readonly device: string; readonly queue: string }[];
  /** Whether TCP goes fast, too. */
  readonly tcp: boolean;
  /** Packets since it was switched on, by what was done with them. */
  readonly packets?: Readonly<Record<string, number>>;
}

/** Whose leases are used. */
export interface TrustStatus {
  readonly policy: 'first-use' | 'allow-list';
  /** What is done with leases without a signature. */
  readonly unsigned: 'accept' | 'refuse';
  /** This node's public key, in base64url. */
  readonly key: string;
  /** Keys that hold a subnet, present or not. */
  readonly knownKeys: number;
  /** Leases that somebody else has written over: packets go on to the host that held them. */
  readonly disputed: readonly string[];
  /** Records that were refused since the start because of who signed them, or not. */
  readonly refusals: number;
}
