import type { Logger } from '#src/lib/log.ts';
import { type KernelObject, keyOf } from '#src/state/object.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';

interface Failure {
  readonly attempts: number;
  readonly reason: string;
  /** Monotonic milliseconds. */
  readonly notBefore: number;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 30_000;

/**
 * What the kernel refused, and when each may be tried again. By key: a slot that is empty is forgotten, and another one when
 * it is filled again.
 */
export class Failures {
  readonly #log: Logger;
  readonly #failing = new Map<string, Failure>();

  constructor({ log }: { readonly log: Logger }) {
    this.#log = log;
  }

  get all(): { readonly key: string; readonly reason: string }[] {
    return Array.from(this.#failing, ([key, { reason }]) => ({ key, reason }));
  }

  /** When the object's slot may be tried again, by the monotonic clock; `undefined` when nothing has failed there. */
  notBefore(object: KernelObject): number | undefined {
    // A key takes longer to make than all else that is done for a slot, and nearly always nothing fails.
    return this.#failing.size > 0 ? this.#failing.get(keyOf(object))?.notBefore : undefined;
  }

  /** Said once for each reason. */
  note(operation: Operation, reason: string, now: number): void {
    const key = keyOf(operation.object);
    const before = this.#failing.get(key);
    const attempts = (before?.attempts ?? 0) + 1;
    const pause = Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LONGEST_RETRY_MS);
    if (before?.reason !== reason) {
      this.#log.error(
        `Could not apply "${commandOf(operation)}": ${reason}; trying again in ${pause} ms and on`,
        { key, reason },
      );
    }
    this.#failing.set(key, { attempts, reason, notBefore: now + pause });
  }

  /** Everything that failed may be tried again at once, and the pauses are short ones again. */
  endPauses(): void {
    for (const [key, { reason }] of this.#failing)
      this.#failing.set(key, { attempts: 0, reason, notBefore: Number.NEGATIVE_INFINITY });
  }

  forgive(object: KernelObject): void {
    if (this.#failing.size > 0) this.#failing.delete(keyOf(object));
  }
}
