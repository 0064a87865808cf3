import { prepareBackend } from '#src/backend/catalogue.ts';
import { type Ipv4, type Ipv6, ipv4, ipv6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import { LeaseTable } from '#src/network/lease-table.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { handedOutBy } from '#src/network/overlap-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { Leases } from '#src/observe/api.ts';
import { LeaseList } from '#src/observe/leases-reply.ts';

export interface RegistryLeases {
  readonly config: NetworkConfig;
  readonly records: readonly RawLease[];
  /** Of this host, if it is a node; else empty. */
  readonly identity: string;
  /** When leases end whose record does not say it, in milliseconds since the epoch, by name. */
  readonly ends: ReadonlyMap<string, number>;
  /** Wall time, milliseconds since the epoch. */
  readonly now: number;
}

/**
 * The leases of a network as the registry alone shows them, for `weft leases` while no flanneld runs here. They are judged
 * as every host judges them; what only one host can know, such as a clash with its own underlay, is left out.
 */
export function leasesOfRegistry({ config, records, identity, ends, now }: RegistryLeases): Leases {
  const own = identity === '' ? undefined : records.find((record) => attributesOf(record)?.node === identity);
  const table = new LeaseTable(rulesOf(config, own, identity));
  for (const _ of table.replaceAll(records)) {
    // Slice after slice; there is no other work that waits.
  }
  const list = new LeaseList({ ranges: config.ranges, own, entries: table.entries(), ends, now });
  const leases = [...list.leases()];
  return { ...list.rest(), leases };
}

function attributesOf({ value }: RawLease) {
  const decoded = decodeAttributes(value);
  return decoded.ok ? decoded.attributes : undefined;
}

/** No host has these addresses. */
const NOBODY = { v4: ipv4(0), v6: ipv6(0n) };

function rulesOf(config: NetworkConfig, own: RawLease | undefined, identity: string): LeaseRules {
  const prepared = prepareBackend(config, { links: [], identity, instance: '' });
  const attributes = own && attributesOf(own);
  const publicIp = publicIpsOf(config, attributes);
  const place = { name: '', mtu: 0, address: publicIp, publicIp };
  const backend = prepared.make(place, attributes);
  return {
    ranges: config.ranges,
    ownName: own?.name ?? '',
    ownSubnets: (own && parseSubnetName(own.name)) ?? {},
    ownPublicIp: publicIp,
    overlap: { handedOut: handedOutBy(config.ranges), connected: [], needed: [], allowed: false },
    judge: (published) => backend.judge(published),
    identityOf: (published) => backend.identityOf?.(published),
  };
}

/** Our own, or those of a host that has an address in each family of the network. */
function publicIpsOf({ ranges }: NetworkConfig, own: LeaseAttributes | undefined): PerFamily<Ipv4, Ipv6> {
  if (own === undefined) {
    return {
      ...(ranges.v4 !== undefined && { v4: NOBODY.v4 }),
      ...(ranges.v6 !== undefined && { v6: NOBODY.v6 }),
    };
  }
  const { publicIp, publicIpv6 } = own;
  return {
    ...(publicIp !== undefined && { v4: publicIp }),
    ...(publicIpv6 !== undefined && { v6: publicIpv6 }),
  };
}
