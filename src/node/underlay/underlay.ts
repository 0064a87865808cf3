import {
  formatIp,
  formatPrefix,
  type Ip,
  type Ipv4,
  type Ipv6,
  isGlobalUnicast,
  masked,
  type Prefix,
} from '#src/lib/ip.ts';
import { type PerFamily, valuesOf } from '#src/lib/per-family.ts';

/** The device that carries the outer packets, and what the network must know of it. A plain value. */
export interface Underlay {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** The interface's own addresses: the tunnels' outer sources. At least one is set. */
  readonly address: PerFamily<Ipv4, Ipv6>;
  /** Peers send to these addresses. They differ from `address` behind a NAT (`--public-ip`, `--public-ipv6`). */
  readonly publicIp: PerFamily<Ipv4, Ipv6>;
  /** The networks that the interface is connected to, of both families; see {@link connectedNetworks}. */
  readonly prefixes: readonly Prefix[];
  /** The gateways of the default routes through the interface. */
  readonly gateways: readonly Ip[];
  /** For the log: how it was chosen. */
  readonly chosenBy: string;
}

/**
 * Whether two values are the same place. The order of prefixes and gateways is the kernel's and means nothing, and how it
 * was chosen does not matter.
 */
export const sameUnderlay = (a: Underlay, b: Underlay): boolean => placeOf(a) === placeOf(b);

const placeOf = ({ name, mtu, address, publicIp, prefixes, gateways }: Underlay): string =>
  [
    name,
    mtu,
    formatAddresses(address),
    formatAddresses(publicIp),
    prefixes.map(formatPrefix).sort(),
    gateways.map(formatIp).sort(),
  ].join(' ');

/** For messages: `eth0 with 192.0.2.10, MTU 1500`. */
export const describeUnderlay = ({ name, address, mtu }: Underlay): string =>
  `${name} with ${formatAddresses(address)}, MTU ${mtu}`;

/** For messages: `192.0.2.10 and 2001:db8::10`. */
export const formatAddresses = (addresses: PerFamily<Ipv4, Ipv6>): string =>
  valuesOf(addresses).map(formatIp).join(' and ');

/**
 * The networks of an interface's addresses, each once. IPv6 temporary addresses come and go inside one network (RFC 8981).
 * Link-local IPv6 is left out: every interface has it.
 */
export function connectedNetworks(addresses: readonly Prefix[]): Prefix[] {
  const networks = addresses
    .filter(({ family, address }) => family === 4 || isGlobalUnicast(address))
    .map((prefix) => masked(prefix));
  return [...new Map(networks.map((network) => [formatPrefix(network), network])).values()];
}
