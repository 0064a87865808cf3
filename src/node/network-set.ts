import { Backoff } from '#src/lib/backoff.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Network } from '#src/node/network.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface NetworkSetComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** A network by its name, which does not run yet. */
  readonly make: (name: string) => Network;
  /** Runs it until the signal aborts; rejects when every part has ended. */
  readonly run: (network: Network, signal: AbortSignal) => Promise<never>;
}

/** A network of the set. */
interface Member {
  readonly network: Network;
  readonly end: AbortController;
  /** Resolves when every part of the network has ended. */
  running: Promise<void>;
  /** Why it does not run; `undefined` while it does. */
  failure: string | undefined;
}

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * The networks of a daemon that has several. They come and go while it runs. What ends one network is its own: it starts
 * again after a pause, and the others go on.
 */
export class NetworkSet {
  readonly #components: NetworkSetComponents;
  readonly #members = new Map<string, Member>();
  readonly #life: Lifetime;

  constructor(components: NetworkSetComponents, life: Lifetime) {
    this.#components = components;
    this.#life = life;
  }

  /** Those that there are, with why they don't run. */
  *members(): Generator<{ readonly network: Network; readonly failure: string | undefined }> {
    for (const { network, failure } of this.#members.values()) yield { network, failure };
  }

  get(name: string): Network | undefined {
    return this.#members.get(name)?.network;
  }

  add(name: string): void {
    if (this.#members.has(name) || this.#life.signal.aborted) return;
    const network = this.#components.make(name);
    const end = new AbortController();
    const member: Member = { network, end, running: Promise.resolve(), failure: undefined };
    this.#members.set(name, member);
    this.#life.run((signal) => {
      member.running = this.#runAgainAndAgain(name, member, AbortSignal.any([signal, end.signal]));
      return member.running;
    });
  }

  /** Ends a network; resolves when every part of it has ended. */
  async remove(name: string): Promise<void> {
    const member = this.#members.get(name);
    this.#members.delete(name);
    member?.end.abort();
    await member?.running;
  }

  async #runAgainAndAgain(name: string, member: Member, signal: AbortSignal): Promise<void> {
    const { clock, random, log, run } = this.#components;
    const backoff = new Backoff({ random }, { baseMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS });
    while (!signal.aborted) {
      const began = clock.monotonic();
      try {
        member.failure = undefined;
        await run(member.network, signal);
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        member.failure = messageOf(error);
        log.error(`network ${name} ended: ${member.failure}; it starts again after a pause`);
      }
      // Only a network that ran for a while was a success.
      if (clock.monotonic() - began > LONGEST_PAUSE_MS) backoff.reset();
      await clock.sleep(backoff.next(), signal).catch(() => {});
    }
  }
}
