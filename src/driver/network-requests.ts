import { refuseUnknown } from '#src/driver/address-requests.ts';
import { askInTime } from '#src/driver/ask-in-time.ts';
import { without } from '#src/driver/book-state.ts';
import type { BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import type {
  EndpointAnswer,
  EndpointIds,
  EndpointRequest,
  JoinAnswer,
  JoinRequest,
  NetworkDriver,
  NetworkRequest,
} from '#src/driver/plugin.ts';
import type { PresentTenant } from '#src/driver/present-tenant.ts';
import { isFormer, type PresentTenants } from '#src/driver/present-tenants.ts';
import type { TenantDirectory, WantedTenant } from '#src/driver/tenant-directory.ts';
import { type RangeOf, wantedTenant } from '#src/driver/wanted-tenant.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, isIpv4, parseIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { isUnicastMac, type Mac } from '#src/lib/mac.ts';
import type { Clock } from '#src/sys/clock.ts';
import { macOf } from '#src/tenant/mac-of.ts';
import { containerEndName } from '#src/tenant/segment-objects.ts';
import type { AddressRecord } from '#src/tenant/tenant.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';

export interface NetworkRequestsComponents {
  readonly book: EndpointBook;
  readonly directory: TenantDirectory;
  readonly present: PresentTenants;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Docker's API answers: it will say when a container runs. */
  readonly hearsDocker: () => boolean;
  /** The tenant of one of Docker's networks that the book has lost, by what the registry has of this host. */
  readonly recall: (networkId: string) => Promise<string | undefined>;
  /** The networks of this host in Docker are others. */
  readonly onNetworks: () => void;
  readonly rangeOf: RangeOf;
}

const CREATE_MS = 5_000;
/** How long Join waits for the registry. After that the container starts, and other hosts hear of it later. */
const PUBLISH_MS = 2_000;

/** Docker's network driver: what a tenant, an endpoint and a container's place in it are, by this host's book. */
export class NetworkRequests implements NetworkDriver {
  readonly #components: NetworkRequestsComponents;
  /** By Docker's network: the tenant that it is being created for. */
  readonly #creating = new Map<string, string>();

  constructor(components: NetworkRequestsComponents) {
    this.#components = components;
  }

  /** Whether Docker's call for a network of the tenant is under way. */
  isCreating(tenant: string): boolean {
    return [...this.#creating.values()].includes(tenant);
  }

  async createNetwork(request: NetworkRequest): Promise<void> {
    const wanted = wantedTenant(request, this.#components.rangeOf);
    this.#refuseSecond(wanted.name, request.networkId);
    this.#creating.set(request.networkId, wanted.name);
    try {
      await this.#create(request.networkId, wanted);
    } finally {
      this.#creating.delete(request.networkId);
    }
  }

  async #create(networkId: string, wanted: WantedTenant): Promise<void> {
    const { book, directory, signal, onNetworks } = this.#components;
    const { name } = wanted;
    const what = `create network ${name}`;
    const tenant = await askInTime({ what, ms: CREATE_MS, signal }, (deadline) =>
      directory.ensure(wanted, deadline),
    );
    // Docker may have called for another one meanwhile.
    this.#refuseSecond(name, networkId);
    await book.change((state) => ({
      ...state,
      networks: { ...state.networks, [networkId]: name },
      tenants: { ...state.tenants, [name]: formatTenant(tenant) },
      removed: state.removed.filter((removed) => removed !== name),
    }));
    onNetworks();
  }

  async deleteNetwork(networkId: string): Promise<void> {
    const { book, directory, onNetworks } = this.#components;
    const name = book.state.networks[networkId];
    if (name === undefined) return;
    const isUsers = !directory.isRemoved(name) && !isFormer(book, directory, name);
    await book.record((state) => ({
      ...state,
      networks: without(state.networks, networkId),
      tenants: without(state.tenants, name),
      // A user's wish for this host: the network is not made here again by itself.
      removed: isUsers && !state.removed.includes(name) ? [...state.removed, name] : state.removed,
    }));
    onNetworks();
  }

  async createEndpoint(request: EndpointRequest): Promise<EndpointAnswer> {
    const { book, clock } = this.#components;
    const { networkId, endpointId, addresses } = request;
    refuseUnknown(request.options, '--driver-opt', []);
    const known = book.state.endpoints[endpointId];
    if (known !== undefined) {
      await this.#components.present.use(known.tenant).plug(endpointId);
      return request.mac === undefined ? { mac: known.mac as Mac } : {};
    }
    const present = this.#components.present.use(await this.#tenantOf(networkId));
    const ips = addresses.map(({ address }) => address);
    for (const ip of ips) await this.#hold(present, ip);
    const mac = this.#macFor(present, ips, request.mac);
    const endpoint: BookedEndpoint = {
      networkId,
      tenant: present.tenant.name,
      mac,
      addresses: ips.map(formatIp),
      isActive: false,
      names: [],
      since: clock.now(),
    };
    try {
      await book.changeEndpoint(endpointId, () => endpoint);
      await present.plug(endpointId);
    } catch (error) {
      await this.deleteEndpoint(request).catch(() => {});
      throw error;
    }
    return request.mac === undefined ? { mac } : {};
  }

  async deleteEndpoint({ endpointId }: EndpointIds): Promise<void> {
    const { book, present } = this.#components;
    const endpoint = book.state.endpoints[endpointId];
    if (endpoint === undefined) return;
    await book.changeEndpoint(endpointId, () => undefined).catch(() => {});
    await present.get(endpoint.tenant)?.unplug(endpointId);
  }

  async endpointInfo({ endpointId }: EndpointIds): Promise<Readonly<Record<string, string>>> {
    const { book, present } = this.#components;
    const endpoint = book.state.endpoints[endpointId];
    const tenant = endpoint && present.tenant(endpoint.tenant);
    if (endpoint === undefined || tenant === undefined) return {};
    return { MacAddress: endpoint.mac, 'weft.network': tenant.name, 'weft.vni': String(tenant.vni) };
  }

  async join({ endpointId, sandbox }: JoinRequest): Promise<JoinAnswer> {
    const { book, present, clock, hearsDocker, signal } = this.#components;
    const endpoint = book.state.endpoints[endpointId];
    if (endpoint === undefined) {
      throw new WeftError('endpoint', `there is no endpoint ${endpointId.slice(0, 12)} here to join`, {
        remedy: 'start the container again',
      });
    }
    // Segments for what an address had before would meet a container that is not restored yet, and be reset.
    const waits = hearsDocker() && this.#isMoved(endpoint);
    await this.#change(endpointId, { sandbox, device: undefined, ...(!waits && { isActive: true }) });
    const tenant = present.use(endpoint.tenant);
    await tenant.plug(endpointId);
    if (!waits) {
      const published = Promise.all(endpoint.addresses.map((text) => settled(tenant, text)));
      const late = new AbortController();
      const waited = clock.sleep(PUBLISH_MS, AbortSignal.any([signal, late.signal])).catch(() => {});
      await Promise.race([published, waited]);
      late.abort();
    }
    return { device: containerEndName(endpointId), prefix: 'eth' };
  }

  async leave({ endpointId }: EndpointIds): Promise<void> {
    if (this.#components.book.state.endpoints[endpointId] === undefined) return;
    await this.#change(endpointId, { sandbox: undefined, device: undefined }).catch(() => {});
  }

  /** The container of an endpoint runs: other hosts may send to it. `sandbox`: by Docker, where Join has been forgotten. */
  async activate(
    endpointId: string,
    container: string,
    names: readonly string[],
    sandbox = '',
  ): Promise<void> {
    const { book, present, log } = this.#components;
    const endpoint = book.state.endpoints[endpointId];
    if (endpoint === undefined) return;
    const isSame =
      endpoint.isActive && endpoint.container === container && endpoint.names.join() === names.join();
    if (isSame && endpoint.device !== undefined) return;
    const known = { isActive: true, container, names, sandbox: endpoint.sandbox ?? (sandbox || undefined) };
    await this.#change(endpointId, known);
    await present
      .use(endpoint.tenant)
      .plug(endpointId)
      .catch((error: unknown) => log.error(messageOf(error)));
  }

  async #change(
    id: string,
    fields: { readonly [K in keyof BookedEndpoint]?: BookedEndpoint[K] | undefined },
  ): Promise<void> {
    await this.#components.book.changeEndpoint(id, (endpoint) => {
      if (endpoint === undefined) return undefined;
      const all = Object.entries({ ...endpoint, ...fields }).filter(([, value]) => value !== undefined);
      return Object.fromEntries(all) as unknown as BookedEndpoint;
    });
  }

  /** The book may have lost an address since Docker asked for it. */
  async #hold(present: PresentTenant, ip: Ip): Promise<void> {
    const { signal } = this.#components;
    const what = `get address ${formatIp(ip)} of network ${present.tenant.name}`;
    await askInTime({ what, ms: CREATE_MS, signal }, (deadline) => present.hold(ip, deadline));
  }

  #refuseSecond(name: string, networkId: string): void {
    const { networks } = this.#components.book.state;
    const other = Object.entries(networks).find(([id, tenant]) => tenant === name && id !== networkId);
    if (other === undefined) return;
    throw new WeftError(
      'tenant-here',
      `network ${name} is on this host already, as Docker's ${other[0].slice(0, 12)}`,
      {
        remedy: `use that one: "docker network ls --filter driver=weft" lists it, and a compose file says "external: true"`,
      },
    );
  }

  #isMoved({ tenant, addresses }: BookedEndpoint): boolean {
    const booked = this.#components.book.state.addresses[tenant] ?? {};
    return addresses.some((address) => booked[address]?.isMoved);
  }

  async #tenantOf(networkId: string): Promise<string> {
    const { book, recall } = this.#components;
    const name = book.state.networks[networkId] ?? (await recall(networkId));
    if (name !== undefined) return name;
    throw new WeftError('network', `nothing is known here of Docker's network ${networkId.slice(0, 12)}`, {
      remedy: 'remove it from Docker ("docker network rm") and create it again',
    });
  }

  /** The user's, that of the address's last container, or the one that follows from the address. */
  #macFor(present: PresentTenant, ips: readonly Ip[], given: Mac | undefined): Mac {
    const { name } = present.tenant;
    const [first] = ips;
    if (first === undefined)
      throw new WeftError('endpoint', `Docker asks for an endpoint without an address in ${name}`);
    if (given === undefined) {
      const former = present.addresses.get(first)?.mac;
      // Meanwhile a user may have given it to another container.
      const isFree = former !== undefined && this.#holderOf(present, former, ips) === undefined;
      return isFree ? former : macOf(ips.find(isIpv4) ?? first);
    }
    if (!isUnicastMac(given)) {
      throw new WeftError('mac', `${given} is no MAC for a container: it is a group's`, {
        remedy: 'give one whose first octet is even, such as 02:42:…',
      });
    }
    const holder = this.#holderOf(present, given, ips);
    if (holder === undefined) return given;
    throw new WeftError('mac', `MAC ${given} is that of ${formatIp(holder.ip)} in network ${name}`, {
      remedy: 'give another one, or none',
    });
  }

  /** Who has a MAC, beside these addresses. */
  #holderOf(present: PresentTenant, mac: Mac, except: readonly Ip[]): AddressRecord | undefined {
    for (const record of present.addresses.all())
      if (record.mac === mac && !except.includes(record.ip) && record.state !== 'released') return record;
    return undefined;
  }
}

const settled = async (present: PresentTenant, text: string): Promise<void> => {
  const ip = parseIp(text);
  if (ip !== undefined) await present.settled(ip);
};
