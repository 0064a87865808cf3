import { HostResolvers } from '#src/driver/names/host-resolvers.ts';
import { NameServers } from '#src/driver/names/name-servers.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { VERSION } from '#src/lib/version.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { systemDeviceSockets } from '#src/sys/device-sockets.ts';
import { systemExchange } from '#src/sys/exchange.ts';
import type { HostRecord } from '#src/tenant/host-codec.ts';
import { serviceAddresses } from '#src/tenant/segment-objects.ts';
import { bridgeName } from '#src/tenant/segment-wiring.ts';

/* What Docker's driver is given by its host. */

/** The name servers of the tenants' bridges in that namespace. */
export function tenantNames(
  { clock, files, random, createLogger }: Pick<HostComponents, 'clock' | 'files' | 'random' | 'createLogger'>,
  namespace: string,
): NameServers {
  const resolvers = new HostResolvers({ clock, files, random, exchange: systemExchange });
  return new NameServers(
    { sockets: systemDeviceSockets, resolvers, clock, log: createLogger('names') },
    { namespace, deviceOf: ({ vni }) => bridgeName(vni), addressesOf: serviceAddresses },
  );
}

/** What this host says of itself to the others. */
export async function tenantIdentity({
  files,
  identity,
}: Pick<HostComponents, 'files'> & { readonly identity: string }): Promise<
  Pick<HostRecord, 'id' | 'hostName' | 'bootId' | 'version'>
> {
  const read = async (name: string): Promise<string> =>
    (await files.read(`/proc/sys/kernel/${name}`).catch(() => undefined))?.trim() || 'unknown';
  return {
    id: identity,
    hostName: await read('hostname'),
    bootId: await read('random/boot_id'),
    version: VERSION,
  };
}

/** A network of flannel's on the same host notes the same of its underlay: this is another subject. */
export const ofDockersNetworks = (events: HostEvents): HostEvents => ({
  note: (event) => events.note({ ...event, subject: `${event.subject} (Docker's networks)` }),
});
