import type { Eye } from '#src/diagnose/trace/eye.ts';
import { findInside, type Inside, type ListNamespaces } from '#src/diagnose/trace/find-inside.ts';
import type { LocalHost, Steps } from '#src/diagnose/trace/local-host.ts';
import { inputStep, leaveByUnderlay } from '#src/diagnose/trace/outer-packet.ts';
import type { PartRequest } from '#src/diagnose/trace/part.ts';
import { linkCalled, wayOut } from '#src/diagnose/trace/step-texts.ts';
import {
  tenantArrivalStep,
  tenantBridgeStep,
  tenantContainerStep,
  tenantFdbStep,
  tenantNeighbourStep,
} from '#src/diagnose/trace/tenant-steps.ts';
import { deviceStep } from '#src/diagnose/trace/tunnel-steps.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type Ipv4, isIpv4, parseIpv4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import type { BridgeFdbEntry, FdbEntry, Link, Neighbour } from '#src/state/object.ts';
import { findSegments } from '#src/tenant/found-segments.ts';
import { ownWiring } from '#src/tenant/segment-wiring.ts';

/** A segment: a Docker network of weft on one host, and one of its containers there. */
export interface Segment {
  readonly bridge: string;
  readonly tunnel: string;
  /** The device with the neighbours by which ARP is answered. */
  readonly inner: string;
  /** The VXLAN device, with the segment's VNI as its own where it carries that one among others. */
  readonly device: Link | undefined;
  readonly links: readonly Link[];
  /** The devices in it. */
  readonly ports: readonly Link[];
  /** The VLAN that the container's port should be in and is not. */
  readonly missingVlan: number | undefined;
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly bridgeFdb: readonly BridgeFdbEntry[];
  readonly inside: Inside | undefined;
}

/** From a container of a Docker network onto the wire, or to one on the same host. */
export async function* leaveTenant(host: LocalHost, vni: number, from: Ipv4, to: Ipv4): Steps {
  const tenants = tenantsOf(host);
  const segment = await readSegment(tenants, vni, from, host.namespaces);
  const { bridge, tunnel, device, links, inside, missingVlan } = segment;
  yield tenantContainerStep(to, inside, await inside?.eye.route({ to }));
  yield tenantBridgeStep(bridge, linkCalled(links, bridge), { port: inside?.port, missingVlan }, false);
  const neighbour = segment.neighbours.find(({ ip }) => ip === to);
  const local = neighbour === undefined ? await localMac(tenants, segment, to, host.namespaces) : undefined;
  if (local !== undefined) return { kind: 'bridge' };
  yield tenantNeighbourStep(segment.inner, to, neighbour);
  const mac = neighbour?.mac;
  if (mac === undefined) return undefined;
  const fdb = segment.fdb.find((entry) => entry.mac === mac);
  yield deviceStep('device', tunnel, device, undefined);
  yield tenantFdbStep(tunnel, mac, fdb);
  if (fdb === undefined || !isIpv4(fdb.destination) || device?.vxlan === undefined) return undefined;
  const seen = { eye: host.eye, underlay: host.known?.underlay?.name, links: await host.eye.kernel.links() };
  return yield* leaveByUnderlay(seen, { to: fdb.destination, mac, tunnel: device.vxlan });
}

/** From the wire, or from a container of the same host, into a container of a Docker network. */
export async function* enterTenant(
  host: LocalHost,
  vni: number,
  to: Ipv4,
  carriage: PartRequest['carriage'],
): Steps {
  const segment = await readSegment(tenantsOf(host), vni, to, host.namespaces);
  const { bridge, tunnel, device, links, inside, missingVlan } = segment;
  if (carriage?.kind !== 'bridge') {
    const sender =
      carriage?.kind === 'tunnel' && carriage.from !== undefined ? parseIpv4(carriage.from) : undefined;
    const port = carriage?.kind === 'tunnel' ? carriage.port : device?.vxlan?.port;
    const by = sender === undefined ? undefined : wayOut(await host.eye.route({ to: sender }));
    const local = device?.vxlan?.local;
    if (port !== undefined && by !== undefined && local !== undefined && isIpv4(local))
      yield* inputStep(host.eye, { sender, underlay: { name: by, address: local }, port });
    const arriving = carriage?.kind === 'tunnel' ? carriage : undefined;
    yield deviceStep('arrival-device', tunnel, device, undefined, arriving);
  }
  const mac = inside?.link.mac;
  const entry = segment.bridgeFdb.find((it) => it.mac === mac && it.static);
  const seen = { port: inside?.port, missingVlan, entry };
  yield tenantBridgeStep(bridge, linkCalled(links, bridge), seen, true);
  yield tenantArrivalStep(to, inside);
  return undefined;
}

export function tenantsOf({ tenants, name }: LocalHost): Eye {
  if (tenants !== undefined) return tenants;
  throw new WeftError('trace-no-network', `${name} has no Docker network of weft`, {
    remedy: 'run flanneld there with --docker-driver=on',
  });
}

export async function readSegment(
  tenants: Eye,
  vni: number,
  address: Ipv4,
  namespaces: ListNamespaces,
): Promise<Segment> {
  const found = await findSegments(tenants.kernel);
  const wiring = found.wiringOf(vni) ?? ownWiring(vni);
  const { bridge, tunnel, inner, vlan } = wiring;
  const { links } = found;
  const isShared = vlan !== undefined;
  const objects = await tenants.kernel.dump({
    kinds: ['neighbour', 'fdb', 'bridge-fdb', ...(isShared ? (['vni'] as const) : [])],
  });
  const ports = found.devicesIn(wiring);
  const astray = found.devicesWithoutVlan(wiring);
  const outside = links.filter(({ peerNamespaceId, master }) => peerNamespaceId !== undefined && !master);
  const { inside } = await findInside(tenants, [...ports, ...astray, ...outside], address, namespaces);
  const isAstray = astray.some(({ name }) => name === inside?.port?.name);
  const takes = objects.some((it) => it.kind === 'vni' && it.device === tunnel && it.vni === vni);
  const device = linkCalled(links, tunnel);
  return {
    ...{ bridge, tunnel, inner, links, ports, inside },
    device: device?.vxlan && takes ? { ...device, vxlan: { ...device.vxlan, vni } } : device,
    missingVlan: isAstray ? vlan : undefined,
    neighbours: objects.filter(
      (object) => object.kind === 'neighbour' && object.device === inner,
    ) as Neighbour[],
    fdb: objects.filter(
      (it) => it.kind === 'fdb' && it.device === tunnel && (!isShared || it.vni === vni),
    ) as FdbEntry[],
    bridgeFdb: objects.filter(
      (it) => it.kind === 'bridge-fdb' && it.bridge === bridge && it.vlan === vlan,
    ) as BridgeFdbEntry[],
  };
}

/** The MAC of another container behind a port of this host; `undefined` when no container here has the address. */
export async function localMac(
  tenants: Eye,
  { ports }: Segment,
  address: Ipv4,
  namespaces: ListNamespaces,
): Promise<Mac | undefined> {
  const { inside } = await findInside(tenants, ports, address, namespaces);
  return inside?.link.mac;
}
