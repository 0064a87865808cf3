import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
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
  /** Answers for a member while `running` runs. */
  readonly serve: (member: NetworkMember, running: () => Promise<void>) => Promise<void>;
}

/** A network of the set, as readers see it. */
export interface NetworkMember {
  readonly network: Network;
  /** Why it does not run; `undefined` while it does. */
  readonly failure: string | undefined;
}

interface Member extends NetworkMember {
  readonly end: AbortController;
  /** Resolves when every part of the network has ended. */
  running: Promise<void>;
  failure: string | undefined;
}

const FIRST_PAUSE_MS = 4_000;
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
  members(): Iterable<NetworkMember> {
    return this.#members.values();
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
      const ended = AbortSignal.any([signal, end.signal]);
      member.running = this.#keep(name, member, ended);
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

  /** Runs a network again and again. Its failure ends neither its answers nor another network. */
  async #keep(name: string, member: Member, signal: AbortSignal): Promise<void> {
    const { serve } = this.#components;
    const run = (): Promise<void> => this.#again(name, member, () => member.network.run(signal), signal);
    await this.#again(name, member, () => serve(member, run), signal);
  }

  /** Calls `step` until the signal aborts, with growing pauses between failures. */
  async #again(name: string, member: Member, step: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#components;
    const backoff = new Backoff({ random }, { baseMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS });
    while (!signal.aborted) {
      const began = clock.monotonic();
      try {
        await step();
      } catch (error) {
        if (signal.aborted) return;
        const failure = messageOf(error);
        if (failure !== member.failure)
          log.error(`network ${name} ended: ${failure}; it is started again until it runs`);
        member.failure = failure;
      }
      if (signal.aborted) return;
      // Only a network that ran for a while was a success.
      if (clock.monotonic() - began > LONGEST_PAUSE_MS) backoff.reset();
      await clock.sleep(backoff.next(), signal).catch(() => {});
    }
  }
}
