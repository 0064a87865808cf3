import type { BackendUnderlay, PreparedBackend } from '#src/backend/backend.ts';
import type { Logger } from '#src/lib/log.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { refuseOverlap } from '#src/node/overlap.ts';
import type { HostFacts, Underlay } from '#src/node/underlay.ts';

/** The underlay as backends take it. */
export const backendUnderlay = ({ name, mtu, address, publicIp }: Underlay): BackendUnderlay => ({
  name,
  mtu,
  address: { v4: address },
  publicIp: { v4: publicIp },
});

/** Throws what would make a start do harm, found before anything is touched. */
export function refuseHarm(
  config: NetworkConfig,
  prepared: PreparedBackend,
  underlay: Underlay,
  facts: HostFacts,
  allowOverlap: boolean,
  log: Logger,
): void {
  for (const text of prepared.check(backendUnderlay(underlay), facts)) log.warning(text);
  const { routes, links } = facts;
  refuseOverlap(
    config.network,
    { routes, links, underlay: underlay.name, ownDevices: prepared.devices, allowed: allowOverlap },
    log,
  );
}
