import { formatMove, type MoveRecord, type MoveState, parseMove } from '#src/driver/moves/move-record.ts';
import type { Logger } from '#src/lib/log.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import { LeaseWatcher } from '#src/registry/lease-watcher.ts';
import type { LeaseRecord, RecordFolders, Records } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface MoveLedgerComponents {
  readonly folders: RecordFolders;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface MoveLedgerOptions {
  /** A move has another record, or none any more. */
  readonly onChange: (id: string) => void;
}

/** A move, and its record as it is stored. */
export interface KnownMove extends MoveRecord {
  readonly stored: LeaseRecord;
}

/** What nobody finishes is gone after so long. */
const TTL_SECONDS = 600;

/** The moves that are under way, as the registry has them. */
export class MoveLedger {
  readonly #components: MoveLedgerComponents;
  readonly #options: MoveLedgerOptions;
  readonly #records: Records;
  readonly #known = new Map<string, KnownMove>();
  readonly #watcher: LeaseWatcher;
  readonly #listed = Promise.withResolvers<void>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(components: MoveLedgerComponents, options: MoveLedgerOptions) {
    const { folders, log } = components;
    this.#components = components;
    this.#options = options;
    this.#records = folders.folder('tenants/moves');
    this.#watcher = new LeaseWatcher(
      { ...components, registry: this.#records, logger: log },
      {
        words: { records: 'moves', known: 'the moves' },
        onSnapshot: ({ records }) => {
          const names = new Set(records.map(({ name }) => name));
          for (const id of [...this.#known.keys()]) if (!names.has(id)) this.#forget(id);
          for (const record of records) this.#learn(record);
          this.#listed.resolve();
        },
        onBatch: ({ events, revision }) => {
          for (const event of events) {
            if (event.type === 'put') this.#learn(event.record);
            else if ((this.#known.get(event.name)?.stored.revision ?? 0n) <= revision)
              this.#forget(event.name);
          }
        },
      },
    );
  }

  /** Follows the registry until the signal aborts. */
  run(signal: AbortSignal): Promise<never> {
    return this.#watcher.run(signal);
  }

  /** Resolves when the moves have been listed once. */
  get listed(): Promise<void> {
    return this.#listed.promise;
  }

  get(id: string): KnownMove | undefined {
    return this.#known.get(id);
  }

  all(): Iterable<KnownMove> {
    return this.#known.values();
  }

  /** Throws RegistryError without an answer. */
  async create(move: MoveRecord, signal: AbortSignal): Promise<void> {
    const written = await this.#records.create(move.id, formatMove(move), TTL_SECONDS, signal);
    if (written.outcome === 'written') this.#learn(written.record);
  }

  /** Takes a move a step on. False when the other host was first: what it wrote is known then. */
  async advance(
    { stored, ...move }: KnownMove,
    step: { readonly state: MoveState; readonly reason?: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    const text = formatMove({ ...move, ...step });
    const written = await this.#records.replace(stored, text, TTL_SECONDS, signal);
    if (written.outcome === 'written') {
      this.#learn(written.record);
      return true;
    }
    const there = await this.#records.read(move.id, signal);
    if (there === undefined) this.#forget(move.id);
    else this.#learn(there);
    return false;
  }

  async remove({ id, stored }: KnownMove, signal: AbortSignal): Promise<void> {
    if (await this.#records.remove(stored, signal)) this.#forget(id);
  }

  /** Waits until a move is another one than that. False after `ms`. */
  async changed(id: string, known: KnownMove | undefined, ms: number, signal: AbortSignal): Promise<boolean> {
    if (this.#known.get(id) !== known) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const hear = (): void => resolve(true);
    const waiting = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, waiting.add(hear));
    const end = new AbortController();
    try {
      const late = this.#components.clock.sleep(ms, AbortSignal.any([signal, end.signal])).then(() => false);
      late.catch(() => {});
      return await orAborted(Promise.race([promise, late]), signal);
    } finally {
      end.abort();
      waiting.delete(hear);
      if (waiting.size === 0) this.#waiting.delete(id);
    }
  }

  #learn(stored: LeaseRecord): void {
    const { name: id } = stored;
    const known = this.#known.get(id);
    if (known !== undefined && known.stored.revision >= stored.revision) return;
    const read = parseMove(id, stored.value);
    if (!read.ok) {
      this.#components.log.warning(`The record of move ${id} is refused: ${read.reason}`);
      this.#forget(id);
      return;
    }
    this.#known.set(id, { ...read.value, stored });
    this.#notify(id);
  }

  #forget(id: string): void {
    if (this.#known.delete(id)) this.#notify(id);
  }

  #notify(id: string): void {
    for (const hear of this.#waiting.get(id) ?? []) hear();
    this.#options.onChange(id);
  }
}
