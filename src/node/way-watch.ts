import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import { containsAddress, overlaps, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import { findWrongWays, type WantedWays } from '#src/node/wrong-ways.ts';
import { type Cared, Caretaker } from '#src/reconcile/caretaker.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';

export interface WayWatchComponents {
  readonly kernel: Pick<Kernel, 'decide' | 'dump'>;
  readonly files: Pick<Files, 'read'>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Kernel events as they come; returns how to stop. */
  readonly observe: (listener: (event: KernelEvent) => void) => () => void;
}

export interface WayQuestions {
  /** The ranges of the whole overlay. Asked for each event of the kernel. */
  readonly networks: () => PerFamily<Prefix4, Prefix6>;
  /** Resolves when what is wanted is in the kernel, as far as that can be now: a peer that has just come is no finding. */
  readonly settled: () => Promise<void>;
  /** What it should be like now in each family, by some of its peers; the bridge is found here. */
  readonly ways: () => Promise<readonly Omit<WantedWays, 'bridge'>[]>;
}

/** Seldom, for events report what changes; they come many at a time. */
const LOOKS = { intervalMs: 30_000, settleMs: 100, mostPauseMs: 1_000 };
/** A bridge that comes, and our own repairs, are several steps: what is found once may be the middle of a change. */
const CONFIRM_MS = 500;
/** A start that is under way is not held up. */
const FIRST_LOOK_MS = 500;

/**
 * Watches whether the kernel forwards the overlay's packets the way they should go. Nothing is mended: rules, foreign routes and
 * the settings of a bridge are an administrator's.
 */
export class WayWatch implements Cared {
  readonly name = 'watch for what leads packets elsewhere';
  readonly #components: WayWatchComponents;
  readonly #questions: WayQuestions;
  readonly #caretaker: Caretaker;
  #troubles: readonly string[] = [];
  /** The containers' bridges, at the last look. */
  readonly #bridges = new Set<string>();

  constructor(components: WayWatchComponents, questions: WayQuestions) {
    this.#components = components;
    this.#questions = questions;
    this.#caretaker = new Caretaker(components, this, LOOKS);
  }

  /** What leads the overlay's packets elsewhere, one clause each. */
  get troubles(): readonly string[] {
    return this.#troubles;
  }

  /** Looks, and again after events and now and then, until the signal aborts. */
  start(signal: AbortSignal): void {
    const stop = this.#components.observe((event) => {
      if (this.#concerns(event)) this.#caretaker.poke();
    });
    signal.addEventListener('abort', stop, { once: true });
    // It rejects only when the signal aborts.
    this.#begin(signal).catch(() => {});
  }

  async #begin(signal: AbortSignal): Promise<void> {
    await this.#components.clock.sleep(FIRST_LOOK_MS, signal);
    await this.#caretaker.start(signal);
  }

  /** Looks; what is found is in {@link troubles}. Always `undefined`: nothing is mended. */
  async ensure(signal: AbortSignal): Promise<undefined> {
    const { clock, log } = this.#components;
    try {
      let found = await this.#find();
      if (found.some((text) => !this.#troubles.includes(text))) {
        await clock.sleep(CONFIRM_MS, signal);
        const again = await this.#find();
        found = found.filter((text) => again.includes(text));
      }
      for (const text of found) if (!this.#troubles.includes(text)) log.warning(upperCase(text));
      for (const text of this.#troubles) if (!found.includes(text)) log.info(`No longer so: ${text}`);
      this.#troubles = found;
    } catch (error) {
      if (isAbort(error)) throw error;
      log.verbose(1, `Could not look which way packets go: ${messageOf(error)}`);
    }
    return undefined;
  }

  async #find(): Promise<string[]> {
    await this.#questions.settled();
    const found: string[] = [];
    this.#bridges.clear();
    for (const ways of await this.#questions.ways()) {
      if (ways.devices.length === 0) continue;
      const bridge = await this.#bridgeOf(ways);
      if (bridge !== undefined) this.#bridges.add(bridge.name);
      found.push(
        ...(await findWrongWays(this.#components, { ...ways, ...(bridge !== undefined && { bridge }) })),
      );
    }
    return found;
  }

  /** The device with an address of our subnet, as `--bip` gives it to docker0 or a user to a bridge of his own. */
  async #bridgeOf({ subnet, devices, beside = [] }: WantedWays): Promise<WantedWays['bridge']> {
    for (const object of await this.#components.kernel.dump({ kinds: ['address'] })) {
      if (object.kind !== 'address' || [...devices, ...beside].includes(object.device)) continue;
      const { address } = object.prefix;
      if (containsAddress(subnet, address)) return { name: object.device, address };
    }
    return undefined;
  }

  #concerns(event: KernelEvent): boolean {
    if (event.type !== 'changed' && event.type !== 'removed') return true;
    const { object } = event;
    const { v4, v6 } = this.#questions.networks();
    const prefix =
      object.kind === 'route' ? object.destination : object.kind === 'address' ? object.prefix : undefined;
    const network = prefix?.family === 6 ? v6 : v4;
    // The kernel reports no routes that go with a device which is switched off.
    if (object.kind === 'link') return this.#bridges.has(object.name);
    if (network === undefined) return false;
    if (object.kind === 'route') return overlaps(network, object.destination);
    return object.kind === 'address' && containsAddress(network, object.prefix.address);
  }
}

const upperCase = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
