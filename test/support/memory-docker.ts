import type {
  DockerApi,
  DockerContainer,
  DockerEndpoint,
  DockerEvent,
  DockerNetwork,
  NewDockerNetwork,
} from '#src/docker/docker-api.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { type DriverHost, id } from './driver-host.ts';

interface Made extends DockerNetwork {
  readonly pool: string;
  readonly endpoints: Map<string, DockerEndpoint>;
}

/** dockerd on a host whose driver is in memory: it calls the driver as dockerd does. */
export class MemoryDocker implements DockerApi {
  readonly #host: DriverHost;
  readonly #networks = new Map<string, Made>();
  readonly #containers = new Map<string, DockerContainer>();
  #made = 0;
  /** The networks that were looked into. */
  readonly lookedInto = new Set<string>();
  /** Names of networks that Docker will not make. */
  readonly refuses = new Set<string>();
  /** Comes before a network is made. */
  beforeCreation: (name: string) => Promise<void> = async () => {};

  constructor(host: DriverHost) {
    this.#host = host;
  }

  get names(): string[] {
    return Array.from(this.#networks.values(), ({ name }) => name).sort();
  }

  async networks(): Promise<readonly DockerNetwork[]> {
    return [...this.#networks.values()];
  }

  async networksInUse(): Promise<ReadonlySet<string>> {
    return new Set([...this.#networks.values()].filter((it) => it.endpoints.size > 0).map((it) => it.id));
  }

  async endpoints(networkId: string): Promise<readonly DockerEndpoint[]> {
    const network = this.#networks.get(networkId);
    if (network !== undefined) this.lookedInto.add(network.name);
    return [...(network?.endpoints.values() ?? [])];
  }

  async createNetwork({ name, options, labels, internal, ipam }: NewDockerNetwork): Promise<string> {
    await this.beforeCreation(name);
    if (this.refuses.has(name)) throw new WeftError('docker-refused', `Docker says: not ${name}`);
    const networkId = id(0x10_0000 + ++this.#made);
    const pools = [];
    for (const { subnet, gateway } of ipam.config) {
      const pool = await this.#host.addresses.requestPool({
        family: prefixOf(subnet).family,
        options: ipam.options,
        pool: prefixOf(subnet),
      });
      const wanted = gateway === undefined ? undefined : parseIp(gateway);
      const address = { isGateway: true, ...(wanted !== undefined && { address: wanted }) };
      pools.push({
        poolId: pool.poolId,
        pool: pool.pool,
        addressSpace: 'weft',
        auxiliary: {},
        gateway: await this.#host.addresses.requestAddress({ poolId: pool.poolId, ...address }),
      });
    }
    await this.#host.networks.createNetwork({ networkId, options, internal, pools });
    const [{ poolId = '' } = {}] = pools;
    this.#networks.set(networkId, {
      id: networkId,
      name,
      options,
      labels,
      pool: poolId,
      endpoints: new Map(),
    });
    return networkId;
  }

  async removeNetwork(networkId: string): Promise<boolean> {
    const network = this.#networks.get(networkId);
    if (network === undefined) return true;
    if (network.endpoints.size > 0) return false;
    await this.#host.networks.deleteNetwork(networkId);
    return this.#networks.delete(networkId);
  }

  /** As after the loss of Docker's own state. */
  forget(name: string): void {
    for (const [networkId, network] of this.#networks)
      if (network.name === name) this.#networks.delete(networkId);
  }

  async container(containerId: string): Promise<DockerContainer | undefined> {
    return this.#containers.get(containerId);
  }

  async *events(signal: AbortSignal): AsyncGenerator<DockerEvent> {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    signal.throwIfAborted();
  }

  /** `docker run`; the container's address. */
  async run(network: string, name: string): Promise<string> {
    const made = this.#networks.values().find((it) => it.name === network);
    if (made === undefined) throw new Error(`there is no network ${network}`);
    const address = await this.#host.addresses.requestAddress({ poolId: made.pool, isGateway: false });
    const [container, endpoint] = [id(0x20_0000 + ++this.#made), id(0x30_0000 + this.#made)];
    const ids = { networkId: made.id, endpointId: endpoint };
    const { mac = '' } = await this.#host.networks.createEndpoint({
      ...ids,
      addresses: [address],
      options: {},
    });
    await this.#host.networks.join({ ...ids, sandbox: `/run/netns/${name}` });
    const place = { ipv4: formatPrefix(address), ipv6: '', mac };
    made.endpoints.set(endpoint, { container, name, endpoint, ...place });
    const attachment = { networkId: made.id, endpointId: endpoint, aliases: [], ...place };
    const networks = { [network]: attachment };
    this.#containers.set(container, { id: container, name, running: true, pid: 1, image: '', networks });
    return formatIp(address.address);
  }
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new Error(`${text} is no prefix`);
  return prefix;
}
