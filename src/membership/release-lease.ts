import { WeftError } from '#src/lib/errors.ts';
import { equalPrefix, parsePrefix } from '#src/lib/ip.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { formatSubnetName, parseSubnetName } from '#src/network/subnet-name.ts';
import type { LeaseRecord, Registry } from '#src/registry/registry.ts';

/** Whose lease to give back: that of this node, or the one of a subnet, as `10.0.65.0/24` or as the key's name. */
export type Whose = { readonly node: string } | { readonly subnet: string };

const ATTEMPTS = 5;

/**
 * Gives a lease back, so that its subnet may be handed out again: of a host that is decommissioned. Guarded by what was
 * read: a lease that changes meanwhile is looked at again. Returns the record that is gone.
 *
 * Throws WeftError `release` when there is no such lease.
 */
export async function releaseLease(
  registry: Registry,
  whose: Whose,
  signal: AbortSignal,
): Promise<LeaseRecord> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const record = await findLease(registry, whose, signal);
    if (record === undefined) {
      const what =
        'node' in whose ? `this node (${whose.node}) holds no lease` : `there is no lease ${whose.subnet}`;
      throw new WeftError('release', `nothing to release: ${what} in ${registry.description}`);
    }
    if (await registry.remove(record, signal)) return record;
  }
  throw new WeftError('release', 'could not release the lease: it keeps changing', {
    remedy: 'stop the flanneld that renews it first',
  });
}

async function findLease(
  registry: Registry,
  whose: Whose,
  signal: AbortSignal,
): Promise<LeaseRecord | undefined> {
  if ('subnet' in whose) {
    const prefix = parsePrefix(whose.subnet);
    if (prefix === undefined) return registry.read(whose.subnet, signal);
    const name = formatSubnetName(prefix.family === 4 ? { v4: prefix } : { v6: prefix });
    const record = await registry.read(name, signal);
    if (record !== undefined) return record;
    // A lease of both families has a longer name.
    const family = prefix.family === 4 ? 'v4' : 'v6';
    const { records } = await registry.list(signal);
    return records.find((candidate) => {
      const subnet = parseSubnetName(candidate.name)?.[family];
      return subnet !== undefined && equalPrefix(subnet, prefix);
    });
  }
  const { records } = await registry.list(signal);
  return records.find(({ value }) => {
    const decoded = decodeAttributes(value);
    return decoded.ok && decoded.attributes.node === whose.node;
  });
}
