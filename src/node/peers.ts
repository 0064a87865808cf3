import type { Backend, PeerPath, RouteForm } from '#src/backend/backend.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { TurnBudget } from '#src/kernel/turn-budget.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Lease } from '#src/network/lease.ts';
import type { LeaseChange } from '#src/network/lease-table.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface PeersComponents {
  readonly kernel: Pick<Kernel, 'routeTo'>;
  readonly clock: Clock;
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

  /** `expected`: how many peers there will be, where more changes are known to follow. */
  async apply(changes: readonly LeaseChange[], expected = 0): Promise<void> {
    for (const change of changes) {
      if (change.kind === 'accepted') this.#leases.set(change.name, change.lease);
      else this.#leases.delete(change.name);
    }
    if (this.#chooseForm(Math.max(expected, this.#leases.size))) {
      await this.planAll();
      for (const { name, kind } of changes)
        if (kind !== 'accepted') this.#components.reconciler.set(name, []);
      return;
    }
    await this.#planEach(changes.map(({ name }) => name));
  }

  /** Plans every peer again: the kernel's routes to them may lead elsewhere now. */
  async planAll(): Promise<void> {
    await this.#planEach([...this.#leases.keys()]);
  }

  async #planEach(names: readonly string[]): Promise<void> {
    const budget = new TurnBudget(this.#components.clock);
    for (const name of names) {
      const path = await this.#pathTo(this.#leases.get(name));
      // It may have changed while the kernel was asked.
      const lease = this.#leases.get(name);
      const objects = lease === undefined ? [] : this.#backend.peerObjects(lease, path);
      this.#components.reconciler.set(name, objects);
      await budget.turn();
    }
  }

  async #pathTo(lease: Lease | undefined): Promise<PeerPath> {
    const routeForm = this.#routeForm;
    const publicIp = lease?.attributes.publicIp;
    if (!this.#backend.needsLookup || publicIp === undefined) return { routeForm };
    const lookup = await this.#components.kernel.routeTo(publicIp);
    return lookup === undefined ? { routeForm } : { routeForm, lookup };
  }

  /** Goes to the other form above the limit, and back only below half of it. True when the form changed. */
  #chooseForm(count: number): boolean {
    const { linearRoutesAbove } = this.#options;
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
