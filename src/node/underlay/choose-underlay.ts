import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, type Ipv4, isGlobalUnicast, isIpv4, type Prefix4 } from '#src/lib/ip.ts';
import {
  addressesOf,
  defaultRoutes,
  gatewaysThrough,
  type HostFacts,
  type Interfaces,
} from '#src/node/underlay/host-facts.ts';
import { connectedNetworks, type Underlay } from '#src/node/underlay/underlay.ts';
import type { UnderlaySelection, Wish } from '#src/node/underlay/underlay-selection.ts';
import type { Link } from '#src/state/object.ts';

/**
 * Chooses as flannel does at its start: each `--iface` in order (an address of an interface, or its name), each
 * `--iface-regex` in order (first against addresses, then against names), `--iface-can-reach`, an interface that owns
 * `--public-ip` (HEAD), the interface of the default route. Unlike HEAD, a `--public-ip` that no interface owns (a NAT's
 * address) does not end the start: v0.9.1 accepted it.
 *
 * Throws WeftError `interface` when nothing fits.
 */
export function chooseUnderlay(selection: UnderlaySelection, facts: HostFacts): Underlay {
  const { link, address, by } = choose(selection, facts);
  return underlayAt({ link, address, by }, selection, facts);
}

/** An interface, and the address on it that the tunnel uses. */
export interface Choice {
  readonly link: Link;
  readonly address: Ipv4;
  readonly by: string;
}

/**
 * The value for an interface and an address that were chosen.
 *
 * Throws WeftError `interface` when the interface has no MTU.
 */
export function underlayAt(
  { link, address, by }: Choice,
  { publicIp }: UnderlaySelection,
  facts: HostFacts,
): Underlay {
  if (!link.mtu) {
    throw new WeftError(
      'interface',
      `failed to determine MTU for ${formatIp(address)} interface ${link.name}`,
    );
  }
  return {
    name: link.name,
    mtu: link.mtu,
    address: { v4: address },
    publicIp: { v4: publicIp ?? address },
    prefixes: connectedNetworks(addressesOf(link.name, facts)),
    gateways: gatewaysThrough(link.name, facts.routes),
    chosenBy: by,
  };
}

function choose(selection: UnderlaySelection, facts: HostFacts): Choice {
  const { wishes, publicIp } = selection;
  if (wishes.length === 0) {
    const owner = publicIp === undefined ? undefined : ownerOf(publicIp, facts);
    if (owner !== undefined) return { ...owner, by: 'the address of --public-ip' };
    return { ...complete(byDefaultRoute(facts), facts), by: 'the default route' };
  }
  // An interface that has no address is a miss like any other (flannel tries the next flag).
  let withoutAddress: Found | undefined;
  for (const wish of wishes) {
    const found = find(wish, facts);
    if (found === undefined) continue;
    const address = addressFor(found, facts);
    if (address !== undefined) return { link: found.link, address, by: wish.by };
    withoutAddress ??= found;
  }
  if (withoutAddress !== undefined) throw hasNoAddress(withoutAddress.link);
  throw new WeftError(
    'interface',
    `Failed to find interface to use that matches the interfaces and/or regexes provided: ${wishes.map(({ by }) => by).join(' ')}`,
    { remedy: `this host has ${facts.links.map(({ name }) => name).join(', ')}` },
  );
}

interface Found {
  readonly link: Link;
  readonly address?: Ipv4;
}

function find(wish: Wish, facts: HostFacts): Found | undefined {
  switch (wish.kind) {
    case 'address':
      return ownerOf(wish.ip, facts);
    case 'name':
      return foundLink(wish.name, facts);
    case 'regex':
      return byRegex(wish.matches, facts);
    case 'reach':
      return byReach(facts);
  }
}

function byRegex(matches: (text: string) => boolean, facts: HostFacts): Found | undefined {
  for (const link of facts.links) {
    const match = addresses4(link.name, facts).find(({ address }) => matches(formatIp(address)));
    if (match !== undefined) return { link, address: match.address };
  }
  const link = facts.links.find(({ name }) => matches(name));
  return link && { link };
}

function byReach(facts: HostFacts): Found | undefined {
  const { reach } = facts;
  const found = foundLink(reach?.device, facts);
  const source = reach?.source;
  return found && source !== undefined && isIpv4(source) ? { ...found, address: source } : found;
}

function byDefaultRoute(facts: HostFacts): Found {
  for (const { device, destination } of defaultRoutes(facts.routes)) {
    const found = destination.family === 4 ? foundLink(device, facts) : undefined;
    if (found !== undefined) return found;
  }
  throw new WeftError('interface', 'failed to get default interface: Unable to find default route', {
    remedy: 'name the interface that reaches the other hosts with --iface',
  });
}

/** The interface that has the address. */
export function ownerOf(ip: Ip, facts: Interfaces): { link: Link; address: Ipv4 } | undefined {
  const owner = facts.addresses.find(({ prefix }) => prefix.address === ip);
  const found = foundLink(owner?.device, facts);
  return found !== undefined && isIpv4(ip) ? { link: found.link, address: ip } : undefined;
}

function foundLink(name: string | undefined, { links }: Interfaces): Found | undefined {
  const link = links.find((candidate) => candidate.name === name);
  return link && { link };
}

function complete(found: Found, facts: HostFacts): { link: Link; address: Ipv4 } {
  const address = addressFor(found, facts);
  if (address === undefined) throw hasNoAddress(found.link);
  return { link: found.link, address };
}

/** The first address that is routable, else the last link-local one, as flannel v0.9.1 takes it. */
function addressFor({ link, address }: Found, facts: Interfaces): Ipv4 | undefined {
  return address ?? routableAddress(link.name, facts) ?? addresses4(link.name, facts).at(-1)?.address;
}

/** The first address of an interface that is neither link-local nor loopback. */
export const routableAddress = (name: string, facts: Interfaces): Ipv4 | undefined =>
  addresses4(name, facts).find(({ address }) => isGlobalUnicast(address))?.address;

const addresses4 = (name: string, facts: Interfaces): Prefix4[] =>
  addressesOf(name, facts).filter((prefix) => prefix.family === 4);

const hasNoAddress = ({ name }: Link): WeftError =>
  new WeftError('interface', `failed to find IPv4 address for interface ${name}`, {
    remedy: `give it one with "ip address add ADDRESS/LENGTH dev ${name}", or choose another with --iface`,
  });
