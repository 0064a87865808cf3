import type { KeySide } from '#src/backend/rotation-keys.ts';
import type { WireguardKey } from '#src/backend/wireguard-key.ts';
import { LEAST_MTU, WIREGUARD_DEVICES, type WireguardOptions } from '#src/backend/wireguard-options.ts';
import type { Endpoint } from '#src/lib/endpoint.ts';
import { containsPrefix, type Ip, type Prefix, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import { type FamilyName, familiesOf, type PerFamily, valuesOf } from '#src/lib/per-family.ts';
import type { Secret } from '#src/lib/secret.ts';
import type { GoObject } from '#src/network/go-json.ts';
import {
  type KernelObject,
  type Route,
  RT_SCOPE_LINK,
  RTPROT_BOOT,
  type WireguardPeer,
} from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/** One WireGuard device of a network, and what it carries. */
export interface WireguardTunnel {
  readonly device: string;
  /** The families of the packets inside. */
  readonly families: readonly FamilyName[];
  /** UDP port on which it listens. */
  readonly port: number;
}

/** The devices of a network: one for each family, or one for both. */
export function wireguardTunnels(
  { mode, ports }: Pick<WireguardOptions, 'mode' | 'ports'>,
  network: PerFamily<unknown>,
  side: KeySide = 'a',
): readonly WireguardTunnel[] {
  const families = familiesOf(network);
  const on = (family: FamilyName, carried: readonly FamilyName[]): WireguardTunnel => ({
    device: `${WIREGUARD_DEVICES[family]}${side === 'a' ? '' : '.b'}`,
    families: carried,
    port: ports[family] + (side === 'a' ? 0 : SECOND_PORT),
  });
  return mode === 'separate' ? families.map((family) => on(family, [family])) : [on('v4', families)];
}

/** Devices of either side that a network may have, whatever its mode and families. */
export const sideDevices = (side: KeySide): readonly string[] =>
  Object.values(WIREGUARD_DEVICES).map((device) => `${device}${side === 'a' ? '' : '.b'}`);

/** The second devices listen so many ports further on. */
const SECOND_PORT = 10;

/** Throws WeftError `config` where a second device would have the port of another, or none. */
export function refuseSecondPorts(options: GoObject, { mode, ports }: WireguardOptions): void {
  const all = mode === 'separate' ? [ports.v4, ports.v6] : [ports.v4];
  const second = all.map((port) => port + SECOND_PORT);
  if (Math.max(...second) <= 65_535 && !second.some((port) => all.includes(port))) return;
  throw options.error(
    mode === 'separate' && ports.v6 === ports.v4 + SECOND_PORT ? 'ListenPortV6' : 'ListenPort',
    `with --wireguard-rotate a second device listens ${SECOND_PORT} ports further on, and that port is taken or none: choose another`,
  );
}

/** A device with its key and its addresses: `wg set`, and the first address of each subnet, as the node's own source there. */
export function tunnelObjects(
  { device, families, port }: WireguardTunnel,
  { publicKey, privateKey }: Pick<WireguardKey, 'publicKey'> & Partial<WireguardKey>,
  mtu: number,
  subnets: PerFamily<Prefix4, Prefix6>,
): readonly KernelObject[] {
  const own = families.flatMap((family) => subnets[family] ?? []);
  if (own.length === 0) return [];
  return [
    { kind: 'link', name: device, type: 'wireguard', mtu, up: true },
    {
      kind: 'wireguard-device',
      device,
      publicKey,
      ...(privateKey !== undefined && { privateKey }),
      listenPort: port,
      fwmark: 0,
    },
    ...own.map(({ address }): KernelObject => ({ kind: 'address', prefix: hostPrefix(address), device })),
  ];
}

export interface TunnelPeer {
  readonly publicKey: string;
  readonly endpoint: Endpoint;
  readonly presharedKey: Secret | undefined;
  /** Seconds; 0 is none. */
  readonly keepalive: number;
}

/** A peer of a device that takes packets of these subnets. */
export const tunnelPeer = (
  device: string,
  { publicKey, endpoint, presharedKey, keepalive }: TunnelPeer,
  allowedIps: readonly Prefix[],
): WireguardPeer => ({
  kind: 'wireguard-peer',
  device,
  publicKey,
  endpoint,
  allowedIps,
  ...(presharedKey !== undefined && { presharedKey }),
  keepalive,
});

/** `ip route replace SUBNET dev DEVICE scope link`. flannel has one for the whole network; peers move one by one. */
export const tunnelRoute = (destination: Prefix, device: string): Route => ({
  kind: 'route',
  destination,
  type: 'unicast',
  device,
  onlink: false,
  metric: 0,
  protocol: RTPROT_BOOT,
  scope: RT_SCOPE_LINK,
});

/** All peers of the device are ours to remove, and so are routes and addresses of the network there. The device itself stays. */
export function tunnelScope(device: string, network: PerFamily<Prefix4, Prefix6>): Scope {
  const networks: readonly Prefix[] = valuesOf(network);
  return {
    kinds: ['link', 'wireguard-device', 'wireguard-peer', 'address', 'route'],
    filter: { device },
    owns(object) {
      switch (object.kind) {
        case 'wireguard-peer':
          return true;
        case 'address':
          return networks.some((range) => containsPrefix(range, object.prefix));
        case 'route':
          return (
            object.type === 'unicast' && networks.some((range) => containsPrefix(range, object.destination))
          );
        default:
          return false;
      }
    },
  };
}

/** Bytes of the least MTU that the underlay may have. */
export const leastUnderlayMtu = (network: PerFamily<unknown>, overhead: number): number =>
  LEAST_MTU[network.v6 === undefined ? 'v4' : 'v6'] + overhead;

const hostPrefix = (ip: Ip): Prefix =>
  typeof ip === 'number' ? { family: 4, address: ip, length: 32 } : { family: 6, address: ip, length: 128 };
