import { mergeRestores } from '#src/firewall/merge-restores.ts';
import type { NftablesEvent } from '#src/kernel/nftables-monitor.ts';
import type { Ruleset } from '#src/kernel/nftables-ruleset.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import { SharedNext } from '#src/lib/shared-next.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { CommandOptions, CommandResult, CommandRunner } from '#src/sys/command.ts';

export interface SharedProgramsComponents {
  readonly commands: CommandRunner;
  readonly ruleset: Ruleset;
  readonly clock: Pick<Clock, 'monotonic'>;
}

type Argv = readonly [string, ...string[]];

interface Restore {
  readonly input: string;
  readonly signal: AbortSignal | undefined;
  readonly done: PromiseWithResolvers<CommandResult>;
}

interface KeptListing {
  /** The count of transactions before it was made. */
  readonly generation: number;
  readonly result: WeakRef<CommandResult>;
}

interface Lane {
  readonly argv: Argv;
  isBusy: boolean;
  waiting: Restore[];
}

/** A process of ours is remembered for so long after its end: by then the kernel's reports of what it did have come. */
const REMEMBERED_MS = 2_000;
/** For what many networks write at once. */
const LONG_MS = 60_000;

/**
 * The programs of the packet filter, for all networks of a host. A listing of rules grows with the networks, and each of them
 * asks for it: those that ask while one is made share the next one, or the last one while the kernel says that nothing has changed.
 * What several networks want to add meanwhile is written by one process.
 */
export class SharedPrograms implements CommandRunner {
  readonly #commands: CommandRunner;
  readonly #ruleset: Ruleset;
  readonly #listings = new Map<string, SharedNext<CommandResult>>();
  /** The last listing by each command, while nothing has changed since. */
  readonly #kept = new Map<string, KeptListing>();
  /** How many the kernel has reported. */
  #events = 0;
  readonly #lanes = new Map<string, Lane>();
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** By process: when it ended. */
  readonly #writers = new Map<number, number>();

  constructor({ commands, ruleset, clock }: SharedProgramsComponents) {
    this.#commands = commands;
    this.#ruleset = ruleset;
    this.#clock = clock;
  }

  /**
   * Whether the process is one of ours that writes rules, or was so a moment ago: it changed nobody's but those of the network that
   * asked for it. Its number may be another one's soon.
   */
  readonly isWriter = (pid: number | undefined): boolean => {
    this.#forgetOld();
    return pid !== undefined && this.#writers.has(pid);
  };

  run(argv: Argv, options: CommandOptions = {}): Promise<CommandResult> {
    if (isListing(argv)) return orAborted(this.#listingOf(argv).call(), options.signal ?? NEVER);
    if (options.stdin === undefined) return this.#commands.run(argv, options);
    if (!argv[0].endsWith('-restore')) return this.#write(argv, options);
    return this.#restore(argv, options.stdin, options.signal);
  }

  /**
   * To be called with each of the kernel's events. A transaction is counted when it begins to take effect, and reported when it has:
   * a listing in between may lack some of it.
   */
  notify(event: NftablesEvent): void {
    this.#events++;
    for (const [key, { generation }] of this.#kept)
      if (event.type === 'overrun' || event.generation === generation) this.#kept.delete(key);
  }

  #listingOf(argv: Argv): SharedNext<CommandResult> {
    const key = argv.join(' ');
    const listing = this.#listings.get(key) ?? new SharedNext(() => this.#list(key, argv));
    this.#listings.set(key, listing);
    return listing;
  }

  async #list(key: string, argv: Argv): Promise<CommandResult> {
    const events = this.#events;
    // iptables-legacy's rules change without a count.
    const generation = /legacy/.test(argv[0]) ? undefined : await this.#ruleset.generation();
    const kept = this.#kept.get(key);
    const known = kept?.generation === generation ? kept?.result.deref() : undefined;
    if (known !== undefined) return known;
    this.#kept.delete(key);
    const result = await this.#commands.run(argv);
    if (generation !== undefined && result.code === 0 && events === this.#events)
      this.#kept.set(key, { generation, result: new WeakRef(result) });
    return result;
  }

  async #restore(argv: Argv, input: string, signal: AbortSignal | undefined): Promise<CommandResult> {
    signal?.throwIfAborted();
    const key = argv.join(' ');
    const lane = this.#lanes.get(key) ?? { argv, isBusy: false, waiting: [] };
    this.#lanes.set(key, lane);
    const done = Promise.withResolvers<CommandResult>();
    lane.waiting.push({ input, signal, done });
    if (!lane.isBusy) void this.#work(lane);
    return done.promise;
  }

  async #work(lane: Lane): Promise<void> {
    lane.isBusy = true;
    while (lane.waiting.length > 0) {
      const all = lane.waiting.splice(0);
      for (const { signal, done } of all) if (signal?.aborted) done.reject(signal.reason);
      await this.#writeAll(
        lane.argv,
        all.filter(({ signal }) => !signal?.aborted),
      );
    }
    lane.isBusy = false;
  }

  /** Never rejects. One input that is refused does not keep the others from being written. */
  async #writeAll(argv: Argv, all: readonly Restore[]): Promise<void> {
    const merged = all.length > 1 ? mergeRestores(all.map(({ input }) => input)) : undefined;
    if (merged !== undefined) {
      const result = await this.#write(argv, { stdin: merged, timeoutMs: LONG_MS }).catch(() => undefined);
      if (result?.code === 0) {
        for (const { done } of all) done.resolve(result);
        return;
      }
    }
    for (const { input, signal, done } of all)
      await this.#write(argv, { stdin: input, ...(signal && { signal }) }).then(done.resolve, done.reject);
  }

  async #write(argv: Argv, options: CommandOptions): Promise<CommandResult> {
    let writer: number | undefined;
    const onStart = (pid: number): void => {
      writer = pid;
      this.#writers.set(pid, Number.POSITIVE_INFINITY);
    };
    try {
      return await this.#commands.run(argv, { ...options, onStart });
    } finally {
      if (writer !== undefined) this.#writers.set(writer, this.#clock.monotonic());
      this.#forgetOld();
    }
  }

  #forgetOld(): void {
    const oldest = this.#clock.monotonic() - REMEMBERED_MS;
    for (const [pid, endedAt] of this.#writers) if (endedAt < oldest) this.#writers.delete(pid);
  }
}

const isListing = ([program, ...words]: Argv): boolean =>
  (words.length === 0 && program.endsWith('-save')) || (program === 'nft' && words.includes('list'));

const NEVER = new AbortController().signal;

/** The kernel's answers for all networks of a host: those that ask at once share one. */
export function sharedRuleset(ruleset: Ruleset): Ruleset {
  const generation = new SharedNext(() => ruleset.generation());
  const tables = new Map<string | number, SharedNext<readonly string[] | undefined>>();
  return {
    generation: () => generation.call(),
    tables(family) {
      const known = tables.get(family) ?? new SharedNext(() => ruleset.tables(family));
      tables.set(family, known);
      return known.call();
    },
  };
}
