import { WeftError } from '#src/lib/errors.ts';
import { containsAddress, formatPrefix, type Ip, overlaps, type Prefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Link, Route } from '#src/state/object.ts';

export interface OverlapFacts {
  readonly routes: readonly Route[];
  readonly links: readonly Link[];
  /** The device that carries the outer packets: its network counts even if it is a bridge. */
  readonly underlay: string;
  /** Devices of the overlay: what is on them is ours. */
  readonly ownDevices: readonly string[];
  /** `--allow-overlap`: say it and go on. */
  readonly allowed: boolean;
}

/**
 * Refuses a network that takes addresses of a network that this host is on: its neighbours there would be cut off
 * (flannel issue 611: a user lost SSH). Container bridges don't count, they hold our own subnet; a route through a
 * gateway to something wider is only said, because many hosts route all private addresses to one.
 *
 * Throws WeftError `overlap`.
 */
export function refuseOverlap(network: Prefix, facts: OverlapFacts, log: Logger): void {
  const bridges = facts.links
    .filter(({ type, name }) => type === 'bridge' && name !== facts.underlay)
    .map(({ name }) => name);
  for (const route of facts.routes) {
    const { destination, device, via, type } = route;
    if (destination.length === 0 || type !== 'unicast' || !overlaps(network, destination)) continue;
    if (device === undefined || facts.ownDevices.includes(device) || bridges.includes(device)) continue;
    const text = `the network ${formatPrefix(network)} overlaps this host's route ${formatPrefix(destination)} dev ${device}`;
    if (via === undefined && !facts.allowed) {
      throw new WeftError('overlap', text, {
        remedy: 'choose another Network, or start with --allow-overlap if hosts there may become unreachable',
      });
    }
    // Routes to single subnets of the network may be a flannel's before us; they are replaced, not hidden.
    if (via === undefined || !containsOnly(network, destination))
      log.warning(`${text}: what is there may become unreachable`);
  }
}

const containsOnly = (network: Prefix, destination: Prefix): boolean =>
  destination.length > network.length && containsAddress(network, destination.address as Ip);
