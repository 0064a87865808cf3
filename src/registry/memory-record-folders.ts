import { MemoryRecords } from '#src/registry/memory-records.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Folders within the process, for tests and for several agents in one process. */
export class MemoryRecordFolders implements RecordFolders {
  readonly api = 'memory';
  readonly description = 'memory';
  readonly #clock: Clock;
  readonly #revision = { value: 1n };
  readonly #folders = new Map<string, MemoryRecords>();

  constructor(components: { readonly clock: Clock }) {
    this.#clock = components.clock;
  }

  /** The same records for the same path. */
  folder(path: string): MemoryRecords {
    let records = this.#folders.get(path);
    if (records === undefined) {
      records = new MemoryRecords({ clock: this.#clock, revision: this.#revision });
      this.#folders.set(path, records);
    }
    return records;
  }

  reconnect(): void {}

  async close(): Promise<void> {}
}
