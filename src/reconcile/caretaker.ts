import { isAbort, messageOf } from '#src/lib/errors.ts';
import { type HostEvents, silentEvents } from '#src/lib/host-events.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Logger } from '#src/lib/log.ts';
import { LookPacer } from '#src/reconcile/look-pacer.ts';
import { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Something that no actuator carries and that has to be as wanted: firewall rules. */
export interface Cared {
  /** For the log: `firewall rules`. */
  readonly name: string;
  /** Looks, and mends what is not as wanted. What was mended, in words; `undefined` when nothing was. */
  ensure(signal: AbortSignal): Promise<string | undefined>;
}

export interface CaretakerComponents {
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: nobody. */
  readonly events?: HostEvents;
}

export interface CaretakerOptions {
  /** Milliseconds between looks that nothing asked for. */
  readonly intervalMs: number;
  /** Milliseconds to wait after a poke for others that belong to it: a firewall reload is many messages. */
  readonly settleMs: number;
  /** Milliseconds between looks at most, while pokes keep coming and nothing is found. Default 0: each poke is a look. */
  readonly mostPauseMs?: number;
}

/** Looks after one thing: at the start, when poked, and at an interval; never twice at once, never in a hot loop. */
export class Caretaker {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: HostEvents;
  readonly #cared: Cared;
  readonly #options: CaretakerOptions;
  readonly #pacer = new RepairPacer();
  /** One look at a time. */
  readonly #order = new InOrder();
  readonly #looks: LookPacer;
  #poked: (() => void) | undefined;
  #waiting = false;
  #failure: string | undefined;
  #repairs = 0;

  constructor(
    { clock, log, events = silentEvents }: CaretakerComponents,
    cared: Cared,
    options: CaretakerOptions,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
    this.#cared = cared;
    this.#options = options;
    this.#looks = new LookPacer(options.mostPauseMs ?? 0);
  }

  /** Why the thing is not as wanted; `undefined` when it was at the last look. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Repairs of what had been right, since the start. */
  get repairs(): number {
    return this.#repairs;
  }

  /**
   * Looks once and mends; throws when that fails, unless failures are `tolerated`: then they are logged and shown. Then looks
   * after it until the signal aborts.
   */
  async start(signal: AbortSignal, { tolerated = false } = {}): Promise<void> {
    if (tolerated) await this.#look(signal, { isFirst: true });
    else await this.lookNow(signal);
    // What the start found had never been right.
    this.#repairs = 0;
    this.#care(signal).catch((error) => {
      if (!signal.aborted) this.#log.error(`Stopped looking after ${this.#cared.name}: ${messageOf(error)}`);
    });
  }

  /** Looks and mends at once: what is wanted has changed. Throws when that fails. */
  async lookNow(signal: AbortSignal): Promise<void> {
    await this.#order.run(() => this.#cared.ensure(signal));
    this.#failure = undefined;
  }

  /** Something may have changed: look again, soon. */
  poke(): void {
    this.#waiting = true;
    this.#poked?.();
  }

  async #care(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#pause(signal);
      const now = this.#clock.monotonic();
      // What asked for a look may go on changing for a moment. A look at the interval has nothing to wait for.
      const asked = this.#waiting ? this.#looks.delay(now) : 0;
      const settle = this.#waiting ? this.#options.settleMs : 0;
      const pause = settle + Math.max(this.#pacer.delay(KEY, now), asked);
      if (pause > 0) await this.#clock.sleep(pause, signal);
      this.#waiting = false;
      await this.#look(signal);
    }
  }

  async #look(signal: AbortSignal, { isFirst = false } = {}): Promise<void> {
    try {
      const mended = await this.#order.run(() => this.#cared.ensure(signal));
      this.#looks.looked(this.#clock.monotonic(), mended !== undefined);
      this.#failure = undefined;
      if (mended === undefined) return;
      this.#repairs++;
      if (this.#pacer.repaired(KEY, this.#clock.monotonic())) {
        this.#log.warning(
          `Another program keeps changing the ${this.#cared.name}; repairing them once a second`,
        );
      }
      this.#log.info(`Repaired the ${this.#cared.name}: ${mended}`);
      if (!isFirst) this.#note('repair', 'warning', `Repaired: ${mended}`);
    } catch (error) {
      if (isAbort(error)) throw error;
      const reason = messageOf(error);
      if (reason !== this.#failure) {
        this.#log.error(`Could not repair the ${this.#cared.name}: ${reason}`);
        this.#note('failure', 'error', `Could not be repaired: ${reason}`);
      }
      this.#failure = reason;
    }
  }

  #note(type: 'repair' | 'failure', severity: 'warning' | 'error', text: string): void {
    this.#events.note({ type, severity, subject: this.#cared.name, text });
  }

  /** Until poked, or the interval has passed. */
  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#waiting) return;
    const interval = new AbortController();
    const poked = new Promise<void>((resolve) => {
      this.#poked = resolve;
    });
    try {
      await Promise.race([
        poked,
        untilBeat(this.#clock, this.#options.intervalMs, AbortSignal.any([signal, interval.signal])),
      ]);
    } finally {
      this.#poked = undefined;
      interval.abort();
    }
  }
}

const KEY = 'all';
