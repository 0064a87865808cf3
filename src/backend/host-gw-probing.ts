import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import { addressAfter, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/**
 * There is no tunnel. Inside is the first address of the peer's subnet, which Docker's bridge has: packets to it go the way of
 * those to containers. The responders are on the underlay.
 */
export class HostGwProbing implements Probing {
  readonly #underlay: BackendUnderlay;

  constructor(underlay: BackendUnderlay) {
    this.#underlay = underlay;
  }

  ownEnds(family: FamilyName, subnets: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const { name, mtu, address } = this.#underlay;
    const own = address[family];
    if (own === undefined || subnets[family] === undefined) return undefined;
    return {
      inside: own,
      outside: own,
      responder: own,
      mtu: { inside: mtu, outside: mtu },
      device: name,
      inner: name,
      carrier: 'what has an address of the network',
      mtuRemedy: (passes) => `ip link set ${name} mtu ${passes} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds(family: FamilyName, { subnets, attributes }: Lease): PeerEnds | undefined {
    const subnet = subnets[family];
    const outside = family === 'v4' ? attributes.publicIp : attributes.publicIpv6;
    if (subnet === undefined || outside === undefined) return undefined;
    return { inside: addressAfter(subnet, 1), outside, responder: outside, isCertain: false };
  }
}
