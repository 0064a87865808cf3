import type { Inside } from '#src/diagnose/trace/find-inside.ts';
import type { Finding } from '#src/diagnose/trace/hop.ts';
import { carries, decisionText, linkText } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { formatIp, formatPrefix, type Ipv4 } from '#src/lib/ip.ts';
import {
  type BridgeFdbEntry,
  type FdbEntry,
  formatObject,
  type Link,
  type Neighbour,
} from '#src/state/object.ts';

/** A command in the namespace of Docker's networks of weft. */
export const inTenants = (command: string): string => `ip netns exec weft ${command}`;

/** The packet leaves a container of a Docker network: no gateway is on its way. */
export function tenantContainerStep(
  to: Ipv4,
  inside: Inside | undefined,
  decision: RouteDecision | undefined,
): Finding {
  const step = {
    id: 'container',
    about: `${formatIp(to)} is in the container's own subnet, though maybe on another host: no gateway is on the way`,
    command: `ip route get ${formatIp(to)}`,
    expected: 'a route without a gateway',
  } as const;
  if (inside === undefined || decision === undefined)
    return { ...step, found: ['the container could not be looked into'], ok: 'unknown' };
  const found = [decisionText(decision), linkText(inside.link)];
  if (inside.link.up !== true)
    return { ...step, found, ok: false, remedy: `in the container: ip link set ${inside.link.name} up` };
  const ok = decision.outcome === 'way' && decision.type === 'unicast' && decision.via === undefined;
  const remedy = 'restart the container: its routes are not those that Docker made';
  return { ...step, found, ok, ...(!ok && { remedy }) };
}

export interface TenantPort {
  /** The container's, if it was found. */
  readonly port: Link | undefined;
  /** Of the container's MAC. */
  readonly entry?: BridgeFdbEntry | undefined;
  /** The VLAN of a bridge for all networks that the port should be in and is not. */
  readonly missingVlan?: number | undefined;
}

/** The segment's bridge on one host, and the container's port in it. */
export function tenantBridgeStep(
  bridge: string,
  link: Link | undefined,
  { port, entry, missingVlan }: TenantPort,
  arrives: boolean,
): Finding {
  const step = {
    id: arrives ? 'arrival-bridge' : 'bridge',
    about: arrives
      ? 'unwrapped, the frame is in the bridge of the same number, and goes out by the port of its container'
      : "the network's bridge, in a namespace of its own: the ports of its containers here, and the tunnel to the other hosts",
    command: inTenants(`ip -br link show master ${bridge}`),
    expected: `${bridge}, up, and the container's port in it, up`,
  } as const;
  const remedy = 'flanneld makes it: systemctl restart flanneld, and see "weft status"';
  if (link === undefined) return { ...step, found: [`there is no bridge ${bridge}`], ok: false, remedy };
  const found = [linkText(link), ...(port === undefined ? [] : [linkText(port)])];
  if (link.up !== true) return { ...step, found, ok: false, remedy: inTenants(`ip link set ${bridge} up`) };
  if (port === undefined)
    return {
      ...step,
      found: [...found, 'no port of this container was found'],
      ok: arrives ? false : 'unknown',
      remedy,
    };
  if (port.up !== true) {
    const cut = `${port.name} is down: another host may have the address, and then it is cut off: see "weft status"`;
    return { ...step, found: [...found, cut], ok: false, remedy: inTenants(`ip link set ${port.name} up`) };
  }
  if (port.master !== bridge) {
    const back = inTenants(`ip link set ${port.name} master ${bridge}`);
    return { ...step, found, ok: false, remedy: back };
  }
  if (missingVlan !== undefined) {
    const back = inTenants(`bridge vlan add dev ${port.name} vid ${missingVlan} pvid untagged`);
    const why = `${port.name} is not in VLAN ${missingVlan}, which is the network on this host`;
    return { ...step, found: [...found, why], ok: false, remedy: back };
  }
  if (arrives && entry !== undefined && entry.device !== port.name) {
    const wrong = [...found, `${entry.mac} is taken to be behind ${entry.device}`];
    return { ...step, found: wrong, ok: false, remedy };
  }
  return { ...step, found, ok: true };
}

/** Who has the address: answered on this host, from the registry. */
export function tenantNeighbourStep(bridge: string, to: Ipv4, found: Neighbour | undefined): Finding {
  const ok = found?.permanent === true;
  return {
    id: 'neighbour',
    about:
      "the container's ARP request is answered by its own host, from the registry: it goes to no other host",
    command: inTenants(`ip neigh show ${formatIp(to)} dev ${bridge}`),
    found: [found === undefined ? 'no entry' : formatObject(found)],
    expected: 'a permanent entry',
    ok,
    ...(!ok && {
      remedy:
        'no container has the address, as far as this host knows: see "weft address list", and "weft status"',
    }),
  };
}

/** Which host has that MAC. */
export function tenantFdbStep(tunnel: string, mac: string, found: FdbEntry | undefined): Finding {
  const where = found === undefined ? 'one host' : formatIp(found.destination);
  return {
    id: 'fdb',
    about: `that MAC is on ${where}: the frame is wrapped into a UDP packet and sent to this one host, never flooded`,
    command: inTenants(`bridge fdb show dev ${tunnel}`),
    found: [found === undefined ? `no entry for ${mac}` : formatObject(found)],
    expected: 'an entry with a destination',
    ok: found !== undefined,
    ...(found === undefined && {
      remedy:
        'no host has published the container: see "weft address list"; it may be moving, or have stopped',
    }),
  };
}

/** The packet is in the container of a Docker network. */
export function tenantArrivalStep(to: Ipv4, inside: Inside | undefined): Finding {
  const step = {
    id: 'arrival-container',
    about:
      'unwrapped, the frame is in the bridge of the same number, and goes into the container, which answers the same way back',
    command: 'ip addr show',
    expected: `a device that is up, with ${formatIp(to)}`,
  } as const;
  if (inside === undefined)
    return { ...step, found: ['the container could not be looked into'], ok: 'unknown' };
  const found = [`${linkText(inside.link)}, ${formatPrefix(inside.address.prefix)}`];
  const ok = carries(inside.link);
  return {
    ...step,
    found,
    ok,
    ...(!ok && { remedy: `in the container: ip link set ${inside.link.name} up` }),
  };
}
