import {
  ipv4,
  ipv6,
  lastAddress,
  overlaps,
  type Prefix,
  type Prefix4,
  type Prefix6,
  prefix4,
  prefix6,
} from '#src/lib/ip.ts';
import { sha256 } from '#src/lib/sha256.ts';

/** 10.128.0.0/9: private, and beyond what Docker, flannel's examples and most companies use. */
export const DEFAULT_RANGE = prefix4(ipv4(0x0a800000), 9);
const LENGTH = 24;

export interface SubnetWishes {
  /** Default 10.128.0.0/9. */
  readonly range?: Prefix4;
  /** Default 24. */
  readonly length?: number;
}

/**
 * The first subnet of the range that overlaps none of these; `undefined` when there is none. One pass over what is to be
 * avoided, and one over the subnets up to the result.
 */
export function chooseSubnet(
  avoid: readonly Prefix[],
  { range = DEFAULT_RANGE, length = LENGTH }: SubnetWishes = {},
): Prefix4 | undefined {
  const step = 2 ** (32 - length);
  const end = lastAddress(range);
  const busy = avoid
    .filter((prefix): prefix is Prefix4 => prefix.family === 4 && overlaps(prefix, range))
    .map((prefix) => [prefix.address, lastAddress(prefix)] as const)
    .sort(([a], [b]) => a - b);
  let first: number = range.address;
  for (const [from, to] of busy) {
    if (first + step - 1 < from) break;
    if (to >= first) first = Math.ceil((to + 1) / step) * step;
  }
  return first + step - 1 <= end ? prefix4(ipv4(first), length) : undefined;
}

/**
 * An IPv6 subnet for a tenant: a /64 with 56 bits that follow from its name (a unique local address, RFC 4193 §3), the same
 * on all hosts; the next one of the name's where that overlaps what is to be avoided.
 */
export function chooseSubnet6(tenant: string, avoid: readonly Prefix[]): Prefix6 {
  for (let attempt = 0; ; attempt++) {
    const digest = new DataView(sha256(`subnet ${attempt} ${tenant}`).buffer);
    const bits = (0xfdn << 56n) | (digest.getBigUint64(0) >> 8n);
    const prefix = prefix6(ipv6(bits << 64n), 64);
    // Of 2^56 the next one is free, unless all of fd00::/8 is to be avoided.
    if (attempt === MOST_ATTEMPTS || !avoid.some((other) => overlaps(other, prefix))) return prefix;
  }
}

const MOST_ATTEMPTS = 100;
