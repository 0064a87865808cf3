import type { Ipv4 } from '#src/lib/ip.ts';
import { Allowance } from '#src/node/fast-path/allowance.ts';
import type { LocalContainer } from '#src/node/fast-path/local-containers.ts';

/** A container that lives for less than this is not worth its hooks. Milliseconds. */
const SETTLED_MS = 300;
/** Devices that come at once get their hooks at once; from then on so many a second. */
const HOOKS = { atOnce: 20, aSecond: 10 };

/** Which containers get their hooks when: those that come and go by the hundred a second get none. */
export class Admission {
  readonly #waiting = new Map<Ipv4, { readonly local: LocalContainer; readonly since: number }>();
  readonly #admitted = new Map<Ipv4, LocalContainer>();
  readonly #allowance = new Allowance(HOOKS);

  get admitted(): ReadonlyMap<Ipv4, LocalContainer> {
    return this.#admitted;
  }

  /** Milliseconds until {@link due} has something to say; `undefined` while nobody waits. */
  waitMs(now: number): number | undefined {
    const [first] = this.#waiting.values();
    if (first === undefined) return undefined;
    return Math.max(first.since + SETTLED_MS - now, this.#allowance.waitMs(now), 0);
  }

  /** A container that is there already: one start takes all of them. */
  admit(local: LocalContainer): void {
    this.#waiting.delete(local.ip);
    this.#admitted.set(local.ip, local);
  }

  /** A container has come, has changed, or with `undefined` has gone. Whether an admitted one is none any more. */
  change(ip: Ipv4, local: LocalContainer | undefined, now: number): boolean {
    this.#waiting.delete(ip);
    if (local !== undefined) this.#waiting.set(ip, { local, since: now });
    return this.#admitted.delete(ip);
  }

  /** Those that are admitted now. */
  due(now: number): LocalContainer[] {
    const admitted: LocalContainer[] = [];
    for (const [, { local, since }] of this.#waiting) {
      if (since + SETTLED_MS > now || !this.#allowance.take(now)) break;
      this.admit(local);
      admitted.push(local);
    }
    return admitted;
  }
}
