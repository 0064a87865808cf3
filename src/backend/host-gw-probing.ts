import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import { ipv4 } from '#src/lib/ip.ts';
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

  ownEnds(): OwnEnds | undefined {
    const { name, mtu, address } = this.#underlay;
    const { v4 } = address;
    if (v4 === undefined) return undefined;
    return {
      inside: v4,
      outside: v4,
      responder: v4,
      mtu: { inside: mtu, outside: mtu },
      device: name,
      inner: name,
      carrier: 'what has an address of the network',
      mtuRemedy: (passes) => `ip link set ${name} mtu ${passes} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds({ subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (v4 === undefined || publicIp === undefined) return undefined;
    return { inside: ipv4(v4.address + 1), outside: publicIp, responder: publicIp, isCertain: false };
  }
}
