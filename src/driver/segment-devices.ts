import { WeftError } from '#src/lib/errors.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { type SegmentPlace, sharedObjects } from '#src/tenant/segment-objects.ts';
import { HIGHEST_VLAN, ownWiring, type SegmentWiring, sharedWiring } from '#src/tenant/segment-wiring.ts';

/** Gives each segment of this host its devices. */
export interface SegmentDevices {
  /** Throws WeftError `port` where there is room for no more. */
  open(vni: number): SegmentWiring;
  /** Frames of the segment are passed on, out of the tunnel that they came in by. */
  setForwards(vni: number, forwards: boolean): void;
  /** The host has another place on the underlay. */
  moved(): void;
  /** The segment is gone from the kernel. */
  close(vni: number): void;
}

/** A bridge and a VXLAN device for each segment. */
export const ownSegmentDevices: SegmentDevices = {
  open: ownWiring,
  setForwards() {},
  moved() {},
  close() {},
};

/** One bridge and one VXLAN device for all segments, while there are any. */
export class SharedSegmentDevices implements SegmentDevices {
  readonly #owner: Pick<Owner, 'set'>;
  readonly #place: () => SegmentPlace;
  /** VLANs by VNI: those that the kernel has of an earlier run stay, for another one would cut containers off. */
  readonly #vlans: Map<number, number>;
  /** How often each is open: a segment may be opened while the one before it is being closed. */
  readonly #open = new Map<number, number>();
  readonly #forwarding = new Set<number>();

  /** `vlans`: by VNI, as they were found. */
  constructor(
    { owner, place }: { readonly owner: Pick<Owner, 'set'>; readonly place: () => SegmentPlace },
    vlans: ReadonlyMap<number, number>,
  ) {
    this.#owner = owner;
    this.#place = place;
    this.#vlans = new Map(vlans);
  }

  open(vni: number): SegmentWiring {
    const vlan = this.#vlans.get(vni) ?? this.#freeVlan();
    this.#vlans.set(vni, vlan);
    this.#open.set(vni, (this.#open.get(vni) ?? 0) + 1);
    this.#set();
    return sharedWiring(vni, vlan);
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
    const times = this.#open.get(vni) ?? 0;
    if (times > 1) {
      this.#open.set(vni, times - 1);
      return;
    }
    this.#vlans.delete(vni);
    this.#open.delete(vni);
    this.#forwarding.delete(vni);
    this.#set();
  }

  #freeVlan(): number {
    const taken = new Set(this.#vlans.values());
    for (let vlan = 1; vlan <= HIGHEST_VLAN; vlan++) if (!taken.has(vlan)) return vlan;
    throw new WeftError('port', `could not open another network: ${HIGHEST_VLAN} are in use on this host`, {
      remedy: 'run the container on another host',
    });
  }

  #set(): void {
    const forwards = this.#forwarding.size > 0;
    this.#owner.set('shared', this.#open.size === 0 ? [] : sharedObjects(this.#place(), { forwards }));
  }
}
