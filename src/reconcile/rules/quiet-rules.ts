import { isDeepStrictEqual } from 'node:util';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';

/**
 * Knows without looking that rules in nftables and iptables-nft are still as wanted: as long as the kernel's count of
 * transactions is that of the last time when they were.
 *
 * The count is read before the look, so that what changes during it is a change afterwards. After a write of ours it is
 * higher, by us alone or by others as well: the events report it, one for each transaction, with its process.
 */
export class QuietRules<Wanted = WantedRules> {
  readonly #ruleset: Pick<Ruleset, 'generation'> | undefined;
  readonly #isForeign: (pid: number | undefined) => boolean;
  /** All was as wanted right after this transaction. */
  #right: { readonly generation: number; readonly wanted: Wanted } | undefined;
  /** Processes of ours that have written since the look before. */
  #writers: readonly (number | undefined)[] = [];
  /** Transactions reported since the count was read last, and whose they were. */
  readonly #reported = new Map<number, number | undefined>();

  /** `isForeign`: whether a process changes only what is not compared here, such as the rules of another network of ours. */
  constructor(
    ruleset: Pick<Ruleset, 'generation'> | undefined,
    isForeign: (pid: number | undefined) => boolean = () => false,
  ) {
    this.#ruleset = ruleset;
    this.#isForeign = isForeign;
  }

  /** To be called with each event, if there are any: without them a write of ours is followed by a look. */
  notify(event: NftablesEvent): void {
    if (event.type === 'overrun' || event.generation === undefined) {
      this.#right = undefined;
      return;
    }
    this.#reported.set(event.generation, event.pid);
    // The count goes up when a transaction begins to take effect, and the event comes when it has (nf_tables_commit of
    // net/netfilter/nf_tables_api.c): the look with this count may have been too early to see all of it.
    if (event.generation === this.#right?.generation && !this.#isForeign(event.pid)) this.#right = undefined;
  }

  /** The count of transactions now. To be read before a look; `undefined` when the kernel reports nothing. */
  async read(): Promise<number | undefined> {
    this.#followWriters();
    this.#writers = [];
    this.#reported.clear();
    return this.#ruleset?.generation();
  }

  /** Whether a look at this count would find all as it is wanted now. */
  hold(generation: number | undefined, wanted: Wanted): boolean {
    const right = this.#right;
    if (right === undefined || right.generation !== generation) return false;
    return right.wanted === wanted || isDeepStrictEqual(right.wanted, wanted);
  }

  /** A process of ours has written since the look, and the rules are as that left them. */
  wrote(pid: number | undefined): void {
    this.#writers = [...this.#writers, pid];
  }

  /** A look at this count found all as wanted, or the processes that wrote have made it so. */
  found(generation: number | undefined, wanted: Wanted, writers: readonly (number | undefined)[] = []): void {
    this.#writers = writers;
    const isEarly =
      generation !== undefined &&
      this.#reported.has(generation) &&
      !this.#isForeign(this.#reported.get(generation));
    this.#right = generation === undefined || isEarly ? undefined : { generation, wanted };
  }

  /** Only our own transactions since the look, each of them reported: the rules are as we made them. */
  #followWriters(): void {
    for (;;) {
      const next = (this.#right?.generation ?? 0) + 1;
      const pid = this.#reported.get(next);
      if (this.#right === undefined || pid === undefined) return;
      if (!this.#writers.includes(pid) && !this.#isForeign(pid)) return;
      this.#right = { ...this.#right, generation: next };
    }
  }
}
