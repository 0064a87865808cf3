import { formatPrefix } from '#src/lib/ip.ts';
import type { KnownKeys } from '#src/network/known-keys.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { Identity } from '#src/network/lease-rules.ts';
import type { SignatureRead } from '#src/network/signed-lease.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { TrustedKeys } from '#src/network/trusted-keys.ts';

/** Who may hold which subnet. */
export interface TrustPolicy {
  /** Leases without a signature, such as flannel's: whether they are taken where no key holds the subnet. */
  readonly unsigned: 'accept' | 'refuse';
  /** Keys that may hold leases; `undefined` where each subnet is its first key's. */
  readonly trusted: TrustedKeys | undefined;
}

/** A lease that could be used if nobody asked who wrote it. */
export interface Claimed {
  readonly name: string;
  readonly subnets: Subnets;
  readonly identity?: Identity;
}

/**
 * Why a lease is not used, as far as is known without a look at the mathematics of its signature; `undefined` when it is used
 * provided that the signature is valid, or when it needs none.
 */
export function faultOfClaim(
  { name, subnets, identity }: Claimed,
  signature: SignatureRead,
  known: KnownKeys,
  { unsigned, trusted }: TrustPolicy,
): string | undefined {
  if (signature.kind === 'unreadable') return signature.reason;
  if (signature.kind === 'unsigned') {
    const holder = known.holderBeside(undefined, subnets);
    if (holder !== undefined)
      return `its signature is missing, and ${shownSubnet(holder.name)} is held by the key ${shortKey(holder.key)}`;
    const double = known.identityBeside(undefined, identity);
    if (double !== undefined)
      return `its signature is missing, and ${double.what} is held by the key ${shortKey(double.holder.key)}`;
    if (trusted?.names(subnets))
      return 'its signature is missing, and the trust file names a key for its subnet';
    return unsigned === 'accept' ? undefined : 'its signature is missing';
  }
  const { key, count } = signature;
  if (trusted !== undefined && !trusted.allows(key, subnets))
    return `its signature is of the key ${shortKey(key)}, which the trust file does not name for its subnet`;
  const before = known.get(key);
  if (before !== undefined && before.name !== name && count <= before.count)
    return `its signature is old: since then its key ${shortKey(key)} has signed ${shownSubnet(before.name)}`;
  if (before !== undefined && count < before.count)
    return `its signature is old: its key ${shortKey(key)} has signed this subnet again since then`;
  for (const holder of known.holdersBeside(key, subnets)) {
    if (!mayHold(holder, trusted)) continue;
    return `its signature is of the key ${shortKey(key)}, and ${shownSubnet(holder.name)} is held by the key ${shortKey(holder.key)}`;
  }
  const double = known.identityBeside(key, identity);
  if (double !== undefined && mayHold(double.holder, trusted))
    return `its signature is of the key ${shortKey(key)}, and ${double.what} is held by the key ${shortKey(double.holder.key)}`;
  return known.hasRoom(key) ? undefined : 'its signature is of one key too many';
}

/** Whether a key that holds a subnet may still do so: the trust file may have given it to another. */
export function mayHold(
  { key, name }: { readonly key: string; readonly name: string },
  trusted: TrustedKeys | undefined,
): boolean {
  const subnets = parseSubnetName(name);
  return trusted === undefined || (subnets !== undefined && trusted.allows(key, subnets));
}

/** As much of a key as a reader compares. `weft trust` takes a key by its beginning. */
export const shortKey = (key: string): string => key.slice(0, SHORT);

const SHORT = 12;

export function shownSubnet(name: string): string {
  const { v4, v6 } = parseSubnetName(name) ?? {};
  return (
    [v4, v6].flatMap((subnet) => (subnet === undefined ? [] : formatPrefix(subnet))).join(' and ') || name
  );
}
