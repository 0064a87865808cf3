import type { Logger } from '#src/lib/log.ts';
import type { Holding } from '#src/reconcile/holding.ts';
import { RepairPacer } from '#src/reconcile/repair-pacer.ts';
import type { Kinds } from '#src/state/kinds.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';

interface Failure {
  readonly holding: Holding | undefined;
  readonly object: KernelObject;
  readonly attempts: number;
  readonly reason: string;
  /** Monotonic milliseconds. */
  readonly notBefore: number;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 30_000;

/**
 * What the kernel refused, and when each may be tried again. By key: a slot that is empty is forgotten, and it is another
 * one when it is filled again.
 */
export class Failures {
  readonly #log: Logger;
  readonly #kinds: Kinds<KernelObject>;
  readonly #failing = new Map<string, Failure>();
  /** Keeps events that our own attempts cause from becoming a hot loop. */
  readonly #hurried = new RepairPacer();

  constructor({ log, kinds = KINDS }: { readonly log: Logger; readonly kinds?: Kinds<KernelObject> }) {
    this.#log = log;
    this.#kinds = kinds;
  }

  get any(): boolean {
    return this.#failing.size > 0;
  }

  #keyOf(object: KernelObject): string {
    return this.#kinds.of(object).key(object);
  }

  /** Those of one owner, or all of them. */
  list(holding?: Holding): { readonly key: string; readonly reason: string }[] {
    const listed: { readonly key: string; readonly reason: string }[] = [];
    for (const [key, failure] of this.#failing)
      if (holding === undefined || failure.holding === holding) listed.push({ key, reason: failure.reason });
    return listed;
  }

  /** The objects that failed for one owner. */
  *objectsOf(holding: Holding): Generator<KernelObject> {
    for (const failure of this.#failing.values()) if (failure.holding === holding) yield failure.object;
  }

  /** The kernel's last word on the slot with this key. */
  reasonOf(key: string): string | undefined {
    return this.#failing.get(key)?.reason;
  }

  /** When the object's slot may be tried again, by the monotonic clock; `undefined` when nothing has failed there. */
  notBefore(object: KernelObject): number | undefined {
    // Making a key takes longer than the rest of the work on a slot, and nearly always nothing fails.
    return this.#failing.size > 0 ? this.#failing.get(this.#keyOf(object))?.notBefore : undefined;
  }

  /** Each reason is logged once. */
  note(operation: Operation, reason: string, now: number, holding: Holding | undefined): void {
    const { verb, object } = operation;
    const kind = this.#kinds.of(object);
    const key = kind.key(object);
    const before = this.#failing.get(key);
    const attempts = (before?.attempts ?? 0) + 1;
    const pause = Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LONGEST_RETRY_MS);
    if (before?.reason !== reason) {
      this.#log.error(
        `Could not apply "${kind.command(verb, object)}": ${reason}; trying again in ${pause} ms and on`,
        { key, reason },
      );
      const text = `Could not apply "${kind.command(verb, object)}": ${reason}`;
      holding?.events.note({ type: 'failure', severity: 'error', subject: key, text });
    }
    this.#failing.set(key, { holding, object, attempts, reason, notBefore: now + pause });
  }

  forgive(object: KernelObject): void {
    if (this.#failing.size > 0) this.#failing.delete(this.#keyOf(object));
  }

  /** Forgets what failed for an owner. */
  drop(holding: Holding): void {
    for (const [key, failure] of this.#failing) if (failure.holding === holding) this.#failing.delete(key);
  }

  /** Everything that failed may be tried again at once, and the pauses are short ones again. */
  endPauses(): void {
    for (const [key, failure] of this.#failing)
      this.#failing.set(key, { ...failure, attempts: 0, notBefore: Number.NEGATIVE_INFINITY });
  }

  /**
   * Something happened to a device: what failed for want of it need not wait for the end of its pause, and the next
   * pause is a short one, unless such events do not stop coming. Returns whether anything is to be tried earlier.
   */
  hurry(device: string, now: number): boolean {
    let hurried = false;
    for (const [key, failure] of this.#failing) {
      if (!this.#kinds.of(failure.object).devicesNeeded(failure.object).includes(device)) continue;
      const delay = this.#hurried.delay(key, now);
      if (now + delay >= failure.notBefore) continue;
      this.#hurried.repaired(key, now);
      const attempts = delay === 0 ? 0 : failure.attempts;
      this.#failing.set(key, { ...failure, attempts, notBefore: now + delay });
      hurried = true;
    }
    if (hurried) this.#hurried.forgetOld(now);
    return hurried;
  }
}
