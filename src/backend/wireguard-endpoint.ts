import type { WireguardMode } from '#src/backend/wireguard-options.ts';
import { containsAddress, type Ip, type Ipv4, type Ipv6, ipv4, ipv6, prefix4, prefix6 } from '#src/lib/ip.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { outerFamily } from '#src/network/outer-family.ts';

/**
 * The address to which a peer's packets go, for those of one family inside (flannel HEAD, backend/wireguard
 * /wireguard_network.go). `undefined` where the peer has none.
 */
export function endpointAddress(
  mode: WireguardMode,
  family: FamilyName,
  { publicIp, publicIpv6 }: LeaseAttributes,
  own: PerFamily<Ipv4, Ipv6>,
): Ip | undefined {
  switch (mode) {
    case 'separate':
      // Where this host has no address of the family, it sends by the other one.
      return outerFamily(family, own) === 'v4' ? publicIp : publicIpv6;
    case 'ipv4':
      return publicIp;
    case 'ipv6':
      return publicIpv6;
    case 'auto':
      return likeliest(publicIp, publicIpv6, own);
  }
}

/** IPv4 if the peer's is public, IPv6 if both ends' are, else IPv4 (flannel's selectMode). */
function likeliest(v4: Ipv4 | undefined, v6: Ipv6 | undefined, own: PerFamily<Ipv4, Ipv6>): Ip | undefined {
  if (v4 === undefined || v6 === undefined) return v4 ?? v6;
  if (own.v4 !== undefined && !isPrivate(v4)) return v4;
  if (own.v6 !== undefined && !isPrivate(own.v6) && !isPrivate(v6)) return v6;
  return own.v4 === undefined ? v6 : v4;
}

/** RFC 1918 and RFC 4193, as Go's net.IP.IsPrivate. */
const PRIVATE = [
  prefix4(ipv4(0x0a_00_00_00), 8),
  prefix4(ipv4(0xac_10_00_00), 12),
  prefix4(ipv4(0xc0_a8_00_00), 16),
  prefix6(ipv6(0xfcn << 120n), 7),
];
const isPrivate = (ip: Ip): boolean => PRIVATE.some((prefix) => containsAddress(prefix, ip));
