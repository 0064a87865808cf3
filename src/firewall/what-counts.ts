import type { SavedTable } from '#src/firewall/iptables-save.ts';
import { isOf, type SeenFilters } from '#src/firewall/packet-drops.ts';
import { all, type Packet } from '#src/firewall/packet-walk.ts';
import { answer, verdictOf } from '#src/firewall/walk-iptables.ts';
import { nftCounting } from '#src/firewall/what-counts-nft.ts';
import type { Prefix4 } from '#src/lib/ip.ts';

/** A rule that has to see every packet of a flow: what goes past the rules is not counted, limited or changed by it. */
export interface CountingRule {
  /** `iptables, table filter, chain FORWARD`. */
  readonly place: string;
  /** The rule as its program prints it, or a part of it. */
  readonly rule: string;
  /** `limits a rate`: what it does that needs every packet. */
  readonly why: string;
}

/** Whose packets cross the rules. */
export interface CrossingPlace {
  readonly network: Prefix4;
  readonly subnet: Prefix4;
  /** `flannel.1` */
  readonly device: string;
  readonly bridge: string;
  /** The device of the outer packets, and their UDP port. */
  readonly underlay: string;
  readonly port: number;
}

/** A packet that crosses the rules, with the hooks that it comes to (nftables' words). */
export interface CrossingPacket {
  readonly packet: Packet;
  readonly hooks: readonly string[];
}

/**
 * The rules that established flows between containers of different hosts cross and that need every packet of them: rate limits,
 * quotas, log lines, queues to programs, marks. A rule that holds only for new connections is none of them: a connection's first
 * packets always cross the rules. Conditions that can't be answered may hold.
 */
export function rulesThatCount(seen: SeenFilters, place: CrossingPlace): CountingRule[] {
  const found = new Map<string, CountingRule>();
  for (const crossing of crossingPackets(place)) {
    for (const rule of [...iptablesCounting(seen, crossing), ...nftCounting(seen, crossing)]) {
      // To and fro, TCP and UDP: one rule is one finding.
      const key = `${rule.place} ${rule.rule}`;
      if (!found.has(key)) found.set(key, rule);
    }
  }
  return [...found.values()];
}

/** Inner packets of both directions, and the outer packets that carry them. */
function* crossingPackets(place: CrossingPlace): Generator<CrossingPacket> {
  const { network, subnet, device, bridge, underlay, port } = place;
  const forwarded = ['ingress', 'prerouting', 'forward', 'postrouting', 'egress'];
  for (const protocol of ['tcp', 'udp'] as const) {
    const known = { mark: 0, state: 'established', carries: { protocol } } as const;
    yield { hooks: forwarded, packet: { ...known, by: bridge, out: device, from: subnet, to: network } };
    yield { hooks: forwarded, packet: { ...known, by: device, out: bridge, from: network, to: subnet } };
  }
  const outer = { mark: 0, state: 'established', carries: { protocol: 'udp', port } } as const;
  yield {
    hooks: ['output', 'postrouting', 'egress'],
    packet: { ...outer, by: '', out: underlay, from: ANY, to: ANY },
  };
  yield {
    hooks: ['ingress', 'prerouting', 'input'],
    packet: { ...outer, by: underlay, out: '', from: ANY, to: ANY },
  };
}

const ANY: Prefix4 = { family: 4, address: 0 as Prefix4['address'], length: 0 };

/** Of the tables whose rules see every packet; those of `nat` see the first one of a connection. */
const TABLES = ['raw', 'mangle', 'filter'] as const;

function* iptablesCounting(
  { iptables }: SeenFilters,
  { packet, hooks }: CrossingPacket,
): Generator<CountingRule> {
  for (const { program, saved } of iptables.filter((seen) => isOf(seen, packet))) {
    for (const name of TABLES) {
      const table = saved.get(name);
      if (table === undefined) continue;
      for (const hook of hooks) {
        const base = hook.toUpperCase();
        if (!table.has(base)) continue;
        const found: CountingRule[] = [];
        walk({ table, packet, found, place: `${program}, table ${name}` }, base, 0);
        yield* found;
      }
    }
  }
}

interface Walk {
  readonly table: SavedTable;
  readonly packet: Packet;
  readonly place: string;
  readonly found: CountingRule[];
}

/** Whether all such packets end in the chain. */
function walk(it: Walk, chain: string, depth: number): boolean {
  const { table, packet, place, found } = it;
  if (depth > MOST_DEPTH) return false;
  for (const rule of table.get(chain)?.rules ?? []) {
    const holds = all(rule.options.map((option) => answer(option, packet)));
    if (holds === 'no') continue;
    const why = isOwn(chain) ? undefined : whyOf(rule.options, rule.target);
    if (why !== undefined) found.push({ place: `${place}, chain ${chain}`, rule: rule.text, why });
    const verdict = verdictOf(rule, table);
    if (verdict === 'none') continue;
    if (verdict === 'accept' || verdict === 'drop') {
      if (holds === 'yes') return true;
    } else if (verdict === 'return') {
      if (holds === 'yes') return false;
    } else {
      const isGoto = 'goto' in verdict;
      const ended = walk(it, isGoto ? verdict.goto : verdict.jump, depth + 1);
      if (holds === 'yes' && (ended || isGoto)) return ended;
    }
  }
  return false;
}

const MOST_DEPTH = 64;

/** Chains of ours and of flannel's: what they mark, every packet that crosses them has. */
const isOwn = (chain: string): boolean => /^FLANNEL-/.test(chain);

/** By the names of the extensions (iptables-extensions(8)). */
const MATCHES: Readonly<Record<string, string>> = {
  limit: 'limits a rate',
  hashlimit: 'limits a rate',
  recent: 'notes when packets come',
  quota: 'counts bytes',
  quota2: 'counts bytes',
  connbytes: 'counts a connection’s packets',
  nfacct: 'counts packets',
  rateest: 'measures a rate',
  statistic: 'picks some of the packets',
  string: 'reads each packet',
  u32: 'reads each packet',
  bpf: 'reads each packet',
  length: 'looks at each packet’s length',
  ttl: 'looks at each packet’s TTL',
  tos: 'looks at each packet’s TOS',
  dscp: 'looks at each packet’s TOS',
  ecn: 'looks at each packet’s TOS',
};

const TARGETS: Readonly<Record<string, string>> = {
  LOG: 'writes packets to the log',
  NFLOG: 'writes packets to the log',
  ULOG: 'writes packets to the log',
  NFQUEUE: 'gives packets to a program',
  QUEUE: 'gives packets to a program',
  TPROXY: 'gives packets to a proxy',
  TEE: 'copies packets',
  TRACE: 'traces packets',
  RATEEST: 'measures a rate',
  TOS: 'changes packets',
  DSCP: 'changes packets',
  TTL: 'changes packets',
  ECN: 'changes packets',
  MARK: 'marks packets',
  CONNMARK: 'marks packets',
  CLASSIFY: 'marks packets',
};

function whyOf(options: readonly string[], target = ''): string | undefined {
  for (const option of options) {
    const [, match = ''] = /^-m (\S+)$/.exec(option) ?? [];
    if (match in MATCHES) return MATCHES[match];
  }
  return TARGETS[target];
}
