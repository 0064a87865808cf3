import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import type { Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/** Bytes of the outer headers: IPv4 20, UDP 8. */
export const UDP_OVERHEAD = 28;

export interface UdpDevice {
  readonly device: string;
  /** Bytes. */
  readonly mtu: number;
  readonly port: number;
}

/** Inside is the TUN device's own address, the first of the subnet, on each host; outside is the underlay. */
export class UdpProbing implements Probing {
  readonly #underlay: BackendUnderlay;
  readonly #inner: UdpDevice;

  constructor(underlay: BackendUnderlay, inner: UdpDevice) {
    this.#underlay = underlay;
    this.#inner = inner;
  }

  ownEnds({ v4 }: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const { name, address } = this.#underlay;
    const { device, mtu, port } = this.#inner;
    if (v4 === undefined || address.v4 === undefined) return undefined;
    return {
      inside: v4.address,
      outside: address.v4,
      responder: v4.address,
      mtu: { inside: mtu, outside: mtu + UDP_OVERHEAD },
      device: name,
      inner: device,
      carrier: `UDP port ${port}`,
      mtuRemedy: (passes) =>
        `ip link set ${name} mtu ${passes + UDP_OVERHEAD} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds({ subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (v4 === undefined || publicIp === undefined) return undefined;
    return { inside: v4.address, outside: publicIp, responder: v4.address, isCertain: true };
  }
}
