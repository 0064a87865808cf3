import type { KernelEvent } from '#src/kernel/kernel.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import { Actuators } from '#src/reconcile/actuators.ts';
import { Comparison, readAgain } from '#src/reconcile/comparison.ts';
import { Contention } from '#src/reconcile/contention.ts';
import { Desk } from '#src/reconcile/desk.ts';
import { EventIntake } from '#src/reconcile/event-intake.ts';
import { Failures } from '#src/reconcile/failures.ts';
import { Holding } from '#src/reconcile/holding.ts';
import { Ledger } from '#src/reconcile/ledger.ts';
import { Owner, type OwnerRequest, type OwnerStatus } from '#src/reconcile/owner.ts';
import { Repair } from '#src/reconcile/repair.ts';
import { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import { type SlotView, viewSlots } from '#src/reconcile/slot-view.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';

export interface ReconcilerComponents {
  /** Each kind of kernel state belongs to one of them. */
  readonly actuators: readonly Actuator[];
  readonly clock: Clock;
  readonly log: Logger;
}

export interface ReconcilerOptions {
  /** Milliseconds between full comparisons. Events do the work; comparisons find what no event reported. */
  readonly fullCheckMs: number;
  /** The share of the time that comparisons may take: where that does not allow one each `fullCheckMs`, they are fewer. */
  readonly fullCheckShare: number;
}

/**
 * Makes the kernel hold what its owners want, and keeps it so. Start, event, drift, restart and upgrade are one path: a
 * slot is looked at again, and the difference, if there is one, is applied. One for each host.
 */
export class Reconciler {
  readonly #components: ReconcilerComponents;
  readonly #options: ReconcilerOptions;
  readonly #actuators: Actuators;
  readonly #ledger: Ledger;
  readonly #failures: Failures;
  readonly #contention: Contention;
  readonly #intake: EventIntake;
  readonly #comparison: Comparison;
  readonly #repair: Repair;
  readonly #desk: Desk;
  readonly #observers = new Set<(event: KernelEvent) => void>();
  #working = false;
  /** When the step of work that is under way began. */
  #stepBegan: number | undefined;
  /** Called when nothing can be done now. */
  #waiters: (() => void)[] = [];
  /** Called when the round of work that is under way has ended. */
  #roundWaiters: (() => void)[] = [];
  #signal: AbortSignal = AbortSignal.abort();
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(components: ReconcilerComponents, options: ReconcilerOptions) {
    this.#components = components;
    this.#options = options;
    const { actuators, clock, log } = components;
    this.#actuators = new Actuators(actuators);
    const { kinds } = this.#actuators;
    this.#ledger = new Ledger(kinds, () => this.#work());
    this.#failures = new Failures({ log, kinds });
    this.#contention = new Contention({ ledger: this.#ledger, log });
    const shared = { actuators: this.#actuators, ledger: this.#ledger, pacer: new RepairPacer(), clock };
    this.#intake = new EventIntake({ ...shared, failures: this.#failures, log });
    this.#comparison = new Comparison(shared);
    this.#repair = new Repair({ ...shared, failures: this.#failures, log });
    this.#desk = new Desk({
      ...shared,
      failures: this.#failures,
      contention: this.#contention,
      isWorking: () => this.#working,
      untilRoundEnds: () => new Promise((resolve) => this.#roundWaiters.push(resolve)),
    });
  }

  /** The whole host's. */
  get status(): OwnerStatus {
    return {
      wanted: this.#ledger.slots.wanted,
      failing: this.#desk.failing(),
      repairs: this.#repair.count,
      checks: this.#comparison.count,
    };
  }

  /** Subscribes to the kernel and compares once. Owners may come before or after. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    await this.#actuators.monitor((event) => this.#onEvent(event), signal);
    this.check();
    this.#checkAtInterval().catch((error) => this.#stumble(error));
    for (const actuator of this.#actuators.readers)
      this.#readAtInterval(actuator).catch((error) => this.#stumble(error));
    await this.settled();
  }

  /** A new owner. */
  own(request: OwnerRequest): Owner {
    const holding = new Holding(request);
    this.#ledger.territory.add(holding);
    // What is in its scopes was not looked at before. What others have there was.
    this.#ledger.lookAt(holding);
    return new Owner(this.#desk, holding);
  }

  /** Compares everything, soon. */
  check(): void {
    this.#ledger.check();
  }

  /** Tries at once what failed before: for a cause that no event of a device reports. */
  retry(): void {
    this.#failures.endPauses();
    this.#ledger.retry();
  }

  /** For how long the step that is under way has taken, in milliseconds; 0 while there is none. */
  get stepMs(): number {
    if (this.#stepBegan === undefined) return 0;
    return this.#components.clock.monotonic() - this.#stepBegan;
  }

  /** Resolves when all that can be done now has been done. What failed is in {@link status}, and is tried again. */
  settled(): Promise<void> {
    if (!this.#working) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Kernel events as they come. Returns how to stop listening. */
  observe(listener: (event: KernelEvent) => void): () => void {
    this.#observers.add(listener);
    return () => this.#observers.delete(listener);
  }

  /** Every slot as of now, with who wants what in it; may be read over many turns. */
  view(): Generator<SlotView> {
    return viewSlots(this.#ledger, this.#failures, this.#contention);
  }

  #onEvent(event: KernelEvent): void {
    for (const observer of this.#observers) observer(event);
    this.#intake.take(event);
  }

  #work(): void {
    if (this.#working || this.#signal.aborted) return;
    this.#working = true;
    nextTurn()
      .then(() => this.#run())
      .catch((error) => this.#stumble(error));
  }

  async #run(): Promise<void> {
    let stumbled = false;
    try {
      await this.#workAll();
    } catch (error) {
      stumbled = true;
      this.#stumble(error);
    }
    this.#stepBegan = undefined;
    this.#working = false;
    // More may have come just as the last round ended.
    if (!stumbled && this.#ledger.hasWork) this.#work();
    if (this.#working) return;
    this.#endRound(true);
    for (const resolve of this.#waiters.splice(0)) resolve();
    this.#wakeWhenDue();
  }

  async #workAll(): Promise<void> {
    while (!this.#signal.aborted) {
      this.#stepBegan = this.#components.clock.monotonic();
      if (this.#ledger.checkWanted) await this.#comparison.run();
      else if (this.#ledger.hasFresh) await this.#comparison.runFor(this.#ledger.takeFresh());
      else if (this.#ledger.hasLooks) await this.#comparison.runOn(this.#ledger.takeLooks());
      else if (this.#ledger.stale)
        for (const [actuator, parts] of this.#ledger.takeStale())
          await readAgain(actuator, parts, this.#ledger);
      else if (!(await this.#repair.some())) return;
      this.#endRound(false);
    }
  }

  /** Wakes owners with nothing more to do. */
  #endRound(isOver: boolean): void {
    for (const resolve of this.#roundWaiters.splice(0)) resolve();
    if ((this.#ledger.hasLooks || this.#ledger.stale) && !isOver) return;
    for (const holding of this.#ledger.territory.holdings) {
      if (holding.waiters.length > 0 && (isOver || this.#ledger.queue.isIdle(holding)))
        for (const resolve of holding.waiters.splice(0)) resolve();
    }
  }

  async #checkAtInterval(): Promise<void> {
    const { clock } = this.#components;
    const { fullCheckMs, fullCheckShare } = this.#options;
    for (;;) {
      await untilBeat(clock, Math.max(fullCheckMs, this.#comparison.tookMs / fullCheckShare), this.#signal);
      this.#repair.forgetMissed();
      this.check();
    }
  }

  async #readAtInterval(actuator: Actuator): Promise<void> {
    while (actuator.readEveryMs !== undefined) {
      await untilBeat(this.#components.clock, actuator.readEveryMs, this.#signal);
      this.#ledger.reread(actuator, 'all');
    }
  }

  /** Works again when the first slot that waits may be looked at. */
  #wakeWhenDue(): void {
    const { dueAt } = this.#ledger.queue;
    if (dueAt < Number.POSITIVE_INFINITY) this.#wakeIn(dueAt - this.#components.clock.monotonic());
  }

  #wakeIn(ms: number): void {
    const { clock } = this.#components;
    const at = clock.monotonic() + ms;
    if (at >= this.#wakeAt || this.#signal.aborted) return;
    this.#wakeAt = at;
    clock
      .sleep(Math.max(0, ms), this.#signal)
      .then(() => {
        this.#wakeAt = Number.POSITIVE_INFINITY;
        this.#work();
      })
      .catch((error) => this.#stumble(error));
  }

  /** A dump or a send failed as a whole: everything is compared again, a little later. */
  #stumble(error: unknown): void {
    if (isAbort(error) || this.#signal.aborted) return;
    this.#components.log.error(
      `Could not compare the kernel with what is wanted: ${messageOf(error)}; trying again in 1 s`,
    );
    this.#ledger.checkLater();
    this.#wakeIn(STUMBLE_PAUSE_MS);
  }
}

const STUMBLE_PAUSE_MS = 1_000;
