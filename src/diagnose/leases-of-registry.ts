import { prepareBackend } from '#src/backend/catalogue.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
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
  const list = new LeaseList({ config, own, entries: table.entries(), ends, now });
  const leases = [...list.leases()];
  return { ...list.rest(), leases };
}

function attributesOf({ value }: RawLease) {
  const decoded = decodeAttributes(value);
  return decoded.ok ? decoded.attributes : undefined;
}

/** No host has this address, and no subnet of a network. */
const NOBODY = ipv4(0);

function rulesOf(config: NetworkConfig, own: RawLease | undefined, identity: string): LeaseRules {
  const { network, subnetLength } = config;
  const prepared = prepareBackend(config, { links: [], identity, instance: '' });
  const attributes = own && attributesOf(own);
  const publicIp = attributes?.publicIp ?? NOBODY;
  const place = { name: '', mtu: 0, address: { v4: publicIp }, publicIp: { v4: publicIp } };
  const backend = prepared.make(place, attributes);
  return {
    network,
    subnetLength,
    ownName: own?.name ?? '',
    ownSubnet: (own && parseSubnetName(own.name))?.v4 ?? prefix4(NOBODY, 32),
    ownPublicIp: publicIp,
    overlap: { handedOut: handedOutBy(config), connected: [], needed: [], allowed: false },
    judge: (published) => backend.judge(published),
    identityOf: (published) => backend.identityOf(published),
  };
}
