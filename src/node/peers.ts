import type { Backend, PeerPath, RouteForm } from '#src/backend/backend.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { type HostEvents, silentEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Lease } from '#src/network/lease.ts';
import type { LeaseChange, LeaseTable } from '#src/network/lease-table.ts';
import type { NetworkFastPath } from '#src/node/fast-path/network-fast-path.ts';
import type { JobDesk } from '#src/node/jobs/job-desk.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface PeersComponents {
  readonly leases: Pick<LeaseTable, 'accepted' | 'lease' | 'leases'>;
  readonly kernel: Pick<Kernel, 'routeTo'>;
  readonly clock: Clock;
  readonly reconciler: Pick<Owner, 'set'>;
  /** Default: nobody, for backends without jobs. */
  readonly jobs?: Pick<JobDesk, 'set'>;
  /** Default: nobody. */
  readonly fastPath?: Pick<NetworkFastPath, 'peer' | 'gone'> | undefined;
  readonly log: Logger;
  /** Between which keys packets to a peer go, where keys are rotated. */
  readonly keysFor?: (lease: Lease) => PeerPath['keys'];
  /** Default: nobody. */
  readonly events?: HostEvents;
}

export interface PeersOptions {
  /** Above this many peers, routes take the form whose adding is linear (see {@link RouteForm}). */
  readonly linearRoutesAbove: number;
}

/** Accepted leases of other nodes, as wanted kernel state. */
export class Peers {
  readonly #components: PeersComponents;
  readonly #options: PeersOptions;
  #backend: Backend;
  #routeForm: RouteForm = 'flannel';
  readonly #unreachable = new Map<string, string>();

  constructor(components: PeersComponents, backend: Backend, options: PeersOptions) {
    this.#components = components;
    this.#backend = backend;
    this.#options = options;
  }

  get routeForm(): RouteForm {
    return this.#routeForm;
  }

  /** Peers whose lease is good but to which no packets go, by the lease's name, with the reason. */
  get unreachable(): ReadonlyMap<string, string> {
    return this.#unreachable;
  }

  /** Another backend value (the underlay's address changed): everything is planned again. */
  async use(backend: Backend): Promise<void> {
    this.#backend = backend;
    await this.planAll();
  }

  /** What changed in the table. `expected`: how many peers there will be, where more changes are known to follow. */
  async apply(changes: readonly LeaseChange[], expected = 0): Promise<void> {
    const all = this.#chooseForm(Math.max(expected, this.#components.leases.accepted));
    const budget = new TurnBudget(this.#components.clock);
    for (const change of changes) {
      if (change.kind !== 'accepted') {
        this.#unreachable.delete(change.name);
        this.#components.reconciler.set(change.name, []);
        this.#components.jobs?.set(change.name, []);
        this.#components.fastPath?.gone(change.name);
      } else if (!all) await this.#plan(change.lease, budget);
    }
    if (all) await this.planAll();
  }

  /** Plans every peer again: the kernel's routes to them may lead elsewhere now. */
  async planAll(): Promise<void> {
    const budget = new TurnBudget(this.#components.clock);
    for (const lease of this.#components.leases.leases()) await this.#plan(lease, budget);
  }

  /** Plans these peers again, those of them that there are. */
  async planSome(names: Iterable<string>): Promise<void> {
    const budget = new TurnBudget(this.#components.clock);
    for (const name of names) {
      const lease = this.#components.leases.lease(name);
      if (lease !== undefined) await this.#plan(lease, budget);
    }
  }

  /** Waits only where there is something to wait for: there may be 50,000 to plan. */
  #plan(lease: Lease, budget: TurnBudget): Promise<void> | undefined {
    if (this.#backend.needsLookup) return this.#planByLookup(lease);
    this.#want(lease, { routeForm: this.#routeForm });
    return budget.isSpent ? budget.turn() : undefined;
  }

  async #planByLookup({ name, attributes: { publicIp, publicIpv6 } }: Lease): Promise<void> {
    const { kernel, leases } = this.#components;
    // Go writes the zero address for none.
    const v4 = publicIp ? await kernel.routeTo(publicIp) : undefined;
    const v6 = publicIpv6 === undefined ? undefined : await kernel.routeTo(publicIpv6);
    // It may have changed while the kernel was asked.
    const lease = leases.lease(name);
    if (lease?.attributes.publicIp !== publicIp || lease?.attributes.publicIpv6 !== publicIpv6) return;
    if (lease === undefined) return;
    const lookup = { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) };
    const path = { routeForm: this.#routeForm, lookup };
    this.#noteReach(name, this.#backend.unreachable?.(lease, path));
    this.#want(lease, path);
  }

  #want(lease: Lease, way: PeerPath): void {
    const { reconciler, jobs, keysFor, fastPath } = this.#components;
    const keys = keysFor?.(lease);
    const path = keys === undefined ? way : { ...way, keys };
    reconciler.set(lease.name, this.#backend.peerObjects(lease, path));
    jobs?.set(lease.name, this.#backend.jobs?.peer(lease, path) ?? []);
    fastPath?.peer(lease, this.#backend, path);
  }

  /** Said once for each reason. */
  #noteReach(name: string, reason: string | undefined): void {
    if (this.#unreachable.get(name) === reason) return;
    if (reason === undefined) this.#unreachable.delete(name);
    else this.#unreachable.set(name, reason);
    const { log, events = silentEvents } = this.#components;
    if (reason === undefined) {
      log.info(`The peer ${name} can be reached again`);
      events.note({ type: 'peer', severity: 'info', subject: name, text: 'There is a way to it again' });
    } else {
      log.warning(`No way to the peer ${name}: ${reason}`, { lease: name });
      events.note({ type: 'peer', severity: 'warning', subject: name, text: `No way to it: ${reason}` });
    }
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
