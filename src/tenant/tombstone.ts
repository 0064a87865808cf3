/**
 * What stands in a tenant's place after `weft network rm`, for a week: hosts that come back meanwhile remove their network of
 * it. A tenant whose record is gone without a tombstone was lost with its store, and is written again by the hosts that
 * have a network of it.
 */
export const TOMBSTONE = '{"removed":true}';
export const TOMBSTONE_SECONDS = 7 * 24 * 3_600;

export const isTombstone = (text: string): boolean => text === TOMBSTONE;
