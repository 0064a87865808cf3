import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';

/** How long a peer that a new list lacks may take to show itself again: the store may have been emptied. */
const MISSING_MS = 30_000;
/** How long a peer whose lease was removed may take to claim it again, if it lives. */
const REMOVED_MS = 1_000;

/** Peers that the registry does not name any more: gone for good when they do not come back in time. */
export class Departures {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #depart: (names: readonly string[]) => Promise<void>;
  /** Names, and when they go, by the monotonic clock. */
  readonly #expected = new Map<string, number>();
  #signal: AbortSignal = AbortSignal.abort();

  constructor(
    { clock, log }: { readonly clock: Clock; readonly log: Logger },
    depart: (names: readonly string[]) => Promise<void>,
  ) {
    this.#clock = clock;
    this.#log = log;
    this.#depart = depart;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
  }

  /** Exactly these are missing in a list; one that was expected to go before keeps its time. */
  missing(names: readonly string[]): void {
    const before = new Map(this.#expected);
    this.#expected.clear();
    for (const [name, at] of before) if (names.includes(name)) this.#expected.set(name, at);
    const fresh = names.filter((name) => !before.has(name));
    if (fresh.length === 0) return;
    const seconds = MISSING_MS / 1000;
    this.#log.warning(
      `${fresh.length} known peers are not in the registry any more: forwarding to them for ${seconds} s more`,
    );
    this.#expect(fresh, MISSING_MS);
  }

  /** These were removed by name. */
  removed(names: readonly string[]): void {
    if (names.length > 0) this.#expect(names, REMOVED_MS);
  }

  /** It showed itself. */
  cancel(name: string): void {
    this.#expected.delete(name);
  }

  #expect(names: readonly string[], ms: number): void {
    const at = this.#clock.monotonic() + ms;
    for (const name of names) this.#expected.set(name, at);
    this.#wait(names, ms, at).catch((error) => {
      if (!isAbort(error)) this.#log.error(`Could not let go of peers: ${messageOf(error)}`);
    });
  }

  async #wait(names: readonly string[], ms: number, at: number): Promise<void> {
    await this.#clock.sleep(ms, this.#signal);
    const due = names.filter((name) => this.#expected.get(name) === at);
    for (const name of due) this.#expected.delete(name);
    await this.#depart(due);
  }
}
