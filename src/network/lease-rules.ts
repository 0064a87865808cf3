import {
  containsAddress,
  containsPrefix,
  formatIp,
  formatPrefix,
  type Ipv4,
  isGlobalUnicast,
  overlaps,
  type Prefix4,
} from '#src/lib/ip.ts';
import type { Expiry, Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { hiddenBy, isInRange, type OverlapRules } from '#src/network/overlap-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** A record as the registry holds it. */
export interface RawLease {
  readonly name: string;
  readonly value: string;
  readonly revision: bigint;
  /** The revision that created the key, if the registry reports it. */
  readonly created?: bigint;
  readonly expiry: Expiry;
  /** Where leases are signed: true for one that may be used, or why it may not; absent while nobody has looked. */
  readonly trust?: true | string;
}

/** Facts and functions by which records are judged. */
export interface LeaseRules {
  readonly network: Prefix4;
  /** SubnetLen. Other lengths are accepted, because the config may have changed since a lease was taken. */
  readonly subnetLength: number;
  /** Our own lease's key: not a peer, never judged. */
  readonly ownName: string;
  readonly ownSubnet: Prefix4;
  readonly ownPublicIp: Ipv4;
  readonly overlap: OverlapRules;
  /** Why the backend can't use what a peer published. */
  judge(attributes: LeaseAttributes): string | undefined;
  /** What no two peers may share beside their subnet: the VTEP MAC. */
  identityOf(attributes: LeaseAttributes): string | undefined;
}

/** The verdict on a record by itself, before it is compared with others. */
export type Judgement =
  | {
      readonly fit: true;
      readonly lease: Lease;
      /** What no other peer may have: see {@link LeaseRules.identityOf}. */
      readonly identity: string | undefined;
    }
  | { readonly fit: false; readonly reason: string };

/** A lease may be this many bits wider than SubnetLen: one lease must not take a large part of the network. */
const WIDEST_BITS = 8;
/** A reason may quote what somebody else wrote. */
const LONGEST_REASON = 200;
const NOBODY_LOOKED = 'its signature was not looked at yet';

/**
 * Looks at one record by itself: whether it can be read, and whether anything in it would harm this host or its network. With
 * `isGuarded` also whether it may be used: what nobody has looked at may not.
 */
export function judgeAlone(raw: RawLease, rules: LeaseRules, isGuarded = false): Judgement {
  const { name, value, revision, expiry, trust = NOBODY_LOOKED } = raw;
  const subnets = parseSubnetName(name);
  if (subnets === undefined) return { fit: false, reason: 'its key is not a subnet' };
  if (subnets.v4 === undefined) return { fit: false, reason: 'it has no IPv4 subnet' };
  const decoded = decodeAttributes(value);
  if (!decoded.ok) return { fit: false, reason: decoded.reason };
  const { attributes } = decoded;
  const reason =
    faultOfSubnet(subnets.v4, rules) ??
    faultOfAddress(attributes, subnets.v4, rules) ??
    rules.judge(attributes) ??
    (isGuarded && trust !== true ? trust : undefined);
  if (reason !== undefined) return { fit: false, reason: reason.slice(0, LONGEST_REASON) };
  return {
    fit: true,
    lease: { subnets, attributes, expiry, name, revision },
    identity: rules.identityOf(attributes),
  };
}

/** Why no host can hold a subnet of this size, `undefined` when one can. */
export function faultOfSize(
  { length }: Prefix4,
  { network, subnetLength }: Pick<LeaseRules, 'network' | 'subnetLength'>,
): string | undefined {
  if (length >= subnetLength) return undefined;
  if (length <= network.length) return 'is as wide as the network';
  return length < subnetLength - WIDEST_BITS ? `is far wider than SubnetLen ${subnetLength}` : undefined;
}

function faultOfSubnet(v4: Prefix4, rules: LeaseRules): string | undefined {
  const { network, ownSubnet, overlap } = rules;
  // Texts are made for faults only, which are rare.
  const fault = (text: string): string => `its subnet ${formatPrefix(v4)} ${text}`;
  if (!containsPrefix(network, v4)) return fault(`is not in the network ${formatPrefix(network)}`);
  const size = faultOfSize(v4, rules);
  if (size !== undefined) return fault(size);
  if (overlaps(v4, ownSubnet)) return fault(`overlaps ours, ${formatPrefix(ownSubnet)}`);
  const clash = hiddenBy(v4, overlap);
  return clash && fault(clash);
}

/** Why the address that a host publishes can't be used. */
export function faultOfAddress(
  { publicIp }: LeaseAttributes,
  subnet: Prefix4,
  {
    ownPublicIp,
    ownSubnet,
    overlap,
  }: Pick<LeaseRules, 'ownPublicIp' | 'overlap'> & {
    readonly ownSubnet?: Prefix4;
  },
): string | undefined {
  if (publicIp === undefined) return 'it has no PublicIP';
  const fault = (text: string): string => `its PublicIP ${formatIp(publicIp)} ${text}`;
  if (!isGlobalUnicast(publicIp)) return fault("is not a host's address");
  if (publicIp === ownPublicIp) return fault('is ours');
  // Packets to such an address would go into a tunnel or to a container.
  if (containsAddress(subnet, publicIp)) return fault('is inside its own subnet');
  if (ownSubnet !== undefined && containsAddress(ownSubnet, publicIp)) return fault('is inside our subnet');
  const isContainers = !overlap.allowed && isInRange(overlap.handedOut, publicIp);
  return isContainers ? fault('is inside the network itself') : undefined;
}
