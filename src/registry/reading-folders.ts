import { orAborted } from '#src/lib/or-aborted.ts';
import type { LeaseRecord, RecordFolders, Records, WatchBatch, WriteOutcome } from '#src/registry/records.ts';

/** A write that was asked for and did not happen. */
export interface WithheldWrite {
  readonly folder: string;
  readonly name: string;
  readonly verb: 'create' | 'replace' | 'remove';
}

/** Folders of records that are only read: a write waits until its signal aborts, and is remembered. */
export class ReadingFolders implements RecordFolders {
  readonly #folders: RecordFolders;
  readonly #withheld: WithheldWrite[] = [];

  constructor(folders: RecordFolders) {
    this.#folders = folders;
  }

  get api(): RecordFolders['api'] {
    return this.#folders.api;
  }

  get description(): string {
    return this.#folders.description;
  }

  get withheld(): readonly WithheldWrite[] {
    return this.#withheld;
  }

  folder(path: string): Records {
    const note = (name: string, verb: WithheldWrite['verb']): void => {
      this.#withheld.push({ folder: path, name, verb });
    };
    return new ReadingRecords(this.#folders.folder(path), note);
  }

  reconnect(): void {
    this.#folders.reconnect();
  }

  close(): Promise<void> {
    return this.#folders.close();
  }
}

const NEVER = new Promise<never>(() => {});

class ReadingRecords implements Records {
  readonly #records: Records;
  readonly #note: (name: string, verb: WithheldWrite['verb']) => void;

  constructor(records: Records, note: (name: string, verb: WithheldWrite['verb']) => void) {
    this.#records = records;
    this.#note = note;
  }

  get api(): Records['api'] {
    return this.#records.api;
  }

  get description(): string {
    return this.#records.description;
  }

  list(signal: AbortSignal) {
    return this.#records.list(signal);
  }

  read(name: string, signal: AbortSignal) {
    return this.#records.read(name, signal);
  }

  create(
    name: string,
    _value: string,
    _ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    this.#note(name, 'create');
    return orAborted(NEVER, signal);
  }

  replace(
    { name }: LeaseRecord,
    _value: string,
    _ttlSeconds: number | undefined,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    this.#note(name, 'replace');
    return orAborted(NEVER, signal);
  }

  /** Nobody would see a change, but the record would live on. */
  renew(_record: LeaseRecord, _ttlSeconds: number, signal: AbortSignal): Promise<boolean> {
    return orAborted(NEVER, signal);
  }

  remove({ name }: LeaseRecord, signal: AbortSignal): Promise<boolean> {
    this.#note(name, 'remove');
    return orAborted(NEVER, signal);
  }

  watch(revision: bigint, signal: AbortSignal): AsyncIterable<WatchBatch> {
    return this.#records.watch(revision, signal);
  }

  expiryOf(record: LeaseRecord, signal: AbortSignal) {
    return this.#records.expiryOf(record, signal);
  }

  close(): Promise<void> {
    return this.#records.close();
  }
}
