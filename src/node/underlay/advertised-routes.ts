import { defaultRoutes, type HostFacts } from '#src/node/underlay/host-facts.ts';
import { RTPROT_RA } from '#src/state/object.ts';
import type { Files } from '#src/sys/files.ts';

/**
 * The devices whose IPv6 default route the kernel has from router advertisements, and will remove when this host forwards:
 * accept_ra is 1 (net/ipv6/addrconf.c, addrconf_fixup_forwarding). A network manager that reads the advertisements itself
 * sets it to 0, and its routes stay.
 */
export async function advertisedRoutes(
  { routes }: Pick<HostFacts, 'routes'>,
  files: Pick<Files, 'read'>,
): Promise<string[]> {
  const devices = defaultRoutes(routes).flatMap(({ destination, protocol, device }) =>
    destination.family === 6 && protocol === RTPROT_RA && device !== undefined ? [device] : [],
  );
  const found: string[] = [];
  for (const device of new Set(devices)) {
    const setting = await files.read(`/proc/sys/net/ipv6/conf/${device}/accept_ra`).catch(() => undefined);
    if (setting?.trim() === '1') found.push(device);
  }
  return found;
}
