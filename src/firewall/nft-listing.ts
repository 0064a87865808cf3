/** What `nft -j` lists, as far as we look at it. The schema is libnftables-json(5)'s. */
export interface NftChain {
  readonly name: string;
  readonly type?: string;
  readonly hook?: string;
  readonly prio?: number;
  readonly policy?: string;
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
export type NftStatement = Readonly<Record<string, unknown>>;

/** One table. */
export interface NftTable {
  readonly chains: readonly NftChain[];
  readonly rules: readonly NftRule[];
  readonly maps: readonly NftMap[];
}

interface ListedItem {
  readonly chain?: NftChain;
  readonly rule?: NftRule;
  readonly map?: NftMap;
}

/** Reads the output of `nft -j list table FAMILY NAME`. */
export function parseNftTable(listing: string): NftTable {
  const { nftables = [] } = JSON.parse(listing) as { readonly nftables?: readonly ListedItem[] };
  return {
    chains: nftables.flatMap(({ chain }) => chain ?? []),
    rules: nftables.flatMap(({ rule }) => rule ?? []),
    maps: nftables.flatMap(({ map }) => map ?? []),
  };
}
