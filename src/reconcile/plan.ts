import { incompatibilities, isAsWanted } from '#src/reconcile/compare.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';

/** One slot: what should be in it and what is. */
export interface Slot {
  readonly wanted: KernelObject | undefined;
  readonly found: KernelObject | undefined;
}

/**
 * The operations that turn what was found into what is wanted, in the one order that loses no packet: devices and
 * their addresses first; a peer's forwarding entry before the neighbour that leads to it, both before the route;
 * and only then what has to go, in the opposite order. Nothing to do gives nothing: applying a plan twice is
 * applying it once.
 */
export function planOf(slots: Iterable<Slot>): Operation[] {
  /** By rank; within one, operations keep the order of the slots. */
  const ranked: Operation[][] = Array.from({ length: 2 * ORDER.length + 1 }, () => []);
  const add = (operation: Operation) => void ranked[rankOf(operation)]?.push(operation);
  for (const { wanted, found } of slots) {
    if (wanted === undefined) {
      if (found !== undefined) add({ verb: 'remove', object: found });
    } else if (wanted.kind === 'link') {
      linkOperations(wanted, found?.kind === 'link' ? found : undefined).forEach(add);
    } else if (found === undefined || !isAsWanted(wanted, found)) {
      add({ verb: 'replace', object: wanted });
    }
  }
  return ranked.flat();
}

function linkOperations(wanted: Link, found: Link | undefined): Operation[] {
  const { up, ...made } = wanted;
  const bringUp: Operation[] = up ? [{ verb: 'set', object: { kind: 'link', name: wanted.name, up } }] : [];
  if (found === undefined) return [{ verb: 'add', object: made }, ...bringUp];
  if (incompatibilities(wanted, found).length > 0) {
    return [
      { verb: 'remove', object: { kind: 'link', name: wanted.name } },
      { verb: 'add', object: made },
      ...bringUp,
    ];
  }
  const change: Link = {
    kind: 'link',
    name: wanted.name,
    ...(wanted.mac !== undefined && wanted.mac !== found.mac && { mac: wanted.mac }),
    ...(wanted.mtu !== undefined && wanted.mtu !== found.mtu && { mtu: wanted.mtu }),
    ...(up !== undefined && up !== found.up && { up }),
  };
  return Object.keys(change).length > 2 ? [{ verb: 'set', object: change }] : [];
}

const ORDER: readonly KernelObject['kind'][] = ['link', 'address', 'fdb', 'neighbour', 'route'];

function rankOf({ verb, object }: Operation): number {
  const rank = ORDER.indexOf(object.kind);
  // A device that has to be made again goes first, before anything is hung on it.
  return verb === 'remove' && object.kind !== 'link' ? 2 * ORDER.length - rank : rank;
}
