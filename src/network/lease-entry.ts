import { ageOf } from '#src/network/by-age.ts';
import type { Lease } from '#src/network/lease.ts';
import { type Claim, compareAge } from '#src/network/lease-claims.ts';
import type { RawLease } from '#src/network/lease-rules.ts';

export type LeaseChange =
  | { readonly kind: 'accepted'; readonly name: string; readonly lease: Lease }
  | { readonly kind: 'removed'; readonly name: string }
  /** If it was accepted before, it no longer is. */
  | { readonly kind: 'quarantined'; readonly name: string; readonly reason: string };

/** A record as readers see it. Times are those of the table's clock. */
export interface LeaseEntry {
  readonly raw: RawLease;
  /** When it came, was written again or renewed. */
  readonly seen: number;
  /** Since when it is accepted, or quarantined. */
  readonly since: number;
  /** Absent for a lease that is quarantined. */
  readonly lease?: Lease;
  /** Why it is quarantined. */
  readonly reason?: string;
}

/** A record and its verdict. Parsed leases would dominate memory at 50,000 peers, so they are parsed on demand. */
export interface Entry extends Claim {
  /** As it was last renewed. */
  raw: RawLease;
  /** Why it can't be used even alone; `undefined` when it could. Only such an entry has a place in the claims. */
  readonly fault: string | undefined;
  /** By which rules it was judged. */
  readonly ruling: number;
  /** When it came, was written again or renewed, in whole seconds of the table's clock: V8 keeps a small integer in place. */
  seen: number;
  /** Since when the verdict is what it is, likewise. */
  since: number;
}

/** What the verdict on a record was, before this change. */
export interface Before {
  readonly entry: Entry;
  readonly verdict: 'accepted' | 'waits' | 'unfit';
}

export function verdictOn({ fault, queue }: Entry): Before['verdict'] {
  if (fault !== undefined) return 'unfit';
  return queue === undefined ? 'accepted' : 'waits';
}

export type Aged = Pick<Claim, 'age' | 'name'>;

/** What was accepted before comes first, then the older key. */
export function inOrder(
  raws: Iterable<RawLease>,
  before: ReadonlyMap<string, Before>,
): (Aged & { readonly raw: RawLease; readonly stood: boolean })[] {
  const aged = Array.from(raws, (raw) => {
    const known = before.get(raw.name);
    // A renewal has a new revision but does not make the record younger.
    const age = known?.entry.raw.value === raw.value ? known.entry.age : ageOf(raw);
    return { raw, name: raw.name, age, stood: known?.verdict === 'accepted' };
  });
  return aged.sort((a, b) => Number(b.stood) - Number(a.stood) || compareAge(a, b));
}

export function report(changes: LeaseChange[], change: LeaseChange | undefined): void {
  if (change !== undefined) changes.push(change);
}
