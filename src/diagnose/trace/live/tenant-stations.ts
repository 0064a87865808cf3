import type { Station, StationPlan } from '#src/diagnose/trace/live/stations.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { wayOut } from '#src/diagnose/trace/step-texts.ts';
import { localMac, readSegment, tenantsOf } from '#src/diagnose/trace/tenant-host.ts';
import type { Ipv4 } from '#src/lib/ip.ts';

/** Where packets of a Docker network can be seen on this host. */
export async function planTenantStations(
  host: LocalHost,
  vni: number,
  own: Ipv4,
  other: Ipv4,
): Promise<StationPlan> {
  const tenants = tenantsOf(host);
  const segment = await readSegment(tenants, vni, own, host.namespaces);
  const { inside, tunnel, device, neighbours, fdb } = segment;
  const stations: Station[] = [];
  if (inside !== undefined) stations.push({ ...PLACES.container, device: inside.link.name });
  if (inside?.port !== undefined) stations.push({ ...PLACES.port, device: inside.port.name });
  const mac = neighbours.find(({ ip }) => ip === other)?.mac;
  const isHere =
    mac === undefined && (await localMac(tenants, segment, other, host.namespaces)) !== undefined;
  if (!isHere && device !== undefined) {
    stations.push({ ...PLACES.tunnel, device: tunnel });
    const destination = fdb.find((entry) => entry.mac === mac)?.destination;
    const by =
      destination === undefined
        ? host.known?.underlay?.name
        : wayOut(await host.eye.route({ to: destination }));
    if (by !== undefined) stations.push({ ...PLACES.underlay, device: by });
  }
  return {
    stations,
    namespaces: {
      host: host.eye.namespace,
      tenants: tenants.namespace,
      ...(inside && { container: inside.eye.namespace }),
    },
  };
}

const PLACES = {
  container: { in: 'container', wrapped: false, leaving: 'container', entering: 'arrival-bridge' },
  port: { in: 'tenants', wrapped: false, leaving: 'bridge', entering: 'arrival-bridge' },
  tunnel: { in: 'tenants', wrapped: false, leaving: 'fdb', entering: 'input-filter' },
  underlay: { in: 'host', wrapped: true, leaving: 'output-filter', entering: 'wire' },
} as const;
