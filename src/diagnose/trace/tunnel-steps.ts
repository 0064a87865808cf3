import type { Finding } from '#src/diagnose/trace/hop.ts';
import { carries, decisionText, linkText } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { FdbEntry, Link, Neighbour } from '#src/state/object.ts';
import { formatObject, KINDS } from '#src/state/object.ts';

/** The MAC that the frame in the tunnel is for. */
export function neighbourStep(
  device: string,
  gateway: Ip,
  found: Neighbour | undefined,
  wanted: Neighbour | undefined,
): Finding {
  const step = {
    id: 'neighbour',
    about: "the MAC of the other host's tunnel end is known from the registry, so no ARP request is sent",
    command: `ip neigh show ${formatIp(gateway)} dev ${device}`,
    found: found === undefined ? ['no entry'] : [formatObject(found)],
    expected: wanted === undefined ? 'a permanent entry' : formatObject(wanted),
  } as const;
  const ok = found?.permanent === true && (wanted === undefined || found.mac === wanted.mac);
  return { ...step, ok, ...(!ok && wanted !== undefined && { remedy: mend('ip neigh replace', wanted) }) };
}

/** The host that has that MAC. */
export function fdbStep(
  device: string,
  mac: string,
  found: FdbEntry | undefined,
  wanted: FdbEntry | undefined,
): Finding {
  const where = found === undefined ? 'one host' : formatIp(found.destination);
  const step = {
    id: 'fdb',
    about: `that MAC is behind ${where}: the frame is wrapped into a UDP packet and sent to this one host, never flooded`,
    command: `bridge fdb show dev ${device} | grep ${mac}`,
    found: found === undefined ? [`no entry for ${mac}`] : [formatObject(found)],
    expected: wanted === undefined ? 'an entry with a destination' : formatObject(wanted),
  } as const;
  const ok = found !== undefined && (wanted === undefined || found.destination === wanted.destination);
  return { ...step, ok, ...(!ok && wanted !== undefined && { remedy: mend('bridge fdb replace', wanted) }) };
}

const mend = (command: string, wanted: Neighbour | FdbEntry): string =>
  `${command} ${formatObject(wanted)}; flanneld does that by itself when it runs`;

/** The tunnel's end on a host. `mac`: whom the arriving frame is for. */
export function deviceStep(
  id: 'device' | 'arrival-device',
  name: string,
  found: Link | undefined,
  wanted: Link | undefined,
  arriving?: { readonly mac: string; readonly vni: number; readonly port: number },
): Finding {
  const step = {
    id,
    about:
      id === 'device'
        ? `${name} is the end of the tunnel on this host: it wraps the frame up`
        : `${name} takes the wrapper off, and the packet is inside the host as if it came by a cable`,
    command: `ip -d link show ${name}`,
    expected: wanted === undefined ? `${name}, up` : formatObject(wanted),
  } as const;
  if (found === undefined) {
    const remedy = 'start flanneld, which makes it: systemctl restart flanneld';
    return { ...step, found: [`there is no device ${name}`], ok: false, remedy };
  }
  const lines = [linkText(found), formatObject(found)];
  const refuse = (why: string, remedy: string): Finding => ({
    ...step,
    found: [...lines, why],
    ok: false,
    remedy,
  });
  if (!carries(found)) return refuse(`${name} is down`, `ip link set ${name} up`);
  const { vxlan } = found;
  if (arriving !== undefined && vxlan !== undefined) {
    const same =
      'the same number and port have to be on all hosts: see the network config, and restart flanneld';
    if (vxlan.vni !== arriving.vni)
      return refuse(`the frame has VNI ${arriving.vni}, not ${vxlan.vni}`, same);
    if (vxlan.port !== arriving.port)
      return refuse(`the packet comes to UDP port ${arriving.port}, not ${vxlan.port}`, same);
  }
  const isForeign = arriving !== undefined && found.mac !== undefined && found.mac !== arriving.mac;
  if (isForeign && wanted?.master === undefined && found.master === undefined)
    return refuse(
      `the frame is for ${arriving.mac}, so the host drops it`,
      `ip link set ${name} address ${arriving.mac}; flanneld does that by itself when it runs`,
    );
  const kind = KINDS.of(found);
  const differences =
    wanted === undefined
      ? []
      : [...kind.mustRecreate(wanted, found), ...kind.differences(wanted, found)].filter(
          // A smaller one passes small packets, and a check of its own looks at it.
          (text) => !text.startsWith('mtu'),
        );
  if (differences.length > 0)
    return refuse(
      differences.join(', '),
      'systemctl restart flanneld, and see "weft doctor" for who changed it',
    );
  return { ...step, found: lines, ok: true };
}

/** The hosts' own network leads to the other host. */
export function underlayStep(
  to: Ip,
  decision: RouteDecision,
  link: Link | undefined,
  wanted: string | undefined,
): Finding {
  const step = {
    id: 'underlay',
    about: `the hosts' own network leads to ${formatIp(to)}`,
    command: `ip route get ${formatIp(to)}`,
    found: [decisionText(decision), ...(link === undefined ? [] : [linkText(link)])],
    expected: wanted === undefined ? 'a route by a device that is up' : `a route by ${wanted}, up`,
  } as const;
  if (decision.outcome === 'refused' || decision.type !== 'unicast') {
    const remedy =
      decision.outcome === 'way' && decision.type === 'local'
        ? 'that is an address of this host itself: two hosts publish the same one; start one with another --public-ip'
        : `this host has no way to the other: ip route show; ping ${formatIp(to)}`;
    return { ...step, ok: false, remedy };
  }
  if (!carries(link))
    return { ...step, ok: false, remedy: `ip link set ${link?.name ?? decision.device} up` };
  return { ...step, ok: true };
}
