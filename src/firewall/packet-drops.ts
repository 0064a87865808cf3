import type { SavedTables } from '#src/firewall/iptables-save.ts';
import type { NftChain, PlacedTable } from '#src/firewall/nft-listing.ts';
import { dropOf, type Packet } from '#src/firewall/packet-walk.ts';
import { marksOfIptables, walkIptables } from '#src/firewall/walk-iptables.ts';
import { marksOfNft, walkNft } from '#src/firewall/walk-nft.ts';

/** All packet filters of one network namespace, ours among them. */
export interface SeenFilters {
  /** What `iptables-save` printed, by program: `iptables`, `iptables-legacy`, `ip6tables`. */
  readonly iptables: readonly { readonly program: string; readonly saved: SavedTables }[];
  /** Tables of nftables, without those that iptables-save shows. */
  readonly nftables: readonly PlacedTable[];
}

/** The way of a packet through one host's packet filter: it comes in or not, and goes out or not. */
export type FilterWay = 'forward' | 'input' | 'output';

/** What drops a packet, for certain. */
export interface FilterDrop {
  /** `iptables, table filter, chain FORWARD`. */
  readonly place: string;
  readonly rule: string;
  /** Prints the chain. */
  readonly command: string;
}

/** Hooks in the order in which a packet comes to them (Netfilter), in nftables' words. */
const HOOKS: Readonly<Record<FilterWay, readonly string[]>> = {
  forward: ['ingress', 'prerouting', 'forward', 'postrouting', 'egress'],
  input: ['ingress', 'prerouting', 'input'],
  output: ['output', 'postrouting', 'egress'],
};

const IPTABLES_TABLES = ['raw', 'mangle', 'filter'] as const;

/**
 * The rule or policy that drops the packet on this way; `undefined` when none does for certain: rules that ask for something
 * that is not known are passed over, so that nothing is named which drops other packets.
 */
export function packetDrop(seen: SeenFilters, packet: Packet, way: FilterWay): FilterDrop | undefined {
  const marked = { ...packet, mark: (packet.mark | marksOf(seen, packet)) >>> 0 };
  for (const hook of HOOKS[way]) {
    const drop = iptablesDrop(seen, marked, hook) ?? nftDrop(seen, marked, hook);
    if (drop !== undefined) return drop;
  }
  return undefined;
}

function iptablesDrop({ iptables }: SeenFilters, packet: Packet, hook: string): FilterDrop | undefined {
  const base = hook.toUpperCase();
  for (const { program, saved } of iptables.filter((seen) => isOf(seen, packet))) {
    for (const name of IPTABLES_TABLES) {
      const table = saved.get(name);
      const drop = table?.has(base) ? dropOf(walkIptables(table, packet), base) : undefined;
      if (drop === undefined) continue;
      const place = `${program}, table ${name}, chain ${drop.chain}`;
      return { place, rule: drop.text, command: `${program} -t ${name} -S ${drop.chain}` };
    }
  }
  return undefined;
}

function nftDrop({ nftables }: SeenFilters, packet: Packet, hook: string): FilterDrop | undefined {
  for (const { family, name, table } of nftables) {
    for (const base of table.chains) {
      if (base.hook !== hook || !sees(family, base, packet)) continue;
      const drop = dropOf(walkNft(table, packet), base.name);
      if (drop === undefined) continue;
      const chain = `${family} ${name} ${drop.chain}`;
      return { place: `nftables, chain ${chain}`, rule: drop.text, command: `nft list chain ${chain}` };
    }
  }
  return undefined;
}

/** Whether this program's rules are for packets of this family. */
export const isOf = ({ program }: { readonly program: string }, { from }: Packet): boolean =>
  program.startsWith('ip6tables') === (from.family === 6);

/** Whether a table of this family of nftables' is for packets of the packet's own. */
export const isFor = (family: string, { from }: Packet): boolean =>
  family === 'inet' || family === (from.family === 4 ? 'ip' : 'ip6');

/** Whether a base chain of this family is on the way of the packet by these devices. */
export function sees(family: string, { hook, dev = [] }: NftChain, packet: Packet): boolean {
  const { by, out } = packet;
  if (isFor(family, packet)) return hook !== 'ingress' || [dev].flat().includes(by);
  return family === 'netdev' && [dev].flat().includes(hook === 'ingress' ? by : out);
}

function marksOf({ iptables, nftables }: SeenFilters, packet: Packet): number {
  let marks = 0;
  for (const { saved } of iptables.filter((seen) => isOf(seen, packet)))
    for (const table of saved.values()) marks |= marksOfIptables(table, packet);
  for (const { family, table } of nftables) if (isFor(family, packet)) marks |= marksOfNft(table, packet);
  return marks;
}
