import { askInTime } from '#src/driver/ask-in-time.ts';
import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import type { AddressDriver, AddressRequest, PoolAnswer, PoolRequest } from '#src/driver/plugin.ts';
import type { PresentTenants } from '#src/driver/present-tenants.ts';
import type { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { WeftError } from '#src/lib/errors.ts';
import {
  equalPrefix,
  formatIp,
  formatPrefix,
  type Ip,
  masked,
  type Prefix,
  parsePrefix4,
  parsePrefix6,
  prefixOf,
} from '#src/lib/ip.ts';
import { chooseFreeSubnet } from '#src/tenant/choose-free-subnet.ts';
import { defaultGateway, faultOfPlace, faultOfPrefix, faultOfRange } from '#src/tenant/subnet-rules.ts';
import type { TenantSubnet } from '#src/tenant/tenant.ts';
import { assertTenantName } from '#src/tenant/tenant-name.ts';

export interface AddressRequestsComponents {
  readonly book: EndpointBook;
  readonly directory: TenantDirectory;
  readonly present: PresentTenants;
  readonly signal: AbortSignal;
}

/** The option that ties Docker's pool to a tenant: `--ipam-opt weft.network=NAME`. */
export const NETWORK_OPTION = 'weft.network';

/** The registry has so long for a new address. */
const CLAIM_MS = 4_000;

/** What Docker stores for ever in place of a pool: `NAME/v4/10.5.0.0-24`, and `/10.5.0.128-25` where there is a range. */
interface Pool {
  readonly tenant: string;
  readonly family: 4 | 6;
  readonly prefix: Prefix;
  readonly range?: Prefix;
}

/**
 * Docker's address driver. Addresses of containers are claimed in the registry. Gateways and auxiliary addresses are a
 * tenant's own: every host asks for them, and none holds them.
 */
export class AddressRequests implements AddressDriver {
  readonly #components: AddressRequestsComponents;
  /** By tenant and family: the range of the last request for a pool. A CreateNetwork that comes next does not repeat it. */
  readonly #ranges = new Map<string, Prefix>();

  constructor(components: AddressRequestsComponents) {
    this.#components = components;
  }

  /** The `--ip-range` of the network that Docker is making. */
  rangeOf(tenant: string, family: 4 | 6): Prefix | undefined {
    return this.#ranges.get(`${tenant}/${family}`);
  }

  async requestPool({ family, pool, range: given, options }: PoolRequest): Promise<PoolAnswer> {
    const range = given && masked(given);
    const { [NETWORK_OPTION]: name, ...unknown } = options;
    if (name === undefined) throw withoutName();
    assertTenantName(name);
    refuseUnknown(unknown, '--ipam-opt', [NETWORK_OPTION]);
    const subnet = await this.#subnetOf(name, family);
    if (subnet !== undefined && pool !== undefined && !equalPrefix(subnet.prefix, pool)) {
      const difference = `subnet ${formatPrefix(pool)}, but network ${name} has ${formatPrefix(subnet.prefix)}`;
      throw differs(name, difference);
    }
    const prefix = subnet?.prefix ?? pool ?? chooseFreeSubnet(name, family, this.#components.directory.all());
    const fault = faultOfPrefix(prefix) ?? (range && faultOfRange(prefix, range));
    if (fault !== undefined) throw new WeftError('address-refused', fault);
    const gateway = prefixOf(subnet?.gateway ?? defaultGateway(prefix), prefix.length);
    const poolId = formatPool({ tenant: name, family, prefix, ...(range && { range }) });
    if (range === undefined) this.#ranges.delete(`${name}/${family}`);
    else this.#ranges.set(`${name}/${family}`, range);
    return { poolId, pool: prefix, gateway };
  }

  /** Nothing is held for a pool. */
  async releasePool(): Promise<void> {}

  async requestAddress({ poolId, address, isGateway, container }: AddressRequest): Promise<Prefix> {
    const pool = parsePool(poolId);
    const { tenant: name, family, prefix, range } = pool;
    const tenant = this.#components.present.tenant(name);
    const subnet = family === 4 ? tenant?.subnets.v4 : tenant?.subnets.v6;
    if (isGateway) return this.#gateway(pool, subnet, address);
    // Before its network is there, an address that Docker names is an auxiliary one, and not a container's.
    if (address !== undefined && !this.#isHere(name)) return this.#auxiliary(pool, address);
    const wish = {
      family,
      ...(address !== undefined && { ip: address }),
      ...(range !== undefined && { range }),
      ...(container !== undefined && { container }),
    };
    const { signal } = this.#components;
    const what = `get an address of network ${name}`;
    const ip = await askInTime({ what, ms: CLAIM_MS, signal }, (deadline) =>
      this.#components.present.use(name).claim(wish, deadline),
    );
    return prefixOf(ip, prefix.length);
  }

  async releaseAddress(poolId: string, address: Ip): Promise<void> {
    const { tenant } = parsePool(poolId);
    const { book, present } = this.#components;
    if (book.state.addresses[tenant]?.[formatIp(address)] === undefined) return;
    // A tenant that is known to nobody any more has no records either.
    if (present.tenant(tenant) === undefined) return this.#forget(tenant, formatIp(address));
    await present.use(tenant).release(address);
  }

  /** The subnet that the tenant has; `undefined` where there is no such tenant yet. */
  async #subnetOf(name: string, family: 4 | 6): Promise<TenantSubnet | undefined> {
    const { directory, signal } = this.#components;
    const what = `look up network ${name}`;
    const tenant = await askInTime({ what, ms: CLAIM_MS, signal }, (deadline) =>
      directory.read(name, deadline),
    );
    const subnet = family === 4 ? tenant?.subnets.v4 : tenant?.subnets.v6;
    if (tenant === undefined || subnet !== undefined) return subnet;
    throw new WeftError('tenant-differs', `network ${name} exists without an IPv${family} subnet`, {
      remedy:
        family === 6 ? 'create it without --ipv6, or under another name' : 'create it under another name',
    });
  }

  #gateway({ tenant, prefix }: Pool, subnet: TenantSubnet | undefined, address: Ip | undefined): Prefix {
    const there = subnet?.gateway;
    if (there !== undefined && address !== undefined && address !== there) {
      const [wanted, has] = [formatIp(address), formatIp(there)];
      throw differs(tenant, `gateway ${wanted}, but network ${tenant} has ${has}`);
    }
    const gateway = there ?? address ?? defaultGateway(prefix);
    const fault = faultOfPlace(prefix, gateway);
    if (fault !== undefined) throw new WeftError('address-refused', `the gateway can't be used: ${fault}`);
    return prefixOf(gateway, prefix.length);
  }

  /** Compared with the tenant's when the network is created. */
  #auxiliary({ prefix }: Pool, address: Ip): Prefix {
    const fault = faultOfPlace(prefix, address);
    if (fault !== undefined)
      throw new WeftError('address-refused', `the auxiliary address can't be used: ${fault}`);
    return prefixOf(address, prefix.length);
  }

  #isHere(tenant: string): boolean {
    return Object.values(this.#components.book.state.networks).includes(tenant);
  }

  async #forget(tenant: string, address: string): Promise<void> {
    await this.#components.book.setAddress(tenant, address, undefined).catch(() => {});
  }
}

const differs = (name: string, difference: string): WeftError =>
  new WeftError('tenant-differs', `network ${name} exists with other values: ${difference}`, {
    remedy: 'create it as it is, or under another name',
  });

const formatPool = ({ tenant, family, prefix, range }: Pool): string =>
  [tenant, `v${family}`, slashless(prefix), ...(range === undefined ? [] : [slashless(range)])].join('/');

const slashless = (prefix: Prefix): string => formatPrefix(prefix).replace('/', '-');

function parsePool(id: string): Pool {
  const [tenant = '', version = '', prefixText = '', rangeText] = id.split('/');
  const family = version === 'v6' ? 6 : 4;
  const parse = (text: string) => (family === 4 ? parsePrefix4(text, '-') : parsePrefix6(text, '-'));
  const prefix = parse(prefixText);
  const range = rangeText === undefined ? undefined : parse(rangeText);
  if (prefix !== undefined) return { tenant, family, prefix, ...(range !== undefined && { range }) };
  throw new WeftError('pool', `${JSON.stringify(id.slice(0, 100))} is not a pool of weft's`, {
    remedy: 'remove the network from Docker and create it again',
  });
}

/** A typing error that nobody notices is worse than a refusal. */
export function refuseUnknown(
  options: Readonly<Record<string, string>>,
  flag: string,
  known: readonly string[],
): void {
  const [unknown] = Object.keys(options);
  if (unknown === undefined) return;
  throw new WeftError('driver-option', `weft has no option ${flag} ${unknown}`, {
    remedy: known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`,
  });
}

const withoutName = (): WeftError =>
  new WeftError(
    'driver-option',
    `--ipam-opt ${NETWORK_OPTION}=NAME is missing: it ties the addresses to a network`,
    {
      remedy: `docker network create -d weft -o ${NETWORK_OPTION}=NAME --ipam-driver weft --ipam-opt ${NETWORK_OPTION}=NAME NAME`,
    },
  );
