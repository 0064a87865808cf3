import { knownInFamilyOf } from '#src/diagnose/known-families.ts';
import type { HopId } from '#src/diagnose/trace/hop.ts';
import { readHost } from '#src/diagnose/trace/host-facts.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { wayOut } from '#src/diagnose/trace/step-texts.ts';
import { ownDevice, wantedWay } from '#src/diagnose/trace/wanted-way.ts';
import { containsAddress, type Ip } from '#src/lib/ip.ts';

/** A device of one host that the packet passes, where it can be seen. JSON. */
export interface Station {
  readonly device: string;
  /** Which network namespace it is in. */
  readonly in: 'container' | 'host' | 'tenants';
  /** There the packet is inside a packet of the hosts. */
  readonly wrapped: boolean;
  /** The hop between the station before it and this one, for a packet that leaves the host. */
  readonly leaving: HopId;
  /** The same for one that comes in. */
  readonly entering: HopId;
}

/** Stations from the container to the wire, and the namespaces in which they are. */
export interface StationPlan {
  readonly stations: readonly Station[];
  readonly namespaces: Readonly<Partial<Record<Station['in'], string | undefined>>>;
}

/** Where a packet between a container of this host and an address elsewhere can be seen on this host. */
export async function planStations(host: LocalHost, own: Ip, other: Ip): Promise<StationPlan> {
  const { eye, namespaces } = host;
  const known = host.known && knownInFamilyOf(host.known, own);
  if (known === undefined) return { stations: [], namespaces: {} };
  const facts = await readHost(eye, known, own, namespaces);
  const { inside, bridge } = facts;
  const stations: Station[] = [];
  const add = (device: string | undefined, at: Omit<Station, 'device'>): void => {
    if (device !== undefined) stations.push({ device, ...at });
  };
  add(inside?.link.name, {
    in: 'container',
    wrapped: false,
    leaving: 'container',
    entering: 'arrival-bridge',
  });
  add(inside?.port?.name, { in: 'host', wrapped: false, leaving: 'bridge', entering: 'arrival-bridge' });
  if (!containsAddress(known.subnet, other)) {
    add(bridge?.name, { in: 'host', wrapped: false, leaving: 'bridge', entering: 'arrival-filter' });
    const peer = known.peers.find(({ subnet }) => containsAddress(subnet, other))?.publicIp;
    const toPeer = peer === undefined ? undefined : await eye.route({ to: peer });
    const underlay = known.underlay?.name ?? (toPeer && wayOut(toPeer));
    const lookup =
      toPeer?.outcome === 'way'
        ? { device: toPeer.device, ...(toPeer.via !== undefined && { via: toPeer.via }) }
        : undefined;
    const tunnel =
      wantedWay(known, other, lookup)?.fdb?.device ??
      (known.peers.length === 0 ? ownDevice(known)?.name : undefined);
    add(tunnel, { in: 'host', wrapped: false, leaving: 'forward-filter', entering: 'input-filter' });
    const leaving = tunnel === undefined ? 'forward-filter' : 'output-filter';
    add(underlay, { in: 'host', wrapped: tunnel !== undefined, leaving, entering: 'wire' });
  }
  return {
    stations,
    namespaces: { host: eye.namespace, ...(inside && { container: inside.eye.namespace }) },
  };
}
