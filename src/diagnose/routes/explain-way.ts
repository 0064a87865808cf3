import { knownOr } from '#src/diagnose/facts/fact.ts';
import { type AddressPlace, type KnownPlace, placeOf } from '#src/diagnose/routes/address-place.ts';
import { explainPeerWay } from '#src/diagnose/routes/explain-peer-way.ts';
import type { RouteReader } from '#src/diagnose/routes/route-reader.ts';
import { bestRoute, formatPolicyRoute } from '#src/diagnose/routes/way-causes.ts';
import type { WayReport, Wrong } from '#src/diagnose/routes/way-report.ts';
import { decisionText, isFromOtherTable } from '#src/diagnose/trace/step-texts.ts';
import type { RouteDecision } from '#src/kernel/route-question.ts';
import { containsAddress, formatIp, formatPrefix, type Ip } from '#src/lib/ip.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';
import { deviceOf, formatObject, type KernelObject } from '#src/state/object.ts';

/** What is known of the host's networks. */
export interface WayFacts {
  readonly places: readonly KnownPlace[];
  /** The networks of Docker's driver that this host has. */
  readonly docker: readonly DriverNetwork[];
}

/** Where packets to the address go from this host, and why. */
export async function explainWay(ip: Ip, facts: WayFacts, reader: RouteReader): Promise<WayReport> {
  const found = placeOf(ip, facts.places, facts.docker);
  if (found.kind === 'peer') return explainPeerWay(ip, found, reader);
  const address = formatIp(ip);
  const decision = await reader.route({ to: ip });
  const objects = await reader.kernel.dump({ kinds: ['address', 'neighbour'] });
  const route = bestRoute(ip, knownOr(await reader.routes(), []));
  const {
    text,
    why,
    wrong,
    isWanted = wrong.length === 0,
  } = describe(ip, found, {
    decision,
    route: route && formatPolicyRoute(route),
    holder: objects.find((object) => object.kind === 'address' && object.prefix.address === ip),
    devices: objects.flatMap((object) =>
      object.kind === 'address' &&
      found.kind === 'own' &&
      object.prefix.length < (object.prefix.family === 4 ? 32 : 128) &&
      containsAddress(found.place.known.subnet, object.prefix.address)
        ? [object.device]
        : [],
    ),
  });
  const entry = objects.find((object) => object.kind === 'neighbour' && object.ip === ip);
  return {
    address,
    place: found.kind,
    text: `${address} ${text}`,
    ...(found.kind === 'quarantined' && { lease: found.lease.lease }),
    why: [
      ...why,
      ...(entry === undefined ? [] : [`the host knows it as its neighbour: ${formatObject(entry)}`]),
    ],
    wanted: [],
    kernel: [{ command: `ip route get ${address}`, answer: decisionText(decision), isWanted }],
    wrong,
  };
}

interface Seen {
  readonly decision: RouteDecision;
  /** The route of the main table that wins. */
  readonly route: string | undefined;
  /** The address itself, if this host has it. */
  readonly holder: KernelObject | undefined;
  /** Those with an address of this host's own subnet. */
  readonly devices: readonly string[];
}

interface Description {
  readonly text: string;
  readonly why: readonly string[];
  readonly wrong: readonly Wrong[];
  readonly isWanted?: boolean;
}

function describe(ip: Ip, found: AddressPlace, seen: Seen): Description {
  switch (found.kind) {
    case 'own':
      return describeOwn(found.place, seen);
    case 'free':
      return {
        text: `is in the network ${formatPrefix(found.place.known.network)}, and no host has a lease for it`,
        why: ['no peer has a route for it here', ...byRoute(seen)],
        wrong: [],
      };
    case 'quarantined': {
      const { subnet, lease, reason } = found.lease;
      return {
        text: `is in ${subnet}, whose lease ${lease} is not used`,
        why: [`the lease is in quarantine: ${reason}`, ...byRoute(seen)],
        wrong: [
          {
            what: 'packets to it do not reach the host that has the lease',
            remedy: 'correct or remove that lease',
          },
        ],
        isWanted: false,
      };
    }
    case 'docker':
      return describeDocker(found.network);
    default:
      return describeOutside(ip, found, seen);
  }
}

function describeOwn({ known }: KnownPlace, seen: Seen): Description {
  const { decision, devices, route } = seen;
  const subnet = formatPrefix(known.subnet);
  const text = `is in ${subnet}, this host's own subnet`;
  if (decision.outcome === 'way' && decision.type === 'local')
    return { text, why: [`it is an address of this host itself, on ${holderOf(seen)}`], wrong: [] };
  if (devices.length === 0) {
    return {
      text,
      why: ['its containers are behind a bridge with an address of the subnet'],
      wrong: [
        {
          what: 'no device of this host has an address of its own subnet: no container is behind it',
          remedy: 'start Docker with the options that mk-docker-opts writes',
        },
      ],
    };
  }
  const isOnLink =
    decision.outcome === 'way' && decision.via === undefined && devices.includes(decision.device);
  return {
    text,
    why: [`its containers are behind ${devices.join(', ')}, on a link of this host`],
    wrong: isOnLink
      ? []
      : [
          {
            what: `the kernel sends it elsewhere than to ${devices.join(' or ')}${route === undefined || isFromOtherTable(decision) ? '' : `: its route is ${route}`}`,
            remedy: isFromOtherTable(decision)
              ? '"ip rule show" names the rule that does it'
              : `"ip route show to match ${subnet}" names the routes`,
          },
        ],
  };
}

/** The device that has the address; loopback answers for the whole of 127.0.0.0/8. */
const holderOf = ({ holder }: Seen): string => (holder && deviceOf(holder)) ?? 'lo';

function describeDocker({ name, vni, subnets, containers }: DriverNetwork): Description {
  const here = containers.length === 0 ? 'none' : containers.join(', ');
  return {
    text: `is in ${subnets.join(', ')}, the subnet of Docker's network ${name} (VNI ${vni})`,
    why: [
      'its containers are on one segment over all hosts: the routes of the host do not count for their packets',
      `containers of it on this host: ${here}`,
      `"weft address ls ${name}" says which container of which host has the address`,
    ],
    wrong: [],
  };
}

function describeOutside(ip: Ip, found: AddressPlace, seen: Seen): Description {
  const holders = found.kind === 'outside' ? found.holders : [];
  const { decision } = seen;
  const holder = holders.map(({ subnet }) => formatPrefix(subnet)).join(', ');
  const text =
    holder === ''
      ? 'is in no network that this host knows'
      : `is the host of the peer ${holder}, outside the overlay`;
  if (decision.outcome === 'way' && decision.type === 'local')
    return { text: 'is an address of this host itself', why: [`on ${holderOf(seen)}`], wrong: [] };
  const wrong =
    holder !== '' && decision.outcome === 'refused'
      ? [{ what: `this host has no way to ${formatIp(ip)}: ${decision.message}` }]
      : [];
  return { text, why: byRoute(seen), wrong };
}

function byRoute({ decision, route }: Seen): string[] {
  if (decision.outcome === 'refused') return ['the host has no route for it'];
  if (isFromOtherTable(decision)) return [`a rule of policy routing decides its way ("ip rule show")`];
  return route === undefined ? [] : [`the most specific route of the host for it is ${route}`];
}
