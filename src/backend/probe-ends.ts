import type { Ip, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/**
 * How the way to a peer is measured, for packets of one family inside. A backend knows which addresses of both hosts are the
 * ends of its tunnel, and which are the ends of the way outside of it.
 */
export interface Probing {
  /** This host's ends; `undefined` where the network, or the backend, does not have the family. */
  ownEnds(family: FamilyName, subnets: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined;
  /** A peer's; `undefined` where its lease does not have the family. Called only for leases that the backend accepts. */
  peerEnds(family: FamilyName, lease: Lease): PeerEnds | undefined;
}

/** The addresses by which two hosts measure each other. */
export interface Ends {
  /** Inside the tunnel, of the family that is measured. */
  readonly inside: Ip;
  /** Outside of it, of the family of the packets there. */
  readonly outside: Ip;
  /** Where the host's responder listens, and where it asks others from. */
  readonly responder: Ip;
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
  /**
   * Of IPv6, whose answers count beside those of the address inside. A bridge with an address in the subnet makes the
   * subnet's first address an anycast address (RFC 4291 §2.6.1), and a host then answers from the bridge's.
   */
  readonly answers?: Prefix6;
}
