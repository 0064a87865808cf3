import type { BackendUnderlay } from '#src/backend/backend.ts';
import type { OwnEnds, PeerEnds, Probing } from '#src/backend/probe-ends.ts';
import { WIREGUARD_DEVICES, WIREGUARD_OVERHEAD } from '#src/backend/wireguard-options.ts';
import type { Prefix4, Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';

/** Inside is the device's own address, the first of the subnet, on each host; outside is the underlay. */
export class WireguardProbing implements Probing {
  readonly #underlay: BackendUnderlay;
  readonly #port: number;
  readonly #mtu: number;

  constructor(underlay: BackendUnderlay, { port, mtu }: { readonly port: number; readonly mtu: number }) {
    this.#underlay = underlay;
    this.#port = port;
    this.#mtu = mtu;
  }

  ownEnds({ v4 }: PerFamily<Prefix4, Prefix6>): OwnEnds | undefined {
    const { name, address } = this.#underlay;
    if (v4 === undefined || address.v4 === undefined) return undefined;
    return {
      inside: v4.address,
      outside: address.v4,
      responder: v4.address,
      mtu: { inside: this.#mtu, outside: this.#mtu + WIREGUARD_OVERHEAD },
      device: name,
      inner: WIREGUARD_DEVICES.v4,
      carrier: `UDP port ${this.#port}`,
      mtuRemedy: (passes) =>
        `set "MTU": ${passes + WIREGUARD_OVERHEAD} in the Backend of the network config, or raise the MTU between the hosts`,
    };
  }

  peerEnds({ subnets: { v4 }, attributes: { publicIp } }: Lease): PeerEnds | undefined {
    if (v4 === undefined || publicIp === undefined) return undefined;
    return { inside: v4.address, outside: publicIp, responder: v4.address, isCertain: true };
  }
}
