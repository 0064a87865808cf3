import type { TunnelPlace } from '#src/driver/tenant-host.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { Underlay } from '#src/node/underlay/underlay.ts';

/** Where the tunnels of Docker's networks begin on this host. */
export const placeOf = (
  { name, mtu, address, publicIp }: Underlay,
  { tenantPort }: Pick<FlanneldOptions, 'tenantPort'>,
): TunnelPlace => ({
  device: name,
  mtu,
  local: address,
  vtep: publicIp,
  port: tenantPort,
});
