import { HIGHEST_VLAN, type SharedPlace } from '#src/tenant/segment-wiring.ts';

export interface FoundPlaces {
  /** By VNI: tenants of an earlier run keep theirs, for another one would cut their containers off. */
  readonly places: ReadonlyMap<number, SharedPlace>;
  /** Those that any device has. */
  readonly held: Iterable<SharedPlace>;
}

interface Taken {
  readonly place: SharedPlace;
  /** How often it is in use: a segment may be opened while the one before it is being closed. */
  uses: number;
}

/**
 * Gives each tenant of this host a VLAN of its own. One that was given back goes to another tenant only when no device has it
 * any more, and after all that were never used: a port that is still in it would be among the other tenant's containers.
 */
export class VlanPool {
  readonly #taken = new Map<number, Taken>();
  /** Found at the start. */
  readonly #found = new Set<string>();
  readonly #held: () => Iterable<SharedPlace>;
  /** By pair: the lowest VLAN that was never looked at. */
  readonly #next = new Map<number, number>();
  /** By pair: VLANs that no device has, and no tenant. */
  readonly #free = new Map<number, number[]>();

  /** `held`: which VLANs devices have now. It is asked only when all VLANs of a pair have been used. */
  constructor({ places, held }: FoundPlaces, now: () => Iterable<SharedPlace>) {
    for (const [vni, place] of places) this.#taken.set(vni, { place, uses: 0 });
    for (const place of [...held, ...places.values()]) this.#found.add(textOf(place));
    this.#held = now;
  }

  /** The pairs that are in use. */
  get pairs(): ReadonlySet<number> {
    const used = [...this.#taken.values()].filter(({ uses }) => uses > 0);
    return new Set(used.map(({ place: { pair } }) => pair));
  }

  take(vni: number): SharedPlace {
    const known = this.#taken.get(vni);
    if (known !== undefined) {
      known.uses++;
      return known.place;
    }
    const place = this.#unused();
    this.#taken.set(vni, { place, uses: 1 });
    return place;
  }

  /** As often as it was taken. Whether nobody uses it any more. */
  giveBack(vni: number): boolean {
    const taken = this.#taken.get(vni);
    if (taken === undefined || --taken.uses > 0) return false;
    this.#taken.delete(vni);
    return true;
  }

  placeOf(vni: number): SharedPlace | undefined {
    return this.#taken.get(vni)?.place;
  }

  /** There are more pairs than VNIs need, so it ends. */
  #unused(): SharedPlace {
    for (let pair = 1; ; pair++) {
      const vlan = this.#neverUsed(pair) ?? this.#usedBefore(pair);
      if (vlan !== undefined) return { pair, vlan };
    }
  }

  #neverUsed(pair: number): number | undefined {
    let vlan = this.#next.get(pair) ?? 1;
    while (this.#found.has(textOf({ pair, vlan }))) vlan++;
    if (vlan > HIGHEST_VLAN) return undefined;
    this.#next.set(pair, vlan + 1);
    return vlan;
  }

  #usedBefore(pair: number): number | undefined {
    const free = this.#free.get(pair)?.pop();
    if (free !== undefined) return free;
    // A pair that is full is not looked at each time.
    const taken = [...this.#taken].filter(([, { place }]) => place.pair === pair);
    if (taken.filter(([, { uses }]) => uses > 0).length === HIGHEST_VLAN) return undefined;
    const held = new Set(Array.from(this.#held(), textOf));
    // A tenant that an earlier run had, and that is gone.
    for (const [vni, { place, uses }] of taken)
      if (uses === 0 && !held.has(textOf(place))) this.#taken.delete(vni);
    for (const { place } of this.#taken.values()) held.add(textOf(place));
    const all = Array.from({ length: HIGHEST_VLAN }, (_, index) => HIGHEST_VLAN - index);
    const found = all.filter((vlan) => !held.has(textOf({ pair, vlan })));
    this.#free.set(pair, found);
    return found.pop();
  }
}

const textOf = ({ pair, vlan }: SharedPlace): string => `${pair} ${vlan}`;
