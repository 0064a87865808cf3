import type { Turn } from '#src/ui/model/live-state.ts';
import { STATE_WORDS } from '#src/ui/model/topology.ts';

/** So many changes are named; more of them are counted. */
const NAMED = 3;

/** Changes of links in a sentence each, for a screen reader. `names`: hosts by their leases. */
export function announce(turns: readonly Turn[], names: ReadonlyMap<string, string>): string {
  // The last state counts, where a link changed twice.
  const last = new Map(turns.map((turn) => [`${turn.source.id}>${turn.link.peer}`, turn]));
  const sentences = [...last.values()].map(
    ({ source, link }) =>
      `${source.host} to ${names.get(link.peer) ?? link.publicIp ?? link.peer} is ${STATE_WORDS[link.state]}.`,
  );
  const more = sentences.length - NAMED;
  return [...sentences.slice(0, NAMED), ...(more > 0 ? [`And ${more} more changes.`] : [])].join(' ');
}
