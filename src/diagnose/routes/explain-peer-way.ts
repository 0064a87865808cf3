import type { KnownPeer } from '#src/diagnose/known-network.ts';
import type { KnownPlace } from '#src/diagnose/routes/address-place.ts';
import type { RouteReader } from '#src/diagnose/routes/route-reader.ts';
import { type Asked, causesOf } from '#src/diagnose/routes/way-causes.ts';
import type { WantedObject, WayReport, Wrong } from '#src/diagnose/routes/way-report.ts';
import { decisionText } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import {
  containsAddress,
  formatIp,
  formatPrefix,
  type Ip,
  ipv4,
  ipv6,
  isIpv4,
  lastAddress,
  type Prefix,
} from '#src/lib/ip.ts';
import {
  type Address,
  formatObject,
  type KernelObject,
  KINDS,
  keyOf,
  type Route,
} from '#src/state/object.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/** The way to an address in the subnet of a peer: what is wanted, what is there, and what the kernel would do. */
export async function explainPeerWay(
  ip: Ip,
  { place, peer }: { readonly place: KnownPlace; readonly peer: KnownPeer },
  reader: RouteReader,
): Promise<WayReport> {
  const { known } = place;
  const outer = peer.publicIp === undefined ? undefined : await reader.route({ to: peer.publicIp });
  const objects = wantedObjects(place, peer, outer);
  const route = objects.find(
    (object): object is Route => object.kind === 'route' && containsAddress(object.destination, ip),
  );
  const found = await reader.kernel.dump({ kinds: ['route', 'neighbour', 'fdb', 'address'] });
  // In the order in which a packet needs them.
  const wanted = objects.toReversed().map((object) => compare(object, found));
  const asked = await askKernel(ip, place, { route, found }, reader);
  const wrong = [
    ...wanted.flatMap(missingText),
    ...(asked.every(({ answer }) => answer.isWanted)
      ? []
      : await causesOf({ ip, network: known.network, route, asked }, reader)),
    ...(outer === undefined ? [] : outerFault(place, peer, outer)),
  ];
  const publicIp = peer.publicIp && formatIp(peer.publicIp);
  return {
    address: formatIp(ip),
    place: 'peer',
    text: `${formatIp(ip)} is in ${formatPrefix(peer.subnet)}, the subnet of the peer with public IP ${publicIp ?? 'unknown'}`,
    lease: peer.lease,
    ...(publicIp !== undefined && { publicIp }),
    why: whyOf(place, peer, { route, outer }),
    wanted,
    kernel: [
      ...asked.map(({ answer }) => answer),
      ...(outer === undefined || publicIp === undefined
        ? []
        : [
            {
              command: `ip route get ${publicIp}`,
              answer: decisionText(outer),
              isWanted: outerFault(place, peer, outer).length === 0,
            },
          ]),
    ],
    wrong: known.backend === undefined ? [UNKNOWN_BACKEND, ...wrong] : wrong,
  };
}

const UNKNOWN_BACKEND: Wrong = {
  what: 'what this host should have for its peers is not known: neither flanneld nor its state file says it',
  remedy: 'start flanneld',
};

function wantedObjects(
  { known, routeForm }: KnownPlace,
  { lease, subnets, attributes }: KnownPeer,
  outer: RouteDecision | undefined,
): readonly KernelObject[] {
  const way = lookupOf(outer);
  const family = known.subnet.family === 4 ? 'v4' : 'v6';
  return (
    known.backend?.peerObjects(
      { name: lease, subnets, attributes, expiry: { kind: 'reservation' }, revision: 0n },
      { ...(way !== undefined && { lookup: { [family]: way } }), routeForm },
    ) ?? []
  );
}

function lookupOf(decision: RouteDecision | undefined): RouteLookup | undefined {
  if (decision?.outcome !== 'way') return undefined;
  const { device, via, source } = decision;
  return { device, ...(via !== undefined && { via }), ...(source !== undefined && { source }) };
}

function compare(wanted: KernelObject, found: readonly KernelObject[]): WantedObject {
  const kind = KINDS.of(wanted);
  const key = keyOf(wanted);
  const there = found.find((object) => object.kind === wanted.kind && keyOf(object) === key);
  const differences = there === undefined ? ['it is not there'] : kind.differences(wanted, there);
  return { kind: wanted.kind, object: formatObject(wanted), differences };
}

const missingText = ({ kind, object, differences }: WantedObject): Wrong[] =>
  differences.length === 0
    ? []
    : [
        {
          what: `the ${NAMES[kind] ?? kind} ${object} is not as wanted: ${differences.join(', ')}`,
          remedy: 'flanneld repairs that within seconds when it runs; "weft events" shows what it did',
        },
      ];

const NAMES: Readonly<Record<string, string>> = { fdb: 'forwarding entry' };

/** A packet of the host itself, and one of a container, for which rules may decide differently. */
async function askKernel(
  ip: Ip,
  { known }: KnownPlace,
  { route, found }: { readonly route: Route | undefined; readonly found: readonly KernelObject[] },
  reader: RouteReader,
): Promise<Asked[]> {
  const bridge = found.find(
    (object): object is Address =>
      object.kind === 'address' &&
      containsAddress(known.subnet, object.prefix.address) &&
      object.prefix.length < (object.prefix.family === 4 ? 32 : 128) &&
      known.backend?.devices.includes(object.device) !== true,
  );
  const to = formatIp(ip);
  const questions = [
    { question: { to: ip }, command: `ip route get ${to}` },
    ...(bridge === undefined
      ? []
      : [
          {
            question: { to: ip, from: lastOf(known.subnet), by: bridge.device },
            command: `ip route get ${to} from ${formatIp(lastOf(known.subnet))} iif ${bridge.device}`,
          },
        ]),
  ];
  return Promise.all(
    questions.map(async ({ question, command }) => {
      const decision = await reader.route(question);
      const isWanted = isWay(decision, route);
      return { decision, answer: { command, answer: decisionText(decision), isWanted } };
    }),
  );
}

/** An address that stands for a container: the last one before the broadcast address is seldom the host's own. */
const lastOf = (subnet: Prefix): Ip => {
  const last = lastAddress(subnet);
  return isIpv4(last) ? ipv4(last - 1) : ipv6(last - 1n);
};

const isWay = (decision: RouteDecision, route: Route | undefined): boolean =>
  decision.outcome === 'way' &&
  (route === undefined || (decision.device === route.device && decision.via === route.via));

function outerFault({ known }: KnownPlace, { publicIp }: KnownPeer, outer: RouteDecision): Wrong[] {
  const to = publicIp === undefined ? 'the peer' : formatIp(publicIp);
  if (outer.outcome === 'refused')
    return [{ what: `this host has no way to the peer's host ${to}: ${outer.message}` }];
  if (outer.type === 'local')
    return [
      { what: `${to} is an address of this host itself`, remedy: 'give each host a public IP of its own' },
    ];
  if (known.backend?.devices.includes(outer.device) === true)
    return [
      {
        what: `the way to the peer's host ${to} leads into the overlay itself (${outer.device})`,
        remedy: `"ip route show to match ${to}" names the route`,
      },
    ];
  return [];
}

function whyOf(
  { known }: KnownPlace,
  { publicIp, attributes, lease }: KnownPeer,
  { route, outer }: { readonly route: Route | undefined; readonly outer: RouteDecision | undefined },
): string[] {
  const { backend, settings } = known;
  const type = backend?.type ?? attributes.backendType;
  const host = publicIp === undefined ? "the peer's host" : formatIp(publicIp);
  const why = [`lease ${lease}: Backend ${type}, on the host ${host}`];
  if (route?.device === undefined) return why;
  const isDirect = backend?.devices.includes(route.device) !== true;
  if (isDirect) {
    const hasDevice = (backend?.devices.length ?? 0) > 0;
    const because = hasDevice
      ? 'DirectRouting is on, and that host is on a link of this one'
      : `Backend ${type} wraps no packets`;
    return [...why, `${because}: packets go to ${host} as they are, by ${route.device}`];
  }
  const gateway = outer?.outcome === 'way' ? outer.via : undefined;
  const notDirect =
    settings.DirectRouting === true && gateway !== undefined
      ? `DirectRouting is on, but ${host} is behind the gateway ${formatIp(gateway)}: `
      : '';
  return [...why, `${notDirect}packets go into ${route.device}, which wraps them and sends them to ${host}`];
}
