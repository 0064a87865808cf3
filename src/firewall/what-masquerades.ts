import type { SavedRule, SavedTable } from '#src/firewall/iptables-save.ts';
import type { NftRule, NftTable } from '#src/firewall/nft-listing.ts';
import { type FilterDrop, isFor, isOf, type SeenFilters } from '#src/firewall/packet-drops.ts';
import { dropOf, type Packet } from '#src/firewall/packet-walk.ts';
import { walkIptables } from '#src/firewall/walk-iptables.ts';
import { walkNft } from '#src/firewall/walk-nft.ts';

/** A rule that gives a packet another source address. */
export interface Masquerade extends FilterDrop {
  readonly program: string;
  readonly chain: string;
}

/** What gives a packet that goes out another source address, for certain; `undefined` when nothing does. */
export function masqueradeOf({ iptables, nftables }: SeenFilters, packet: Packet): Masquerade | undefined {
  for (const { program, saved } of iptables.filter((seen) => isOf(seen, packet))) {
    const table = saved.get('nat');
    const hit = table && dropOf(walkIptables(asDrops(table), packet), 'POSTROUTING');
    if (hit === undefined) continue;
    const { chain, text: rule } = hit;
    return {
      ...{ program, chain, rule },
      place: `${program}, table nat, chain ${chain}`,
      command: `${program} -t nat -S ${chain}`,
    };
  }
  for (const { family, name, table } of nftables) {
    if (!isFor(family, packet)) continue;
    for (const base of table.chains) {
      if (base.type !== 'nat' || base.hook !== 'postrouting') continue;
      const hit = dropOf(walkNft(nftAsDrops(table), packet), base.name);
      if (hit === undefined) continue;
      const chain = `${family} ${name} ${hit.chain}`;
      return {
        ...{ program: 'nft', chain, rule: 'masquerade' },
        place: `nftables, chain ${chain}`,
        command: `nft list chain ${chain}`,
      };
    }
  }
  return undefined;
}

const SOURCE_TARGETS = ['MASQUERADE', 'SNAT'];
/** Options of such a target say how, not when. */
const HOW = /^(?:--to-source|--to-ports|--random|--persistent)/;

/** The table as if a new source were a drop: the walk then ends there. */
function asDrops(table: SavedTable): SavedTable {
  const change = (rule: SavedRule): SavedRule =>
    SOURCE_TARGETS.includes(rule.target ?? '')
      ? { ...rule, target: 'DROP', options: rule.options.filter((option) => !HOW.test(option)) }
      : rule;
  return new Map(
    Array.from(table, ([name, { policy, rules }]) => [name, { policy, rules: rules.map(change) }]),
  );
}

function nftAsDrops(table: NftTable): NftTable {
  const change = ({ expr, ...rule }: NftRule): NftRule =>
    expr === undefined
      ? rule
      : {
          ...rule,
          expr: expr.map((one) => ('masquerade' in one || 'snat' in one ? { drop: null } : one)),
        };
  return { ...table, rules: table.rules.map(change) };
}
