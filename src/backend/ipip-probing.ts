import type { BackendUnderlay } from '#src/backend/backend.ts';
import { IPIP_DEVICE, IPIP_OVERHEAD } from '#src/backend/ipip-device.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import type { Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/** Inside is the device's own address, the first of the subnet, on each host; outside is the underlay. */
export class IpipProbing implements Probing {
  readonly #underlay: BackendUnderlay;
  readonly #mtu: number;

  constructor(underlay: BackendUnderlay, mtu: number) {
    this.#underlay = underlay;
    this.#mtu = mtu;
  }

  ownEnds({ v4 }: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const { name, address } = this.#underlay;
    if (v4 === undefined || address.v4 === undefined) return undefined;
    return {
      inside: v4.address,
      outside: address.v4,
      responder: v4.address,
      mtu: { inside: this.#mtu, outside: this.#mtu + IPIP_OVERHEAD },
      device: name,
      inner: IPIP_DEVICE,
      carrier: 'IP protocol 4 (ipip)',
      mtuRemedy: (passes) =>
        `ip link set ${name} mtu ${passes + IPIP_OVERHEAD} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds({ subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (v4 === undefined || publicIp === undefined) return undefined;
    return { inside: v4.address, outside: publicIp, responder: v4.address, isCertain: true };
  }
}
