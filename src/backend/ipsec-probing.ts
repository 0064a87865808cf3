import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import { ipv4, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/**
 * Inside are the first addresses of both subnets, which Docker's bridges have: only what comes from the own subnet goes through
 * the tunnel. The responders are on the underlay.
 */
export class IpsecProbing implements Probing {
  readonly #underlay: BackendUnderlay;
  readonly #overhead: number;
  readonly #carrier: string;

  constructor(underlay: BackendUnderlay, { overhead, carrier }: { overhead: number; carrier: string }) {
    this.#underlay = underlay;
    this.#overhead = overhead;
    this.#carrier = carrier;
  }

  ownEnds(family: FamilyName, { v4: subnet }: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const { name, mtu, address } = this.#underlay;
    if (family !== 'v4' || address.v4 === undefined || subnet === undefined) return undefined;
    return {
      inside: ipv4(subnet.address + 1),
      outside: address.v4,
      responder: address.v4,
      mtu: { inside: mtu - this.#overhead, outside: mtu },
      device: name,
      inner: name,
      carrier: this.#carrier,
      mtuRemedy: (passes) =>
        `ip link set ${name} mtu ${passes + this.#overhead} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds(family: FamilyName, { subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (family !== 'v4' || v4 === undefined || publicIp === undefined) return undefined;
    return { inside: ipv4(v4.address + 1), outside: publicIp, responder: publicIp, isCertain: false };
  }
}
