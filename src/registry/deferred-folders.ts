import { orAborted } from '#src/lib/or-aborted.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';
import type { LeaseRecord, WatchBatch } from '#src/registry/registry.ts';

/** Folders of records that can be used before they are open: calls wait for that, as long as their signals allow. */
export class DeferredFolders implements RecordFolders {
  readonly description: string;
  readonly #opened: Promise<RecordFolders>;
  #folders: RecordFolders | undefined;

  /** `description`: for the log, until the folders are open. */
  constructor(opened: Promise<RecordFolders>, description: string) {
    this.#opened = opened;
    this.description = description;
    // Each call reports a failure.
    opened.then(
      (folders) => {
        this.#folders = folders;
      },
      () => {},
    );
  }

  /** v3 as long as it is not known. */
  get api(): RecordFolders['api'] {
    return this.#folders?.api ?? 'v3';
  }

  folder(path: string): Records {
    return new DeferredRecords(
      this.#opened.then((folders) => folders.folder(path)),
      this.description,
      () => this.api,
    );
  }

  reconnect(): void {
    this.#opened.then(
      (folders) => folders.reconnect(),
      () => {},
    );
  }

  async close(): Promise<void> {
    const folders = await this.#opened.catch(() => undefined);
    await folders?.close();
  }
}

class DeferredRecords implements Records {
  readonly description: string;
  readonly #opened: Promise<Records>;
  readonly #api: () => Records['api'];

  constructor(opened: Promise<Records>, description: string, api: () => Records['api']) {
    this.#opened = opened;
    this.description = description;
    this.#api = api;
    opened.catch(() => {});
  }

  get api(): Records['api'] {
    return this.#api();
  }

  async list(signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).list(signal);
  }

  async read(name: string, signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).read(name, signal);
  }

  async create(name: string, value: string, ttlSeconds: number | undefined, signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).create(name, value, ttlSeconds, signal);
  }

  async replace(previous: LeaseRecord, value: string, ttlSeconds: number | undefined, signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).replace(previous, value, ttlSeconds, signal);
  }

  async renew(record: LeaseRecord, ttlSeconds: number, signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).renew(record, ttlSeconds, signal);
  }

  async expiryOf(record: LeaseRecord, signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).expiryOf(record, signal);
  }

  async remove(previous: LeaseRecord, signal: AbortSignal) {
    return (await orAborted(this.#opened, signal)).remove(previous, signal);
  }

  async *watch(revision: bigint, signal: AbortSignal): AsyncGenerator<WatchBatch, void> {
    yield* (await orAborted(this.#opened, signal)).watch(revision, signal);
  }

  async close(): Promise<void> {
    const records = await this.#opened.catch(() => undefined);
    await records?.close();
  }
}
