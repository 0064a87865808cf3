import type { Ipv4, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/**
 * How the way to a peer is measured. A backend knows which addresses of both hosts are the ends of its tunnel, and which are
 * the ends of the way outside of it.
 */
export interface Probing {
  /** This host's ends; `undefined` where the network has no IPv4. */
  ownEnds(subnets: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined;
  /** A peer's; `undefined` where its lease has no IPv4. Called only for leases that the backend accepts. */
  peerEnds(lease: Lease): PeerEnds | undefined;
}

/** The addresses by which two hosts measure each other. */
export interface Ends {
  /** Inside the tunnel. */
  readonly inside: Ipv4;
  /** Outside of it. */
  readonly outside: Ipv4;
  /** Where the host's responder listens, and where it asks others from. */
  readonly responder: Ipv4;
}

/** This host's ends, and what is to be said of the way from here. */
export interface OwnEnds extends Ends {
  /** Bytes of the largest packets that the device inside takes, and bytes that these have outside. */
  readonly mtu: { readonly inside: number; readonly outside: number };
  /** The device of the underlay. */
  readonly device: string;
  /** The device that packets take inside; the underlay's where there is no tunnel. */
  readonly inner: string;
  /** What carries packets between hosts, and what a firewall has to let through: `UDP port 8472`. */
  readonly carrier: string;
  /** What to set where packets of this many bytes pass inside, and no larger ones. */
  readonly mtuRemedy: (passes: number) => string;
}

export interface PeerEnds extends Ends {
  /** Whether the peer has the address inside for sure. A bridge of Docker's may not be there yet. */
  readonly isCertain: boolean;
}
