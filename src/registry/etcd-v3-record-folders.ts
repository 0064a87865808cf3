import type { EtcdComponents } from '#src/registry/etcd-options.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import type { EtcdV3Options } from '#src/registry/etcd-v3-options.ts';
import { EtcdV3Records } from '#src/registry/etcd-v3-records.ts';
import { folderBelow } from '#src/registry/record-place.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';

/** Folders in etcd's v3 store. All calls and watches go over one connection. */
export class EtcdV3RecordFolders implements RecordFolders {
  readonly api = 'v3';
  readonly description: string;
  readonly #connection: EtcdConnection;
  readonly #options: EtcdV3Options;

  constructor(components: EtcdComponents, options: EtcdV3Options) {
    this.#connection = new EtcdConnection(components, options);
    this.#options = options;
    this.description = `etcd v3 at ${this.#connection.ring}`;
  }

  folder(path: string): Records {
    const place = folderBelow(this.#options.prefix, 'v3', path);
    const description = `${this.description}, below ${place.probeKey}`;
    return new EtcdV3Records({ connection: this.#connection }, { ...this.#options, place, description });
  }

  reconnect(): void {
    this.#connection.close();
  }

  async close(): Promise<void> {
    this.#connection.close();
  }
}
