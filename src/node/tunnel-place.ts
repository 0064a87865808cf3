import type { TunnelPlace } from '#src/driver/tenant-host.ts';
import type { Ip, Ipv4, Ipv6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';

/** Where the tunnels of Docker's networks begin on this host. */
export const placeOf = (
  { name, mtu, address, publicIp }: Underlay,
  { tenantPort }: Pick<FlanneldOptions, 'tenantPort'>,
): TunnelPlace => ({
  device: name,
  mtu,
  local: firstOf(address),
  vtep: firstOf(publicIp),
  port: tenantPort,
});

/** IPv4 where there is both. */
function firstOf({ v4, v6 }: PerFamily<Ipv4, Ipv6>): Ip {
  const ip = v4 ?? v6;
  if (ip === undefined) throw new RangeError('the underlay has no address');
  return ip;
}
