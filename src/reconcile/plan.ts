import type { KernelObject, Link } from '#src/kernel/object.ts';
import type { Operation } from '#src/kernel/operation.ts';
import { differences, incompatibilities } from '#src/reconcile/compare.ts';

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
  const ranked: { readonly rank: number; readonly operation: Operation }[] = [];
  for (const { wanted, found } of slots) {
    for (const operation of operationsFor(wanted, found)) ranked.push({ rank: rankOf(operation), operation });
  }
  // The sort is stable: within a rank, operations keep the order of the slots.
  return ranked.sort((a, b) => a.rank - b.rank).map(({ operation }) => operation);
}

function operationsFor(wanted: KernelObject | undefined, found: KernelObject | undefined): Operation[] {
  if (wanted === undefined) return found === undefined ? [] : [{ verb: 'remove', object: found }];
  if (wanted.kind === 'link') return linkOperations(wanted, found?.kind === 'link' ? found : undefined);
  if (found !== undefined && differences(wanted, found).length === 0) return [];
  return [{ verb: 'replace', object: wanted }];
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
