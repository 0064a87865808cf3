import {
  changeElements,
  changeTable,
  type Element,
  elementsWithout,
  type OwnTable,
  placeOf,
  readCounters,
  removeTable,
} from '#src/firewall/own-table.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import type { WeftError } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Logger } from '#src/lib/log.ts';
import { Caretaker } from '#src/reconcile/caretaker.ts';
import { isUnsupported, NO_PROGRAM, nftFailed } from '#src/reconcile/rules/nft-failures.ts';
import { QuietRules } from '#src/reconcile/rules/quiet-rules.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { CommandResult, CommandRunner } from '#src/sys/command.ts';

/** The packet filter of one network namespace. */
export interface TableHost {
  /** Programs that run in the namespace: `commandsIn`, where it is not the own one. */
  readonly commands: CommandRunner;
  readonly ruleset: Ruleset;
  /** Calls back for every change of the namespace's nftables rules. Resolves when they are followed. */
  readonly watchRules: (listener: (event: NftablesEvent) => void, signal: AbortSignal) => Promise<void>;
}

export interface KeptTableComponents extends TableHost {
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes repairs. Default: nobody. */
  readonly events?: HostEvents;
}

export interface KeptTableOptions {
  readonly table: OwnTable;
  /** In messages: `rules of tenants' tunnels`. */
  readonly title: string;
  /** Milliseconds between looks that nothing asked for. */
  readonly intervalMs: number;
  /** A kernel that was built without tables of this family is no trouble: {@link KeptTable.unsupported}. */
  readonly isOptional?: boolean;
}

/** One transaction of `nft`. */
export interface TableChange {
  /** What is not as wanted. */
  readonly faults: readonly string[];
  readonly transaction: string;
}

/** A reload of the host's firewall is many messages: look when they have come. */
const SETTLE_MS = 5;
/** While other programs keep changing rules, ours are looked at this often. */
const PAUSE_MS = 1_000;
/** Tries, when the rules change between the look and the write. */
const ATTEMPTS = 3;

/**
 * Keeps one table of nftables as wanted. A change of what is wanted is one transaction with the elements that differ,
 * however many are there; changes that come while `nft` runs go into the next one together. Every look and write is a step
 * of one queue. What other programs do to the table is mended when the kernel reports it, and found at an interval.
 */
export class KeptTable {
  readonly #host: KeptTableComponents;
  readonly #options: KeptTableOptions;
  readonly #caretaker: Caretaker;
  readonly #quiet: QuietRules<OwnTable>;
  readonly #order = new InOrder();
  readonly #wanted = new Map<string, readonly Element[]>();
  /** Subjects that may be in the kernel otherwise than wanted. */
  #changed = new Set<string>();
  /** What the last look or write left in the kernel; `undefined` when that is not known. */
  #there: Map<string, readonly Element[]> | undefined;
  /** Processes of ours whose transactions have not been reported yet. */
  readonly #writers = new Set<number | undefined>();
  /** Reported while a process of ours ran: whose transactions they are is found out when it has ended. */
  #heard: NftablesEvent[] = [];
  #isStarted = false;
  #unsupported: string | undefined;

  constructor(components: KeptTableComponents, options: KeptTableOptions) {
    const { ruleset } = components;
    this.#host = components;
    this.#options = options;
    this.#quiet = new QuietRules(ruleset);
    this.#caretaker = new Caretaker(
      components,
      { name: options.title, ensure: (signal) => this.#inOrder(() => this.#look(signal)) },
      { intervalMs: options.intervalMs, settleMs: SETTLE_MS, mostPauseMs: PAUSE_MS },
    );
  }

  /** Why the table is not as wanted, as one clause. */
  get trouble(): string | undefined {
    return this.#caretaker.failure;
  }

  /** The kernel has no tables of this optional family: its complaint. Then nothing is written, and nothing is a trouble. */
  get unsupported(): string | undefined {
    return this.#unsupported;
  }

  /** Repairs of what had been right, since the start. */
  get repairs(): number {
    return this.#caretaker.repairs;
  }

  /** The elements of a subject from now on; none withdraws them. Two subjects have none in common. {@link flush} writes them. */
  set(subject: string, elements: readonly Element[]): void {
    if (elements.length === 0) this.#wanted.delete(subject);
    else this.#wanted.set(subject, elements);
    this.#changed.add(subject);
  }

  /**
   * Resolves when all that was wanted at the call is in force. Rejects with a `WeftError` when it could not be written; it
   * stays wanted, and is tried again at the next look. Before the start it does nothing.
   */
  async flush(signal?: AbortSignal): Promise<void> {
    if (!this.#isStarted) return;
    try {
      await this.#inOrder(() => this.#write(signal));
    } catch (error) {
      this.#caretaker.poke();
      throw error;
    }
  }

  /**
   * Makes the table as wanted in one transaction and keeps it so until the signal aborts; then it stays. What an earlier run
   * left and is not wanted goes with it. Resolves when the table is in force, or {@link trouble} says why not. Rejects when the
   * kernel's events can't be followed: there is no such namespace.
   */
  async start(signal: AbortSignal): Promise<void> {
    await this.#host.watchRules((event) => {
      this.#quiet.notify(event);
      this.#heard.push(event);
      if (this.#order.waiting === 0) this.#judge();
    }, signal);
    this.#isStarted = true;
    await this.#caretaker.start(signal, { tolerated: true });
  }

  /** What a start would write; nothing where the table is as wanted. Writes nothing. */
  async plan(signal?: AbortSignal): Promise<TableChange | undefined> {
    const { faults, transaction } = changeTable(
      await this.#list(signal),
      this.#options.table,
      [...this.#wanted.values()].flat(),
    );
    return transaction === '' ? undefined : { faults, transaction };
  }

  /** What {@link remove} would run, in nft's words; nothing where there is no table. */
  async removal(): Promise<string[]> {
    const { table } = this.#options;
    const names = await this.#host.ruleset.tables(table.family);
    return names?.includes(table.name) === false ? [] : [`nft delete table ${placeOf(table)}`];
  }

  /** Takes the table away; what was done, in nft's words. To be called when it is no longer kept. */
  async remove(signal?: AbortSignal): Promise<string[]> {
    const words = await this.removal();
    if (words.length === 0) return [];
    await this.#inOrder(async () => {
      const result = await this.#run(removeTable(this.#options.table), signal);
      if (result.code !== 0) throw this.#failed('could not remove', result);
    });
    return words;
  }

  /** Packets that each counter of the table has counted since the table was made. */
  async counted(signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const list = ['nft', '-j', 'list', 'counters', 'table', ...this.#place] as const;
    const { code, stdout } = await this.#host.commands.run(list, signal && { signal });
    return code === 0 ? readCounters(stdout) : new Map();
  }

  async #inOrder<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await this.#order.run(step);
    } finally {
      this.#judge();
    }
  }

  /** Looks again, soon, if another program has written. */
  #judge(): void {
    const events = this.#heard;
    this.#heard = [];
    for (const event of events) {
      if (event.type === 'overrun' || !this.#writers.delete(event.pid)) this.#caretaker.poke();
    }
  }

  /** What was mended, in words; nothing while the kernel says that nothing has changed since all was right. */
  async #look(signal: AbortSignal): Promise<string | undefined> {
    if (this.#unsupported !== undefined) return undefined;
    const generation = await this.#quiet.read();
    if (this.#there === undefined || !this.#quiet.hold(generation, this.#options.table)) {
      return this.#mend(generation, signal);
    }
    await this.#write(signal);
    return undefined;
  }

  /** Writes what differs from what is known to be there; looks first where nothing is known, or that was wrong. */
  async #write(signal?: AbortSignal): Promise<void> {
    if (this.#unsupported !== undefined) return;
    if (this.#there === undefined) return void (await this.#mend(await this.#quiet.read(), signal));
    const changed = this.#changed;
    if (changed.size === 0) return;
    this.#changed = new Set();
    const [add, remove]: [Element[], Element[]] = [[], []];
    const after = new Map<string, readonly Element[]>();
    for (const subject of changed) {
      const [before = [], wanted = []] = [this.#there.get(subject), this.#wanted.get(subject)];
      add.push(...elementsWithout(wanted, before));
      remove.push(...elementsWithout(before, wanted));
      after.set(subject, wanted);
    }
    const known = this.#there;
    if (add.length > 0 || remove.length > 0) {
      // Until the program has ended, and when it was killed.
      this.#there = undefined;
      const result = await this.#run(changeElements(this.#options.table, { add, remove }), signal);
      if (result.code !== 0) return void (await this.#mend(await this.#quiet.read(), signal));
      this.#quiet.wrote(result.pid);
    }
    for (const [subject, elements] of after) {
      if (elements.length === 0) known.delete(subject);
      else known.set(subject, elements);
    }
    this.#there = known;
  }

  /** Lists the table, and writes what is not as wanted. */
  async #mend(first: number | undefined, signal?: AbortSignal): Promise<string | undefined> {
    const { table } = this.#options;
    let generation = first;
    this.#there = undefined;
    for (let attempt = 1; ; attempt++) {
      const listing = await this.#list(signal);
      const wanted = new Map(this.#wanted);
      this.#changed = new Set();
      const { faults, transaction } = changeTable(listing, table, [...wanted.values()].flat());
      const result = transaction === '' ? undefined : await this.#run(transaction, signal);
      if (result === undefined || result.code === 0) {
        this.#there = wanted;
        this.#quiet.found(generation, table, result === undefined ? [] : [result.pid]);
        return faults.length === 0 ? undefined : faults.join('; ');
      }
      if (this.#options.isOptional === true && isUnsupported(result)) {
        this.#unsupported = this.#failed('could not set', result).message;
        this.#host.log.warning(`Going on without the ${this.#options.title}: ${this.#unsupported}`);
        return undefined;
      }
      if (attempt >= ATTEMPTS) throw this.#failed('could not set', result);
      generation = await this.#quiet.read();
    }
  }

  async #list(signal?: AbortSignal): Promise<string | undefined> {
    const list = ['nft', '-j', 'list', 'table', ...this.#place] as const;
    const result = await this.#host.commands.run(list, signal && { signal });
    if (result.code === 0) return result.stdout;
    if (result.code === NO_PROGRAM) throw this.#failed('could not set', result);
    return undefined;
  }

  get #place(): readonly string[] {
    const { family, name } = this.#options.table;
    return [family, name];
  }

  async #run(transaction: string, signal?: AbortSignal): Promise<CommandResult> {
    const options = { stdin: transaction, ...(signal && { signal }) };
    const result = await this.#host.commands.run(['nft', '-f', '-'], options);
    if (result.code === 0) this.#writers.add(result.pid);
    return result;
  }

  #failed(what: string, result: CommandResult): WeftError {
    return nftFailed(`${what} the ${this.#options.title}`, result);
  }
}
