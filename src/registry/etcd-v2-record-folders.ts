import type { EtcdComponents } from '#src/registry/etcd-options.ts';
import type { EtcdV2Options } from '#src/registry/etcd-v2.ts';
import { EtcdV2Http } from '#src/registry/etcd-v2-http.ts';
import { EtcdV2Records } from '#src/registry/etcd-v2-records.ts';
import { folderBelow } from '#src/registry/record-place.ts';
import type { RecordFolders, Records } from '#src/registry/records.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Folders in etcd's v2 store. The watch of each is a long poll, and thus a connection, of its own. */
export class EtcdV2RecordFolders implements RecordFolders {
  readonly api = 'v2';
  readonly description: string;
  readonly #http: EtcdV2Http;
  readonly #clock: Clock;
  readonly #options: EtcdV2Options;

  constructor(components: EtcdComponents, options: EtcdV2Options) {
    this.#http = new EtcdV2Http(components, options);
    this.#clock = components.clock;
    this.#options = options;
    this.description = `etcd v2 at ${this.#http.ring}`;
  }

  folder(path: string): Records {
    const place = folderBelow(this.#options.prefix, 'v2', path);
    const description = `${this.description}, below ${place.probeKey}`;
    const components = { http: this.#http, clock: this.#clock };
    return new EtcdV2Records(components, { ...this.#options, place, description });
  }

  reconnect(): void {
    this.#http.close();
  }

  async close(): Promise<void> {
    this.#http.close();
  }
}
