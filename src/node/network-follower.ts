import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Networks } from '#src/registry/networks.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface NetworkFollowerComponents {
  readonly networks: Pick<Networks, 'watch' | 'description'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface NetworkFollowerOptions {
  /** Only these are served; empty for all. */
  readonly only: readonly string[];
  /** A network has a config. Called again for one that is there already. */
  readonly onThere: (name: string) => void;
  /** A network has had no config since this monotonic time, and nothing brought it back. */
  readonly onGone: (name: string, since: number) => Promise<void>;
  /** The first list has been handled. */
  readonly onListed: () => void;
}

/** How long a config may be gone before its network goes: an operator may delete and write it again. */
const GONE_MS = 30_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** A timer counts up to 2³¹ − 1 ms. */
const LONGEST_WAIT_MS = 86_400_000;

/**
 * Follows the list of networks below a prefix. While the registry does not answer, the known
 * networks stay.
 */
export class NetworkFollower {
  readonly #components: NetworkFollowerComponents;
  readonly #options: NetworkFollowerOptions;
  readonly #order = new InOrder();
  readonly #known = new Set<string>();
  /** Names whose config is gone, and since when. */
  readonly #missing = new Map<string, number>();
  #rearm: (() => void) | undefined;
  #isListed = false;

  constructor(components: NetworkFollowerComponents, options: NetworkFollowerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Rejects with the signal's reason. */
  async follow(signal: AbortSignal): Promise<never> {
    const { networks, clock, random, log } = this.#components;
    const backoff = new Backoff({ random }, { baseMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS });
    for (;;) {
      try {
        for await (const names of networks.watch(signal)) {
          backoff.reset();
          await this.#order.run(() => this.#take(names));
        }
      } catch (error) {
        signal.throwIfAborted();
        log.verbose(1, `asking for the networks below the prefix again: ${messageOf(error)}`);
      }
      await clock.sleep(backoff.next(), signal);
    }
  }

  /** Lets networks go when their time has come. Rejects with the signal's reason. */
  async reap(signal: AbortSignal): Promise<never> {
    const { clock } = this.#components;
    for (;;) {
      await this.#untilDue(signal);
      await this.#order.run(() => this.#letGo(clock.monotonic()));
    }
  }

  async #take(names: readonly string[]): Promise<void> {
    const { clock, log, networks } = this.#components;
    const { only, onThere, onListed } = this.#options;
    const served = new Set(names.filter((name) => only.length === 0 || only.includes(name)));
    for (const name of served) {
      this.#known.add(name);
      if (this.#missing.delete(name)) log.info(`The config of network ${name} is back`);
      onThere(name);
    }
    for (const name of this.#known) {
      if (served.has(name) || this.#missing.has(name)) continue;
      this.#missing.set(name, clock.monotonic());
      log.warning(
        `The config of network ${name} is gone from ${networks.description}: the network goes in ${GONE_MS / 1000} s`,
      );
    }
    if (!this.#isListed) onListed();
    this.#isListed = true;
    this.#rearm?.();
  }

  async #letGo(now: number): Promise<void> {
    for (const [name, since] of this.#missing) {
      if (now - since < GONE_MS) continue;
      this.#missing.delete(name);
      this.#known.delete(name);
      await this.#options.onGone(name, since);
    }
  }

  async #untilDue(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const rearmed = new AbortController();
    this.#rearm = () => rearmed.abort();
    const [first] = this.#missing.values();
    const wait = first === undefined ? LONGEST_WAIT_MS : Math.max(0, first + GONE_MS - clock.monotonic());
    await clock.sleep(wait, AbortSignal.any([signal, rearmed.signal])).catch(() => {});
    this.#rearm = undefined;
    signal.throwIfAborted();
  }
}
