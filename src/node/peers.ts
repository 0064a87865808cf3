import type { Backend, PeerPath, RouteForm } from '#src/backend/backend.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Lease } from '#src/network/lease.ts';
import type { LeaseChange } from '#src/network/lease-table.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';

export interface PeersComponents {
  readonly kernel: Pick<Kernel, 'routeTo'>;
  readonly reconciler: Pick<Reconciler, 'set'>;
  readonly log: Logger;
}

export interface PeersOptions {
  /** Above this many peers, routes take the form whose adding is linear (see {@link RouteForm}). */
  readonly linearRoutesAbove: number;
}

/** Accepted leases of other nodes, as wanted kernel state. */
export class Peers {
  readonly #components: PeersComponents;
  readonly #options: PeersOptions;
  readonly #leases = new Map<string, Lease>();
  #backend: Backend;
  #routeForm: RouteForm = 'flannel';

  constructor(components: PeersComponents, backend: Backend, options: PeersOptions) {
    this.#components = components;
    this.#backend = backend;
    this.#options = options;
  }

  get count(): number {
    return this.#leases.size;
  }

  get routeForm(): RouteForm {
    return this.#routeForm;
  }

  /** Another backend value (the underlay's address changed): everything is planned anew. */
  async use(backend: Backend): Promise<void> {
    this.#backend = backend;
    await this.planAll();
  }

  async apply(changes: readonly LeaseChange[]): Promise<void> {
    for (const change of changes) {
      if (change.kind === 'accepted') this.#leases.set(change.name, change.lease);
      else this.#leases.delete(change.name);
    }
    if (this.#chooseForm()) {
      await this.planAll();
      for (const { name, kind } of changes)
        if (kind !== 'accepted') this.#components.reconciler.set(name, []);
      return;
    }
    for (const { name } of changes) await this.#plan(name, this.#leases.get(name));
  }

  /** Plans every peer again: the kernel's routes to them may lead elsewhere now. */
  async planAll(): Promise<void> {
    for (const [name, lease] of this.#leases) await this.#plan(name, lease);
  }

  async #plan(name: string, lease: Lease | undefined): Promise<void> {
    const objects = lease === undefined ? [] : this.#backend.peerObjects(lease, await this.#pathTo(lease));
    this.#components.reconciler.set(name, objects);
  }

  async #pathTo({ attributes: { publicIp } }: Lease): Promise<PeerPath> {
    const routeForm = this.#routeForm;
    if (!this.#backend.needsLookup || publicIp === undefined) return { routeForm };
    const lookup = await this.#components.kernel.routeTo(publicIp);
    return lookup === undefined ? { routeForm } : { routeForm, lookup };
  }

  /** Goes to the other form above the limit, and back only below half of it. True when the form changed. */
  #chooseForm(): boolean {
    const { linearRoutesAbove } = this.#options;
    const count = this.#leases.size;
    const form: RouteForm =
      count > linearRoutesAbove ? 'linear' : count < linearRoutesAbove / 2 ? 'flannel' : this.#routeForm;
    if (form === this.#routeForm) return false;
    this.#components.log.info(
      form === 'linear'
        ? `${count} peers: from here on each route has a metric of its own, so that adding them stays linear`
        : `${count} peers: routes without a metric again`,
    );
    this.#routeForm = form;
    return true;
  }
}
