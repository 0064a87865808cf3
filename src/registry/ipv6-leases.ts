import { WeftError } from '#src/lib/errors.ts';
import { formatIp } from '#src/lib/ip.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import type { Ranges } from '#src/network/subnet-range.ts';
import type { LeaseRecord, Records } from '#src/registry/records.ts';
import type { Registry } from '#src/registry/registry.ts';

/**
 * The registry with the leases of a network of these families. One without IPv4 has them in a folder of its own: flannel
 * takes every key that begins with `<prefix>/subnets` for a lease of IPv4, and drops its routes at one that it can't read.
 */
export const leasesFor = (registry: Registry, { v4 }: Ranges): Registry =>
  v4 === undefined ? new Ipv6Registry(registry) : registry;

/** The same by the text of a config; one that can't be read has IPv4. */
export function leasesUnder(registry: Registry, config: string | undefined): Registry {
  try {
    return config === undefined ? registry : leasesFor(registry, parseNetworkConfig(config).ranges);
  } catch {
    return registry;
  }
}

/**
 * flannel can't run a network without IPv4 over etcd (contract §4.2). Where one holds a lease in the network, weft does not
 * make another network of it.
 *
 * @throws {WeftError} `lease` with the flannel's lease and address
 */
export async function refuseFlannels(registry: Registry, { v4 }: Ranges, signal: AbortSignal): Promise<void> {
  if (v4 !== undefined) return;
  const { records } = await registry.list(signal);
  const flannels = records.filter(isFlannels);
  const [first] = flannels;
  if (first === undefined) return;
  const more = flannels.length > 1 ? ` and ${flannels.length - 1} more` : '';
  throw new WeftError(
    'lease',
    `the network config has no IPv4 (EnableIPv4: false), and hosts with flannel are in the network, which can not follow: ${nameOf(first)}${more}`,
    {
      remedy:
        'set "EnableIPv4": true with a Network, or start weft in place of flannel on these hosts and release their leases with "weft release SUBNET"',
    },
  );
}

/** A lease that ends and names no node. An operator's reservation does not end. */
function isFlannels({ value, expiry }: LeaseRecord): boolean {
  if (expiry.kind === 'reservation') return false;
  const decoded = decodeAttributes(value);
  return decoded.ok && decoded.attributes.node === undefined;
}

function nameOf({ name, value }: LeaseRecord): string {
  const decoded = decodeAttributes(value);
  const ip = decoded.ok ? decoded.attributes.publicIp : undefined;
  return ip === undefined ? name : `${name} (${formatIp(ip)})`;
}

/** The config of a registry, and its leases of IPv6 alone. */
class Ipv6Registry implements Registry {
  readonly #registry: Registry;
  readonly #leases: Records;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#leases = registry.ipv6Leases;
  }

  get api(): Registry['api'] {
    return this.#registry.api;
  }

  get description(): string {
    return this.#registry.description;
  }

  get ipv6Leases(): Records {
    return this.#leases;
  }

  readConfig: Registry['readConfig'] = (signal) => this.#registry.readConfig(signal);
  watchConfig: Registry['watchConfig'] = (signal) => this.#registry.watchConfig(signal);
  replaceConfig: Registry['replaceConfig'] = (...args) => this.#registry.replaceConfig(...args);
  reconnect: Registry['reconnect'] = () => this.#registry.reconnect();
  close: Registry['close'] = () => this.#registry.close();

  list: Records['list'] = (signal) => this.#leases.list(signal);
  read: Records['read'] = (...args) => this.#leases.read(...args);
  create: Records['create'] = (...args) => this.#leases.create(...args);
  replace: Records['replace'] = (...args) => this.#leases.replace(...args);
  renew: Records['renew'] = (...args) => this.#leases.renew(...args);
  remove: Records['remove'] = (...args) => this.#leases.remove(...args);
  watch: Records['watch'] = (...args) => this.#leases.watch(...args);
  expiryOf: Records['expiryOf'] = (...args) => this.#leases.expiryOf(...args);
}
