import {
  containsAddress,
  containsPrefix,
  formatIp,
  formatPrefix,
  hasHostBits,
  type Ip,
  type Ipv4,
  type Ipv6,
  ipv4,
  ipv6,
  isGlobalUnicast,
  isIpv4,
  lastAddress,
  type Prefix,
  type Prefix4,
  type Prefix6,
} from '#src/lib/ip.ts';
import type { TenantSubnet } from '#src/tenant/tenant.ts';

/** The address `steps` after this one, in its family. */
export function following(ip: Ipv4, steps?: number): Ipv4;
export function following(ip: Ipv6, steps?: number): Ipv6;
export function following(ip: Ip, steps?: number): Ip;
export function following(ip: Ip, steps = 1): Ip {
  return isIpv4(ip) ? ipv4(ip + steps) : ipv6(ip + BigInt(steps));
}

/** The gateway of a subnet for which nobody gave one: its first address, as Docker's own IPAM chooses it. */
export function defaultGateway(prefix: Prefix4): Ipv4;
export function defaultGateway(prefix: Prefix6): Ipv6;
export function defaultGateway(prefix: Prefix): Ip;
export function defaultGateway(prefix: Prefix): Ip {
  return following(prefix.address);
}

/** Room for a network address, a broadcast address, a gateway and a container; wider than /8 nobody has. */
const LENGTHS = { 4: [8, 30], 6: [8, 126] } as const;

/** Why a tenant can't have this subnet; `undefined` when it can. */
export function faultOfPrefix(prefix: Prefix): string | undefined {
  const text = formatPrefix(prefix);
  const [shortest, longest] = LENGTHS[prefix.family];
  if (prefix.length < shortest || prefix.length > longest)
    return `the subnet ${text} must have a length of ${shortest} to ${longest} bits`;
  if (hasHostBits(prefix)) return `the subnet ${text} has host bits`;
  if (!isGlobalUnicast(following(prefix.address)))
    return `the subnet ${text} is not one of unicast addresses that hosts may have`;
  return undefined;
}

/** Why no container may have the address, even on request; `undefined` when one may. */
export function faultOfAddress(subnet: TenantSubnet, ip: Ip): string | undefined {
  const fault = faultOfPlace(subnet.prefix, ip);
  if (fault !== undefined) return fault;
  const text = formatPrefix(subnet.prefix);
  if (ip === subnet.gateway) return `${formatIp(ip)} is the gateway of ${text}`;
  const auxiliary = Object.entries(subnet.auxiliary).find(([, address]) => address === ip);
  return auxiliary && `${formatIp(ip)} is reserved in ${text} as the auxiliary address ${auxiliary[0]}`;
}

/** Why nobody may have the address in a subnet. */
export function faultOfPlace(prefix: Prefix, ip: Ip): string | undefined {
  const text = formatPrefix(prefix);
  if (!containsAddress(prefix, ip)) return `${formatIp(ip)} is not in the subnet ${text}`;
  // In IPv6 it is the routers' anycast address (RFC 4291 §2.6.1).
  if (ip === prefix.address) return `${formatIp(ip)} is the network address of ${text}`;
  if (prefix.family === 4 && ip === lastAddress(prefix))
    return `${formatIp(ip)} is the broadcast address of ${text}`;
  return undefined;
}

/** Why addresses of the subnet can't be chosen from this range; `undefined` when they can. */
export function faultOfRange(prefix: Prefix, range: Prefix): string | undefined {
  const text = formatPrefix(range);
  if (!containsPrefix(prefix, range)) return `the range ${text} is not in the subnet ${formatPrefix(prefix)}`;
  return hasHostBits(range) ? `the range ${text} has host bits` : undefined;
}

/** Why a tenant can't have the subnet with its range, gateway and auxiliary addresses; `undefined` when it can. */
export function faultOfSubnet({ prefix, range, gateway, auxiliary }: TenantSubnet): string | undefined {
  const fault = faultOfPrefix(prefix);
  if (fault !== undefined) return fault;
  const ofRange = range && faultOfRange(prefix, range);
  if (ofRange !== undefined) return ofRange;
  const ofGateway = faultOfPlace(prefix, gateway);
  if (ofGateway !== undefined) return `the gateway can't be used: ${ofGateway}`;
  for (const [name, ip] of Object.entries(auxiliary)) {
    const why = faultOfPlace(prefix, ip);
    if (why !== undefined) return `the auxiliary address ${name} can't be used: ${why}`;
    if (ip === gateway) return `the auxiliary address ${name} is the gateway ${formatIp(ip)}`;
  }
  return undefined;
}
