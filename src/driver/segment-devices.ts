import { type FoundPlaces, VlanPool } from '#src/driver/vlan-pool.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { type SegmentPlace, sharedObjects } from '#src/tenant/segment-objects.ts';
import { ownWiring, type SegmentWiring, type SharedPlace, sharedWiring } from '#src/tenant/segment-wiring.ts';

/** Gives each segment of this host its devices. */
export interface SegmentDevices {
  open(vni: number): SegmentWiring;
  /** Frames of the segment are passed on, out of the tunnel that they came in by. */
  setForwards(vni: number, forwards: boolean): void;
  /** The host has another place on the underlay. */
  moved(): void;
  /** The segment is gone from the kernel. As often as it was opened. */
  close(vni: number): void;
  /** Resolves when segments may be opened; `undefined` where they may be now. */
  ready(): Promise<void> | undefined;
}

/** A bridge and a VXLAN device for each segment. */
export const ownSegmentDevices: SegmentDevices = {
  open: ownWiring,
  setForwards() {},
  moved() {},
  close() {},
  ready: () => undefined,
};

export interface SharedDevicesComponents {
  readonly owner: Pick<Owner, 'set'>;
  readonly place: () => SegmentPlace;
  /** Which VLANs devices have now. */
  readonly heldPlaces: () => Iterable<SharedPlace>;
}

/** One bridge and one VXLAN device for all segments, while there are any; others beside them where those are full. */
export class SharedSegmentDevices implements SegmentDevices {
  readonly #components: SharedDevicesComponents;
  readonly #vlans: VlanPool;
  readonly #forwarding = new Set<number>();
  /** Pairs that are wanted. */
  #pairs: ReadonlySet<number> = new Set();

  constructor(components: SharedDevicesComponents, found: FoundPlaces) {
    this.#components = components;
    this.#vlans = new VlanPool(found, components.heldPlaces);
  }

  open(vni: number): SegmentWiring {
    const place = this.#vlans.take(vni);
    this.#set();
    return sharedWiring(vni, place);
  }

  setForwards(vni: number, forwards: boolean): void {
    if (forwards === this.#forwarding.has(vni)) return;
    if (forwards) this.#forwarding.add(vni);
    else this.#forwarding.delete(vni);
    this.#set();
  }

  moved(): void {
    this.#set();
  }

  close(vni: number): void {
    if (!this.#vlans.giveBack(vni)) return;
    this.#forwarding.delete(vni);
    this.#set();
  }

  ready(): undefined {
    return undefined;
  }

  #set(): void {
    const { owner, place } = this.#components;
    const pairs = this.#vlans.pairs;
    const forwarding = new Set(Array.from(this.#forwarding, (vni) => this.#vlans.placeOf(vni)?.pair));
    for (const pair of this.#pairs) if (!pairs.has(pair)) owner.set(`shared ${pair}`, []);
    for (const pair of pairs)
      owner.set(`shared ${pair}`, sharedObjects(pair, place(), { forwards: forwarding.has(pair) }));
    this.#pairs = pairs;
  }
}
