import { LINK_STATES, type Link, type SourceState } from '#src/ui/model/feed.ts';

/** A host of the chosen network. */
export interface MapHost {
  /** The lease's name; of a host without one the source's id. */
  readonly key: string;
  readonly name: string;
  readonly subnet?: string;
  readonly publicIp?: string;
  /** The source that says what this host sees; absent for a host that is known from others only. */
  readonly source?: SourceState;
}

/** What one host sees of another. */
export interface MapLink {
  readonly from: MapHost;
  readonly to: MapHost;
  readonly link: Link;
  /** The host's API does not answer: this is what it last said. */
  readonly stale: boolean;
}

export interface Topology {
  readonly hosts: readonly MapHost[];
  readonly links: readonly MapLink[];
  /** By `from` and `to`; see {@link linkKey}. */
  readonly byKey: ReadonlyMap<string, MapLink>;
}

export const linkKey = (from: string, to: string): string => `${from}>${to}`;

/** The networks that the sources serve, for the choice; `''` is the only one of a daemon. */
export function networksOf(sources: Iterable<SourceState>): string[] {
  const names = [...sources].filter(({ kind }) => kind === 'network').map(({ network = '' }) => network);
  return [...new Set(names)].sort();
}

/** Hosts and links of one network, both in the order of the hosts' names. */
export function topologyOf(sources: Iterable<SourceState>, network: string): Topology {
  const chosen = [...sources].filter((it) => it.kind === 'network' && (it.network ?? '') === network);
  const hosts = new Map<string, MapHost>();
  for (const source of chosen) {
    const { lease: key = source.id, subnet, publicIp } = source.own ?? {};
    hosts.set(key, { key, name: source.host, ...optional({ subnet, publicIp }), source });
  }
  for (const { links } of chosen) {
    for (const { peer, subnet, publicIp } of links) {
      if (hosts.has(peer)) continue;
      hosts.set(peer, { key: peer, name: publicIp ?? subnet ?? peer, ...optional({ subnet, publicIp }) });
    }
  }
  const sorted = [...hosts.values()].sort(
    (a, b) => compareAddresses(a.name, b.name) || compareAddresses(a.key, b.key),
  );
  const rank = new Map(sorted.map(({ key }, n) => [key, n]));
  const rankOf = (key: string): number => rank.get(key) ?? 0;
  const links: MapLink[] = [];
  const byKey = new Map<string, MapLink>();
  for (const from of sorted) {
    if (from.source === undefined) continue;
    const stale = !from.source.answers;
    for (const link of from.source.links.toSorted((a, b) => rankOf(a.peer) - rankOf(b.peer))) {
      const to = hosts.get(link.peer);
      if (to === undefined || to === from) continue;
      const entry = { from, to, link, stale };
      links.push(entry);
      byKey.set(linkKey(from.key, to.key), entry);
    }
  }
  return { hosts: sorted, links, byKey };
}

type Places = { readonly subnet?: string; readonly publicIp?: string };
const optional = ({
  subnet,
  publicIp,
}: {
  subnet: string | undefined;
  publicIp: string | undefined;
}): Places => ({
  ...(subnet !== undefined && { subnet }),
  ...(publicIp !== undefined && { publicIp }),
});

/** By the numbers in them, so that 10.0.9.0 comes before 10.0.10.0. */
export const compareAddresses = new Intl.Collator('en', { numeric: true }).compare;

/**
 * The worst first; of one state in the order in which they come. By state only: a lab of 200 hosts has 40,000 links, and
 * they come in the order of the hosts.
 */
export function worstFirst(links: Iterable<MapLink>): MapLink[] {
  const byState = Map.groupBy(links, ({ link }) => link.state);
  return LINK_STATES.flatMap((state) => byState.get(state) ?? []);
}

/** How many links are in each state, the worst first. */
export function countStates(links: Iterable<MapLink>): [state: Link['state'], count: number][] {
  const counts = new Map<Link['state'], number>(LINK_STATES.map((state) => [state, 0]));
  for (const { link } of links) counts.set(link.state, (counts.get(link.state) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 0);
}

export const STATE_WORDS: Readonly<Record<Link['state'], string>> = {
  up: 'up',
  degraded: 'degraded',
  down: 'down',
  unmeasured: 'not measured',
  unused: 'not used',
};

/** `h1 to h2: up, 0.4 ms, 0 % lost`. */
export function describeLink({ from, to, link, stale }: MapLink): string {
  const parts = [
    STATE_WORDS[link.state],
    ...(link.roundTripMs === undefined ? [] : [`${link.roundTripMs} ms`]),
    ...(link.lossPercent === undefined ? [] : [`${link.lossPercent} % lost`]),
    ...(link.reason === undefined ? [] : [link.reason]),
    ...(stale ? ['stale'] : []),
  ];
  return `${from.name} to ${to.name}: ${parts.join(', ')}`;
}
