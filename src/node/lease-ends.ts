import type { RawLease } from '#src/network/lease-rules.ts';
import type { Registry } from '#src/registry/registry.ts';
import { deadlineIn } from '#src/sys/timer.ts';

/** So many leases are asked about: one answer must not be thousands of questions to the registry. */
const MOST = 256;
const AT_ONCE = 16;
/** A reader waits two seconds for the beginning of an answer. */
const WITHIN_MS = 1_000;

/**
 * When leases end whose records don't say it (etcd v3), in milliseconds since the epoch, by name. Those of the first 256
 * are asked for, and what the registry has not answered within a second is left out.
 */
export async function leaseEnds(
  registry: Pick<Registry, 'expiryOf'>,
  records: Iterable<RawLease>,
  withinMs = WITHIN_MS,
): Promise<ReadonlyMap<string, number>> {
  const asked: RawLease[] = [];
  for (const record of records) {
    if (record.expiry.kind !== 'leased') continue;
    asked.push(record);
    if (asked.length === MOST) break;
  }
  const ends = new Map<string, number>();
  const signal = deadlineIn(withinMs);
  const askNext = async (): Promise<void> => {
    for (let record = asked.pop(); record !== undefined && !signal.aborted; record = asked.pop()) {
      // A registry that does not answer, or refuses this, leaves the time unknown.
      const end = await registry.expiryOf(record, signal).catch(() => undefined);
      if (end !== undefined) ends.set(record.name, end);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, askNext));
  return ends;
}
