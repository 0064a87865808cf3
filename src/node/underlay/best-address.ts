import { type Ip, type Ipv4, type Ipv6, isGlobalUnicast, isIpv4 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Interfaces } from '#src/node/underlay/host-facts.ts';
import type { Address } from '#src/state/object.ts';

/**
 * The addresses of an interface that a tunnel may use, the preferred one first. IPv4: routable ones before link-local ones,
 * of which the last is taken (flannel v0.9.1). IPv6: routable ones only, as flannel HEAD prefers them (pkg/ip/iface.go):
 * those that were set by hand, those of SLAAC and DHCPv6, temporary ones (RFC 8981), those that are not yet sure to be the
 * host's own. What is deprecated or another host's is left out.
 */
export function usableAddresses(name: string, family: FamilyName, facts: Interfaces): Ip[] {
  const found = facts.addresses.filter(
    ({ device, prefix }) => device === name && prefix.family === (family === 'v4' ? 4 : 6),
  );
  return family === 'v4' ? usable4(found.map(ipOf)) : usable6(found);
}

const ipOf = ({ prefix }: Address): Ip => prefix.address;

const usable4 = (ips: readonly Ip[]): Ip[] => [
  ...ips.filter(isGlobalUnicast),
  ...ips.filter((ip) => !isGlobalUnicast(ip)).reverse(),
];

const usable6 = (found: readonly Address[]): Ip[] =>
  found
    .filter(({ prefix, flags }) => isGlobalUnicast(prefix.address) && !flags?.deprecated && !flags?.duplicate)
    .sort((a, b) => rankOf(a) - rankOf(b))
    .map(ipOf);

/** Lower is better. */
const rankOf = ({ flags = {} }: Address): number =>
  (flags.tentative ? 4 : 0) + (flags.dynamic ? 2 : 0) + (flags.temporary ? 1 : 0);

/** The first that may be used; `routable`: no link-local one. */
export function bestAddress(
  name: string,
  family: FamilyName,
  facts: Interfaces,
  { routable = false }: { readonly routable?: boolean } = {},
): Ip | undefined {
  const [best] = usableAddresses(name, family, facts);
  return best !== undefined && routable && !isGlobalUnicast(best) ? undefined : best;
}

/** The address as that of its family. */
export const inFamily = (ip: Ip): PerFamily<Ipv4, Ipv6> => (isIpv4(ip) ? { v4: ip } : { v6: ip });
