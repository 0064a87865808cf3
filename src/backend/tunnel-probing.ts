import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import { type Ip, isIpv4, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/** What backends with devices of their own differ in, for one family inside. */
export interface ProbedTunnel {
  /** Has the first address of the subnet, on each host. */
  readonly device: string;
  /** The family of the packets outside. */
  readonly outer: FamilyName;
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
  readonly #tunnels: PerFamily<ProbedTunnel>;

  constructor(underlay: BackendUnderlay, tunnels: PerFamily<ProbedTunnel>) {
    this.#underlay = underlay;
    this.#tunnels = tunnels;
  }

  ownEnds(family: FamilyName, subnets: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const [tunnel, inside] = [this.#tunnels[family], subnets[family]?.address];
    const { name, address } = this.#underlay;
    const outside: Ip | undefined = tunnel && address[tunnel.outer];
    if (tunnel === undefined || inside === undefined || outside === undefined) return undefined;
    const { device, mtu, overhead, carrier, hasMtuOption } = tunnel;
    return {
      inside,
      outside,
      responder: inside,
      mtu: { inside: mtu, outside: mtu + overhead },
      device: name,
      inner: device,
      carrier: isIpv4(outside) ? carrier : `${carrier} over IPv6`,
      mtuRemedy: (passes) =>
        hasMtuOption
          ? `set "MTU": ${passes + overhead} in the Backend of the network config, or raise the MTU between the hosts`
          : `ip link set ${name} mtu ${passes + overhead} on all hosts, or raise the MTU between them`,
    };
  }

  peerEnds(family: FamilyName, { subnets, attributes }: Lease): PeerEnds | undefined {
    const [tunnel, subnet] = [this.#tunnels[family], subnets[family]];
    const outside = tunnel?.outer === 'v6' ? attributes.publicIpv6 : attributes.publicIp;
    if (tunnel === undefined || subnet === undefined || outside === undefined) return undefined;
    const ends = { inside: subnet.address, outside, responder: subnet.address, isCertain: true };
    return subnet.family === 6 ? { ...ends, answers: subnet } : ends;
  }
}
