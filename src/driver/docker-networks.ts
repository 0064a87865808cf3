import type { DockerApi, NewDockerNetwork } from '#src/docker/docker-api.ts';
import { NETWORK_OPTION } from '#src/driver/address-requests.ts';
import { DRIVER } from '#src/driver/docker-comparison.ts';
import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import type { NetworkRequests } from '#src/driver/network-requests.ts';
import { isFormer } from '#src/driver/present-tenants.ts';
import type { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Prefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Tenant, TenantSubnet } from '#src/tenant/tenant.ts';

export interface DockerNetworksComponents {
  readonly docker: DockerApi;
  readonly book: EndpointBook;
  readonly directory: TenantDirectory;
  readonly networks: NetworkRequests;
  readonly log: Logger;
}

/**
 * `all`: Docker has a network for each tenant, unless a user has removed it on this host. `created`: only for those that a
 * user has created on this host.
 */
export type WantedNetworks = 'all' | 'created';

export interface DockerNetworksOptions {
  readonly wanted: WantedNetworks;
}

/** Docker's networks on this host follow the tenants. What Docker has is read in the book, for there may be thousands. */
export class DockerNetworks {
  readonly #components: DockerNetworksComponents;
  readonly #options: DockerNetworksOptions;
  /** By tenant: why Docker's network of it can't be made or removed. */
  readonly #refused = new Map<string, string>();

  constructor(components: DockerNetworksComponents, options: DockerNetworksOptions) {
    this.#components = components;
    this.#options = options;
  }

  get trouble(): string | undefined {
    const [first] = this.#refused.values();
    const others = this.#refused.size - 1;
    return others > 0 ? `${first} (and ${others} more network${others > 1 ? 's' : ''})` : first;
  }

  /** Throws WeftError `docker-api` without an answer from Docker. */
  async follow(signal: AbortSignal): Promise<void> {
    await this.#forgetWishes();
    await this.#remove(signal);
    if (this.#options.wanted === 'all') await this.#make(signal);
  }

  /** A network that was removed here ends for all hosts with its tombstone: another of its name is a new one. */
  async #forgetWishes(): Promise<void> {
    const { book, directory } = this.#components;
    const ended = directory.takeEnded();
    const isOver = (name: string): boolean => ended.has(name) || directory.isRemoved(name);
    if (!book.state.removed.some(isOver)) return;
    await book.change((state) => ({ ...state, removed: state.removed.filter((name) => !isOver(name)) }));
  }

  async #make(signal: AbortSignal): Promise<void> {
    const { book, directory, docker, log } = this.#components;
    for (const tenant of [...directory.all()].filter((it) => this.#isMissing(it))) {
      const { name } = tenant;
      // Docker takes its time for each: users remove and create some meanwhile.
      if (!this.#isMissing(tenant)) continue;
      try {
        await docker.createNetwork(dockerNetwork(tenant), signal);
        log.info(`Made network ${name} in Docker`);
        this.#refused.delete(name);
      } catch (error) {
        signal.throwIfAborted();
        // A user has just made it.
        if (book.state.tenants[name] !== undefined) continue;
        this.#refuse(name, `could not make network ${name} in Docker: ${messageOf(error)}`, error);
      }
    }
  }

  /** A network that a user creates is in the registry before it is in the book; a second one would be in its way. */
  #isMissing(tenant: Tenant): boolean {
    const { book, directory, networks } = this.#components;
    const { name } = tenant;
    const { tenants, removed } = book.state;
    if (directory.get(name) !== tenant || tenants[name] !== undefined || networks.isCreating(name))
      return false;
    return !removed.includes(name);
  }

  async #remove(signal: AbortSignal): Promise<void> {
    const { book, directory, docker, log } = this.#components;
    for (const name of this.#refused.keys())
      if (directory.get(name) === undefined) this.#refused.delete(name);
    for (const [id, name] of Object.entries(book.state.networks)) {
      if (!directory.isRemoved(name) && !isFormer(book, directory, name)) continue;
      try {
        if (await docker.removeNetwork(id, signal))
          log.info(`Removed network ${name} from Docker: it was removed from the whole network`);
        else this.#refuse(name, `network ${name} was removed, and containers here are still on it`);
      } catch (error) {
        signal.throwIfAborted();
        this.#refuse(name, `could not remove network ${name} from Docker: ${messageOf(error)}`, error);
      }
    }
  }

  #refuse(name: string, text: string, error?: unknown): void {
    // Without an answer from Docker the next tenant would get none either.
    if (error !== undefined && !isDockersAnswer(error)) throw error;
    if (this.#refused.get(name) !== text) this.#components.log.warning(text);
    this.#refused.set(name, text);
  }
}

const isDockersAnswer = (error: unknown): boolean =>
  error instanceof WeftError && (error.code === 'docker-refused' || error.code === 'docker-exists');

function dockerNetwork({ name, subnets, internal }: Tenant): NewDockerNetwork {
  const options = { [NETWORK_OPTION]: name };
  const config = [subnets.v4, subnets.v6].flatMap((subnet) =>
    subnet === undefined ? [] : [ipamConfig(subnet)],
  );
  return {
    name,
    driver: DRIVER,
    options,
    labels: {},
    internal,
    enableIpv6: subnets.v6 !== undefined,
    ipam: { driver: DRIVER, options, config },
  };
}

function ipamConfig({ prefix, range, gateway, auxiliary }: TenantSubnet<Prefix>) {
  const names = Object.entries(auxiliary).map(([name, ip]) => [name, formatIp(ip)] as const);
  return {
    subnet: formatPrefix(prefix),
    ...(range && { range: formatPrefix(range) }),
    gateway: formatIp(gateway),
    ...(names.length > 0 && { auxiliary: Object.fromEntries(names) }),
  };
}
