import type { SavedRule, SavedTable } from '#src/firewall/iptables-save.ts';
import type { NftRule, NftTable } from '#src/firewall/nft-listing.ts';
import { type Drop, dropOf, type Packet } from '#src/firewall/packet-walk.ts';
import { walkIptables } from '#src/firewall/walk-iptables.ts';
import { walkNft } from '#src/firewall/walk-nft.ts';
import type { SeenRules } from '#src/firewall/what-drops.ts';

/** A rule that does something to a packet for certain, and its place. */
export interface RuleHit extends Drop {
  readonly firewall: 'iptables' | 'nftables';
  /** `iptables`, `iptables-legacy`, `nft`. */
  readonly program: string;
  readonly table: string;
}

/** The chains that a packet passes, in their order (nftables(8), "Address family hooks"). */
export type Way = 'input' | 'output';

const IPTABLES_WAYS = {
  input: [
    ['raw', 'PREROUTING'],
    ['mangle', 'PREROUTING'],
    ['mangle', 'INPUT'],
    ['filter', 'INPUT'],
  ],
  output: [
    ['raw', 'OUTPUT'],
    ['mangle', 'OUTPUT'],
    ['filter', 'OUTPUT'],
  ],
} as const satisfies Record<Way, readonly (readonly [table: string, chain: string])[]>;
const NFT_WAYS = { input: ['prerouting', 'input'], output: ['output'] } as const satisfies Record<
  Way,
  readonly string[]
>;

/** What drops a packet for this host, or one that it sends, for certain; nothing when that can't be known. */
export function dropsOn(way: Way, { iptables, nftables }: SeenRules, packet: Packet): RuleHit[] {
  const hits: RuleHit[] = [];
  const { family } = packet.from;
  for (const { program, saved, ...seen } of iptables) {
    if (seen.family !== family) continue;
    for (const [name, base] of IPTABLES_WAYS[way]) {
      const table = saved.get(name);
      const drop = table && dropOf(walkIptables(table, packet), base);
      if (drop !== undefined) hits.push({ firewall: 'iptables', program, table: name, ...drop });
    }
  }
  for (const { family: own, name, table } of nftables) {
    if (own !== 'inet' && own !== (family === 4 ? 'ip' : 'ip6')) continue;
    for (const { name: base, type, hook } of table.chains) {
      if (type !== 'filter' || !NFT_WAYS[way].some((it) => it === hook)) continue;
      const drop = dropOf(walkNft(table, packet), base);
      if (drop !== undefined) hits.push({ firewall: 'nftables', program: 'nft', table: name, ...drop });
    }
  }
  return hits;
}

/** What gives a packet that is forwarded another source address, for certain. */
export function masqueradesOf({ iptables, nftables }: SeenRules, packet: Packet): RuleHit[] {
  const hits: RuleHit[] = [];
  const { family } = packet.from;
  for (const { program, saved, ...seen } of iptables) {
    const table = saved.get('nat');
    if (seen.family !== family || table === undefined) continue;
    const hit = dropOf(walkIptables(masqueradeDrops(table), packet), 'POSTROUTING');
    if (hit !== undefined) hits.push({ firewall: 'iptables', program, table: 'nat', ...hit });
  }
  for (const { family: own, name, table } of nftables) {
    if (own !== 'inet' && own !== (family === 4 ? 'ip' : 'ip6')) continue;
    for (const { name: base, type, hook } of table.chains) {
      if (type !== 'nat' || hook !== 'postrouting') continue;
      const hit = dropOf(walkNft(nftMasqueradeDrops(table), packet), base);
      if (hit !== undefined) hits.push({ firewall: 'nftables', program: 'nft', table: name, ...hit });
    }
  }
  return hits;
}

const SOURCE_TARGETS = ['MASQUERADE', 'SNAT'];
/** Options of such a target say how, not when. */
const HOW = /^(?:--to-source|--to-ports|--random|--persistent)/;

/** The table as if a new source were a drop: the walk then ends there. */
function masqueradeDrops(table: SavedTable): SavedTable {
  const change = (rule: SavedRule): SavedRule =>
    SOURCE_TARGETS.includes(rule.target ?? '')
      ? { ...rule, target: 'DROP', options: rule.options.filter((option) => !HOW.test(option)) }
      : rule;
  return new Map(
    Array.from(table, ([name, { policy, rules }]) => [name, { policy, rules: rules.map(change) }]),
  );
}

function nftMasqueradeDrops(table: NftTable): NftTable {
  const change = ({ expr, ...rule }: NftRule): NftRule =>
    expr === undefined
      ? rule
      : {
          ...rule,
          expr: expr.map((one) => ('masquerade' in one || 'snat' in one ? { drop: null } : one)),
        };
  return { ...table, rules: table.rules.map(change) };
}
