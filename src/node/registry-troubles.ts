import type { RegistryStatus } from '#src/membership/membership.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';

/** The times that the flags give a lease, in milliseconds. */
export interface LeaseTimes {
  readonly ttlMs: number;
  /** Before its end, at which it is renewed. */
  readonly marginMs: number;
}

export interface RegistryFacts extends LeaseTimes {
  readonly state: RegistryStatus['state'];
  /** Why it is tried again. */
  readonly reason?: string | undefined;
  /** Since it last showed that nothing is missing here. */
  readonly silentMs: number;
  /** Absent after a start without the registry. */
  readonly lease: { readonly name: string; readonly remainingMs: number | undefined } | undefined;
}

/** Forwarding goes on without the registry. After this, peers that came and moved are missed for too long. */
const LONGEST_SILENCE_MS = 300_000;

export const leaseTimes = ({
  leaseTtl,
  subnetLeaseRenewMargin,
}: Pick<FlanneldOptions, 'leaseTtl' | 'subnetLeaseRenewMargin'>): LeaseTimes => ({
  ttlMs: leaseTtl,
  marginMs: subnetLeaseRenewMargin * 60_000,
});

/**
 * Why what this host knows of the registry is too old, one clause each. The bounds, which docs/reference/health.md has as well:
 * the registry may be silent for a third of a lease's life, and no longer than five minutes; a lease is renewed when half of its
 * life or the margin of the flag is left, whichever is less, and half of that is too late. Texts stay the same while the
 * trouble lasts.
 */
export function registryTroubles({
  state,
  reason,
  silentMs,
  lease,
  ttlMs,
  marginMs,
}: RegistryFacts): readonly string[] {
  const troubles: string[] = [];
  const patience = Math.min(ttlMs / 3, LONGEST_SILENCE_MS);
  if (state !== 'connected' && silentMs > patience) {
    const why = reason === undefined ? '' : ` (${reason})`;
    troubles.push(
      `the registry has been silent for more than ${inWords(patience)}${why}: packets go on to the peers known so far; see that etcd runs and can be reached`,
    );
  }
  const left = lease?.remainingMs;
  if (lease === undefined || left === undefined) return troubles;
  const tooLate = Math.min(marginMs, ttlMs / 2) / 2;
  if (left <= 0)
    troubles.push(`the own lease ${lease.name} has ended: peers may have removed their routes to this host`);
  else if (left < tooLate)
    troubles.push(
      `the own lease ${lease.name} ends in less than ${inWords(tooLate)} and has not been renewed`,
    );
  return troubles;
}

function inWords(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
