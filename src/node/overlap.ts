import { WeftError } from '#src/lib/errors.ts';
import {
  containsPrefix,
  formatIp,
  formatPrefix,
  isIpv4,
  type Prefix,
  parseIp,
  prefix4,
  prefix6,
} from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import {
  handedOutBy,
  isInRange,
  type NeededAddress,
  type OverlapRules,
  rangeOverlaps,
} from '#src/network/overlap-rules.ts';
import type { Ranges, SubnetRange } from '#src/network/subnet-range.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';
import { type Link, type Route, RTPROT_KERNEL, RTPROT_WEFT } from '#src/state/object.ts';

export interface OverlapFacts {
  readonly routes: readonly Route[];
  readonly links: readonly Link[];
  /** The device that carries the outer packets: its network counts even if it is a bridge. */
  readonly underlay: string;
  /** The overlay's devices: what is on them is ours. */
  readonly ownDevices: readonly string[];
  /** `--allow-overlap`: warn and go on. */
  readonly allowed: boolean;
}

/**
 * Refuses a network whose subnets take addresses of a network that this host is connected to: its neighbours there would be
 * cut off (flannel issue 611: a user lost SSH). Only the subnets that are handed out count, because the overlay has no route
 * for the rest of the network. Container bridges don't count, because they hold our own subnet. A route through a gateway is
 * only warned of, because many hosts route all private addresses to one.
 *
 * Throws WeftError `overlap`.
 */
export function refuseOverlap(ranges: Ranges, facts: OverlapFacts, log: Logger): void {
  const handedOut = handedOutBy(ranges);
  const bridges = facts.links
    .filter(({ type, name }) => type === 'bridge' && name !== facts.underlay)
    .map(({ name }) => name);
  for (const { destination, device, via, type, protocol } of facts.routes) {
    // Of an address of this host, such as the overlay's own on a device of an earlier path: nobody is behind it.
    if (destination.length === 128 && protocol === RTPROT_KERNEL) continue;
    if (destination.length === 0 || type !== 'unicast' || !rangeOverlaps(handedOut, destination)) continue;
    if (device === undefined || facts.ownDevices.includes(device) || bridges.includes(device)) continue;
    const range = destination.family === 4 ? ranges.v4 : ranges.v6;
    if (range === undefined) continue;
    // A weft before us made it, for a peer of this network.
    if (protocol === RTPROT_WEFT && containsPrefix(range.network, destination)) continue;
    const text = `${subnetsOf(range)} overlap this host's route ${formatPrefix(destination)} dev ${device}`;
    if (via === undefined && !facts.allowed) {
      throw new WeftError('overlap', text, {
        remedy:
          destination.family === 4
            ? 'choose another Network, or narrow what it hands out with SubnetMin and SubnetMax, or start with --allow-overlap if hosts there may become unreachable'
            : 'choose another IPv6Network, or narrow what it hands out with IPv6SubnetMin and IPv6SubnetMax, or start with --allow-overlap if hosts there may become unreachable',
      });
    }
    // A flannel before us may have made routes to single subnets of the network. They are replaced, and hide nothing.
    const isSubnet = destination.length > range.network.length && containsPrefix(range.network, destination);
    if (via === undefined || !isSubnet) log.warning(`${text}: what is there may become unreachable`);
  }
}

const subnetsOf = ({ network, subnetMin, subnetMax, subnetLength }: SubnetRange): string =>
  `the subnets ${formatIp(subnetMin)} to ${formatIp(subnetMax)} (/${subnetLength}) of the network ${formatPrefix(network)}`;

export interface OverlapOptions {
  /** `--allow-overlap` */
  readonly allowOverlap: boolean;
  /** The URLs of the registry's servers. */
  readonly etcdEndpoints: readonly string[];
}

/** By what the subnets of peers are judged on this host. */
export const overlapRulesOf = (
  ranges: Ranges,
  underlay: Underlay,
  { allowOverlap, etcdEndpoints }: OverlapOptions,
): OverlapRules => ({
  handedOut: handedOutBy(ranges),
  connected: underlay.prefixes,
  needed: neededAddresses(underlay, etcdEndpoints),
  allowed: allowOverlap,
});

/** What this host must reach outside the overlay, as far as it is known by address: a server's name is not looked up. */
function neededAddresses(
  { address, gateways }: Underlay,
  etcdEndpoints: readonly string[],
): readonly NeededAddress[] {
  return [
    ...valuesOf(address).map((ip) => ({ ip, use: "this host's own address" })),
    ...gateways.map((ip) => ({ ip, use: 'the default gateway' })),
    ...etcdEndpoints.flatMap((url) => {
      const ip = URL.canParse(url) ? parseIp(new URL(url).hostname.replace(/^\[|\]$/g, '')) : undefined;
      return ip === undefined ? [] : [{ ip, use: `the etcd server of ${url}` }];
    }),
  ];
}

/** Addresses in use outside the overlay that the network could hand out: a new subnet must not hold one of them. */
export const addressesToAvoid = ({ handedOut, needed }: OverlapRules): Prefix[] =>
  needed.flatMap(({ ip }) =>
    isInRange(handedOut, ip) ? [isIpv4(ip) ? prefix4(ip, 32) : prefix6(ip, 128)] : [],
  );
