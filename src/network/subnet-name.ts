import {
  equalPrefix,
  formatIpv4,
  formatIpv6,
  masked,
  type Prefix4,
  type Prefix6,
  parsePrefix4,
  parsePrefix6,
} from '#src/lib/ip.ts';
import type { Subnets } from '#src/network/lease.ts';

/**
 * A lease's key below `<prefix>/subnets/`: `10.5.52.0-24`, `10.5.52.0-24&fd00:10:5:7::-64` with both families
 * (flannel HEAD, pkg/subnet/subnet.go).
 */
export function formatSubnetName({ v4, v6 }: Subnets): string {
  const parts: string[] = [];
  if (v4 !== undefined) parts.push(`${formatIpv4(v4.address)}-${v4.length}`);
  if (v6 !== undefined) parts.push(`${formatIpv6(v6.address)}-${v6.length}`);
  return parts.join('&');
}

/**
 * Reads the whole name; `undefined` when it is anything but one. flannel searches for the pattern anywhere in the
 * key and lets host bits be set: such a key is nobody's lease, and is not taken for one here.
 */
export function parseSubnetName(name: string): Subnets | undefined {
  const [first = '', second, ...rest] = name.split('&');
  const v4 = parsePart(first, parsePrefix4);
  if (v4 === undefined || rest.length > 0) return undefined;
  if (second === undefined) return { v4 };
  const v6 = parsePart(second, parsePrefix6);
  return v6 === undefined ? undefined : { v4, v6 };
}

function parsePart<P extends Prefix4 | Prefix6>(
  text: string,
  parse: (text: string) => P | undefined,
): P | undefined {
  const dash = text.lastIndexOf('-');
  const prefix = dash < 0 ? undefined : parse(`${text.slice(0, dash)}/${text.slice(dash + 1)}`);
  return prefix !== undefined && equalPrefix(masked(prefix), prefix) ? prefix : undefined;
}
