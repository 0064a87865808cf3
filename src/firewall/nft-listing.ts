/** What `nft -j` lists, as far as we look at it. The schema is libnftables-json(5)'s. */
export interface NftChain {
  readonly name: string;
  readonly type?: string;
  readonly hook?: string;
  readonly prio?: number;
  readonly policy?: string;
  /** Of a chain of the family `netdev`. */
  readonly dev?: string | readonly string[];
}
export interface NftRule {
  readonly chain: string;
  readonly comment?: string;
  readonly expr?: readonly NftStatement[];
}
/** A verdict map: `elem` holds pairs of key and verdict. */
export interface NftMap {
  readonly name: string;
  readonly elem?: readonly unknown[];
}
export interface NftSet {
  readonly name: string;
  /** `dynamic`: packets add elements to it. */
  readonly flags?: string | readonly string[];
  /** Values; those of several parts as `{concat: […]}`. */
  readonly elem?: readonly unknown[];
}
export interface NftCounter {
  readonly name: string;
  readonly packets: number;
}
export type NftStatement = Readonly<Record<string, unknown>>;

/** One table. */
export interface NftTable {
  readonly chains: readonly NftChain[];
  readonly rules: readonly NftRule[];
  readonly maps: readonly NftMap[];
  readonly sets: readonly NftSet[];
  readonly counters: readonly NftCounter[];
}

interface ListedItem {
  readonly chain?: NftChain;
  readonly rule?: NftRule;
  readonly map?: NftMap;
  readonly set?: NftSet;
  readonly counter?: NftCounter;
}

/** Reads the output of `nft -j list table FAMILY NAME`. */
export function parseNftTable(listing: string): NftTable {
  const { nftables = [] } = JSON.parse(listing) as { readonly nftables?: readonly ListedItem[] };
  return {
    chains: nftables.flatMap(({ chain }) => chain ?? []),
    rules: nftables.flatMap(({ rule }) => rule ?? []),
    maps: nftables.flatMap(({ map }) => map ?? []),
    sets: nftables.flatMap(({ set }) => set ?? []),
    counters: nftables.flatMap(({ counter }) => counter ?? []),
  };
}

/** A table with its place: `ip`, `inet`, `bridge`, `netdev`, and its name there. */
export interface PlacedTable {
  readonly family: string;
  readonly name: string;
  readonly table: NftTable;
}

/** Reads the output of `nft -j list ruleset`: every table of the network namespace. */
export function parseNftRuleset(listing: string): PlacedTable[] {
  const { nftables = [] } = JSON.parse(listing) as { readonly nftables?: readonly PlacedItem[] };
  const places = Map.groupBy(nftables.filter(isPlaced), (item) => {
    const { family, table, name } = placeOf(item);
    return `${family} ${item.table === undefined ? table : name}`;
  });
  return Array.from(places, ([place, items]) => {
    const [family = '', name = ''] = place.split(' ');
    return { family, name, table: parseNftTable(JSON.stringify({ nftables: items })) };
  });
}

interface Place {
  readonly family: string;
  readonly name?: string;
  readonly table?: string;
}
type PlacedItem = Readonly<Record<string, Place>>;

const placeOf = (item: PlacedItem): Place => Object.values(item)[0] ?? { family: '' };
const isPlaced = (item: PlacedItem): boolean => placeOf(item).family !== undefined;
