import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import { type CrossingPlace, rulesThatCount } from '#src/firewall/what-counts.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { type Cared, Caretaker } from '#src/reconcile/caretaker.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface JudgeComponents {
  readonly clock: Clock;
  readonly log: Logger;
  readonly kernel: Pick<Kernel, 'links'>;
  /** All rules of the host. */
  readonly readFilters: () => Promise<SeenFilters>;
}

export interface JudgeQuestions {
  /** Where packets cross the host, by each bridge of the containers. */
  readonly places: () => readonly CrossingPlace[];
  /** There is another verdict. */
  readonly onVerdict: () => void;
}

/** Seldom, for a look lists all rules; nftables and the devices say when something changes. */
const LOOKS = { intervalMs: 30_000, settleMs: 100, mostPauseMs: 5_000 };
const NO_QUEUE = 'noqueue';
/** So many rules are named. */
const NAMED = 3;

/**
 * Says why a host's flows must not go past its rules and queues, though they could: a rule that needs every packet, or a queue on
 * a device that they would pass by. A {@link Caretaker} says when to look.
 */
export class FastPathJudge implements Cared {
  readonly name = 'fast path';
  readonly #components: JudgeComponents;
  readonly #questions: JudgeQuestions;
  readonly #caretaker: Caretaker;
  #reasons: readonly string[] | undefined;

  constructor(components: JudgeComponents, questions: JudgeQuestions) {
    this.#components = components;
    this.#questions = questions;
    this.#caretaker = new Caretaker(components, this, LOOKS);
  }

  /** One clause each; none: flows may go fast. `undefined` before the first look. */
  get reasons(): readonly string[] | undefined {
    return this.#reasons;
  }

  /** Looks once, then until the signal aborts. */
  start(signal: AbortSignal): Promise<void> {
    return this.#caretaker.start(signal, { tolerated: true });
  }

  /** Something changed. */
  poke(): void {
    this.#caretaker.poke();
  }

  async ensure(): Promise<undefined> {
    const before = this.#reasons;
    try {
      this.#reasons = await this.#look();
    } catch (error) {
      if (isAbort(error)) throw error;
      // Rules that can't be read may be of any kind.
      this.#reasons = [`the host’s rules can’t be read: ${messageOf(error)}`];
    }
    if (before?.join('\n') !== this.#reasons.join('\n') || before === undefined) this.#questions.onVerdict();
    return undefined;
  }

  async #look(): Promise<string[]> {
    const { kernel, readFilters } = this.#components;
    const places = this.#questions.places();
    const [links, filters] = await Promise.all([kernel.links(), readFilters()]);
    const passed = new Set(places.flatMap(({ device, bridge }) => [device, bridge]));
    const queues = links.flatMap(({ name, qdisc = NO_QUEUE }) =>
      passed.has(name) && qdisc !== NO_QUEUE ? [`packets wait in a queue (${qdisc}) on ${name}`] : [],
    );
    const rules = new Set(
      places.flatMap((place) =>
        rulesThatCount(filters, place).map(({ place: at, rule, why }) => `a rule ${why}: ${at}: ${rule}`),
      ),
    );
    const named = [...rules].slice(0, NAMED);
    const more = rules.size - named.length;
    return [...queues, ...named, ...(more > 0 ? [`${more} more such rules`] : [])];
  }
}
