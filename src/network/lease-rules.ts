import {
  containsAddress,
  containsPrefix,
  formatIp,
  formatPrefix,
  type Ip,
  type Ipv4,
  type Ipv6,
  isGlobalUnicast,
  isIpv4,
  overlaps,
  type Prefix,
} from '#src/lib/ip.ts';
import { type FamilyName, familyText, type PerFamily } from '#src/lib/per-family.ts';
import type { Expiry, Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { hiddenBy, isInRange, type OverlapRules } from '#src/network/overlap-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { Ranges, SubnetRange } from '#src/network/subnet-range.ts';

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

/** What no two peers may share beside their subnets: VTEP MACs, keys. One of them is a string, several are a list. */
export type Identity = string | readonly string[] | undefined;

/** Facts and functions by which records are judged. */
export interface LeaseRules {
  /** Lengths other than SubnetLen are accepted, because the config may have changed since a lease was taken. */
  readonly ranges: Ranges;
  /** Our own lease's key: not a peer, never judged. */
  readonly ownName: string;
  readonly ownSubnets: Subnets;
  readonly ownPublicIp: PerFamily<Ipv4, Ipv6>;
  readonly overlap: OverlapRules;
  /** Why the backend can't use what a peer published. */
  judge(attributes: LeaseAttributes): string | undefined;
  identityOf(attributes: LeaseAttributes): Identity;
}

/** The verdict on a record by itself, before it is compared with others. */
export type Judgement =
  | {
      readonly fit: true;
      readonly lease: Lease;
      /** What no other peer may have: see {@link LeaseRules.identityOf}. */
      readonly identity: Identity;
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
  const missing = missingFamily(subnets, rules.ranges);
  if (missing !== undefined) return { fit: false, reason: `it has no ${familyText(missing)} subnet` };
  const decoded = decodeAttributes(value);
  if (!decoded.ok) return { fit: false, reason: decoded.reason };
  const { attributes } = decoded;
  const reason =
    faultOfSubnet(subnets.v4, rules.ranges.v4, rules) ??
    faultOfSubnet(subnets.v6, rules.ranges.v6, rules) ??
    faultOfAddresses(attributes, subnets, rules) ??
    rules.judge(attributes) ??
    (isGuarded && trust !== true ? trust : undefined);
  if (reason !== undefined) return { fit: false, reason: reason.slice(0, LONGEST_REASON) };
  return {
    fit: true,
    lease: { subnets, attributes, expiry, name, revision },
    identity: rules.identityOf(attributes),
  };
}

/** A network with IPv4 has it on every host. A host of a network with both may have come before IPv6. */
function missingFamily(subnets: Subnets, ranges: Ranges): FamilyName | undefined {
  const needed = ranges.v4 === undefined ? 'v6' : 'v4';
  return subnets[needed] === undefined ? needed : undefined;
}

/** Why no host can hold a subnet of this size, `undefined` when one can. */
export function faultOfSize(
  { length }: Prefix,
  { network, subnetLength }: Pick<SubnetRange, 'network' | 'subnetLength'>,
): string | undefined {
  if (length >= subnetLength) return undefined;
  if (length <= network.length) return 'is as wide as the network';
  if (length >= subnetLength - WIDEST_BITS) return undefined;
  return `is far wider than ${network.family === 4 ? 'SubnetLen' : 'IPv6SubnetLen'} ${subnetLength}`;
}

function faultOfSubnet(
  subnet: Prefix | undefined,
  range: SubnetRange | undefined,
  { ownSubnets, overlap }: LeaseRules,
): string | undefined {
  // A subnet of a family that the network has not is used by nobody.
  if (subnet === undefined || range === undefined) return undefined;
  const { network } = range;
  const own = subnet.family === 4 ? ownSubnets.v4 : ownSubnets.v6;
  // Texts are made for faults only, which are rare.
  const fault = (text: string): string => `its subnet ${formatPrefix(subnet)} ${text}`;
  if (!containsPrefix(network, subnet)) return fault(`is not in the network ${formatPrefix(network)}`);
  const size = faultOfSize(subnet, range);
  if (size !== undefined) return fault(size);
  if (own !== undefined && overlaps(subnet, own)) return fault(`overlaps ours, ${formatPrefix(own)}`);
  const clash = hiddenBy(subnet, overlap);
  return clash && fault(clash);
}

type AddressRules = Pick<LeaseRules, 'ranges' | 'ownPublicIp' | 'overlap'> &
  Partial<Pick<LeaseRules, 'ownSubnets'>>;

/** Why the addresses that a host publishes can't be used. Only those that this host would send to are looked at. */
export function faultOfAddresses(
  { publicIp, publicIpv6 }: LeaseAttributes,
  subnets: Subnets,
  rules: AddressRules,
): string | undefined {
  const { ranges, ownPublicIp: own } = rules;
  const has4 = subnets.v4 !== undefined && ranges.v4 !== undefined;
  const has6 = subnets.v6 !== undefined && ranges.v6 !== undefined;
  // Packets of one family go through the other where this host has no address of their own: see outerFamily.
  if (own.v6 === undefined ? has4 || has6 : has4 && own.v4 !== undefined) {
    const fault =
      publicIp === undefined ? 'it has no PublicIP' : faultOf(publicIp, 'PublicIP', subnets, rules);
    if (fault !== undefined) return fault;
  }
  if (own.v6 !== undefined && (has6 || own.v4 === undefined)) {
    return publicIpv6 === undefined
      ? 'it has no PublicIPv6'
      : faultOf(publicIpv6, 'PublicIPv6', subnets, rules);
  }
  return undefined;
}

function faultOf(
  ip: Ip,
  field: string,
  subnets: Subnets,
  { ownPublicIp, ownSubnets, overlap }: AddressRules,
): string | undefined {
  const family = isIpv4(ip) ? 'v4' : 'v6';
  const [subnet, ownSubnet] = [subnets[family], ownSubnets?.[family]];
  const fault = (text: string): string => `its ${field} ${formatIp(ip)} ${text}`;
  if (!isGlobalUnicast(ip)) return fault("is not a host's address");
  if (ip === ownPublicIp[family]) return fault('is ours');
  // Packets to such an address would go into a tunnel or to a container.
  if (subnet !== undefined && containsAddress(subnet, ip)) return fault('is inside its own subnet');
  if (ownSubnet !== undefined && containsAddress(ownSubnet, ip)) return fault('is inside our subnet');
  const isContainers = !overlap.allowed && isInRange(overlap.handedOut, ip);
  return isContainers ? fault('is inside the network itself') : undefined;
}
