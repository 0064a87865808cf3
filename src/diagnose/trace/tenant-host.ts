import type { Eye } from '#src/diagnose/trace/eye.ts';
import { findInside, type Inside, type ListNamespaces, portsOf } from '#src/diagnose/trace/find-inside.ts';
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
import type { Address, BridgeFdbEntry, FdbEntry, Link, Neighbour } from '#src/state/object.ts';
import { bridgeName, vxlanName } from '#src/tenant/segment-wiring.ts';

/** A segment: a Docker network of weft on one host, and one of its containers there. */
export interface Segment {
  readonly bridge: string;
  readonly tunnel: string;
  readonly links: readonly Link[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  readonly bridgeFdb: readonly BridgeFdbEntry[];
  readonly inside: Inside | undefined;
}

/** From a container of a Docker network onto the wire, or to one on the same host. */
export async function* leaveTenant(host: LocalHost, vni: number, from: Ipv4, to: Ipv4): Steps {
  const tenants = tenantsOf(host);
  const segment = await readSegment(tenants, vni, from, host.namespaces);
  const { bridge, tunnel, links, inside } = segment;
  yield tenantContainerStep(to, inside, await inside?.eye.route({ to }));
  yield tenantBridgeStep(bridge, linkCalled(links, bridge), inside?.port, undefined, false);
  const neighbour = segment.neighbours.find(({ ip }) => ip === to);
  const local = neighbour === undefined ? await localMac(tenants, segment, to, host.namespaces) : undefined;
  if (local !== undefined) return { kind: 'bridge' };
  yield tenantNeighbourStep(bridge, to, neighbour);
  const mac = neighbour?.mac;
  if (mac === undefined) return undefined;
  const fdb = segment.fdb.find((entry) => entry.mac === mac);
  const device = linkCalled(links, tunnel);
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
  const { bridge, tunnel, links, inside } = segment;
  if (carriage?.kind !== 'bridge') {
    const device = linkCalled(links, tunnel);
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
  const entry = segment.bridgeFdb.find((it) => it.mac === mac && it.bridge === bridge && it.static);
  yield tenantBridgeStep(bridge, linkCalled(links, bridge), inside?.port, entry, true);
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
  const [bridge, tunnel] = [bridgeName(vni), vxlanName(vni)];
  const objects = await tenants.kernel.dump({ kinds: ['link', 'neighbour', 'fdb', 'bridge-fdb'] });
  const links = objects.filter((object) => object.kind === 'link');
  const outside = links.filter(({ peerNamespaceId, master }) => peerNamespaceId !== undefined && !master);
  const { inside } = await findInside(tenants, [...portsOf(links, bridge), ...outside], address, namespaces);
  return {
    ...{ bridge, tunnel, links, inside },
    neighbours: objects.filter(
      (object) => object.kind === 'neighbour' && object.device === bridge,
    ) as Neighbour[],
    fdb: objects.filter((object) => object.kind === 'fdb' && object.device === tunnel) as FdbEntry[],
    bridgeFdb: objects.filter((object) => object.kind === 'bridge-fdb'),
  };
}

/** The MAC of another container behind a port of this host; `undefined` when no container here has the address. */
export async function localMac(
  tenants: Eye,
  { links, bridge }: Segment,
  address: Ipv4,
  namespaces: ListNamespaces,
): Promise<Mac | undefined> {
  const { inside } = await findInside(tenants, portsOf(links, bridge), address, namespaces);
  return inside?.link.mac;
}

/** The number of the Docker network behind a container's device, and its addresses in there. */
export async function tenantOf(
  tenants: Eye,
  container: Eye,
): Promise<readonly { readonly vni: number; readonly address: Address }[]> {
  const [links, inner] = await Promise.all([
    tenants.kernel.links(),
    container.kernel.dump({ kinds: ['link', 'address'] }),
  ]);
  const addresses = inner.filter((object) => object.kind === 'address');
  return inner.flatMap((object) => {
    if (object.kind !== 'link' || object.peerIndex === undefined) return [];
    const port = links.find(({ index }) => index === object.peerIndex);
    const vni = Number(/^br-(\d+)$/.exec(port?.master ?? '')?.[1]);
    return Number.isNaN(vni)
      ? []
      : addresses
          .filter(({ device, prefix }) => device === object.name && isIpv4(prefix.address))
          .map((address) => ({ vni, address }));
  });
}
