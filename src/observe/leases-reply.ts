import { containsAddress, formatPrefix, lastAddress, type Prefix } from '#src/lib/ip.ts';
import { mapFamilies, type PerFamily, valuesOf } from '#src/lib/per-family.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import type { LeaseEntry } from '#src/network/lease-table.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { numberOf, type Ranges, type SubnetRange, subnetCount } from '#src/network/subnet-range.ts';
import type { Leases, LeaseView, SubnetCounts } from '#src/observe/api.ts';
import { leaseFacts, secondsUntil } from '#src/observe/lease-facts.ts';

export interface LeaseSources {
  readonly ranges: Ranges;
  /** Our own record; `undefined` on a machine that is no node. */
  readonly own: RawLease | undefined;
  readonly entries: Iterable<LeaseEntry>;
  /** When leases end whose record does not say it, in milliseconds since the epoch, by name; what was not asked is absent. */
  readonly ends: ReadonlyMap<string, number>;
  /** Wall time, milliseconds since the epoch. */
  readonly now: number;
}

/** The leases of the whole network, and the fields beside them: these are known after the last lease. */
export class LeaseList {
  readonly #sources: LeaseSources;
  readonly #taken: PerFamily<TakenSubnets>;

  constructor(sources: LeaseSources) {
    this.#sources = sources;
    this.#taken = mapFamilies(
      sources.ranges,
      (range) => new TakenSubnets(range),
      (range) => new TakenSubnets(range),
    );
  }

  *leases(): Generator<LeaseView> {
    const { own, entries } = this.#sources;
    if (own !== undefined) yield this.#view(own, { own: true });
    for (const { raw, lease, reason } of entries)
      yield {
        ...this.#view(raw, { own: false, ...(lease !== undefined && { known: lease }) }),
        ...(reason !== undefined && { quarantined: reason }),
      };
  }

  rest(): Omit<Leases, 'leases'> {
    const [first, second] = valuesOf(this.#taken);
    if (first === undefined) throw new RangeError('the network has no subnets');
    return { ...first.counts, ...(second !== undefined && { ipv6: second.counts }) };
  }

  #view(
    raw: RawLease,
    { own, known }: { readonly own: boolean; readonly known?: Parameters<typeof leaseFacts>[1] },
  ): LeaseView {
    const subnets = known?.subnets ?? parseSubnetName(raw.name);
    this.#taken.v4?.add(subnets?.v4);
    this.#taken.v6?.add(subnets?.v6);
    const { ends, now } = this.#sources;
    const { kind } = raw.expiry;
    const end = raw.expiry.kind === 'expires' ? raw.expiry.at : ends.get(raw.name);
    return {
      ...leaseFacts(raw, known),
      own,
      expiry: kind === 'reservation' ? 'reservation' : 'expires',
      ...(kind !== 'reservation' && end !== undefined && { remainingSeconds: secondsUntil(end, now) }),
    };
  }
}

/**
 * Counts the subnets that can't be given out, because a lease has them or a part of them. A lease of another length may have
 * been taken under an earlier config.
 */
class TakenSubnets {
  readonly #range: SubnetRange;
  /** Of subnets that narrower leases are in: several may be in one. */
  readonly #partly = new Set<number>();
  #whole = 0;

  constructor(range: SubnetRange) {
    this.#range = range;
  }

  get counts(): SubnetCounts {
    const { network, subnetLength } = this.#range;
    const capacity = subnetCount(this.#range);
    const used = Math.min(this.#whole + this.#partly.size, capacity);
    return { network: formatPrefix(network), subnetLength, capacity, used };
  }

  add(subnet: Prefix | undefined): void {
    const { network, subnetLength } = this.#range;
    if (subnet === undefined || !containsAddress(network, subnet.address)) return;
    const [first, last] = [numberOf(this.#range, subnet.address), numberOf(this.#range, lastAddress(subnet))];
    const highest = subnetCount(this.#range) - 1;
    if (subnet.length > subnetLength) {
      if (first >= 0 && first <= highest) this.#partly.add(first);
      return;
    }
    this.#whole += Math.max(0, Math.min(last, highest) - Math.max(first, 0) + 1);
  }
}
