import type { Kinds } from '#src/state/kinds.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';

/** One slot: what should be in it and what is. */
export interface PlannedSlot {
  readonly wanted: KernelObject | undefined;
  readonly found: KernelObject | undefined;
}

/**
 * The operations that turn what was found into what is wanted, in the one order that loses no packet: devices and
 * what is on them first; a peer's forwarding entry before the neighbour that leads to it, both before the route;
 * and only then what has to go, in the opposite order. Nothing to do gives nothing: applying a plan twice is
 * applying it once.
 */
export function planOf(slots: Iterable<PlannedSlot>, kinds: Kinds<KernelObject> = KINDS): Operation[] {
  const { all } = kinds;
  /** By rank, two for each kind; then what is done last; then removals. Within one, operations keep the order of the slots. */
  const ranked: Operation[][] = Array.from({ length: 3 * all.length + 1 }, () => []);
  const last = 2 * all.length;
  const end = ranked.length - 1;
  const add = (place: number, operation: Operation) => void ranked[place]?.push(operation);
  for (const { wanted, found } of slots) {
    const object = wanted ?? found;
    if (object === undefined) continue;
    const kind = kinds.of(object);
    const rank = all.indexOf(kind);
    if (wanted === undefined) {
      // Before anything is put on a device that has to be made again.
      add(kind.isDevice ? 2 * rank : end - rank, { verb: 'remove', object });
    } else if (found === undefined || !kind.isAsWanted(wanted, found)) {
      for (const operation of kind.operations?.(wanted, found) ?? [replacing(wanted)]) {
        const stage = kind.stage(operation, found);
        add(stage === 'last' ? last : 2 * rank + (stage === 'joined' ? 1 : 0), operation);
      }
    }
  }
  return ranked.flat();
}

const replacing = (object: KernelObject): Operation => ({ verb: 'replace', object });
