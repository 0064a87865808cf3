import { type FastPathWish, readFastPathWish } from '#src/backend/fast-way.ts';
import { vxlanDeviceName } from '#src/backend/vxlan-names.ts';
import type { GoObject } from '#src/network/go-json.ts';

/** The vxlan backend's part of the network config (flannel v0.9.1 and HEAD, backend/vxlan/vxlan.go). */
export interface VxlanOptions {
  /** VXLAN network identifier, 24 bits. Default 1. The device is named after it. */
  readonly vni: number;
  /** UDP destination port. Default 8472, the kernel's. */
  readonly port: number;
  /** Group based policy. Default false. */
  readonly gbp: boolean;
  /** Peers that the underlay reaches without a gateway get a plain route. Default false. */
  readonly directRouting: boolean;
  /** Default false: every VTEP is known. */
  readonly learning: boolean;
  /** The underlay's MTU to assume, in bytes. Default is the interface's; a larger one counts as that. */
  readonly mtu: number | undefined;
  /** weft's own: outer packets go through a tunnel that encrypts them. Default: they are plain. */
  readonly encrypt?: EncryptOptions;
  /** weft's own: whether established flows go past the hosts' rules. Default: as each node's --fast-path says. */
  readonly fastPath?: FastPathWish;
}

/** `"Encrypt": "wireguard"` and what belongs to it. */
export interface EncryptOptions {
  /** `require`: peers that can't are left out, and plain packets are dropped. `prefer`: theirs are plain. Default `require`. */
  readonly policy: 'require' | 'prefer';
  /** UDP port of the tunnel. Default 51820, WireGuard's usual one. */
  readonly port: number;
}

/** The vxlan devices of a network, by the family of its outer and inner packets: what an outer header takes. */
export const TUNNELS = {
  /** Outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348 §5). */
  v4: { overhead: 50, leastMtu: 68 },
  /** The same with IPv6 40. flannel reckons with 50 here too, and its full-size packets need a Packet Too Big. */
  v6: { overhead: 70, leastMtu: 1280 },
} as const;
export type Family = keyof typeof TUNNELS;

/**
 * What the tunnel's header takes: IPv6 40, UDP 8, WireGuard 32 (16 and a tag of 16). With IPv4 outside it is 60; flannel's
 * wireguard backend reckons with 80 for both, so that a full-size packet fits whatever is outside.
 */
export const TUNNEL_OVERHEAD = 80;
const WIREGUARD_DEFAULT_PORT = 51_820;

/** linux/vxlan.c: the port of a device that is made without one. */
export const VXLAN_DEFAULT_PORT = 8472;
/** IFNAMSIZ of linux/if.h, less the terminating zero. */
const LONGEST_DEVICE_NAME = 15;

/** Throws WeftError `config`, naming field and value. `families`: those that the network has. */
export function readVxlanOptions(
  options: GoObject,
  families: { readonly v4: boolean; readonly v6: boolean } = { v4: true, v6: false },
): VxlanOptions {
  const vni = options.integer('VNI', 0, 2 ** 24 - 1) ?? 1;
  const mtu = options.integer('MTU', 0, 65_535);
  for (const family of ['v4', 'v6'] as const) {
    if (!families[family]) continue;
    const { overhead, leastMtu } = TUNNELS[family];
    const name = vxlanDeviceName(vni, family);
    if (name.length > LONGEST_DEVICE_NAME) {
      const largest = 10 ** (LONGEST_DEVICE_NAME - (name.length - String(vni).length)) - 1;
      throw options.error(
        'VNI',
        `the device ${name} would have a name of ${name.length} characters, and the kernel takes ${LONGEST_DEVICE_NAME}: choose a VNI up to ${largest}`,
      );
    }
    const least = leastMtu + overhead;
    if (mtu !== undefined && mtu !== 0 && mtu < least)
      throw options.error('MTU', `an MTU below ${least} leaves no packet room`);
  }
  const directRouting = options.boolean('DirectRouting') ?? false;
  const encrypt = readEncryptOptions(options);
  const fastPath = readFastPathWish(options);
  if (encrypt !== undefined) refuseWithEncrypt(options, { directRouting, ipv6: families.v6, mtu });
  return {
    vni,
    // In Go, 0 and an absent field are the same.
    port: options.integer('Port', 0, 65_535) || VXLAN_DEFAULT_PORT,
    gbp: options.boolean('GBP') ?? false,
    directRouting,
    learning: options.boolean('Learning') ?? false,
    mtu: mtu === 0 ? undefined : mtu,
    ...(encrypt !== undefined && { encrypt }),
    ...(fastPath !== undefined && { fastPath }),
  };
}

function readEncryptOptions(options: GoObject): EncryptOptions | undefined {
  const kind = options.string('Encrypt') ?? '';
  if (kind === '') {
    for (const name of ['EncryptPolicy', 'EncryptPort'])
      if ((options.raw(name) ?? null) !== null)
        throw options.error(name, 'it has a meaning only with "Encrypt": "wireguard"');
    return undefined;
  }
  if (kind !== 'wireguard') throw options.error('Encrypt', 'packets can be encrypted with "wireguard" only');
  const policy = options.string('EncryptPolicy') ?? 'require';
  if (policy !== 'require' && policy !== 'prefer')
    throw options.error('EncryptPolicy', 'the policy must be "require" or "prefer"');
  return { policy, port: options.integer('EncryptPort', 0, 65_535) || WIREGUARD_DEFAULT_PORT };
}

/**
 * Over IPv6 the kernel does not keep to the device that a forwarding entry names: it looks for a route from the address that the
 * packet has by then, and takes the underlay's (ip6_route_output_flags, net/ipv6/route.c). Packets would leave plain.
 */
export const IPV4_ONLY =
  'carries IPv4 over IPv4 only, because over IPv6 Linux sends VXLAN by the routes, whatever device is named for it';

/** What would send packets beside the tunnel, or that the tunnel can't carry. */
function refuseWithEncrypt(
  options: GoObject,
  {
    directRouting,
    ipv6,
    mtu,
  }: { readonly directRouting: boolean; readonly ipv6: boolean; readonly mtu: number | undefined },
): void {
  if (directRouting)
    throw options.error(
      'DirectRouting',
      'packets of a direct route are not encrypted: leave out one of Encrypt and DirectRouting',
    );
  if (ipv6)
    throw options.error(
      'Encrypt',
      `the tunnel around VXLAN ${IPV4_ONLY}: leave out EnableIPv6, or take the backend "wireguard"`,
    );
  const least = TUNNELS.v4.leastMtu + TUNNELS.v4.overhead + TUNNEL_OVERHEAD;
  if (mtu !== undefined && mtu !== 0 && mtu < least)
    throw options.error('MTU', `an MTU below ${least} leaves no packet room in the tunnel`);
}
