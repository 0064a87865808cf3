import type { EtcdComponents } from '#src/registry/etcd-options.ts';
import { EtcdV3Config } from '#src/registry/etcd-v3-config.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import type { EtcdV3Options } from '#src/registry/etcd-v3-options.ts';
import { EtcdV3Records } from '#src/registry/etcd-v3-records.ts';
import { ipv6LeasesBelow, leasesBelow } from '#src/registry/record-place.ts';
import type { Records } from '#src/registry/records.ts';
import type { Registry } from '#src/registry/registry.ts';

/** flannel HEAD's dialect (contract §2.3): the records of `<prefix>/subnets/`, and the config beside them. */
export class EtcdV3Registry extends EtcdV3Records implements Registry {
  readonly #connection: EtcdConnection;
  readonly #config: EtcdV3Config;
  readonly ipv6Leases: Records;

  constructor(components: EtcdComponents, { prefix, ...options }: EtcdV3Options) {
    const connection = new EtcdConnection(components, options);
    const place = leasesBelow(prefix, 'v3');
    super({ connection }, { ...options, place, description: `etcd v3 at ${connection.ring}` });
    this.#connection = connection;
    const key = Buffer.from(place.probeKey);
    this.#config = new EtcdV3Config({ connection }, { key, patience: this.patience });
    this.ipv6Leases = new EtcdV3Records(
      { connection },
      { ...options, place: ipv6LeasesBelow(prefix, 'v3'), description: this.description },
    );
  }

  readConfig(signal: AbortSignal): Promise<string | undefined> {
    return this.#config.read(signal);
  }

  replaceConfig(previous: string, text: string, signal: AbortSignal): Promise<boolean> {
    return this.#config.replace(previous, text, signal);
  }

  watchConfig(signal: AbortSignal): AsyncIterable<string | undefined> {
    return this.#config.watch(signal);
  }

  reconnect(): void {
    this.#connection.close();
  }

  override async close(): Promise<void> {
    this.#connection.close();
  }
}
