import { prepareBackend } from '#src/backend/catalogue.ts';
import { formatIp, formatPrefix, ipv4, prefix4 } from '#src/lib/ip.ts';
import { subnetCount, usedSubnets } from '#src/network/acquire-plan.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import { LeaseTable } from '#src/network/lease-table.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { handedOutBy } from '#src/network/overlap-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { Leases, LeaseView } from '#src/observe/api.ts';

export interface RegistryLeases {
  readonly config: NetworkConfig;
  readonly records: readonly RawLease[];
  /** Of this host, if it is a node. */
  readonly identity: string;
  /** Seconds that a lease has left, by its name, as far as the registry was asked. */
  readonly remaining: ReadonlyMap<string, number>;
}

/**
 * The leases of a network as the registry alone shows them, for `weft leases` while no flanneld runs here. They are judged
 * as every host judges them; what only one host can know, such as a clash with its own underlay, is left out.
 */
export function leasesOfRegistry({ config, records, identity, remaining }: RegistryLeases): Leases {
  const read = records.map((record) => ({ record, ...partsOf(record) }));
  const own = identity === '' ? undefined : read.find(({ attributes }) => attributes?.node === identity);
  const table = new LeaseTable(rulesOf(config, own, identity));
  for (const _ of table.replaceAll(records)) {
    // Slice after slice; there is no other work that waits.
  }
  const { quarantined } = table;
  const leases = read.flatMap(({ record, subnets, attributes }): Lease[] => {
    const { name, revision, expiry } = record;
    const given = attributes ?? { backendType: '' };
    return subnets === undefined ? [] : [{ name, revision, expiry, subnets, attributes: given }];
  });
  return {
    network: formatPrefix(config.network),
    subnetLength: config.subnetLength,
    capacity: subnetCount(config),
    used: usedSubnets(config, leases),
    leases: read.map(({ record, subnets, attributes }): LeaseView => {
      const { name, expiry } = record;
      const { v4, v6 } = subnets ?? {};
      const prefixes = [v4, v6].flatMap((prefix) => (prefix === undefined ? [] : [formatPrefix(prefix)]));
      const [seconds, reason] = [remaining.get(name), quarantined.get(name)];
      return {
        lease: name,
        ...(prefixes.length > 0 && { subnet: prefixes.join(',') }),
        ...(attributes?.publicIp !== undefined && { publicIp: formatIp(attributes.publicIp) }),
        ...(attributes !== undefined && attributes.backendType !== '' && { backend: attributes.backendType }),
        ...(attributes?.node !== undefined && { node: attributes.node }),
        own: record === own?.record,
        expiry: expiry.kind === 'reservation' ? 'reservation' : 'expires',
        ...(seconds !== undefined && { remainingSeconds: seconds }),
        ...(reason !== undefined && { quarantined: reason }),
      };
    }),
  };
}

interface Parts {
  readonly subnets: ReturnType<typeof parseSubnetName>;
  readonly attributes: LeaseAttributes | undefined;
}

function partsOf({ name, value }: RawLease): Parts {
  const decoded = decodeAttributes(value);
  return { subnets: parseSubnetName(name), attributes: decoded.ok ? decoded.attributes : undefined };
}

/** No host has this address, and no subnet of a network. */
const NOBODY = ipv4(0);

function rulesOf(
  config: NetworkConfig,
  own: (Parts & { readonly record: RawLease }) | undefined,
  identity: string,
): LeaseRules {
  const { network, subnetLength } = config;
  const prepared = prepareBackend(config, { links: [], identity, instance: '' });
  const publicIp = own?.attributes?.publicIp ?? NOBODY;
  const place = { name: '', mtu: 0, address: { v4: publicIp }, publicIp: { v4: publicIp } };
  const backend = prepared.make(place, own?.attributes);
  return {
    network,
    subnetLength,
    ownName: own?.record.name ?? '',
    ownSubnet: own?.subnets?.v4 ?? prefix4(NOBODY, 32),
    ownPublicIp: publicIp,
    overlap: { handedOut: handedOutBy(config), connected: [], needed: [], allowed: false },
    judge: (attributes) => backend.judge(attributes),
    identityOf: (attributes) => backend.identityOf(attributes),
  };
}
