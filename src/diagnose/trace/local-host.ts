import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import {
  arrivalStep,
  bridgeStep,
  type ContainerFacts,
  containerStep,
} from '#src/diagnose/trace/container-steps.ts';
import type { Eye } from '#src/diagnose/trace/eye.ts';
import type { ListNamespaces } from '#src/diagnose/trace/find-inside.ts';
import {
  filterStep,
  forwardingStep,
  forwardingSysctls,
  routeStep,
} from '#src/diagnose/trace/forward-steps.ts';
import type { Finding, Hop } from '#src/diagnose/trace/hop.ts';
import { type HostFacts, readHost } from '#src/diagnose/trace/host-facts.ts';
import type { Carriage, PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { deviceStep, fdbStep, neighbourStep, underlayStep } from '#src/diagnose/trace/tunnel-steps.ts';
import { ownDevice, type WantedWay, wantedWay } from '#src/diagnose/trace/wanted-way.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsAddress, formatIp, formatPrefix, type Ipv4, isIpv4, parseIpv4 } from '#src/lib/ip.ts';
import type { Address, Link } from '#src/state/object.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/** One host that can be looked at from here: this one, or a host of a lab. */
export interface LocalHost {
  /** Its name. */
  readonly name: string;
  readonly eye: Eye;
  readonly known: KnownNetwork;
  readonly namespaces: ListNamespaces;
}

/** A step that is not ok ends the walk, unless all are wanted. */
type Steps = AsyncGenerator<Finding, Carriage | undefined, void>;

/** Looks at one part of a packet's way in flannel's network. A pure function of what the eye sees. */
export async function walkPart(host: LocalHost, request: PartRequest): Promise<PartAnswer> {
  const [from, to] = [addressOf(request.from), addressOf(request.to)];
  const steps = request.part === 'leave' ? leave(host, request, from, to) : enter(host, request, from, to);
  return collect(host.name, steps, request);
}

export async function collect(
  host: string,
  steps: Steps,
  { way, all = false }: PartRequest,
): Promise<PartAnswer> {
  const hops: Hop[] = [];
  for (;;) {
    const next = await steps.next();
    if (next.done === true) return { host, hops, ...(next.value !== undefined && { carriage: next.value }) };
    hops.push({ ...next.value, host, way });
    if (next.value.ok === false && !all) return { host, hops };
  }
}

function addressOf(text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address !== undefined) return address;
  throw new WeftError('trace-address', `"${text}" is no IPv4 address`, {
    remedy: 'name a container, or write an address such as 10.0.65.2',
  });
}

/** From the container onto the wire. */
async function* leave(host: LocalHost, { way }: PartRequest, from: Ipv4, to: Ipv4): Steps {
  const { eye, known } = host;
  const facts = await readHost(eye, known, from, host.namespaces);
  const container: ContainerFacts = { host: facts, address: from, subnet: known.subnet };
  const isHere = containsAddress(known.subnet, to);
  const inner = await facts.inside?.eye.route({ to });
  yield containerStep(container, to, inner, isHere);
  yield bridgeStep(container, false);
  if (isHere) return { kind: 'bridge' };
  const by = facts.bridge?.name;
  if (by === undefined) return undefined;

  const decision = await eye.route({ to, from, by });
  const forwarded = { from, to, by, decision, sysctls: await sysctlsOf(eye, by) };
  yield forwardingStep(forwarded, false);
  const wanted = wantedWay(known, to, await lookupOf(eye, known, to));
  const device = wanted?.route?.device ?? wayOut(decision);
  const isTunnel = wanted?.fdb !== undefined || linkCalled(facts.links, device)?.vxlan !== undefined;
  const about = !isTunnel
    ? "the other host's whole subnet lies behind that host's own address"
    : `the other host's whole subnet lies behind ${device}, the overlay's device`;
  yield routeStep(forwarded, { id: 'route', about, wanted: wanted?.route });
  if (device === undefined) return undefined;
  const state = way === 'there' ? 'new' : 'established';
  const filters = await eye.filters();
  yield filterStep('forward-filter', "the host's packet filter lets the packet through", {
    ...{ from, to, by, out: device, state, filters },
  });
  return isTunnel
    ? yield* leaveByTunnel(host, facts.links, wanted, decision)
    : yield* leaveDirectly(host, facts.links, wanted, decision);
}

/** Without a tunnel: the underlay carries the packet as it is. */
async function* leaveDirectly(
  { eye, known }: LocalHost,
  links: readonly Link[],
  wanted: WantedWay | undefined,
  decision: RouteDecision,
): Steps {
  const to = wanted?.peer.publicIp ?? (decision.outcome === 'way' && decision.via);
  if (to === undefined || to === false || !isIpv4(to)) return undefined;
  const way = await eye.route({ to });
  yield underlayStep(to, way, linkCalled(links, wayOut(way)), known.underlay?.name);
  return { kind: 'direct', to: formatIp(to) };
}

async function* leaveByTunnel(
  { eye, known }: LocalHost,
  links: readonly Link[],
  wanted: WantedWay | undefined,
  decision: RouteDecision,
): Steps {
  const device = wanted?.route?.device ?? wayOut(decision);
  const gateway = wanted?.route?.via ?? (decision.outcome === 'way' ? decision.via : undefined);
  if (device === undefined || gateway === undefined || !isIpv4(gateway)) return undefined;
  const objects = await eye.kernel.dump({ kinds: ['neighbour', 'fdb'], device });
  const link = linkCalled(links, device);
  yield deviceStep('device', device, link, ownDevice(known));
  const neighbour = objects.find((object) => object.kind === 'neighbour' && object.ip === gateway);
  const found = neighbour?.kind === 'neighbour' ? neighbour : undefined;
  yield neighbourStep(device, gateway, found, wanted?.neighbour);
  const mac = found?.mac ?? wanted?.neighbour?.mac;
  const entry = objects.find((object) => object.kind === 'fdb' && object.mac === mac);
  const fdb = entry?.kind === 'fdb' ? entry : undefined;
  yield fdbStep(device, mac ?? '', fdb, wanted?.fdb);
  const vtep = fdb?.destination ?? wanted?.fdb?.destination;
  const tunnel = link?.vxlan ?? ownDevice(known)?.vxlan;
  if (vtep === undefined || !isIpv4(vtep) || mac === undefined || tunnel === undefined) return undefined;
  return yield* leaveByUnderlay({ eye, underlay: known.underlay?.name, links }, { to: vtep, mac, tunnel });
}

/** From the tunnel's end onto the wire: the outer packet is the host's own. */
export async function* leaveByUnderlay(
  {
    eye,
    underlay,
    links,
  }: { readonly eye: Eye; readonly underlay: string | undefined; readonly links: readonly Link[] },
  {
    to,
    mac,
    tunnel,
  }: { readonly to: Ipv4; readonly mac: string; readonly tunnel: NonNullable<Link['vxlan']> },
): Steps {
  const decision = await eye.route({ to });
  const out = wayOut(decision);
  yield underlayStep(to, decision, linkCalled(links, out), underlay);
  const { vni, port, local } = tunnel;
  const source = local ?? (decision.outcome === 'way' ? decision.source : undefined);
  if (out !== undefined && source !== undefined && isIpv4(source)) {
    yield filterStep('output-filter', "the host's packet filter lets the wrapped packet out", {
      ...{ from: source, to, by: '', out, state: 'new', carries: { protocol: 'udp', port } },
      filters: await eye.filters(),
    });
  }
  const from = source === undefined ? {} : { from: formatIp(source) };
  return { kind: 'tunnel', ...from, to: formatIp(to), mac, vni, port };
}

/** From the wire into the container. */
async function* enter(host: LocalHost, { way, carriage }: PartRequest, from: Ipv4, to: Ipv4): Steps {
  const { eye, known } = host;
  const facts = await readHost(eye, known, to, host.namespaces);
  const container: ContainerFacts = { host: facts, address: to, subnet: known.subnet };
  if (carriage?.kind !== 'bridge') {
    const by = yield* enterHost(host, facts, carriage, from);
    if (by === undefined) {
      yield { ...UNKNOWN_DEVICE };
      return undefined;
    }
    const decision = await eye.route({ to, from, by });
    const forwarded = { from, to, by, decision, sysctls: await sysctlsOf(eye, by) };
    yield forwardingStep(forwarded, true);
    const bridge = facts.bridge?.name;
    yield routeStep(forwarded, {
      id: 'arrival-route',
      about: `${formatIp(to)} is in this host's own subnet: the packet goes to the bridge`,
      wanted: undefined,
      expected: `dev ${bridge ?? 'docker0'}, for ${formatPrefix(known.subnet)}`,
      isOnLink: true,
      ...(bridge !== undefined && { device: bridge }),
    });
    const out = bridge ?? wayOut(decision);
    if (out !== undefined) {
      yield filterStep('arrival-filter', "the host's packet filter lets the packet through", {
        ...{ from, to, by, out, state: way === 'there' ? 'new' : 'established' },
        filters: await eye.filters(),
      });
    }
  }
  yield bridgeStep(container, true);
  yield arrivalStep(container);
  return undefined;
}

/** The device by which the packet is inside the host. */
async function* enterHost(
  { eye, known }: LocalHost,
  { links, addresses }: HostFacts,
  carriage: Carriage | undefined,
  from: Ipv4,
): AsyncGenerator<Finding, string | undefined, void> {
  const wanted = ownDevice(known) ?? tunnelIn(known, links, addresses);
  const sender = known.peers.find(({ subnet }) => containsAddress(subnet, from))?.publicIp;
  if (carriage?.kind === 'direct' || wanted === undefined) {
    return (
      known.underlay?.name ?? (sender === undefined ? undefined : wayOut(await eye.route({ to: sender })))
    );
  }
  const device = wanted.name;
  const port = carriage?.kind === 'tunnel' ? carriage.port : wanted.vxlan?.port;
  if (port !== undefined) yield* inputStep(eye, { sender, underlay: known.underlay, port });
  const arriving = carriage?.kind === 'tunnel' ? carriage : undefined;
  yield deviceStep('arrival-device', device, linkCalled(links, device), wanted, arriving);
  return device;
}

/** The tunnel's end by what the kernel has, for a host of which nothing else is known. */
const tunnelIn = (
  { subnet, backend }: KnownNetwork,
  links: readonly Link[],
  addresses: readonly Address[],
): Link | undefined =>
  backend === undefined
    ? links.find(
        ({ name, vxlan }) =>
          vxlan !== undefined &&
          addresses.some(({ device, prefix }) => device === name && containsAddress(subnet, prefix.address)),
      )
    : undefined;

const UNKNOWN_DEVICE: Finding = {
  id: 'arrival-device',
  about: 'the packet comes into this host',
  command: 'ip -d link show',
  found: ['nothing on this host says how packets of the network come in'],
  expected: '',
  ok: 'unknown',
  remedy: 'start flanneld',
};

/** The outer packet is for the host itself. */
export async function* inputStep(
  eye: Eye,
  {
    sender,
    underlay,
    port,
  }: {
    readonly sender: Ipv4 | undefined;
    readonly underlay: KnownNetwork['underlay'];
    readonly port: number;
  },
): AsyncGenerator<Finding, void, void> {
  if (sender === undefined || underlay === undefined) return;
  yield filterStep('input-filter', "the host's packet filter lets the wrapped packet in", {
    ...{ from: sender, to: underlay.address, by: underlay.name, out: '', state: 'new' },
    carries: { protocol: 'udp', port },
    filters: await eye.filters(),
  });
}

async function sysctlsOf(eye: Eye, by: string): Promise<ReadonlyMap<string, string | undefined>> {
  return new Map(
    await Promise.all(forwardingSysctls(by).map(async (path) => [path, await eye.sysctl(path)] as const)),
  );
}

/** The kernel's way to the peer's public address, for backends that ask for it. */
async function lookupOf(eye: Eye, known: KnownNetwork, to: Ipv4): Promise<RouteLookup | undefined> {
  const publicIp = known.peers.find(({ subnet }) => containsAddress(subnet, to))?.publicIp;
  if (known.backend?.needsLookup !== true || publicIp === undefined) return undefined;
  const decision = await eye.route({ to: publicIp });
  if (decision.outcome === 'refused') return undefined;
  const { device, via, source } = decision;
  return { device, ...(via !== undefined && { via }), ...(source !== undefined && { source }) };
}

export const wayOut = (decision: RouteDecision): string | undefined =>
  decision.outcome === 'way' && decision.device !== '' ? decision.device : undefined;

export const linkCalled = (links: readonly Link[], name: string | undefined): Link | undefined =>
  links.find((link) => link.name === name);
