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
  /** IDs of its pools. */
  readonly pools: readonly string[];
  readonly endpoints: Map<string, DockerEndpoint>;
}

/** dockerd on a host whose driver is in memory: it calls the driver as dockerd does. */
export class MemoryDocker implements DockerApi {
  readonly #host: DriverHost;
  readonly #networks = new Map<string, Made>();
  readonly #containers = new Map<string, DockerContainer>();
  readonly #happened: DockerEvent[] = [];
  #onEvent: () => void = () => {};
  /** Containers by name that Docker is starting: it answers for one when that is done. */
  readonly starting = new Map<string, Promise<void>>();
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
    const { addresses } = this.#host;
    const pools = [];
    for (const { subnet, range, gateway, auxiliary = {} } of ipam.config) {
      const { poolId, pool } = await addresses.requestPool({
        family: prefixOf(subnet).family,
        options: ipam.options,
        pool: prefixOf(subnet),
        ...(range !== undefined && { range: prefixOf(range) }),
      });
      const wanted = gateway === undefined ? undefined : parseIp(gateway);
      const address = { isGateway: true, ...(wanted !== undefined && { address: wanted }) };
      pools.push({
        poolId,
        pool,
        addressSpace: 'weft',
        gateway: await addresses.requestAddress({ poolId, ...address }),
        auxiliary: Object.fromEntries(
          Object.entries(auxiliary).flatMap(([name, text]) => {
            const ip = parseIp(text);
            return ip === undefined ? [] : [[name, ip]];
          }),
        ),
      });
    }
    await this.#host.networks.createNetwork({ networkId, options, internal, pools });
    this.#networks.set(networkId, {
      id: networkId,
      name,
      options,
      labels,
      pools: pools.map(({ poolId }) => poolId),
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
    const found = this.#containers.get(containerId);
    if (found !== undefined) await this.starting.get(found.name);
    return found;
  }

  async *events(signal: AbortSignal): AsyncGenerator<DockerEvent> {
    const ended = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    for (;;) {
      const happened = new Promise<void>((resolve) => {
        this.#onEvent = resolve;
      });
      yield* this.#happened.splice(0);
      await Promise.race([happened, ended]);
      signal.throwIfAborted();
    }
  }

  /** Reports that a container runs. */
  started(name: string): void {
    for (const { id, name: its } of this.#containers.values())
      if (its === name) this.#happened.push({ type: 'start', container: id });
    this.#onEvent();
  }

  /** `docker run`, with `--ip`; the container's addresses. */
  async run(network: string, name: string, ip?: string): Promise<string[]> {
    const made = this.#networks.values().find((it) => it.name === network);
    if (made === undefined) throw new Error(`there is no network ${network}`);
    const given = ip === undefined ? undefined : parseIp(ip);
    const addresses: Prefix[] = [];
    for (const [n, poolId] of made.pools.entries()) {
      const wanted = n === 0 && given !== undefined && { address: given };
      addresses.push(await this.#host.addresses.requestAddress({ poolId, isGateway: false, ...wanted }));
    }
    const [container, endpoint] = [id(0x20_0000 + ++this.#made), id(0x30_0000 + this.#made)];
    const ids = { networkId: made.id, endpointId: endpoint };
    const { mac = '' } = await this.#host.networks.createEndpoint({
      ...ids,
      addresses,
      options: {},
    });
    const sandbox = `/run/netns/${name}`;
    await this.#host.networks.join({ ...ids, sandbox });
    const [ipv4 = '', ipv6 = ''] = addresses.map(formatPrefix);
    const place = { ipv4, ipv6, mac };
    made.endpoints.set(endpoint, { container, name, endpoint, ...place });
    const attachment = { networkId: made.id, endpointId: endpoint, aliases: [], ...place };
    const networks = { [network]: attachment };
    this.#containers.set(container, {
      id: container,
      name,
      running: true,
      pid: 1,
      sandbox,
      image: '',
      networks,
    });
    return addresses.map(({ address }) => formatIp(address));
  }
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new Error(`${text} is no prefix`);
  return prefix;
}
