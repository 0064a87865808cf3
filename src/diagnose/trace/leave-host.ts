import { bridgeStep, type ContainerFacts, containerStep } from '#src/diagnose/trace/container-steps.ts';
import { filterStep, forwardingStep, readForwarding, routeStep } from '#src/diagnose/trace/forward-steps.ts';
import { readHost } from '#src/diagnose/trace/host-facts.ts';
import type { OverlayHost, Steps } from '#src/diagnose/trace/local-host.ts';
import { leaveByUnderlay } from '#src/diagnose/trace/outer-packet.ts';
import type { PartRequest } from '#src/diagnose/trace/part.ts';
import { linkCalled, wayOut } from '#src/diagnose/trace/step-texts.ts';
import { deviceStep, fdbStep, neighbourStep, underlayStep } from '#src/diagnose/trace/tunnel-steps.ts';
import { lookupOf, ownDevice, type WantedWay, wantedWay } from '#src/diagnose/trace/wanted-way.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { containsAddress, formatIp, type Ip } from '#src/lib/ip.ts';
import type { Link } from '#src/state/object.ts';

/** From the container onto the wire. */
export async function* leaveHost(host: OverlayHost, { way }: PartRequest, from: Ip, to: Ip): Steps {
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
  const plain = await eye.route({ to });
  const forwarded = { from, to, by, decision, plain, sysctls: await readForwarding(eye, by, to) };
  yield forwardingStep(forwarded, false);
  const wanted = wantedWay(known, to, await lookupOf(eye, known, to));
  const device = wanted?.route?.device ?? wayOut(decision);
  const isTunnel = wanted?.fdb !== undefined || linkCalled(facts.links, device)?.vxlan !== undefined;
  const about = !isTunnel
    ? "the other host's whole subnet lies behind that host's own address"
    : `the other host's whole subnet lies behind ${device}, the overlay's device`;
  // subnet.env alone names no peers.
  const isNobody = wanted === undefined && known.source !== 'subnet-file';
  yield routeStep(forwarded, {
    ...{ id: 'route', about, wanted: wanted?.route },
    ...(isNobody && { nobody: 'see "weft leases": its host may be gone, or its lease not be accepted here' }),
  });
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
  { eye, known }: OverlayHost,
  links: readonly Link[],
  wanted: WantedWay | undefined,
  decision: RouteDecision,
): Steps {
  const to = wanted?.peer.publicIp ?? (decision.outcome === 'way' && decision.via);
  if (to === undefined || to === false) return undefined;
  const way = await eye.route({ to });
  yield underlayStep(to, way, linkCalled(links, wayOut(way)), known.underlay?.name);
  return { kind: 'direct', to: formatIp(to) };
}

async function* leaveByTunnel(
  { eye, known }: OverlayHost,
  links: readonly Link[],
  wanted: WantedWay | undefined,
  decision: RouteDecision,
): Steps {
  const device = wanted?.route?.device ?? wayOut(decision);
  const gateway = wanted?.route?.via ?? (decision.outcome === 'way' ? decision.via : undefined);
  if (device === undefined || gateway === undefined) return undefined;
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
  if (vtep === undefined || mac === undefined || tunnel === undefined) return undefined;
  return yield* leaveByUnderlay({ eye, underlay: known.underlay?.name, links }, { to: vtep, mac, tunnel });
}
