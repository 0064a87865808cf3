import { posix } from 'node:path';
import type { EtcdComponents } from '#src/registry/etcd-options.ts';
import type { EtcdV2Options } from '#src/registry/etcd-v2.ts';
import { lostRace } from '#src/registry/etcd-v2-answers.ts';
import { getV2 } from '#src/registry/etcd-v2-get.ts';
import { EtcdV2Http, type V2Request } from '#src/registry/etcd-v2-http.ts';
import { assertNetworkName, isNetworkName, type Networks } from '#src/registry/networks.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Between two looks. A long poll would bring each lease of each network, one by one. */
const LOOK_MS = 5_000;
const QUORUM = '?quorum=true';

/** The networks below a prefix in etcd's v2 store: folders with a config in them. */
export class EtcdV2Networks implements Networks {
  readonly api = 'v2';
  readonly description: string;
  readonly #http: EtcdV2Http;
  readonly #clock: Clock;
  /** Without a slash at its end. */
  readonly #folder: string;

  constructor(components: EtcdComponents, options: EtcdV2Options) {
    this.#http = new EtcdV2Http(components, options);
    this.#clock = components.clock;
    this.#folder = posix.join('/', options.prefix, '/').slice(0, -1);
    this.description = `etcd v2 at ${this.#http.ring}, below ${this.#folder}`;
  }

  list(signal: AbortSignal): Promise<readonly string[]> {
    return this.#look(QUORUM, signal);
  }

  /** Without a quorum, which costs v2 a write. */
  async *watch(signal: AbortSignal): AsyncGenerator<readonly string[], void> {
    for (;;) {
      yield await this.#look('', signal);
      await this.#clock.sleep(LOOK_MS, signal);
    }
  }

  async readConfig(name: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#read(this.#configKey(name), QUORUM, signal);
  }

  async writeConfig(
    name: string,
    text: string,
    previous: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    assertNetworkName(name);
    const key = this.#configKey(name);
    const query = previous === undefined ? '?prevExist=false' : `?prevValue=${encodeURIComponent(previous)}`;
    const what = `write the network config ${key}`;
    return this.#write({ method: 'PUT', key, query, form: { value: text } }, what, signal);
  }

  async removeConfig(name: string, previous: string, signal: AbortSignal): Promise<boolean> {
    const key = this.#configKey(name);
    const query = `?prevValue=${encodeURIComponent(previous)}`;
    return this.#write({ method: 'DELETE', key, query }, `remove the network config ${key}`, signal);
  }

  async close(): Promise<void> {
    this.#http.close();
  }

  async #look(query: string, signal: AbortSignal): Promise<readonly string[]> {
    const what = `list the networks below ${this.#folder}`;
    const { body } = await getV2(this.#http, this.#folder, query, what, signal);
    const folders = (body.node?.nodes ?? [])
      .filter(({ dir }) => dir)
      .map(({ key }) => key.slice(this.#folder.length + 1))
      .filter(isNetworkName);
    const configs = await Promise.all(
      folders.map((name) => this.#read(this.#configKey(name), query, signal)),
    );
    return folders.filter((_, at) => configs[at] !== undefined).sort();
  }

  async #read(key: string, query: string, signal: AbortSignal): Promise<string | undefined> {
    const { body } = await getV2(this.#http, key, query, `read the network config ${key}`, signal);
    return body.node?.dir ? undefined : body.node?.value;
  }

  async #write(request: V2Request, what: string, signal: AbortSignal): Promise<boolean> {
    const { body } = await this.#http.call(request, { what, repeatable: false }, signal);
    return !lostRace(body, what);
  }

  #configKey(name: string): string {
    return `${this.#folder}/${name}/config`;
  }
}
