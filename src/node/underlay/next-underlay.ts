import { messageOf } from '#src/lib/errors.ts';
import { formatIp, type Ip, isGlobalUnicast } from '#src/lib/ip.ts';
import { FAMILY_NAMES, familiesOf, valuesOf } from '#src/lib/per-family.ts';
import { inFamily, usableAddresses } from '#src/node/underlay/best-address.ts';
import {
  type Choice,
  chooseUnderlay,
  complete,
  ownerOf,
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
 * interface, the addresses in use are looked for on other interfaces first (they move to a bridge with
 * their interface), then other addresses on the interface in use (a renumbering, whose default route
 * may come later), then the default route. The families stay.
 *
 * A link-local address is a stopgap: peers refuse it. It is never moved to, and left as soon as
 * there is a routable one. An IPv6 address that is deprecated is left as soon as there is another.
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
  const near = isPinned(selection) ? undefined : nearby(current, selection, facts);
  return near === undefined
    ? chooseUnderlay(selection, facts, familiesOf(current.address))
    : underlayAt(near, selection, facts);
}

/** A routable address in place of a link-local one; another in place of one that is deprecated: it will be gone. */
function betterThan(current: Underlay, selection: UnderlaySelection, facts: HostFacts): Underlay | undefined {
  if (isRoutable(current) && !isDeprecated(current, facts)) return undefined;
  try {
    const to = another(current, selection, facts);
    if (isRoutable(current) && to.name !== current.name) return undefined;
    return isRoutable(to) && lossOf(to, facts) === undefined ? to : undefined;
  } catch {
    return undefined;
  }
}

const isDeprecated = ({ name, address }: Underlay, { addresses }: Interfaces): boolean =>
  addresses.some(
    ({ device, prefix, flags }) => flags?.deprecated && device === name && prefix.address === address.v6,
  );

/** Why the underlay in use can't be used now, as a clause; `undefined` while it can. */
export function lossOf({ name, address }: Underlay, facts: Interfaces): string | undefined {
  const link = facts.links.find((candidate) => candidate.name === name);
  if (link === undefined) return `the underlay interface ${name} is gone`;
  const there = facts.addresses.filter(({ device }) => device === name);
  for (const ip of valuesOf<Ip, Ip>(address)) {
    const found = there.find(({ prefix }) => prefix.address === ip);
    if (found === undefined) return `the underlay address ${formatIp(ip)} is gone from ${name}`;
    if (found.flags?.duplicate) return `another host has the underlay address ${formatIp(ip)} of ${name} too`;
  }
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

/** The same addresses on another interface, or others of the same families on this one. */
function nearby(current: Underlay, selection: UnderlaySelection, facts: HostFacts): Choice | undefined {
  const { name, address, chosenBy: by } = current;
  const families = familiesOf(address);
  const owners = valuesOf<Ip, Ip>(address).map((ip) => ownerOf(ip, facts)?.link);
  const moved = owners.find((link) => link !== undefined && link.name !== name && link.up !== false);
  // All of them have to be there: an address that moves with its interface takes the others along.
  const link = moved ?? facts.links.find((candidate) => candidate.name === name);
  if (link === undefined || link.up === false) return undefined;
  const kept = keptOf(address, link.name, facts);
  try {
    const { address: now } = complete({ link, address: kept }, selection, facts, families);
    return valuesOf<Ip, Ip>(now).every(isGlobalUnicast) ? { link, address: now, by } : undefined;
  } catch {
    return undefined;
  }
}

/** Those of the addresses that are on the interface and may stay in use. */
function keptOf(address: Underlay['address'], name: string, facts: Interfaces): Underlay['address'] {
  const usable = FAMILY_NAMES.flatMap((family) => usableAddresses(name, family, facts));
  const kept = valuesOf<Ip, Ip>(address).filter((ip) => isGlobalUnicast(ip) && usable.includes(ip));
  return Object.assign({}, ...kept.map(inFamily));
}
