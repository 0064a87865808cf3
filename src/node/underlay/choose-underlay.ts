import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, type Ipv4, type Ipv6 } from '#src/lib/ip.ts';
import { type FamilyName, familyText, type PerFamily } from '#src/lib/per-family.ts';
import { bestAddress, inFamily, usableAddresses } from '#src/node/underlay/best-address.ts';
import {
  addressesOf,
  defaultRoutes,
  gatewaysThrough,
  type HostFacts,
  type Interfaces,
} from '#src/node/underlay/host-facts.ts';
import { connectedNetworks, formatAddresses, type Underlay } from '#src/node/underlay/underlay.ts';
import type { UnderlaySelection, Wish } from '#src/node/underlay/underlay-selection.ts';
import type { Link } from '#src/state/object.ts';

/** The families in which a network's tunnels have addresses. */
export type UnderlayFamilies = readonly FamilyName[];

/**
 * Chooses as flannel does at its start: each `--iface` in order (an address of an interface, or its name), each
 * `--iface-regex` in order (first against addresses, then against names), `--iface-can-reach`, an interface that owns
 * `--public-ip` or `--public-ipv6` (HEAD), the interface of the default route. One interface has the addresses of all
 * `families`.
 *
 * Unlike HEAD, a `--public-ip` that no interface owns (a NAT's address) does not end the start: v0.9.1 accepted it. Nor
 * does a missing IPv6 default route where the interface of the IPv4 one has a routable IPv6 address.
 *
 * Throws WeftError `interface` when nothing fits.
 */
export function chooseUnderlay(
  selection: UnderlaySelection,
  facts: HostFacts,
  families: UnderlayFamilies = ['v4'],
): Underlay {
  return underlayAt(choose(selection, facts, families), selection, facts);
}

/** An interface, and the addresses on it that the tunnels use. */
export interface Choice {
  readonly link: Link;
  readonly address: PerFamily<Ipv4, Ipv6>;
  readonly by: string;
}

/**
 * The value for an interface and addresses that were chosen.
 *
 * Throws WeftError `interface` when the interface has no MTU.
 */
export function underlayAt(
  { link, address, by }: Choice,
  { publicIp: given }: UnderlaySelection,
  facts: HostFacts,
): Underlay {
  if (!link.mtu) {
    throw new WeftError(
      'interface',
      `failed to determine MTU for ${formatAddresses(address)} interface ${link.name}`,
    );
  }
  return {
    name: link.name,
    mtu: link.mtu,
    address,
    publicIp: {
      ...(address.v4 !== undefined && { v4: given.v4 ?? address.v4 }),
      ...(address.v6 !== undefined && { v6: given.v6 ?? address.v6 }),
    },
    prefixes: connectedNetworks(addressesOf(link.name, facts)),
    gateways: gatewaysThrough(link.name, facts.routes),
    chosenBy: by,
  };
}

function choose(selection: UnderlaySelection, facts: HostFacts, families: UnderlayFamilies): Choice {
  const { wishes, publicIp } = selection;
  if (wishes.length === 0) {
    for (const family of families) {
      const given = publicIp[family];
      const owner = given === undefined ? undefined : ownerOf(given, facts);
      if (owner === undefined) continue;
      const by = `the address of --public-ip${family === 'v6' ? 'v6' : ''}`;
      return { ...complete(owner, selection, facts, families), by };
    }
    const found = byDefaultRoute(facts, families);
    return { ...complete(found, selection, facts, families), by: 'the default route' };
  }
  // An interface that has no address is a miss like any other (flannel tries the next flag).
  let withoutAddress: WeftError | undefined;
  for (const wish of wishes) {
    const found = find(wish, facts, families);
    if (found === undefined) continue;
    try {
      return { ...complete(found, selection, facts, families), by: wish.by };
    } catch (error) {
      withoutAddress ??= error as WeftError;
    }
  }
  if (withoutAddress !== undefined) throw withoutAddress;
  throw new WeftError(
    'interface',
    `Failed to find interface to use that matches the interfaces and/or regexes provided: ${wishes.map(({ by }) => by).join(' ')}`,
    { remedy: `this host has ${facts.links.map(({ name }) => name).join(', ')}` },
  );
}

interface Found {
  readonly link: Link;
  readonly address?: PerFamily<Ipv4, Ipv6>;
}

function find(wish: Wish, facts: HostFacts, families: UnderlayFamilies): Found | undefined {
  switch (wish.kind) {
    case 'address':
      return ownerOf(wish.ip, facts);
    case 'name':
      return foundLink(wish.name, facts);
    case 'regex':
      return byRegex(wish.matches, facts, families);
    case 'reach':
      return byReach(facts);
  }
}

function byRegex(
  matches: (text: string) => boolean,
  facts: HostFacts,
  families: UnderlayFamilies,
): Found | undefined {
  const matching = (link: Link, family: FamilyName): Ip | undefined =>
    usableAddresses(link.name, family, facts).find((ip) => matches(formatIp(ip)));
  for (const family of families) {
    const link = facts.links.find((candidate) => matching(candidate, family) !== undefined);
    if (link === undefined) continue;
    // One expression may match an address of each family.
    const ips = families.flatMap((each) => matching(link, each) ?? []);
    return { link, address: Object.assign({}, ...ips.map(inFamily)) };
  }
  const link = facts.links.find(({ name }) => matches(name));
  return link && { link };
}

function byReach(facts: HostFacts): Found | undefined {
  const { reach } = facts;
  const found = foundLink(reach?.device, facts);
  const source = reach?.source;
  return found && source !== undefined ? { ...found, address: inFamily(source) } : found;
}

function byDefaultRoute(facts: HostFacts, families: UnderlayFamilies): Found {
  const found = families.map((family) => ({ family, link: defaultLink(family, facts) }));
  const [one, other] = found.filter(({ link }) => link !== undefined);
  // Both families are on one interface, which the IPv4 route names where there is one.
  if (one?.link === undefined || (families.includes('v4') && one.family !== 'v4'))
    throw noDefaultRoute(families);
  if (other?.link !== undefined && other.link.name !== one.link.name) {
    throw new WeftError(
      'interface',
      `v6 default route interface ${other.link.name} must be the same with v4 default route interface ${one.link.name}`,
      { remedy: 'name the interface that reaches the other hosts in both families with --iface' },
    );
  }
  return { link: one.link };
}

function defaultLink(family: FamilyName, facts: HostFacts): Link | undefined {
  for (const { device, destination } of defaultRoutes(facts.routes)) {
    const found = destination.family === (family === 'v4' ? 4 : 6) ? foundLink(device, facts) : undefined;
    if (found !== undefined) return found.link;
  }
  return undefined;
}

function noDefaultRoute(families: UnderlayFamilies): WeftError {
  const name = 'name the interface that reaches the other hosts with --iface';
  if (families.includes('v4')) {
    const text = 'failed to get default interface: Unable to find default route';
    return new WeftError('interface', text, { remedy: name });
  }
  return new WeftError('interface', 'failed to get default v6 interface: unable to find default v6 route', {
    remedy: `${name}; a host that forwards takes a route from router advertisements only with net.ipv6.conf.INTERFACE.accept_ra=2`,
  });
}

/** The interface that has the address. */
export function ownerOf(
  ip: Ip,
  facts: Interfaces,
): { link: Link; address: PerFamily<Ipv4, Ipv6> } | undefined {
  const owner = facts.addresses.find(({ prefix }) => prefix.address === ip);
  const found = foundLink(owner?.device, facts);
  return found && { link: found.link, address: inFamily(ip) };
}

function foundLink(name: string | undefined, { links }: Interfaces): Found | undefined {
  const link = links.find((candidate) => candidate.name === name);
  return link && { link };
}

/**
 * With an address in each of the families: the one that was found, the one of `--public-ip` or `--public-ipv6` where it is
 * the interface's, or the interface's best. Throws WeftError `interface` where there is none.
 */
export function complete(
  { link, address = {} }: Found,
  { publicIp }: Pick<UnderlaySelection, 'publicIp'>,
  facts: Interfaces,
  families: UnderlayFamilies,
): { readonly link: Link; readonly address: PerFamily<Ipv4, Ipv6> } {
  const own: readonly Ip[] = addressesOf(link.name, facts).map((prefix) => prefix.address);
  const all = families.map((family) => {
    const given = family === 'v6' ? publicIp.v6 : undefined;
    const ip =
      address[family] ??
      (given !== undefined && own.includes(given) ? given : undefined) ??
      bestAddress(link.name, family, facts);
    if (ip === undefined) throw hasNoAddress(link, family, facts);
    return inFamily(ip);
  });
  return { link, address: Object.assign({}, ...all) };
}

function hasNoAddress({ name }: Link, family: FamilyName, facts: Interfaces): WeftError {
  const text = `failed to find ${familyText(family)} address for interface ${name}`;
  const there = family === 'v6' ? unusable6(name, facts) : '';
  return new WeftError('interface', `${text}${there}`, {
    remedy: `give it one with "ip address add ADDRESS/LENGTH dev ${name}", or choose another with --iface`,
  });
}

/** Every interface has a link-local address, which no other host can send to by a tunnel. */
function unusable6(name: string, { addresses }: Interfaces): string {
  const found = addresses.filter(({ device, prefix }) => device === name && prefix.family === 6);
  if (found.length === 0) return '';
  const texts = found.map(({ prefix, flags }) => {
    const why = flags?.duplicate
      ? 'another host has it too'
      : flags?.deprecated
        ? 'deprecated'
        : 'link-local';
    return `${formatIp(prefix.address)} (${why})`;
  });
  return `: it has only ${texts.join(' and ')}`;
}
