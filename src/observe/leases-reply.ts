import { containsAddress, formatPrefix, masked, prefix4 } from '#src/lib/ip.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import type { LeaseEntry } from '#src/network/lease-table.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { Leases, LeaseView } from '#src/observe/api.ts';
import { leaseFacts, secondsUntil } from '#src/observe/lease-facts.ts';

type Range = Pick<NetworkConfig, 'network' | 'subnetLength' | 'subnetMin' | 'subnetMax'>;

export interface LeaseSources {
  readonly config: Range;
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
  readonly #taken: TakenSubnets;

  constructor(sources: LeaseSources) {
    this.#sources = sources;
    this.#taken = new TakenSubnets(sources.config);
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
    const { network, subnetLength } = this.#sources.config;
    const { capacity, used } = this.#taken;
    return { network: formatPrefix(network), subnetLength, capacity, used };
  }

  #view(
    raw: RawLease,
    { own, known }: { readonly own: boolean; readonly known?: Parameters<typeof leaseFacts>[1] },
  ): LeaseView {
    this.#taken.add(known?.subnets ?? parseSubnetName(raw.name));
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
  readonly #config: Range;
  readonly #step: number;
  /** Of subnets that narrower leases are in: several may be in one. */
  readonly #partly = new Set<number>();
  #whole = 0;

  constructor(config: Range) {
    this.#config = config;
    this.#step = 2 ** (32 - config.subnetLength);
  }

  get capacity(): number {
    const { subnetMin, subnetMax } = this.#config;
    return (subnetMax - subnetMin) / this.#step + 1;
  }

  get used(): number {
    return Math.min(this.#whole + this.#partly.size, this.capacity);
  }

  add(subnets: Subnets | undefined): void {
    const subnet = subnets?.v4;
    const { network, subnetLength, subnetMin, subnetMax } = this.#config;
    if (subnet === undefined || !containsAddress(network, subnet.address)) return;
    const first = masked(prefix4(subnet.address, subnetLength)).address;
    if (subnet.length > subnetLength) {
      if (first >= subnetMin && first <= subnetMax) this.#partly.add(first);
      return;
    }
    const last = first + 2 ** (32 - subnet.length) - this.#step;
    const inRange = (Math.min(last, subnetMax) - Math.max(first, subnetMin)) / this.#step + 1;
    this.#whole += Math.max(0, inRange);
  }
}
