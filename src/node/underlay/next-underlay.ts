import { messageOf } from '#src/lib/errors.ts';
import { formatIp, type Ip, isGlobalUnicast } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import {
  type Choice,
  chooseUnderlay,
  ownerOf,
  routableAddress,
  underlayAt,
} from '#src/node/underlay/choose-underlay.ts';
import {
  addressesOf,
  gatewaysThrough,
  type HostFacts,
  type Interfaces,
} from '#src/node/underlay/host-facts.ts';
import { connectedNetworks, sameUnderlay, type Underlay } from '#src/node/underlay/underlay.ts';
import type { UnderlaySelection } from '#src/node/underlay/underlay-selection.ts';

export type NextUnderlay =
  | { readonly kind: 'stay' }
  | { readonly kind: 'moved'; readonly to: Underlay }
  /** `why` is a clause: "the underlay address 192.0.2.10 is gone from eth0: …". */
  | { readonly kind: 'gone'; readonly why: string };

/**
 * The next underlay, given the one in use. An interface and an address in use stay for as long as
 * they exist: a better default route, a VPN for instance, must not take the overlay away from where
 * its peers reach it. Only the properties of the place may change (MTU, networks, gateways).
 *
 * A place that is lost is left for one that the flags allow. Without a flag that names an
 * interface, the address in use is looked for on other interfaces first (it moves to a bridge with
 * its interface), then another address on the interface in use (a renumbering, whose default route
 * may come later), then the default route.
 *
 * A link-local address is a stopgap: peers refuse it. It is never moved to, and left as soon as
 * there is a routable one.
 */
export function nextUnderlay(
  current: Underlay,
  selection: UnderlaySelection,
  facts: HostFacts,
): NextUnderlay {
  const lost = lossOf(current, facts);
  if (lost === undefined) {
    const to = betterThan(current, selection, facts) ?? refreshed(current, facts);
    return sameUnderlay(current, to) ? { kind: 'stay' } : { kind: 'moved', to };
  }
  try {
    const to = another(current, selection, facts);
    const unfit = lossOf(to, facts) !== undefined || !isRoutable(to);
    return unfit ? { kind: 'gone', why: lost } : { kind: 'moved', to };
  } catch (error) {
    return { kind: 'gone', why: `${lost}: ${messageOf(error)}` };
  }
}

function another(current: Underlay, selection: UnderlaySelection, facts: HostFacts): Underlay {
  const near = isPinned(selection) ? undefined : nearby(current, facts);
  return near === undefined ? chooseUnderlay(selection, facts) : underlayAt(near, selection, facts);
}

/** A routable address in place of a link-local one. */
function betterThan(current: Underlay, selection: UnderlaySelection, facts: HostFacts): Underlay | undefined {
  if (isRoutable(current)) return undefined;
  try {
    const to = another(current, selection, facts);
    return isRoutable(to) && lossOf(to, facts) === undefined ? to : undefined;
  } catch {
    return undefined;
  }
}

/** Why the underlay in use can't be used now, as a clause; `undefined` while it can. */
export function lossOf({ name, address }: Underlay, facts: Interfaces): string | undefined {
  const link = facts.links.find((candidate) => candidate.name === name);
  if (link === undefined) return `the underlay interface ${name} is gone`;
  const there = addressesOf(name, facts).map((prefix) => prefix.address);
  const gone = valuesOf<Ip, Ip>(address).find((ip) => !there.includes(ip));
  if (gone !== undefined) return `the underlay address ${formatIp(gone)} is gone from ${name}`;
  return link.up === false ? `the underlay interface ${name} is down` : undefined;
}

/** Whether peers can send to it: no address is link-local. */
export const isRoutable = ({ address }: Underlay): boolean =>
  valuesOf<Ip, Ip>(address).every(isGlobalUnicast);

/** The same place as it is now. */
function refreshed(current: Underlay, facts: HostFacts): Underlay {
  const { name } = current;
  const link = facts.links.find((candidate) => candidate.name === name);
  return {
    ...current,
    // An interface that is about to be changed may have none for a moment.
    mtu: link?.mtu || current.mtu,
    prefixes: connectedNetworks(addressesOf(name, facts)),
    gateways: gatewaysThrough(name, facts.routes),
  };
}

/** Whether a flag names the interface or its address. A route's interface was chosen at the start, once. */
const isPinned = ({ wishes }: UnderlaySelection): boolean => wishes.some(({ kind }) => kind !== 'reach');

function nearby(
  { name, address: { v4: address }, chosenBy: by }: Underlay,
  facts: HostFacts,
): Choice | undefined {
  if (address === undefined) return undefined;
  const owner = ownerOf(address, facts);
  if (owner !== undefined && owner.link.name !== name && owner.link.up !== false) return { ...owner, by };
  const link = facts.links.find((candidate) => candidate.name === name);
  const renumbered = routableAddress(name, facts);
  return link === undefined || link.up === false || renumbered === undefined
    ? undefined
    : { link, address: renumbered, by };
}
