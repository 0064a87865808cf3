import type { PeerPath } from '#src/backend/backend.ts';
import type { Ipv4, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/**
 * What a backend wants done on its host beside kernel state: a program that runs as long as the network does, a command for
 * each peer. A pure value, as kernel objects are: the backend says what shall be, and the node's desk (node/jobs) starts,
 * repeats and stops. Two jobs with the same key are the same job; one whose other fields differ is started again.
 */
export type Job = ProgramJob | CommandJob | UdpTunnelJob | UdpWayJob;

/** What all jobs say of themselves. */
interface JobBase {
  /** Distinguishes it among the jobs of its network, and names it in messages: `charon`, `SubnetAddCommand for 10.5.3.0/24`. */
  readonly key: string;
  /** The key of a job that has to run before this one. When that one had to be started again, so has this one. */
  readonly needs?: string;
  /** When flanneld ends: `stop` takes it back, `leave` leaves what it did as it is, as kernel objects are left. */
  readonly atEnd: 'stop' | 'leave';
}

/** A program that stays. It is started again when it ends, at first at once and then after longer and longer pauses. */
export interface ProgramJob extends JobBase {
  readonly kind: 'program';
  /** Where it may be: the first of these that exists is run. A name without a slash is looked up in PATH. */
  readonly programs: readonly string[];
  /** What installs it: `apt install strongswan-charon`. */
  readonly remedy?: string;
  readonly args: readonly string[];
  /** Added to flanneld's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A unix socket on which it takes connections once it can work, or several of which it has one; absent where it can work at once. */
  readonly socket?: string | readonly string[];
  /** Another program that takes connections on the socket will do, one that an earlier flanneld left among them. */
  readonly isShared?: boolean;
}

/** Commands that end: one when the job comes or its values change, one when it goes. */
export interface CommandJob extends JobBase {
  readonly kind: 'command';
  readonly start?: ShellCommand;
  readonly stop?: ShellCommand;
}

/** A command of the operator's. It is a text for `sh -c`, and nothing is ever pasted into it. */
export interface ShellCommand {
  /** The option of the network config that it comes from. */
  readonly name: string;
  readonly text: string;
  /** Added to flanneld's own environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** On its standard input. The only way for what a stranger wrote. */
  readonly stdin: string;
}

/** A TUN device whose packets this process carries in UDP datagrams: flannel's udp backend. */
export interface UdpTunnelJob extends JobBase {
  readonly kind: 'udp-tunnel';
  readonly device: string;
  readonly local: Ipv4;
  readonly port: number;
  /** This host's own: packets for other destinations are not taken. */
  readonly subnet: Prefix4;
}

/** Where packets to one peer's subnet go in such a tunnel. */
export interface UdpWayJob extends JobBase {
  readonly kind: 'udp-way';
  readonly device: string;
  readonly subnet: Prefix4;
  readonly to: Ipv4;
}

/** A {@link Backend}'s jobs. */
export interface BackendJobs {
  /** What the node needs once. They are started first, in this order and before the kernel objects, and a start waits for them. */
  own(subnets: PerFamily<Prefix4, Prefix6>): readonly Job[];
  /** What one peer needs. Called for the leases for which `peerObjects` is. A failure is that peer's alone. */
  peer(lease: Lease, path: PeerPath): readonly Job[];
}
