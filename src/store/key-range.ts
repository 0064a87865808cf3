/** Keys from `from` up to but not including `to`; without `to`, all keys from `from` on. */
export interface KeyRange {
  readonly from: Buffer;
  readonly to: Buffer | undefined;
}

const ZERO = Buffer.of(0);

/** etcd's pair (key, range_end): no end is the one key, the end "\0" is no upper bound. */
export function keyRange(key: Buffer, rangeEnd: Buffer): KeyRange {
  if (rangeEnd.length === 0) return singleKey(key);
  return { from: key, to: isZero(rangeEnd) ? undefined : rangeEnd };
}

/** The range that holds exactly this key. */
export function singleKey(key: Buffer): { readonly from: Buffer; readonly to: Buffer } {
  return { from: key, to: Buffer.concat([key, ZERO]) };
}

export function inRange(range: KeyRange, key: Uint8Array): boolean {
  return (
    Buffer.compare(range.from, key) <= 0 && (range.to === undefined || Buffer.compare(key, range.to) < 0)
  );
}

export function isZero(bytes: Buffer): boolean {
  return bytes.length === 1 && bytes[0] === 0;
}
