import type { Kernel } from '#src/kernel/kernel.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ipv4, isGlobalUnicast, isIpv4, type Prefix4, parseIpv4 } from '#src/lib/ip.ts';
import type { Address, Link, Route } from '#src/state/object.ts';

/** The flags that choose the interface and the address peers send to (flannel's, contract: interface choice). */
export interface UnderlayFlags {
  readonly iface: readonly string[];
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: string;
  readonly publicIp: string;
}

/** The device that carries the outer packets, and its addresses. */
export interface Underlay {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** The interface's own address: the tunnel's outer source. */
  readonly address: Ipv4;
  /** Where peers send to; differs from `address` behind a NAT (`--public-ip`). */
  readonly publicIp: Ipv4;
  /** All IPv4 prefixes of the interface. */
  readonly prefixes: readonly Prefix4[];
  /** For the log: how it was chosen. */
  readonly chosenBy: string;
}

/** What the choice is made from. */
export interface HostFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** Of the main table, for the default route. */
  readonly routes: readonly Route[];
}

export async function readHostFacts(kernel: Kernel): Promise<HostFacts> {
  const links = await kernel.links();
  const objects = await kernel.dump({ kinds: ['address', 'route'] });
  return {
    links,
    addresses: objects.filter((object) => object.kind === 'address'),
    routes: objects.filter((object) => object.kind === 'route'),
  };
}

/**
 * Chooses as flannel does: each `--iface` in order (an address of an interface, or its name), each `--iface-regex` in
 * order (first against addresses, then against names), `--iface-can-reach`, an interface that owns `--public-ip`
 * (HEAD), the interface of the default route. Unlike HEAD, a `--public-ip` that no interface owns (a NAT's address)
 * does not end the start: v0.9.1 accepted it.
 *
 * Throws WeftError `interface` when nothing fits.
 */
export async function chooseUnderlay(
  flags: UnderlayFlags,
  facts: HostFacts,
  kernel: Pick<Kernel, 'routeTo'>,
): Promise<Underlay> {
  const publicIp = flags.publicIp === '' ? undefined : parseIpv4(flags.publicIp);
  if (flags.publicIp !== '' && publicIp === undefined) {
    throw new WeftError('interface', `invalid public IP address: ${flags.publicIp}`, {
      remedy: 'give --public-ip an IPv4 address such as 192.0.2.10',
    });
  }
  const choice = await choose(flags, publicIp, facts, kernel);
  const prefixes = prefixesOf(choice.link, facts);
  const address = choice.address ?? preferred(prefixes);
  if (address === undefined) {
    throw new WeftError('interface', `failed to find IPv4 address for interface ${choice.link.name}`, {
      remedy: `give it one with "ip address add ADDRESS/LENGTH dev ${choice.link.name}", or choose another with --iface`,
    });
  }
  if (!choice.link.mtu) {
    throw new WeftError(
      'interface',
      `failed to determine MTU for ${formatIp(address)} interface ${choice.link.name}`,
    );
  }
  return {
    name: choice.link.name,
    mtu: choice.link.mtu,
    address,
    publicIp: publicIp ?? address,
    prefixes,
    chosenBy: choice.by,
  };
}

interface Choice {
  readonly link: Link;
  readonly address?: Ipv4;
  readonly by: string;
}

async function choose(
  flags: UnderlayFlags,
  publicIp: Ipv4 | undefined,
  facts: HostFacts,
  kernel: Pick<Kernel, 'routeTo'>,
): Promise<Choice> {
  const asked = [
    ...flags.iface.map((name) => `--iface=${name}`),
    ...flags.ifaceRegex.map((regex) => `--iface-regex=${regex}`),
    ...(flags.ifaceCanReach === '' ? [] : [`--iface-can-reach=${flags.ifaceCanReach}`]),
  ];
  for (const name of flags.iface) {
    const found = byAddressOrName(name, facts);
    if (found !== undefined) return { ...found, by: `--iface=${name}` };
  }
  for (const text of flags.ifaceRegex) {
    const found = byRegex(text, facts);
    if (found !== undefined) return { ...found, by: `--iface-regex=${text}` };
  }
  if (flags.ifaceCanReach !== '') {
    const found = await byReach(flags.ifaceCanReach, facts, kernel);
    if (found !== undefined) return { ...found, by: `--iface-can-reach=${flags.ifaceCanReach}` };
  }
  if (asked.length > 0) {
    const names = facts.links.map((link) => link.name).join(', ');
    throw new WeftError(
      'interface',
      `Failed to find interface to use that matches the interfaces and/or regexes provided: ${asked.join(' ')}`,
      { remedy: `this host has ${names}` },
    );
  }
  if (publicIp !== undefined) {
    const found = ownerOf(publicIp, facts);
    if (found !== undefined) return { ...found, by: 'the address of --public-ip' };
  }
  return byDefaultRoute(facts);
}

function byAddressOrName(text: string, facts: HostFacts): Omit<Choice, 'by'> | undefined {
  const ip = parseIpv4(text);
  if (ip !== undefined) return ownerOf(ip, facts);
  const link = facts.links.find(({ name }) => name === text);
  return link === undefined ? undefined : { link };
}

function byRegex(text: string, facts: HostFacts): Omit<Choice, 'by'> | undefined {
  let regex: RegExp;
  try {
    regex = new RegExp(text, 'u');
  } catch (cause) {
    throw new WeftError(
      'interface',
      `--iface-regex=${text} is not a regular expression: ${(cause as Error).message}`,
      { cause },
    );
  }
  for (const link of facts.links) {
    const match = prefixesOf(link, facts).find(({ address }) => regex.test(formatIp(address)));
    if (match !== undefined) return { link, address: match.address };
  }
  const link = facts.links.find(({ name }) => regex.test(name));
  return link === undefined ? undefined : { link };
}

async function byReach(
  text: string,
  facts: HostFacts,
  kernel: Pick<Kernel, 'routeTo'>,
): Promise<Omit<Choice, 'by'> | undefined> {
  const ip = parseIpv4(text);
  if (ip === undefined) {
    throw new WeftError('interface', `--iface-can-reach=${text} is not an IPv4 address`);
  }
  const route = await kernel.routeTo(ip);
  const link = facts.links.find(({ name }) => name === route?.device);
  if (link === undefined) return undefined;
  const source = route?.source;
  return { link, ...(source !== undefined && isIpv4(source) && { address: source }) };
}

function byDefaultRoute({ links, routes }: HostFacts): Choice {
  const defaults = routes
    .filter(
      ({ destination, type }) => destination.family === 4 && destination.length === 0 && type === 'unicast',
    )
    .sort((a, b) => a.metric - b.metric);
  for (const { device } of defaults) {
    const link = links.find(({ name }) => name === device);
    if (link !== undefined) return { link, by: 'the default route' };
  }
  throw new WeftError('interface', 'failed to get default interface: Unable to find default route', {
    remedy: 'name the interface that reaches the other hosts with --iface',
  });
}

function ownerOf(ip: Ipv4, facts: HostFacts): Omit<Choice, 'by'> | undefined {
  const owner = facts.addresses.find(({ prefix }) => prefix.address === ip);
  const link = facts.links.find(({ name }) => name === owner?.device);
  return link === undefined ? undefined : { link, address: ip };
}

const prefixesOf = (link: Link, { addresses }: HostFacts): readonly Prefix4[] =>
  addresses
    .filter(({ device }) => device === link.name)
    .flatMap(({ prefix }) => (prefix.family === 4 ? [prefix] : []));

/** The first address the world can route to; else the last link-local one, as flannel v0.9.1 takes it. */
const preferred = (prefixes: readonly Prefix4[]): Ipv4 | undefined =>
  (prefixes.find(({ address }) => isGlobalUnicast(address)) ?? prefixes.at(-1))?.address;
