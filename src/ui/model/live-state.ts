import type { Link, LiveMessage, SourceChange, SourceHead, SourceState } from '#src/ui/model/feed.ts';

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

const headOf = ({ links: _, ...head }: SourceState): SourceHead => head;

/** What changed of a source; `undefined` when nothing did. Equal links must be one object: {@link keepEqual}. */
export function changeOf(before: SourceState | undefined, after: SourceState): SourceChange | undefined {
  if (before === undefined) return { ...headOf(after), changed: after.links, gone: [] };
  const old = new Map(before.links.map((link) => [link.peer, link]));
  const changed = after.links.filter((link) => old.get(link.peer) !== link);
  for (const { peer } of after.links) old.delete(peer);
  const gone = [...old.keys()];
  if (changed.length === 0 && gone.length === 0 && same(headOf(before), headOf(after))) return undefined;
  return { ...headOf(after), changed, gone };
}

/** The new links, and for each that is equal to an old one the old object. */
export function keepEqual(before: readonly Link[], after: readonly Link[]): Link[] {
  const old = new Map(before.map((link) => [link.peer, link]));
  return after.map((link) => {
    const was = old.get(link.peer);
    return was !== undefined && same(was, link) ? was : link;
  });
}

/** A change of one link, for a reader who does not see the map. */
export interface Turn {
  readonly source: SourceHead;
  readonly link: Link;
}

/** What the page knows, kept by the messages of the server. */
export class LiveState {
  title = '';
  /** When the server last said something; ISO 8601. */
  heardAt = '';
  readonly sources = new Map<string, SourceState>();

  /** Takes a message. Returns the links whose state is another than before; at the first message none. */
  take(message: LiveMessage): Turn[] {
    this.heardAt = message.at;
    if (message.kind === 'beat') return [];
    const turns: Turn[] = [];
    if (message.kind === 'all') {
      this.title = message.title;
      const before = new Map(this.sources);
      this.sources.clear();
      for (const source of message.sources) {
        this.sources.set(source.id, source);
        const old = before.get(source.id);
        if (old !== undefined) turns.push(...turnsOf(old, source, source.links));
      }
      return turns;
    }
    for (const id of message.gone) this.sources.delete(id);
    for (const { changed, gone, ...head } of message.sources) {
      const old = this.sources.get(head.id);
      const links = new Map(old?.links.map((link) => [link.peer, link]));
      for (const peer of gone) links.delete(peer);
      for (const link of changed) links.set(link.peer, link);
      this.sources.set(head.id, { ...head, links: [...links.values()] });
      if (old !== undefined) turns.push(...turnsOf(old, head, changed));
    }
    return turns;
  }
}

function turnsOf(before: SourceState, source: SourceHead, links: readonly Link[]): Turn[] {
  const states = new Map(before.links.map((link) => [link.peer, link.state]));
  return links
    .filter(({ peer, state }) => states.has(peer) && states.get(peer) !== state)
    .map((link) => ({ source, link }));
}
