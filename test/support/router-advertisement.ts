import { formatIpv6, type Ipv6, parseIpv6 } from '#src/lib/ip.ts';

const ALL_NODES = '3333000000010200000000ff86dd';
const LINK_LOCAL = 'fe800000000000000000000000000001';
const MULTICAST = 'ff020000000000000000000000000001';

/**
 * A frame with a router advertisement (RFC 4861 §4.2) from fe80::1, a default router for 1,800 s. `prefix`: a /64 from which
 * hosts make their addresses (§4.6.2), for an hour.
 */
export function routerAdvertisement(prefix?: string): Buffer {
  const options = prefix === undefined ? '' : prefixOption(parseIpv6(prefix) as Ipv6);
  const message = Buffer.from(`8600000040000708${'00'.repeat(8)}${options}`, 'hex');
  const length = message.length.toString(16).padStart(4, '0');
  const pseudo = Buffer.from(`${LINK_LOCAL}${MULTICAST}0000${length}0000003a`, 'hex');
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), 2);
  const header = Buffer.from(`60000000${length}3aff${LINK_LOCAL}${MULTICAST}`, 'hex');
  return Buffer.concat([Buffer.from(ALL_NODES, 'hex'), header, message]);
}

/** On-link and autonomous. */
const prefixOption = (prefix: Ipv6): string =>
  `0304 40c0 00000e10 00000e10 00000000 ${prefix.toString(16).padStart(32, '0')}`.replaceAll(' ', '');

/** RFC 1071, of an even number of bytes. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The router's address. */
export const ROUTER = formatIpv6(parseIpv6('fe80::1') as Ipv6);
