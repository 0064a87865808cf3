import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';

/** How long a peer that a new list lacks may take to show itself again. */
const GRACE_MS = 30_000;

/** Peers that a list did not name any more: gone for good when they do not come back in time. */
export class Departures {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #depart: (name: string) => Promise<void>;
  /** Names, and when they go, by the monotonic clock. */
  readonly #expected = new Map<string, number>();
  #signal: AbortSignal = AbortSignal.abort();
  #waiting = false;

  constructor(
    { clock, log }: { readonly clock: Clock; readonly log: Logger },
    depart: (name: string) => Promise<void>,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#depart = depart;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
  }

  /** Exactly these are missing now; one that was missing before keeps its time. */
  expect(names: readonly string[]): void {
    const now = this.#clock.monotonic();
    const before = new Map(this.#expected);
    this.#expected.clear();
    for (const name of names) this.#expected.set(name, before.get(name) ?? now + GRACE_MS);
    if (names.length === 0) return;
    this.#log.warning(
      `${names.length} known peers are not in the registry any more: forwarding to them for ${GRACE_MS / 1000} s more`,
    );
    if (this.#waiting) return;
    this.#waiting = true;
    this.#wait()
      .catch((error) => {
        if (!isAbort(error)) this.#log.error(`Could not let go of peers: ${messageOf(error)}`);
      })
      .finally(() => {
        this.#waiting = false;
      });
  }

  /** It showed itself, or was removed by name. */
  cancel(name: string): void {
    this.#expected.delete(name);
  }

  async #wait(): Promise<void> {
    while (this.#expected.size > 0) {
      const next = Math.min(...this.#expected.values());
      await this.#clock.sleep(Math.max(1, next - this.#clock.monotonic()), this.#signal);
      const now = this.#clock.monotonic();
      for (const [name, at] of this.#expected) {
        if (at > now) continue;
        this.#expected.delete(name);
        await this.#depart(name);
      }
    }
  }
}
