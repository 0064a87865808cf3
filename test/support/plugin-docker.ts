import { createHash } from 'node:crypto';
import { Container } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

const SOCKET = '/run/docker/plugins/weft.sock';
const CALL_MS = 20_000;

/** A container's place in a tenant, as a dockerd keeps it. */
export interface PluggedEndpoint {
  readonly host: Host;
  readonly networkId: string;
  readonly endpointId: string;
  readonly poolId: string;
  /** Without a length. */
  readonly address: string;
  readonly mac: string;
  /** The container's end, by its name in the host's network. */
  readonly device: string;
}

interface PoolAnswer {
  readonly PoolID: string;
  readonly Pool: string;
  readonly Data: Readonly<Record<string, string>>;
}

/** Calls a host's driver as a dockerd would, for containers that are network namespaces and nothing else. */
export class PluginDocker {
  readonly host: Host;
  readonly #networkId: string;
  #pool: PoolAnswer | undefined;
  #made = 0;

  constructor(host: Host, { network }: { readonly network: string }) {
    this.host = host;
    this.#networkId = digits(`${host.name} ${network}`);
  }

  /** `docker network create`. `range`: `--ip-range`. */
  async createNetwork(network: string, subnet: string, range = ''): Promise<void> {
    const options = { 'weft.network': network };
    const pool = await this.#call<PoolAnswer>('IpamDriver.RequestPool', {
      AddressSpace: 'weft',
      Pool: subnet,
      SubPool: range,
      Options: options,
      V6: false,
    });
    this.#pool = pool;
    const data = { AddressSpace: 'weft', Pool: pool.Pool, Gateway: pool.Data['com.docker.network.gateway'] };
    await this.#call('NetworkDriver.CreateNetwork', {
      NetworkID: this.#networkId,
      Options: { 'com.docker.network.generic': options },
      IPv4Data: [data],
      IPv6Data: [],
    });
  }

  /** The calls of `docker run` before Join: there is a device then, and nobody sends to it. '' for any address. */
  async createEndpoint(ip: string): Promise<PluggedEndpoint> {
    const poolId = this.#pool?.PoolID ?? '';
    const endpointId = digits(`${this.#networkId} ${++this.#made}`);
    const asked = { PoolID: poolId, Address: ip, Options: null };
    const { Address } = await this.#call<{ Address: string }>('IpamDriver.RequestAddress', asked);
    const { Interface } = await this.#call<{ Interface: { MacAddress: string } }>(
      'NetworkDriver.CreateEndpoint',
      {
        NetworkID: this.#networkId,
        EndpointID: endpointId,
        Interface: { Address, AddressIPv6: '', MacAddress: '' },
        Options: {},
      },
    );
    return {
      host: this.host,
      networkId: this.#networkId,
      endpointId,
      poolId,
      address: Address.replace(/\/.*/, ''),
      mac: Interface.MacAddress,
      device: `w${endpointId.slice(0, 13)}`,
    };
  }

  async join({ networkId, endpointId }: PluggedEndpoint): Promise<void> {
    const sandbox = `/var/run/docker/netns/${endpointId.slice(0, 12)}`;
    const ids = { NetworkID: networkId, EndpointID: endpointId };
    await this.#call('NetworkDriver.Join', { ...ids, SandboxKey: sandbox, Options: {} });
  }

  /** The calls of `docker stop`. */
  async remove({ networkId, endpointId, poolId, address }: PluggedEndpoint): Promise<void> {
    const ids = { NetworkID: networkId, EndpointID: endpointId };
    await this.#call('NetworkDriver.Leave', ids);
    await this.#call('NetworkDriver.DeleteEndpoint', ids);
    await this.#call('IpamDriver.ReleaseAddress', { PoolID: poolId, Address: address });
  }

  async #call<T = unknown>(method: string, fields: Readonly<Record<string, unknown>>): Promise<T> {
    const call = { method: 'POST', path: `/${method}`, body: JSON.stringify(fields) } as const;
    const signal = this.host.signal ?? new AbortController().signal;
    const options = { timeoutMs: CALL_MS, signal };
    const { status, body } = await systemUnixHttp.call(this.host.path(SOCKET), call, options);
    const answer = JSON.parse(body) as T & { Err?: string; Error?: string };
    const refusal = answer.Err ?? answer.Error ?? '';
    if (status === 200 && refusal === '') return answer;
    throw new Error(`${method} on ${this.host.name}: ${refusal || `status ${status}`}`);
  }
}

/** A network namespace that stands for a container's; its maker takes it away. */
export async function makeNamespace(host: Host, name: string, address: string): Promise<Container> {
  const namespace = `${host.namespace}-${name}`;
  await must(host, ['ip', 'netns', 'add', namespace]);
  const container = new Container(host, { name, address, namespacePath: `/run/netns/${namespace}` });
  await container.batch(['link set lo up']);
  await container.must(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0']);
  return container;
}

/** Moves an endpoint's device into a namespace, up and without an address. */
export async function moveIn(container: Container, endpoint: PluggedEndpoint, name: string): Promise<void> {
  const { device, host } = endpoint;
  const namespace = container.namespacePath.replace(/.*\//, '');
  await must(host, ['ip', '-n', host.namespace, 'link', 'set', device, 'netns', namespace, 'name', name]);
  await container.batch([`link set ${name} up`]);
}

/** On the machine, where all namespaces have names. */
async function must({ components }: Host, argv: [string, ...string[]]): Promise<void> {
  const { code, stderr } = await components.commands.run(argv);
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr.trim()}`);
}

/** 64 hex digits that look like Docker's. */
const digits = (text: string): string => createHash('sha256').update(text).digest('hex');
