import type { Finding } from '#src/diagnose/trace/hop.ts';
import type { HostFacts } from '#src/diagnose/trace/host-facts.ts';
import { carries, decisionText, linkText, portFault } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';

/** A container and its host's bridge, whichever way the packet goes. */
export interface ContainerFacts {
  readonly host: HostFacts;
  /** The container's. */
  readonly address: Ip;
  /** Of its host. */
  readonly subnet: Prefix;
}

/** The packet leaves the container: its own route has to lead to the bridge. */
export function containerStep(
  { host, address }: ContainerFacts,
  to: Ip,
  /** Of the container's own kernel; absent where nobody can look into the container. */
  decision: RouteDecision | undefined,
  /** Whether the other container is in the same subnet, so that no gateway is on the way. */
  isHere = false,
): Finding {
  const step = {
    id: 'container',
    about: isHere
      ? `${formatIp(to)} is in the container's own subnet: no gateway is on the way`
      : `${formatIp(to)} is not in the container's own subnet: the packet goes to its gateway, the bridge`,
    command: `ip route get ${formatIp(to)}`,
  } as const;
  const gateway = isHere ? undefined : host.gateway && formatIp(host.gateway.prefix.address);
  const expected = isHere ? 'a route without a gateway' : `via ${gateway ?? 'the bridge'}`;
  const { inside } = host;
  if (inside === undefined || decision === undefined) return { ...step, ...unseen(host, address), expected };
  const found = [decisionText(decision), linkText(inside.link)];
  // Without a carrier it is the other end that is down, if that is known.
  if (inside.link.up !== true || (inside.port === undefined && !carries(inside.link))) {
    const remedy = `in the container: ip link set ${inside.link.name} up; restart it if that does not last`;
    return { ...step, found, expected: `${inside.link.name} up`, ok: false, remedy };
  }
  const via = decision.outcome === 'way' ? decision.via : undefined;
  const ok = isHere
    ? decision.outcome === 'way' && via === undefined
    : via !== undefined && (gateway === undefined || formatIp(via) === gateway);
  const remedy = `restart the container${gateway === undefined ? '' : `, or in it: ip route replace default via ${gateway}`}`;
  return { ...step, found, expected, ok, ...(!ok && { remedy }) };
}

/** The pair of devices from the container ends in the bridge. */
export function bridgeStep({ host, address, subnet }: ContainerFacts, arrives: boolean): Finding {
  const { bridge, gateway, inside, neighbour } = host;
  const step = {
    id: arrives ? 'arrival-bridge' : 'bridge',
    about: arrives
      ? 'the bridge hands the packet to the container, through the veth pair that ends in it'
      : `a veth pair, a cable in software, ends in the bridge${bridge === undefined ? '' : ` ${bridge.name}`} of the host`,
    command: `ip -br link show master ${bridge?.name ?? 'docker0'}`,
    expected: `a bridge with an address of ${formatPrefix(subnet)}, up, and the container's port in it`,
  } as const;
  if (bridge === undefined || gateway === undefined) {
    const remedy = 'start Docker with the options that mk-docker-opts writes: systemctl restart docker';
    const found = [`no device has an address of ${formatPrefix(subnet)}`];
    return { ...step, found, ok: false, remedy };
  }
  const port = inside?.port;
  const found = [
    `${linkText(bridge)}, ${formatPrefix(gateway.prefix)}`,
    ...(port === undefined ? [] : [linkText(port)]),
    ...(arrives && neighbour !== undefined ? [`${formatIp(neighbour.ip)} lladdr ${neighbour.mac}`] : []),
  ];
  const refuse = (remedy: string, ...more: string[]): Finding => ({
    ...step,
    found: [...found, ...more],
    ok: false,
    remedy,
  });
  if (bridge.up !== true) return refuse(`ip link set ${bridge.name} up`);
  if (port !== undefined) {
    if (port.master !== bridge.name) return refuse(`ip link set ${port.name} master ${bridge.name}`);
    if (port.up !== true) return refuse(`ip link set ${port.name} up`);
    // Without a carrier it is disabled: the container's end is down, and the container's own hop shows that. That end is down at
    // once, and the port lacks its carrier a moment later.
    const hasCarrier = carries(port) && inside?.link.up === true;
    const fault = hasCarrier ? portFault(host, port.name) : undefined;
    if (fault !== undefined) return refuse(`bridge link set dev ${port.name} state 3`, fault);
    const mac = inside?.link.mac;
    if (arrives && neighbour !== undefined && mac !== undefined && neighbour.mac !== mac)
      return refuse(
        `ip neigh del ${formatIp(address)} dev ${bridge.name}`,
        `the container has the MAC ${mac}`,
      );
  }
  if (port === undefined && !carries(bridge))
    return refuse('start a container on it', `${bridge.name} has no carrier`);
  return { ...step, found, ok: port === undefined ? 'unknown' : true };
}

/** The packet is in the container. */
export function arrivalStep({ host, address }: ContainerFacts): Finding {
  const step = {
    id: 'arrival-container',
    about: 'the packet goes through the bridge into the container, which answers the same way back',
    command: 'ip addr show',
    expected: `a device that is up, with ${formatIp(address)}`,
  } as const;
  const { inside } = host;
  if (inside === undefined) return { ...step, ...unseen(host, address) };
  const found = [`${linkText(inside.link)}, ${formatPrefix(inside.address.prefix)}`];
  if (carries(inside.link)) return { ...step, found, ok: true };
  return { ...step, found, ok: false, remedy: `in the container: ip link set ${inside.link.name} up` };
}

/** What there is to say of a container that was not found. */
function unseen({ isNowhere }: HostFacts, address: Ip): Pick<Finding, 'found' | 'ok' | 'remedy'> {
  const text = formatIp(address);
  if (!isNowhere) return { found: [`no container with ${text} could be looked into`], ok: 'unknown' };
  const found = [`no container behind this bridge has ${text}`];
  return { found, ok: false, remedy: 'start it, or ask for its present address: docker inspect NAME' };
}
