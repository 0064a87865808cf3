import type { DockerApi, DockerContainer, DockerEndpoint, DockerNetwork } from '#src/docker/docker-api.ts';
import { NETWORK_OPTION } from '#src/driver/address-requests.ts';
import type { BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import type { NetworkRequests } from '#src/driver/network-requests.ts';
import type { PresentTenants } from '#src/driver/present-tenants.ts';
import { messageOf } from '#src/lib/errors.ts';
import { parseIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';

export interface DockerComparisonComponents {
  readonly docker: DockerApi;
  readonly book: EndpointBook;
  readonly present: PresentTenants;
  readonly networks: NetworkRequests;
  readonly clock: Clock;
  readonly log: Logger;
}

/** An endpoint that Docker does not list may be one that it is making. */
const MAKING_MS = 60_000;
/** A network that Docker does not list may be one that it is making: it stores one after the driver's answer. */
const STORING_MS = 1_000;
export const DRIVER = 'weft';

/** Docker's networks and endpoints on this host, compared with the book. */
export class DockerComparison {
  readonly #components: DockerComparisonComponents;
  /** By endpoint: when it was first seen in the book, by the monotonic clock. The host's clock may jump. */
  readonly #knownSince = new Map<string, number>();

  constructor(components: DockerComparisonComponents) {
    this.#components = components;
    const now = components.clock.monotonic();
    for (const id of Object.keys(components.book.state.endpoints)) this.#knownSince.set(id, now);
  }

  /** Looks into the networks that containers are in. A host may have thousands of others. */
  async run(signal: AbortSignal): Promise<void> {
    const { docker, book, present } = this.#components;
    const networks = await docker.networks(DRIVER, signal);
    await this.#compareNetworks(networks, signal);
    const inUse = await docker.networksInUse(signal);
    const booked = new Set(Object.values(book.state.endpoints).map(({ networkId }) => networkId));
    const there = new Set<string>();
    const found: (readonly [DockerNetwork, DockerEndpoint])[] = [];
    for (const network of networks) {
      if (!inUse.has(network.id) && !booked.has(network.id)) continue;
      for (const endpoint of await docker.endpoints(network.id, signal)) {
        there.add(endpoint.endpoint);
        found.push([network, endpoint]);
      }
    }
    const met = await Promise.all(found.map(([network, endpoint]) => this.#meet(network, endpoint, signal)));
    await this.#removeEndpoints(there);
    if (!met.includes(false)) present.compared();
  }

  /** A container that runs: its endpoints are active, and have its names. */
  async learn(container: DockerContainer): Promise<void> {
    for (const { endpointId, aliases } of Object.values(container.networks)) {
      if (endpointId === '') continue;
      const names = [...new Set([container.name, ...aliases])];
      await this.#components.networks.activate(endpointId, container.id, names, container.sandbox);
    }
  }

  /** The book may have been lost, or a removal may have been missed while nobody listened. */
  async #compareNetworks(networks: readonly DockerNetwork[], signal: AbortSignal): Promise<void> {
    const { book, present } = this.#components;
    const missing = networks.flatMap(({ id, options }) => {
      const name = options[NETWORK_OPTION];
      const tenant = name === undefined ? undefined : present.tenant(name);
      return tenant === undefined || book.state.networks[id] !== undefined ? [] : [{ id, tenant }];
    });
    const gone = await this.#goneNetworks(networks, signal);
    if (missing.length + gone.length === 0) return;
    await book.change((state) => {
      const networks = { ...state.networks };
      const tenants = { ...state.tenants };
      for (const id of gone) {
        delete tenants[networks[id] ?? ''];
        delete networks[id];
      }
      for (const { id, tenant } of missing) {
        networks[id] = tenant.name;
        tenants[tenant.name] = formatTenant(tenant);
      }
      return { ...state, networks, tenants };
    });
  }

  async #goneNetworks(networks: readonly DockerNetwork[], signal: AbortSignal): Promise<string[]> {
    const { book, clock, docker } = this.#components;
    const unlisted = (ids: readonly string[], listed: readonly DockerNetwork[]): string[] => {
      const there = new Set(listed.map(({ id }) => id));
      return ids.filter((id) => !there.has(id));
    };
    const candidates = unlisted(Object.keys(book.state.networks), networks);
    if (candidates.length === 0) return [];
    await clock.sleep(STORING_MS, signal);
    return unlisted(candidates, await docker.networks(DRIVER, signal));
  }

  /** Endpoints that are in the book and not in Docker. */
  async #removeEndpoints(there: ReadonlySet<string>): Promise<void> {
    const { book, clock, networks, log } = this.#components;
    const { endpoints } = book.state;
    for (const id of this.#knownSince.keys()) if (endpoints[id] === undefined) this.#knownSince.delete(id);
    const now = clock.monotonic();
    for (const [endpointId, endpoint] of Object.entries(endpoints)) {
      const { networkId, tenant } = endpoint;
      const since = this.#knownSince.get(endpointId) ?? now;
      this.#knownSince.set(endpointId, since);
      if (there.has(endpointId) || now - since < MAKING_MS) continue;
      log.info(
        `Endpoint ${endpointId.slice(0, 12)} of network ${tenant} is gone from Docker: it is removed here`,
      );
      await networks.deleteEndpoint({ networkId, endpointId });
      await this.#release(endpoint);
    }
  }

  /** Docker does not give these back any more. */
  async #release({ tenant, addresses }: BookedEndpoint): Promise<void> {
    const { book, present } = this.#components;
    for (const text of addresses) {
      const isUsed = book.endpointAt(tenant, text) !== undefined;
      const ip = parseIp(text);
      if (ip !== undefined && !isUsed) await present.get(tenant)?.release(ip);
    }
  }

  /** False for an endpoint of which nothing is known, here and from Docker: it does not answer for a container that it is starting. */
  async #meet(
    network: DockerNetwork,
    { endpoint, ...of }: DockerEndpoint,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { book } = this.#components;
    // Docker has it, and no container is in it.
    if (!/^[0-9a-f]{64}$/.test(of.container)) return true;
    const booked = book.state.endpoints[endpoint];
    const isKnown = booked?.isActive && booked.container === of.container;
    if (isKnown && booked.device !== undefined) return true;
    const container = await this.#lookAt(of.container, signal);
    if (container === 'unanswered') return booked !== undefined;
    // It may have ended since the network was looked at.
    const isThere = Object.values(container?.networks ?? {}).some(
      ({ endpointId }) => endpointId === endpoint,
    );
    if (!container?.running || !isThere) return true;
    if (booked === undefined) await this.#adopt(network, { endpoint, ...of }, container.sandbox);
    await this.learn(container);
    return true;
  }

  async #lookAt(id: string, signal: AbortSignal): Promise<DockerContainer | undefined | 'unanswered'> {
    const { docker, log } = this.#components;
    try {
      return await docker.container(id, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.verbose(1, `could not look at container ${id.slice(0, 12)}: ${messageOf(error)}`);
      return 'unanswered';
    }
  }

  /**
   * An endpoint that the book has lost. Its port is found in the kernel; one that is not there is made with its other end in
   * the sandbox.
   */
  async #adopt(network: DockerNetwork, endpoint: DockerEndpoint, sandbox: string): Promise<void> {
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
      ...(sandbox !== '' && { sandbox }),
      isActive: true,
      container: endpoint.container,
      names: [endpoint.name],
      since: now,
    };
    const held = { since: now, isMoved: false, isReleasing: false };
    await Promise.all([
      book.changeEndpoint(endpoint.endpoint, () => adopted),
      ...addresses.map((text) => book.setAddress(tenant, text, held)),
    ]);
    await present.use(tenant).plug(endpoint.endpoint);
  }
}
