import { type Check, type Finding, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { containerBridge } from '#src/diagnose/checks/container-bridge.ts';
import { peersNow } from '#src/diagnose/checks/peers-now.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import { forwardedBy } from '#src/diagnose/facts/packet-filter.ts';
import { type HostFacts, wantedRulesOf } from '#src/diagnose/host-facts.ts';
import { familiesKnown } from '#src/diagnose/known-families.ts';
import { tunnelPortOf } from '#src/diagnose/known-network.ts';
import type { KnownUnderlay } from '#src/diagnose/known-underlay.ts';
import { type FilterDrop, packetDrop } from '#src/firewall/packet-drops.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import { type SeenDrop, seenDrops } from '#src/firewall/what-drops.ts';
import { masqueradeOf } from '#src/firewall/what-masquerades.ts';
import { formatPrefix, type Ip, isIpv4, type Prefix, prefixOf } from '#src/lib/ip.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';

function wantedOf(facts: HostFacts): WantedRules | undefined {
  return wantedRulesOf(known(facts.network), facts.subnetFile, facts.options);
}

/** What drops the overlay's packets on their way through this host. */
function dropsOf(facts: HostFacts): SeenDrop[] {
  const { filters } = known(facts.filter);
  const wanted = wantedOf(facts);
  const bridge = containerBridge(facts)?.name;
  if (wanted === undefined) return [];
  return seenDrops(forwardedBy(filters), wanted, bridge === undefined ? {} : { bridge });
}

type DropKind = 'policy' | 'legacy' | 'iptables' | 'firewalld' | 'docker' | 'nftables';

function kindOf({ firewall, program, table, text }: SeenDrop): DropKind {
  if (firewall === 'iptables') {
    if (program.includes('legacy')) return 'legacy';
    return text === 'policy drop' ? 'policy' : 'iptables';
  }
  if (table === 'firewalld') return 'firewalld';
  return table === 'docker-bridges' ? 'docker' : 'nftables';
}

function drop(facts: HostFacts, kind: DropKind): Finding | undefined {
  const [found] = dropsOf(facts).filter((it) => kindOf(it) === kind);
  if (found === undefined) return undefined;
  const { what, remedy } = found;
  return { what: `${what.charAt(0).toUpperCase()}${what.slice(1)}.`, remedy };
}

/** So many peers are looked at. */
const MOST_PEERS = 8;

type Way = 'input' | 'output';

interface TunnelDrop {
  readonly drop: FilterDrop;
  readonly port: number;
  readonly leases: readonly string[];
}

function tunnelDrop(facts: HostFacts, way: Way): TunnelDrop | undefined {
  const { filters } = known(facts.filter);
  const { backend, underlay, settings } = known(facts.network);
  const port = tunnelPortOf(settings);
  if (underlay === undefined || port === undefined || (backend?.devices.length ?? 0) === 0) return undefined;
  const carries = { protocol: 'udp', port } as const;
  let first: FilterDrop | undefined;
  const leases: string[] = [];
  for (const { lease, attributes } of peersNow(facts).slice(0, MOST_PEERS)) {
    for (const [own, peer] of outerEnds(underlay, attributes)) {
      const [here, there] = [hostOf(own), hostOf(peer)];
      const packet =
        way === 'input'
          ? { by: underlay.name, out: '', from: there, to: here, mark: 0, carries }
          : { by: '', out: underlay.name, from: here, to: there, mark: 0, carries };
      const drop = packetDrop(filters, packet, way);
      if (drop === undefined) continue;
      first ??= drop;
      leases.push(lease);
      break;
    }
  }
  return first && { drop: first, port, leases };
}

/** Between which addresses the tunnels to a peer are: one pair for each family that both have. */
function outerEnds(
  { addresses: { v4, v6 } }: KnownUnderlay,
  { publicIp, publicIpv6 }: LeaseAttributes,
): [own: Ip, peer: Ip][] {
  return [
    ...(v4 !== undefined && publicIp !== undefined ? [[v4, publicIp] as [Ip, Ip]] : []),
    ...(v6 !== undefined && publicIpv6 !== undefined ? [[v6, publicIpv6] as [Ip, Ip]] : []),
  ];
}

const hostOf = (ip: Ip): Prefix => prefixOf(ip, isIpv4(ip) ? 32 : 128);

function tunnelFinding(facts: HostFacts, way: Way): Finding | undefined {
  const dropped = tunnelDrop(facts, way);
  if (dropped === undefined) return undefined;
  const { drop: found, port, leases } = dropped;
  const [program = ''] = found.command.split(' ');
  const table = / -t (\w+) /.exec(found.command)?.[1] ?? 'filter';
  const accept = `${program} -t ${table} -I ${way.toUpperCase()} -p udp --dport ${port} -j ACCEPT`;
  return {
    what: `This host drops the tunnel's packets ${way === 'input' ? 'from' : 'to'} peers (UDP ${port}): ${found.place}: ${found.rule}.`,
    remedy: found.place.includes('firewalld')
      ? `firewall-cmd --permanent --add-port=${port}/udp && firewall-cmd --reload`
      : program === 'nft'
        ? `accept udp dport ${port} before that rule: ${found.command} shows it`
        : accept,
    leases,
  };
}

export const FILTER_CHECKS: readonly Check[] = [
  {
    id: 'rules-missing',
    title: "flanneld's own rules are in the packet filter",
    why: 'They accept what is forwarded from and to the overlay, and masquerade what leaves it.',
    causes: ['forward-policy', 'docker-drops', 'overlay-masqueraded'],
    look(facts) {
      const { faults } = known(facts.filter);
      // A flanneld that runs compares them itself, with its own flags.
      if (facts.daemon.state === 'running' || faults === undefined || faults.length === 0) return undefined;
      return {
        what: `Rules of flanneld are missing: ${some(faults)}.`,
        remedy: 'systemctl restart flanneld, which sets them',
      };
    },
  },
  {
    id: 'forward-policy',
    title: "the FORWARD chain's policy does not drop the overlay",
    why: 'Docker sets the policy to DROP; packets of the overlay pass only where a rule accepts them before.',
    causes: [],
    look: (facts) => drop(facts, 'policy'),
  },
  {
    id: 'iptables-drops',
    title: 'no rule of iptables drops the overlay',
    why: 'A rule that comes before the accepting ones is final.',
    causes: [],
    look: (facts) => drop(facts, 'iptables'),
  },
  {
    id: 'legacy-drops',
    title: 'no rule of iptables-legacy drops the overlay',
    why: 'Packets pass both kinds of iptables, and each program shows its own rules only.',
    causes: ['two-iptables'],
    look: (facts) => drop(facts, 'legacy'),
  },
  {
    id: 'firewalld-drops',
    title: 'firewalld forwards the overlay',
    why: "firewalld's table comes after iptables, and rejects what no zone forwards.",
    causes: [],
    look: (facts) => drop(facts, 'firewalld'),
  },
  {
    id: 'docker-drops',
    title: "Docker's nftables rules let the overlay in",
    why: 'No rule of another table can undo these drops: dockerd needs two options.',
    causes: [],
    look: (facts) => drop(facts, 'docker'),
  },
  {
    id: 'nftables-drops',
    title: 'no other table of nftables drops the overlay',
    why: 'An accept in one table does not undo a drop in another.',
    causes: [],
    look: (facts) => drop(facts, 'nftables'),
  },
  {
    id: 'tunnel-blocked-in',
    title: "this host's packet filter lets the tunnel's packets in",
    why: 'Peers send UDP to this port; a filter that drops it cuts this host off.',
    causes: [...REACH],
    look: (facts) => tunnelFinding(facts, 'input'),
  },
  {
    id: 'tunnel-blocked-out',
    title: "this host's packet filter lets the tunnel's packets out",
    why: 'This host sends UDP to that port of its peers.',
    causes: [...REACH],
    look: (facts) => tunnelFinding(facts, 'output'),
  },
  {
    id: 'overlay-masqueraded',
    title: "containers' packets to other hosts keep their source address",
    why: 'Services then see the host in place of the container, and rules by address fail.',
    causes: [],
    look(facts) {
      const { filters } = known(facts.filter);
      const { backend } = known(facts.network);
      const wanted = wantedOf(facts);
      const out = backend?.devices[0];
      // Without --ip-masq Docker masquerades, as mk-docker-opts says.
      if (wanted?.masquerade !== true || out === undefined) return undefined;
      const by = containerBridge(facts)?.name ?? 'docker0';
      for (const peer of peersNow(facts).slice(0, MOST_PEERS)) {
        const [found] = familiesKnown(known(facts.network)).flatMap(({ network, subnet: from }) => {
          const to = from.family === 4 ? peer.subnets.v4 : peer.subnets.v6;
          const hit = to && masqueradeOf(filters, { by, out, mark: 0, from, to });
          return hit === undefined ? [] : [{ hit, network }];
        });
        if (found === undefined) continue;
        const { hit, network } = found;
        const range = formatPrefix(network);
        const except = `${hit.program} -t nat -I POSTROUTING -s ${range} -d ${range} -j ACCEPT`;
        return {
          what: `Packets between containers of two hosts get another source address: ${hit.place}: ${hit.rule}.`,
          remedy:
            hit.program === 'nft'
              ? `take the rule away, or let it except ${range}: ${hit.command} shows it`
              : `take the rule away, or except the overlay: ${except}`,
        };
      }
      return undefined;
    },
  },
  {
    id: 'two-iptables',
    title: 'rules are in one kind of iptables',
    why: 'A packet must pass both kinds, and an ACCEPT in one does not undo a DROP in the other.',
    causes: [],
    look: (facts) =>
      known(facts.filter).mixed
        ? {
            what: 'Other programs have rules in iptables-nft and in iptables-legacy.',
            remedy:
              'compare iptables-legacy-save and iptables-nft-save, keep one: update-alternatives --config iptables; then restart Docker',
          }
        : undefined,
  },
];
