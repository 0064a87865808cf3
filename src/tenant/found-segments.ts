import type { Kernel } from '#src/kernel/kernel.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import {
  isOwnTunnel,
  ownWiring,
  pairOf,
  type SegmentWiring,
  type SharedPlace,
  sharedWiring,
} from '#src/tenant/segment-wiring.ts';

/** The segments of a host, as the devices of its tenants' namespace show them, of whichever form. */
export class FoundSegments {
  readonly links: readonly Link[];
  /** By VNI. */
  readonly #wirings = new Map<number, SegmentWiring>();
  readonly #places = new Map<number, SharedPlace>();
  /** VLANs by device. */
  readonly #vlans = new Map<string, Set<number>>();

  /** `objects`: links, and where there are shared devices the kind `bridge-vlan`; others do no harm. */
  constructor(objects: Iterable<KernelObject>) {
    const links: Link[] = [];
    for (const object of objects) {
      if (object.kind === 'link') links.push(object);
      else if (object.kind === 'bridge-vlan') this.#add(object);
    }
    this.links = links;
    for (const { name } of links) {
      const vni = isOwnTunnel(name) ? Number(name.slice('vx-'.length)) : undefined;
      if (vni !== undefined) this.#wirings.set(vni, ownWiring(vni));
    }
    // Where the tunnel has lost its VLAN, the tenant still has it.
    for (const { name, vlan } of links) {
      const pair = vlan && pairOf(vlan.parent);
      const vni = /^br-(\d{1,8})$/.exec(name)?.[1];
      if (vlan !== undefined && pair !== undefined && vni !== undefined)
        this.#setShared(Number(vni), { pair, vlan: vlan.id });
    }
  }

  get vnis(): Iterable<number> {
    return this.#wirings.keys();
  }

  /** Of shared devices, by VNI. */
  get places(): ReadonlyMap<number, SharedPlace> {
    return this.#places;
  }

  /** The VXLAN device of a tenant, for one that has its own. */
  get ownTunnel(): string | undefined {
    return this.links.find(({ name }) => isOwnTunnel(name))?.name;
  }

  get hasShared(): boolean {
    return this.links.some(({ name }) => pairOf(name) !== undefined);
  }

  wiringOf(vni: number): SegmentWiring | undefined {
    return this.#wirings.get(vni);
  }

  /** The devices in a segment: containers' ports, and a VXLAN device. */
  devicesIn({ bridge, vlan }: SegmentWiring): Link[] {
    return this.links.filter(
      ({ name, master }) =>
        master === bridge && (vlan === undefined || this.#vlans.get(name)?.has(vlan) === true),
    );
  }

  /** Devices in the segment's bridge that are in no VLAN, though they should be in one. */
  devicesWithoutVlan({ bridge, vlan }: SegmentWiring): Link[] {
    if (vlan === undefined) return [];
    return this.links.filter(
      ({ name, master }) => master === bridge && (this.#vlans.get(name)?.size ?? 0) === 0,
    );
  }

  /** All VLANs that any device of a shared bridge, or on it, has, also those that are no tenant's any more. */
  *heldPlaces(): Generator<SharedPlace> {
    const masters = new Map(this.links.map(({ name, master }) => [name, master]));
    for (const [device, vlans] of this.#vlans) {
      const pair = pairOf(device) ?? pairOf(masters.get(device) ?? '');
      if (pair !== undefined) for (const vlan of vlans) yield { pair, vlan };
    }
    for (const { vlan } of this.links) {
      const pair = vlan && pairOf(vlan.parent);
      if (vlan !== undefined && pair !== undefined) yield { pair, vlan: vlan.id };
    }
  }

  #add({ device, vlan, vni }: KernelObject & { readonly kind: 'bridge-vlan' }): void {
    const known = this.#vlans.get(device);
    if (known === undefined) this.#vlans.set(device, new Set([vlan]));
    else known.add(vlan);
    const pair = pairOf(device);
    if (vni === undefined || pair === undefined) return;
    this.#setShared(vni, { pair, vlan });
  }

  #setShared(vni: number, place: SharedPlace): void {
    this.#places.set(vni, place);
    this.#wirings.set(vni, sharedWiring(vni, place));
  }
}

/** Kernels whose bridges know no VLANs refuse to list them, so they are asked for where a shared device is. */
export async function findSegments(kernel: Pick<Kernel, 'links' | 'dump'>): Promise<FoundSegments> {
  const links = await kernel.links();
  if (!links.some(({ name }) => pairOf(name) !== undefined)) return new FoundSegments(links);
  return new FoundSegments([...links, ...(await kernel.dump({ kinds: ['bridge-vlan'] }))]);
}
