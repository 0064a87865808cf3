import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import { TUNNELS, type VxlanOptions } from '#src/backend/vxlan-options.ts';
import type { Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/** Inside is the VTEP's own address, the first of the subnet, on each host; outside is the underlay. */
export class VxlanProbing implements Probing {
  readonly #options: Pick<VxlanOptions, 'port'>;
  readonly #underlay: BackendUnderlay;
  readonly #device: string;
  readonly #mtu: number;

  constructor(
    options: Pick<VxlanOptions, 'port'>,
    underlay: BackendUnderlay,
    { device, mtu }: { readonly device: string; readonly mtu: number },
  ) {
    this.#options = options;
    this.#device = device;
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
      mtu: { inside: this.#mtu, outside: this.#mtu + TUNNELS.v4.overhead },
      device: name,
      inner: this.#device,
      carrier: `UDP port ${this.#options.port}`,
      mtuRemedy: (passes) =>
        `set "MTU": ${passes + TUNNELS.v4.overhead} in the Backend of the network config, or raise the MTU between the hosts`,
    };
  }

  peerEnds({ subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (v4 === undefined || publicIp === undefined) return undefined;
    return { inside: v4.address, outside: publicIp, responder: v4.address, isCertain: true };
  }
}
