import {
  formatIpv4,
  formatIpv6,
  hasHostBits,
  type Prefix4,
  type Prefix6,
  parsePrefix4,
  parsePrefix6,
} from '#src/lib/ip.ts';
import type { Subnets } from '#src/network/lease.ts';

/**
 * A lease's key below `<prefix>/subnets/`: `10.5.52.0-24`, `10.5.52.0-24&fd00:10:5:7::-64` with both families
 * (flannel HEAD, pkg/subnet/subnet.go); `fd00:10:5:7::-64` of a network that has no IPv4.
 */
export function formatSubnetName({ v4, v6 }: Subnets): string {
  const parts: string[] = [];
  if (v4 !== undefined) parts.push(`${formatIpv4(v4.address)}-${v4.length}`);
  if (v6 !== undefined) parts.push(`${formatIpv6(v6.address)}-${v6.length}`);
  return parts.join('&');
}

/**
 * Reads the whole name; `undefined` when it is not the name of a subnet. flannel finds the pattern anywhere in the key and
 * accepts host bits. No program writes such a key as a lease, so it is refused here.
 */
export function parseSubnetName(name: string): Subnets | undefined {
  const and = name.indexOf('&');
  // Most names end here: a start reads up to 50,000.
  const v4 = withoutHostBits(parsePrefix4(and < 0 ? name : name.slice(0, and), '-'));
  if (and < 0 && v4 !== undefined) return { v4 };
  if (and < 0) return onlyV6(name);
  if (v4 === undefined) return undefined;
  const v6 = withoutHostBits(parsePrefix6(name.slice(and + 1), '-'));
  return v6 && { v4, v6 };
}

/** Where a network has no IPv4. flannel never writes such a key, and never sees ours: see registry/lease-folder.ts. */
function onlyV6(name: string): Subnets | undefined {
  const v6 = name.includes(':') ? withoutHostBits(parsePrefix6(name, '-')) : undefined;
  return v6 && { v6 };
}

const withoutHostBits = <P extends Prefix4 | Prefix6>(prefix: P | undefined): P | undefined =>
  prefix !== undefined && hasHostBits(prefix) ? undefined : prefix;
