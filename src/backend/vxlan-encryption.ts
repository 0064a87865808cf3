import type { PortSeal } from '#src/backend/backend.ts';
import { type EncryptOptions, TUNNEL_OVERHEAD } from '#src/backend/vxlan-options.ts';
import { containsPrefix, type Ip, type Prefix, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Secret } from '#src/lib/secret.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import {
  readWireguardMember,
  WIREGUARD_MEMBER,
  type WireguardKey,
  writeWireguardMember,
} from '#src/network/wireguard-member.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { Scope } from '#src/state/scope.ts';

/** This node's key of the tunnel. */
export interface TunnelKey {
  /** Absent where nothing is done but looked. */
  readonly privateKey?: Secret;
  /** Base64 of its 32 bytes. */
  readonly publicKey: string;
}

/** The device of the tunnel around the vxlan device of this VNI. */
export const tunnelDeviceName = (vni: number): string => `weft-wg.${vni}`;

/**
 * `"Encrypt": "wireguard"` of the vxlan backend: the outer packets to a peer go through a WireGuard tunnel. Their addresses
 * stay those of the hosts. A forwarding entry names the tunnel's device as the way out (`bridge fdb … via`), which the kernel
 * takes for a link to the destination when no route leads there. So nothing else of the host goes through the tunnel, the
 * tunnel's own packets take the host's routes, and neither addresses nor policy routing are needed.
 */
export class VxlanEncryption {
  readonly device: string;
  readonly #vni: number;
  readonly #options: EncryptOptions;
  readonly #key: TunnelKey;

  constructor(vni: number, options: EncryptOptions, key: TunnelKey) {
    this.device = tunnelDeviceName(vni);
    this.#vni = vni;
    this.#options = options;
    this.#key = key;
  }

  /** What the lease says of it. */
  get published(): NonNullable<LeaseAttributes['weft']> {
    const tunnel = { publicKey: this.#key.publicKey, port: this.#options.port };
    return { [WIREGUARD_MEMBER]: writeWireguardMember({ tunnel }) ?? null };
  }

  /** Under `prefer` peers without a tunnel send plain packets. */
  seal(port: number): PortSeal {
    return { port, vni: this.#vni, device: this.device, isClosed: this.#options.policy === 'require' };
  }

  /** `mtu`: the underlay's, in bytes. `base`: an address of ours in the overlay, which is on the vxlan device as well. */
  ownObjects(mtu: number, base: Prefix): readonly KernelObject[] {
    const { device } = this;
    return [
      { kind: 'link', name: device, type: 'wireguard', mtu: mtu - TUNNEL_OVERHEAD, up: true },
      {
        kind: 'wireguard-device',
        device,
        publicKey: this.#key.publicKey,
        ...(this.#key.privateKey !== undefined && { privateKey: this.#key.privateKey }),
        listenPort: this.#options.port,
        fwmark: 0,
      },
      // Without an address a device takes nothing under rp_filter (net/ipv4/fib_frontend.c).
      { kind: 'address', prefix: base, device },
      // The routes lead to the peer by the underlay.
      { kind: 'sysctl', path: `net/ipv4/conf/${device}/rp_filter`, value: '2' },
    ];
  }

  /** The peer's key and port; `undefined` where its packets are plain. */
  keyOf(attributes: Pick<LeaseAttributes, 'weft'>): WireguardKey | undefined {
    return readWireguardMember(attributes).tunnel;
  }

  /** `ip`: the peer's in the underlay. */
  peerObject({ publicKey, port }: WireguardKey, ip: Ip): KernelObject {
    return {
      kind: 'wireguard-peer',
      device: this.device,
      publicKey,
      endpoint: { ip, port },
      allowedIps: [hostPrefix(ip)],
      keepalive: 0,
    };
  }

  /** What a refusal of the kernel means. */
  explain(object: KernelObject, { errno }: KernelError): string | undefined {
    if (object.kind === 'link' && object.name === this.device && errno === 'EOPNOTSUPP')
      return 'this kernel has no WireGuard: it is in Linux from 5.6 on, as the module "wireguard"';
    if (object.kind !== 'wireguard-device' || errno !== 'EADDRINUSE') return undefined;
    const port = object.listenPort;
    return `another program has UDP port ${port}: "ss -lunp sport = :${port}" names it; or choose another EncryptPort in the network config`;
  }

  judge(attributes: LeaseAttributes): string | undefined {
    const key = this.keyOf(attributes);
    if (key !== undefined)
      return key.publicKey === this.#key.publicKey ? 'its WireGuard key is ours' : undefined;
    return this.#options.policy === 'require'
      ? 'it announces no WireGuard key, and the network wants encrypted packets only (EncryptPolicy "require")'
      : undefined;
  }

  scope({ v4, v6 }: PerFamily<Prefix4, Prefix6>): Scope {
    const networks = [v4, v6].filter((network) => network !== undefined);
    return {
      kinds: ['link', 'address', 'wireguard-device', 'wireguard-peer'],
      filter: { device: this.device },
      owns: (object) =>
        object.kind === 'wireguard-peer' ||
        (object.kind === 'address' && networks.some((network) => containsPrefix(network, object.prefix))),
    };
  }
}

const hostPrefix = (ip: Ip): Prefix =>
  typeof ip === 'number' ? { family: 4, address: ip, length: 32 } : { family: 6, address: ip, length: 128 };
