import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import { arrivalStep, bridgeStep, type ContainerFacts } from '#src/diagnose/trace/container-steps.ts';
import { filterStep, forwardingStep, readForwarding, routeStep } from '#src/diagnose/trace/forward-steps.ts';
import type { Finding } from '#src/diagnose/trace/hop.ts';
import { type HostFacts, readHost } from '#src/diagnose/trace/host-facts.ts';
import type { OverlayHost, Steps } from '#src/diagnose/trace/local-host.ts';
import { inputStep } from '#src/diagnose/trace/outer-packet.ts';
import type { Carriage, PartRequest } from '#src/diagnose/trace/part.ts';
import { linkCalled, wayOut } from '#src/diagnose/trace/step-texts.ts';
import { deviceStep } from '#src/diagnose/trace/tunnel-steps.ts';
import { lookupOf, ownDevice, wantedWay } from '#src/diagnose/trace/wanted-way.ts';
import { containsAddress, formatIp, formatPrefix, type Ip } from '#src/lib/ip.ts';
import type { Address, Link } from '#src/state/object.ts';

/** From the wire into the container. */
export async function* enterHost(host: OverlayHost, { way, carriage }: PartRequest, from: Ip, to: Ip): Steps {
  const { eye, known } = host;
  const facts = await readHost(eye, known, to, host.namespaces);
  const container: ContainerFacts = { host: facts, address: to, subnet: known.subnet };
  if (carriage?.kind !== 'bridge') {
    const by = yield* arriveAt(host, facts, carriage, from);
    if (by === undefined) {
      yield { ...UNKNOWN_DEVICE };
      return undefined;
    }
    const decision = await eye.route({ to, from, by });
    const plain = await eye.route({ to });
    const forwarded = { from, to, by, decision, plain, sysctls: await readForwarding(eye, by, to) };
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
async function* arriveAt(
  { eye, known }: OverlayHost,
  { links, addresses }: HostFacts,
  carriage: Carriage | undefined,
  from: Ip,
): AsyncGenerator<Finding, string | undefined, void> {
  const wanted = ownDevice(known) ?? tunnelIn(known, links, addresses);
  const sender = known.peers.find(({ subnet }) => containsAddress(subnet, from))?.publicIp;
  // Where the sender does not say how it sends, it is taken to do as this host does: the network's config is the same for both.
  const answer =
    carriage === undefined ? wantedWay(known, from, await lookupOf(eye, known, from)) : undefined;
  const isDirect = carriage?.kind === 'direct' || (answer?.route !== undefined && answer.fdb === undefined);
  if (isDirect || wanted === undefined) {
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
