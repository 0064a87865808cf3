import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import type { Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/** What backends with a device of their own differ in. */
export interface ProbedTunnel {
  /** Has the first address of the subnet, on each host. */
  readonly device: string;
  /** Of the device, in bytes. */
  readonly mtu: number;
  /** Bytes that are around its packets outside. */
  readonly overhead: number;
  /** What a firewall has to let through: `UDP port 8472`. */
  readonly carrier: string;
  /** The network config has an MTU; without one that of the underlay's device counts. */
  readonly hasMtuOption: boolean;
}

/** Inside is the tunnel device's own address, the first of the subnet, on each host; outside is the underlay. */
export class TunnelProbing implements Probing {
  readonly #underlay: BackendUnderlay;
  readonly #tunnel: ProbedTunnel;

  constructor(underlay: BackendUnderlay, tunnel: ProbedTunnel) {
    this.#underlay = underlay;
    this.#tunnel = tunnel;
  }

  ownEnds({ v4 }: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const { name, address } = this.#underlay;
    const { device, mtu, overhead, carrier, hasMtuOption } = this.#tunnel;
    if (v4 === undefined || address.v4 === undefined) return undefined;
    return {
      inside: v4.address,
      outside: address.v4,
      responder: v4.address,
      mtu: { inside: mtu, outside: mtu + overhead },
      device: name,
      inner: device,
      carrier,
      mtuRemedy: (passes) =>
        hasMtuOption
          ? `set "MTU": ${passes + overhead} in the Backend of the network config, or raise the MTU between the hosts`
          : `ip link set ${name} mtu ${passes + overhead} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds({ subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (v4 === undefined || publicIp === undefined) return undefined;
    return { inside: v4.address, outside: publicIp, responder: v4.address, isCertain: true };
  }
}
