import { posix } from 'node:path';
import type { Logger } from '#src/lib/log.ts';
import {
  chooseApi,
  type EtcdApi,
  explainWait,
  type Place,
  type Sight,
  type Sights,
} from '#src/registry/choose-api.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdV2Registry } from '#src/registry/etcd-v2.ts';
import { isAbsentFromV3 } from '#src/registry/etcd-v3-absence.ts';
import type { Registry } from '#src/registry/registry.ts';
import { readTls, type TlsFiles, wantsTls } from '#src/registry/tls.ts';
import type { WatchSiblings } from '#src/registry/watch-siblings.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { Random } from '#src/sys/random.ts';

export interface OpenRegistryComponents {
  readonly clock: Clock;
  readonly files: Files;
  readonly logger: Logger;
  readonly random: Random;
  /** All watches of the process. Default: each is alone. */
  readonly siblings?: WatchSiblings | undefined;
}

export interface OpenRegistryOptions {
  /** As `--etcd-endpoints` gives them. */
  readonly endpoints: string;
  /** As `--etcd-prefix` gives it. */
  readonly prefix: string;
  readonly api: 'auto' | EtcdApi;
  readonly tls: TlsFiles;
  /** Empty or absent: no user. */
  readonly username?: string;
  readonly password?: string;
  /** The network config of an earlier run. It is taken where the registry answers and has none any more. */
  readonly lastConfig?: string | undefined;
}

export interface OpenedRegistry {
  readonly registry: Registry;
  /** The network config as it was found, or that of an earlier run. */
  readonly config: string;
  /** The config is that of an earlier run: the registry has none, and this says where it looked. */
  readonly missing?: string;
}

/** flannel's own pause while there is no config. */
const LOOK_AGAIN_MS = 1_000;
/** An API that failed so often while the other one has the config is taken for one that nobody uses here. */
const PATIENCE = 3;

/**
 * Opens the registry that holds the network's config, and waits for as long as there is none: etcd may be started, or
 * get the config, after us. What is missing is logged once, with the command that mends it. With the config of an earlier
 * run, a registry that answers is enough: a network that runs elsewhere goes on here, and its lease is kept.
 *
 * @throws {WeftError} at once when the endpoints or the TLS files are unusable; the signal's reason when it aborts
 */
export async function openRegistry(
  components: OpenRegistryComponents,
  options: OpenRegistryOptions,
  signal: AbortSignal,
): Promise<OpenedRegistry> {
  const finder = new Finder(components, options, await etcdOptions(components, options));
  const said = new Set<string>();
  try {
    for (;;) {
      const found = await finder.find(signal);
      if (typeof found !== 'string') return found;
      if (!said.has(found)) components.logger.warning(found);
      said.add(found);
      await components.clock.sleep(LOOK_AGAIN_MS, signal);
    }
  } finally {
    await finder.closeOthers();
  }
}

/** @throws {WeftError} when the endpoints or the TLS files are unusable */
export async function etcdOptions(
  components: Pick<OpenRegistryComponents, 'files'>,
  { endpoints, prefix, tls, username, password }: Omit<OpenRegistryOptions, 'api' | 'lastConfig'>,
): Promise<EtcdOptions> {
  return {
    endpoints: parseEndpoints(endpoints, { tls: wantsTls(tls) }),
    prefix,
    tls: await readTls(components, tls),
    ...(username && { auth: { username, password: password ?? '' } }),
  };
}

interface Look {
  readonly sight: Sight;
  readonly opened?: OpenedRegistry;
}

class Finder {
  readonly #components: OpenRegistryComponents;
  readonly #api: OpenRegistryOptions['api'];
  readonly #lastConfig: string | undefined;
  readonly #etcd: EtcdOptions;
  readonly #place: Place;
  readonly #registries = new Map<EtcdApi, Registry>();
  #chosen: Registry | undefined;
  /** Rounds in a row in which only one API showed a config. */
  #lonely = 0;

  constructor(
    components: OpenRegistryComponents,
    { api, lastConfig }: Pick<OpenRegistryOptions, 'api' | 'lastConfig'>,
    etcd: EtcdOptions,
  ) {
    this.#components = components;
    this.#api = api;
    this.#lastConfig = lastConfig;
    this.#etcd = etcd;
    this.#place = { endpoints: etcd.endpoints.map(({ url }) => url).join(','), prefix: etcd.prefix };
  }

  /** One round: the registry, or what is missing. */
  async find(signal: AbortSignal): Promise<OpenedRegistry | string> {
    const found = await (this.#api === 'auto' ? this.#findAny(signal) : this.#findIn(this.#api, signal));
    if (typeof found !== 'string') this.#chosen = found.registry;
    return found;
  }

  async closeOthers(): Promise<void> {
    for (const registry of this.#registries.values()) {
      if (registry !== this.#chosen) await registry.close();
    }
  }

  async #findAny(signal: AbortSignal): Promise<OpenedRegistry | string> {
    const [v2, v3] = await Promise.all([this.#look('v2', signal), this.#look('v3', signal)]);
    const looks = { v2, v3 };
    if (v2.opened !== undefined && v3.opened !== undefined) {
      const both = [v2.opened.registry, v3.opened.registry];
      const [older, newer] = await Promise.all(both.map((registry) => countLeases(registry, signal)));
      looks.v2 = { ...v2, sight: older ?? v2.sight };
      looks.v3 = { ...v3, sight: newer ?? v3.sight };
    }
    this.#lonely = (v2.opened === undefined) === (v3.opened === undefined) ? 0 : this.#lonely + 1;
    const sights = { v2: looks.v2.sight, v3: looks.v3.sight };
    const choice = chooseApi(sights, this.#place, this.#lonely <= PATIENCE);
    const opened = choice.kind === 'use' ? looks[choice.api].opened : undefined;
    if (opened === undefined) return (await this.#withoutConfig(sights, choice.why, signal)) ?? choice.why;
    this.#components.logger.info(`using ${opened.registry.description}: ${choice.why}`);
    return opened;
  }

  async #findIn(api: EtcdApi, signal: AbortSignal): Promise<OpenedRegistry | string> {
    const { sight, opened } = await this.#look(api, signal);
    if (opened !== undefined) return opened;
    const elsewhere =
      sight.kind === 'absent' ? await this.#look(api === 'v2' ? 'v3' : 'v2', signal) : undefined;
    const why = explainWait(api, sight, elsewhere?.sight, this.#place);
    // Where the other API has it, or may have it, the operator may mean that one.
    if (elsewhere?.sight.kind === 'config' || elsewhere?.sight.kind === 'failed') return why;
    return (await this.#withoutConfig({ [api]: sight }, why, signal)) ?? why;
  }

  /**
   * With the config of an earlier run: the registry that has leases, of those that answered and have no config. The v3 store
   * where neither has any, unless the servers speak v2 alone.
   */
  async #withoutConfig(
    sights: Partial<Sights>,
    missing: string,
    signal: AbortSignal,
  ): Promise<OpenedRegistry | undefined> {
    const config = this.#lastConfig;
    const kinds = [sights.v3, sights.v2].map((sight) => sight?.kind);
    if (config === undefined || kinds.includes('failed')) return undefined;
    const answering = (['v3', 'v2'] as const).filter((api) => sights[api]?.kind === 'absent');
    const registries = await Promise.all(answering.map((api) => this.#registry(api)));
    const counts = await Promise.all(registries.map((registry) => countLeases(registry, signal)));
    const at = counts.findIndex((sight) => sight.kind === 'config' && (sight.leases ?? 0) > 0);
    const registry = registries[Math.max(at, 0)];
    if (registry === undefined) return undefined;
    this.#components.logger.warning(`${missing}; until then the last known config counts`);
    return { registry, config, missing };
  }

  async #look(api: EtcdApi, signal: AbortSignal): Promise<Look> {
    if (api === 'v3' && (await this.#isSurelyAbsentFromV3(signal))) return { sight: { kind: 'absent' } };
    const registry = await this.#registry(api);
    try {
      const config = await registry.readConfig(signal);
      if (config === undefined) return { sight: { kind: 'absent' } };
      return { sight: { kind: 'config' }, opened: { registry, config } };
    } catch (error) {
      signal.throwIfAborted();
      return { sight: sightOf(error) };
    }
  }

  /** Asked for as long as a no may spare us gRPC. */
  async #isSurelyAbsentFromV3(signal: AbortSignal): Promise<boolean> {
    if (this.#api === 'v3' || this.#registries.has('v3')) return false;
    const key = posix.join(this.#etcd.prefix, 'config');
    return isAbsentFromV3(this.#components, this.#etcd, key, signal);
  }

  async #registry(api: EtcdApi): Promise<Registry> {
    const registry = this.#registries.get(api) ?? (await this.#open(api));
    this.#registries.set(api, registry);
    return registry;
  }

  async #open(api: EtcdApi): Promise<Registry> {
    if (api === 'v2') return new EtcdV2Registry(this.#components, this.#etcd);
    // The messages of etcd v3 are many; a host that uses v2 alone does without them.
    const { EtcdV3Registry } = await import('#src/registry/etcd-v3.ts');
    return new EtcdV3Registry(this.#components, this.#etcd);
  }
}

async function countLeases(registry: Registry, signal: AbortSignal): Promise<Sight> {
  try {
    const { records } = await registry.list(signal);
    return { kind: 'config', leases: records.length };
  } catch (error) {
    signal.throwIfAborted();
    return sightOf(error);
  }
}

const sightOf = (error: unknown): Sight => ({
  kind: error instanceof RegistryError && error.reason === 'protocol' ? 'unsupported' : 'failed',
  error,
});
