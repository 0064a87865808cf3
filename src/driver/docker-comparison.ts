import type { DockerApi, DockerContainer, DockerEndpoint, DockerNetwork } from '#src/docker/docker-api.ts';
import { NETWORK_OPTION } from '#src/driver/address-requests.ts';
import { type BookedEndpoint, type EndpointBook, without } from '#src/driver/endpoint-book.ts';
import type { NetworkRequests } from '#src/driver/network-requests.ts';
import type { PresentTenants } from '#src/driver/present-tenants.ts';
import type { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Prefix, parseIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Tenant, TenantSubnet } from '#src/tenant/tenant.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';

export interface DockerComparisonComponents {
  readonly docker: DockerApi;
  readonly book: EndpointBook;
  readonly directory: TenantDirectory;
  readonly present: PresentTenants;
  readonly networks: NetworkRequests;
  readonly clock: Clock;
  readonly log: Logger;
}

/** An endpoint that Docker does not list may be one that it is making. */
const MAKING_MS = 60_000;
export const DRIVER = 'weft';

/** Docker's networks and endpoints on this host, compared with the tenants and the book. */
export class DockerComparison {
  readonly #components: DockerComparisonComponents;
  /** By tenant: why Docker's network of it can't be made or removed. */
  readonly #refused = new Map<string, string>();

  constructor(components: DockerComparisonComponents) {
    this.#components = components;
  }

  get trouble(): string | undefined {
    const [first] = this.#refused.values();
    return first;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { docker, present } = this.#components;
    const networks = await docker.networks(DRIVER, signal);
    await this.#compareNetworks(networks);
    await this.#compareEndpoints(networks, signal);
    present.compared();
    await this.#makeNetworks(networks, signal);
    await this.#removeNetworks(networks, signal);
  }

  /** A container that runs: its endpoints are active, and have its names. */
  async learn(container: DockerContainer): Promise<void> {
    for (const { endpointId, aliases } of Object.values(container.networks)) {
      if (endpointId === '') continue;
      const names = [...new Set([container.name, ...aliases])];
      await this.#components.networks.activate(endpointId, container.id, names);
    }
  }

  /** The book may have been lost, or a removal may have been missed while nobody listened. */
  async #compareNetworks(networks: readonly DockerNetwork[]): Promise<void> {
    const { book, present } = this.#components;
    const there = new Map(networks.map((network) => [network.id, network.options[NETWORK_OPTION]]));
    const missing = [...there].filter(
      ([id, tenant]) => tenant !== undefined && book.state.networks[id] === undefined,
    );
    const gone = Object.keys(book.state.networks).filter((id) => !there.has(id));
    if (missing.length + gone.length === 0) return;
    await book.change((state) => {
      let { networks, tenants } = state;
      for (const id of gone) networks = without(networks, id);
      for (const [id, name] of missing) {
        const tenant = name === undefined ? undefined : present.tenant(name);
        if (name === undefined || tenant === undefined) continue;
        networks = { ...networks, [id]: name };
        tenants = { ...tenants, [name]: formatTenant(tenant) };
      }
      return { ...state, networks, tenants };
    });
  }

  async #compareEndpoints(networks: readonly DockerNetwork[], signal: AbortSignal): Promise<void> {
    const { book, clock, networks: requests, log } = this.#components;
    const there = new Set<string>();
    for (const network of networks) {
      for (const endpoint of network.endpoints) {
        there.add(endpoint.endpoint);
        await this.#meet(network, endpoint, signal);
      }
    }
    for (const [endpointId, { networkId, since, tenant }] of Object.entries(book.state.endpoints)) {
      if (there.has(endpointId) || clock.now() - since < MAKING_MS) continue;
      log.info(
        `Endpoint ${endpointId.slice(0, 12)} of network ${tenant} is gone from Docker: it is removed here`,
      );
      await requests.deleteEndpoint({ networkId, endpointId });
    }
    await this.#releaseUnused();
  }

  async #meet(network: DockerNetwork, endpoint: DockerEndpoint, signal: AbortSignal): Promise<void> {
    const { book, docker } = this.#components;
    const booked = book.state.endpoints[endpoint.endpoint];
    // Docker has it, and no container is in it.
    if (!/^[0-9a-f]{64}$/.test(endpoint.container)) return;
    if (booked === undefined) await this.#adopt(network, endpoint);
    if (booked?.isActive && booked.container === endpoint.container) return;
    const container = await docker.container(endpoint.container, signal);
    if (container?.running) await this.learn(container);
  }

  /** An endpoint that the book has lost. Its port is found in the kernel. */
  async #adopt(network: DockerNetwork, endpoint: DockerEndpoint): Promise<void> {
    const { book, clock, present, log } = this.#components;
    const tenant = network.options[NETWORK_OPTION];
    const addresses = [endpoint.ipv4, endpoint.ipv6]
      .map((text) => text.replace(/\/.*/, ''))
      .filter((text) => parseIp(text) !== undefined);
    if (tenant === undefined || present.tenant(tenant) === undefined || addresses.length === 0) return;
    log.info(
      `Docker has container ${endpoint.name} in network ${tenant}, which was not in the book: it is taken over`,
    );
    const now = clock.now();
    const adopted: BookedEndpoint = {
      networkId: network.id,
      tenant,
      mac: endpoint.mac,
      addresses,
      isActive: true,
      container: endpoint.container,
      names: [endpoint.name],
      since: now,
    };
    const held = { since: now, isMoved: false, isReleasing: false };
    await book.change((state) => ({
      ...state,
      endpoints: { ...state.endpoints, [endpoint.endpoint]: adopted },
      addresses: {
        ...state.addresses,
        [tenant]: {
          ...state.addresses[tenant],
          ...Object.fromEntries(addresses.map((text) => [text, held])),
        },
      },
    }));
    await present.use(tenant).plug(endpoint.endpoint);
  }

  /** Docker gave up on an endpoint without giving back its address. */
  async #releaseUnused(): Promise<void> {
    const { book, clock, present } = this.#components;
    const used = new Set(
      Object.values(book.state.endpoints).flatMap(({ tenant, addresses }) =>
        addresses.map((ip) => `${tenant} ${ip}`),
      ),
    );
    for (const [tenant, addresses] of Object.entries(book.state.addresses)) {
      for (const [text, { since, isReleasing }] of Object.entries(addresses)) {
        const ip = parseIp(text);
        if (ip === undefined || isReleasing || used.has(`${tenant} ${text}`)) continue;
        if (clock.now() - since > MAKING_MS && present.tenant(tenant)) await present.use(tenant).release(ip);
      }
    }
  }

  /** One network in Docker for each tenant, unless a user has removed it here. */
  async #makeNetworks(networks: readonly DockerNetwork[], signal: AbortSignal): Promise<void> {
    const { book, directory, docker, log } = this.#components;
    const there = new Set(networks.map(({ options }) => options[NETWORK_OPTION]));
    for (const tenant of [...directory.all()]) {
      const { name } = tenant;
      const { networks, removed } = book.state;
      if (there.has(name) || removed.includes(name) || Object.values(networks).includes(name)) continue;
      try {
        await docker.createNetwork(dockerNetwork(tenant), signal);
        log.info(`Made network ${name} in Docker`);
        this.#refused.delete(name);
      } catch (error) {
        signal.throwIfAborted();
        // A user has just made it.
        if (Object.values(book.state.networks).includes(name)) continue;
        this.#refuse(name, `could not make network ${name} in Docker: ${messageOf(error)}`, error);
      }
    }
  }

  async #removeNetworks(networks: readonly DockerNetwork[], signal: AbortSignal): Promise<void> {
    const { directory, docker, log } = this.#components;
    for (const { id, options } of networks) {
      const name = options[NETWORK_OPTION];
      if (name === undefined || !directory.isRemoved(name)) continue;
      try {
        if (await docker.removeNetwork(id, signal)) {
          log.info(`Removed network ${name} from Docker: it was removed from the whole network`);
          this.#refused.delete(name);
        } else this.#refuse(name, `network ${name} was removed, and containers here are still on it`);
      } catch (error) {
        signal.throwIfAborted();
        this.#refuse(name, `could not remove network ${name} from Docker: ${messageOf(error)}`, error);
      }
    }
  }

  #refuse(name: string, text: string, error?: unknown): void {
    if (this.#refused.get(name) !== text) this.#components.log.warning(text);
    this.#refused.set(name, text);
    // Without an answer from Docker the next tenant would get none either.
    if (error !== undefined && !(error instanceof WeftError)) throw error;
  }
}

function dockerNetwork({ name, subnets, internal }: Tenant) {
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

function ipamConfig({ prefix, gateway, auxiliary }: TenantSubnet<Prefix>) {
  const names = Object.entries(auxiliary).map(([name, ip]) => [name, formatIp(ip)] as const);
  return {
    subnet: formatPrefix(prefix),
    gateway: formatIp(gateway),
    ...(names.length > 0 && { auxiliary: Object.fromEntries(names) }),
  };
}
