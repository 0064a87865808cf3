import { type Check, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { containerBridge } from '#src/diagnose/checks/container-bridge.ts';
import { settledPeers } from '#src/diagnose/checks/peers-now.ts';
import { known, knownOr, NoFact } from '#src/diagnose/facts/fact.ts';
import { carries } from '#src/diagnose/facts/reach.ts';
import { type Decision, decide } from '#src/diagnose/facts/route-decision.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { familiesKnown } from '#src/diagnose/known-families.ts';
import { addressAfter, formatIp, formatPrefix, overlaps, type Prefix } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { formatObject, type Route, RTPROT_WEFT } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';

/** So many peers are looked at: rules are about ranges, and what takes one subnet takes most. */
const MOST_PEERS = 32;

/** Routes of the main table that take packets to this subnet, and are not the one for it. */
function takers(facts: HostFacts, subnet: Prefix, devices: readonly string[], metric: number): Route[] {
  return facts.routes.filter(
    (route) =>
      route.destination.family === subnet.family &&
      route.protocol !== RTPROT_WEFT &&
      route.destination.length >= subnet.length &&
      overlaps(route.destination, subnet) &&
      !(route.device !== undefined && devices.includes(route.device)) &&
      (route.destination.length > subnet.length || route.metric < metric || route.metric === 0),
  );
}

/** The text of where the kernel sends a packet. */
function decisionText({ rule, route }: Decision): string {
  const where = rule.action === 'lookup' ? `table ${rule.table}` : rule.action;
  if (route === undefined) return `rule ${rule.priority} (${where})`;
  const way = [
    route.type === 'unicast' ? '' : route.type,
    formatPrefix(route.destination),
    route.device ? `dev ${route.device}` : '',
  ];
  return `rule ${rule.priority} (${where}: ${way.filter((word) => word !== '').join(' ')})`;
}

export const ROUTING_CHECKS: readonly Check[] = [
  {
    id: 'wrong-underlay',
    title: 'peers are reached by the underlay',
    why: 'The tunnel is bound to the underlay: peers to which another device leads are not reached.',
    causes: ['rp-filter', ...REACH],
    look(facts) {
      const { underlay } = known(facts.network);
      // The kernel takes a peer for a neighbour where the tunnel's device has no route to it. It may be one.
      if (knownOr(facts.reach, []).some(carries)) return undefined;
      const ways = settledPeers(facts).flatMap(({ lease }) => facts.ways.get(lease) ?? []);
      const devices = [...new Set(ways.map(({ device }) => device))];
      if (underlay === undefined || devices.length === 0 || devices.includes(underlay.name)) return undefined;
      return {
        what: `The underlay is ${underlay.name} (${formatIp(underlay.address)}), and every peer is reached by ${devices.join(' or ')}.`,
        remedy: `start flanneld with --iface=${devices[0]}, or correct the routes to the peers`,
      };
    },
  },
  {
    id: 'rule-takes-range',
    title: 'no rule of policy routing sends the overlay elsewhere',
    why: "Rules come before the main table, where the overlay's routes are. VPNs and traffic shapers add such rules.",
    causes: [...REACH],
    look(facts) {
      const { network, subnet } = known(facts.network);
      const [rules, routes] = [known(facts.ipRules), known(facts.policyRoutes)];
      const bridge = containerBridge(facts);
      // The rules of IPv4 alone are read.
      if (subnet.family === 6) return undefined;
      const from = { family: 4, address: addressAfter(subnet, 2), length: 32 } as const;
      for (const peer of settledPeers(facts).slice(0, MOST_PEERS)) {
        if (peer.subnets.v4 === undefined) continue;
        const to = addressAfter(peer.subnets.v4, 2);
        const decision = decide({ rules, routes }, { from, to, by: bridge?.name ?? 'docker0' });
        if (decision === undefined || decision.rule.table === 'main') continue;
        if (decision.route === undefined && decision.rule.action === 'lookup') continue;
        return {
          what: `Packets of containers to ${formatPrefix(peer.subnet)} do not come to the main table: ${decisionText(decision)} takes them.`,
          remedy: `ip rule add to ${formatPrefix(network)} lookup main priority ${Math.max(decision.rule.priority - 1, 1)}, or ip rule del priority ${decision.rule.priority}`,
        };
      }
      return undefined;
    },
  },
  {
    id: 'route-shadowed',
    title: "no other route takes a peer's subnet",
    why: 'The kernel takes the longest prefix: a route to a part of a subnet comes before the route to the whole.',
    causes: ['route-missing', ...REACH],
    look(facts) {
      const { backend, underlay, subnets } = known(facts.network);
      // Its own routes would be taken for those of others.
      if (backend === undefined) throw new NoFact({ kind: 'unknown', why: 'the backend is not known' });
      const own = [...backend.devices];
      const isDirect = backend.inbound.underlay;
      const found = settledPeers(facts).flatMap((peer) => {
        const devices = isDirect && underlay !== undefined ? [...own, underlay.name] : own;
        return valuesOf<Prefix, Prefix>(peer.subnets).flatMap((subnet) =>
          takers(facts, subnet, devices, Number.POSITIVE_INFINITY)
            .filter((route) => route.destination.length > subnet.length || route.metric === 0)
            .map((route) => ({ peer, route })),
        );
      });
      const bridge = containerBridge(facts)?.name;
      const local =
        bridge === undefined
          ? []
          : valuesOf<Prefix, Prefix>(subnets).flatMap((subnet) =>
              takers(facts, subnet, [...own, bridge], 0).filter(({ device }) => device !== undefined),
            );
      const [first] = [...found.map(({ route }) => route), ...local];
      if (first === undefined) return undefined;
      const leases = found.map(({ peer }) => peer.lease);
      const whose =
        leases.length > 0
          ? `of the subnets of ${some(leases)}`
          : `of this host's own subnet ${valuesOf(subnets).map(formatPrefix).join(' or ')}`;
      return {
        what: `The route ${formatObject(first)} takes packets ${whose}.`,
        remedy: commandOf({ verb: 'remove', object: first }),
        ...(leases.length > 0 && { leases }),
      };
    },
  },
  {
    id: 'bridge-address',
    title: "the containers' bridge has no address of another subnet",
    why: 'A bridge that keeps the address of an earlier lease has containers that no other host reaches, or takes the subnet of a peer.',
    causes: ['route-shadowed'],
    look(facts) {
      const { backend } = known(facts.network);
      const families = familiesKnown(known(facts.network));
      const stale = facts.addresses.find(
        ({ prefix, device }) =>
          families.some(({ network, subnet }) => overlaps(network, prefix) && !overlaps(subnet, prefix)) &&
          !backend?.devices.includes(device) &&
          facts.links.some(({ name, type }) => name === device && type === 'bridge'),
      );
      if (stale === undefined) return undefined;
      const words = knownOr(facts.dockerd, undefined)?.words.join(' ') ?? '';
      // A dockerd that is started so is another fault.
      if (words.includes(formatPrefix(stale.prefix))) return undefined;
      const own = families.find(({ subnet }) => subnet.family === stale.prefix.family);
      const option = stale.prefix.family === 4 ? '--bip' : '--fixed-cidr-v6';
      return {
        what: `The bridge ${stale.device} has ${formatPrefix(stale.prefix)}, and this host's subnet is ${own && formatPrefix(own.subnet)}.`,
        remedy: `ip addr del ${formatPrefix(stale.prefix)} dev ${stale.device}; start Docker again with ${option} as ${facts.place.subnetFile} says`,
      };
    },
  },
];
