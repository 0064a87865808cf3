import { formatIp } from '#src/lib/ip.ts';
import type { AddressRecord } from '#src/tenant/tenant.ts';

/** A host has it, for a container or for one that comes. */
export const isHeld = ({ state }: Pick<AddressRecord, 'state'>): boolean =>
  state === 'reserved' || state === 'published';

/**
 * The record of an address that is given back. It stays the former host's, with MAC and names: that host may take it
 * again while nobody else has it. `now`: milliseconds since the epoch.
 */
export function freedAddress(record: AddressRecord, now: number): AddressRecord {
  const { ip, host, vtep, mac, names, keep } = record;
  const state = keep ? 'kept' : 'released';
  return { ip, state, host, vtep, ...(mac !== undefined && { mac }), names, keep, since: now };
}

/** Docker's own way to shorten an identifier. */
const SHORT_ID = 12;

/** The container's name, or the beginning of its identifier; `undefined` where neither is known. */
export function containerOf({ names, container }: Pick<AddressRecord, 'names' | 'container'>) {
  return names[0] ?? container?.slice(0, SHORT_ID);
}

/** `10.5.0.9 is held on host node-3 by container web`. `place`: the host, as `this host` or `host node-3`. */
export function heldText(record: AddressRecord, place: string): string {
  const container = containerOf(record);
  return `${formatIp(record.ip)} is held on ${place}${container === undefined ? '' : ` by container ${container}`}`;
}
