import type { EtcdComponents, EtcdOptions } from '#src/registry/etcd-options.ts';
import { lostRace } from '#src/registry/etcd-v2-answers.ts';
import { getV2, ONE } from '#src/registry/etcd-v2-get.ts';
import { EtcdV2Http } from '#src/registry/etcd-v2-http.ts';
import { EtcdV2Records } from '#src/registry/etcd-v2-records.ts';
import { ipv6LeasesBelow, leasesBelow } from '#src/registry/record-place.ts';
import type { Records } from '#src/registry/records.ts';
import type { Registry } from '#src/registry/registry.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface EtcdV2Options extends EtcdOptions {
  /** A long poll that is silent for so long asks the server for a sign of life. Default 3,000. */
  readonly watchQuietMs?: number;
}

/** Between two looks at the config. flannel reads it once. */
const CONFIG_LOOK_MS = 5_000;

/** flannel v0.9.1's dialect (contract §2.2): the records of `<prefix>/subnets/`, and the config beside them. */
export class EtcdV2Registry extends EtcdV2Records implements Registry {
  readonly #http: EtcdV2Http;
  readonly #clock: Clock;
  readonly #configKey: string;
  readonly ipv6Leases: Records;

  constructor(components: EtcdComponents, { prefix, ...options }: EtcdV2Options) {
    const http = new EtcdV2Http(components, options);
    const place = leasesBelow(prefix, 'v2');
    const { clock } = components;
    super({ http, clock }, { ...options, place, description: `etcd v2 at ${http.ring}` });
    this.#http = http;
    this.#clock = clock;
    this.#configKey = place.probeKey;
    this.ipv6Leases = new EtcdV2Records(
      { http, clock },
      { ...options, place: ipv6LeasesBelow(prefix, 'v2'), description: this.description },
    );
  }

  async readConfig(signal: AbortSignal): Promise<string | undefined> {
    const what = `read the network config ${this.#configKey}`;
    const { body } = await getV2(this.#http, this.#configKey, ONE, what, signal);
    return body.node?.value;
  }

  async replaceConfig(previous: string, text: string, signal: AbortSignal): Promise<boolean> {
    const what = `write the network config ${this.#configKey}`;
    const query = `?prevValue=${encodeURIComponent(previous)}`;
    const request = { method: 'PUT', key: this.#configKey, query, form: { value: text } } as const;
    const { body } = await this.#http.call(request, { what, repeatable: false }, signal);
    return !lostRace(body, what);
  }

  /** By looking: a long poll for each key would be a connection for each. Without a quorum, which costs v2 a write. */
  async *watchConfig(signal: AbortSignal): AsyncGenerator<string | undefined, void> {
    const what = `watch the network config ${this.#configKey}`;
    for (;;) {
      const { body } = await getV2(this.#http, this.#configKey, '', what, signal);
      yield body.node?.value;
      await untilBeat(this.#clock, CONFIG_LOOK_MS, signal);
    }
  }

  reconnect(): void {
    this.#http.close();
  }

  override async close(): Promise<void> {
    this.#http.close();
  }
}
