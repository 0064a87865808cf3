import {
  formatIp,
  formatPrefix,
  type Ip,
  type Ipv4,
  type Ipv6,
  lastAddress,
  overlaps,
  type Prefix,
} from '#src/lib/ip.ts';
import { NumberSet } from '#src/lib/number-set.ts';
import { type FamilyName, familiesOf, type PerFamily } from '#src/lib/per-family.ts';
import type { Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { faultOfSize } from '#src/network/lease-rules.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import {
  areUsable,
  isUsable,
  numberOf,
  type SubnetRange,
  subnetAt,
  subnetCount,
} from '#src/network/subnet-range.ts';

/** Who asks for a subnet. */
export interface Claimant {
  /** The node's stable identity. */
  readonly node: string;
  readonly publicIp: PerFamily<Ipv4, Ipv6>;
}

export interface AcquireFacts {
  readonly config: NetworkConfig;
  /** Those of keys that name a subnet, whatever is in them. */
  readonly leases: readonly Lease[];
  readonly claimant: Claimant;
  /** The subnets of the node's last run, from subnet.env, or of a lease that was discarded. */
  readonly previous: Subnets;
  /** Subnets that were in use a short while ago: handed out only when nothing else is left. */
  readonly avoid: readonly Prefix[];
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export type AcquirePlan =
  /** Take over a lease that is ours already: rewrite its record. */
  | { readonly kind: 'reuse'; readonly lease: Lease }
  /** Ours, but of no use under the present config: remove it and plan again. */
  | { readonly kind: 'discard'; readonly lease: Lease }
  | { readonly kind: 'create'; readonly subnets: Subnets }
  /** Another node's lease names our public IP: take it over if that node is gone, refuse to start if it lives. */
  | { readonly kind: 'challenge'; readonly lease: Lease }
  | { readonly kind: 'refuse'; readonly reason: string; readonly remedy: string };

/**
 * Which subnets a node takes (flannel's order, v0.9.1 etcdv2/local_manager.go): a lease that is its own already, in each
 * family the subnet of its last run if nobody has it, a random free one. A lease is its own by the node's identity first
 * and, as flannel does, by the public IP: a host that changed its address keeps its subnet, and a lease that a flannel
 * or an operator (a reservation) wrote for this address is taken. A lease that another node wrote for our address is
 * a host that was installed again, or a second host with the same address, which could not be reached: it is asked.
 */
export function planAcquire(facts: AcquireFacts): AcquirePlan {
  const { config, leases, claimant } = facts;
  const isHere = ({ attributes }: Lease): boolean => isAtAddressOf(attributes, claimant);
  const own =
    leases.find(({ attributes }) => attributes.node === claimant.node) ??
    leases.find((lease) => lease.attributes.node === undefined && isHere(lease));
  if (own !== undefined)
    return { kind: areUsable(config.ranges, own.subnets) ? 'reuse' : 'discard', lease: own };
  const rival = leases.find(isHere);
  if (rival !== undefined) return { kind: 'challenge', lease: rival };
  const subnets: { v4?: Prefix; v6?: Prefix } = {};
  for (const family of familiesOf(config.ranges)) {
    const picked = planFamily(family, facts);
    if ('reason' in picked) return { kind: 'refuse', ...picked };
    subnets[family] = picked;
  }
  return { kind: 'create', subnets: subnets as Subnets };
}

/** Whether a host published the claimant's address. As in flannel the IPv4 address counts where there is one. */
export const isAtAddressOf = (
  { publicIp, publicIpv6 }: LeaseAttributes,
  { publicIp: { v4, v6 } }: Pick<Claimant, 'publicIp'>,
): boolean => (v4 === undefined ? v6 !== undefined && publicIpv6 === v6 : publicIp === v4);

function planFamily(
  family: FamilyName,
  facts: AcquireFacts,
): Prefix | { readonly reason: string; readonly remedy: string } {
  const range: SubnetRange | undefined = facts.config.ranges[family];
  if (range === undefined) throw new RangeError(`the network has no ${family}`);
  const taken = takenSubnets(family, range, facts.leases);
  const previous = facts.previous[family];
  if (
    previous !== undefined &&
    isUsable(range, previous) &&
    !taken.some((subnet) => overlaps(subnet, previous))
  )
    return previous;
  const larger = family === 'v4' ? 'Network' : 'IPv6Network';
  return (
    pickSubnet(range, taken, facts) ?? {
      reason: outOfSubnets(range, taken),
      remedy: `release those of hosts that are gone with "weft release SUBNET", or use a larger ${larger}`,
    }
  );
}

/**
 * The subnets that can't be handed out. A key of SubnetLen stands in the way of one with its name, whatever is in it. Of
 * the others only those count that hosts believe: a lease as wide as the network, or far wider than a subnet, is nobody's.
 */
function takenSubnets(family: FamilyName, range: SubnetRange, leases: readonly Lease[]): Prefix[] {
  const taken: Prefix[] = [];
  for (const { subnets } of leases) {
    const subnet = subnets[family];
    if (subnet !== undefined && faultOfSize(subnet, range) === undefined) taken.push(subnet);
  }
  return taken;
}

/** A lease that takes a part of these subnets, by the rules by which {@link planAcquire} hands out others. */
export function leaseInTheWay(
  subnets: Subnets,
  { config, leases }: Pick<AcquireFacts, 'config' | 'leases'>,
): Lease | undefined {
  const isHit = (family: FamilyName, lease: Lease): boolean => {
    const [wanted, range] = [subnets[family], config.ranges[family]];
    if (wanted === undefined || range === undefined) return false;
    return takenSubnets(family, range, [lease]).some((taken) => overlaps(taken, wanted));
  };
  return leases.find((lease) => familiesOf(config.ranges).some((family) => isHit(family, lease)));
}

/** Names the leases that take more than one subnet: of those there should be none. */
function outOfSubnets(range: SubnetRange, taken: readonly Prefix[]): string {
  const count = subnetCount(range);
  const between = `between ${formatIp(range.subnetMin)} and ${formatIp(range.subnetMax)}`;
  const wide = taken.map((prefix) => ({ prefix, takes: numbersOf(range, [prefix]).count }));
  const widest = wide.filter(({ takes }) => takes > 1).sort((a, b) => b.takes - a.takes);
  if (widest.length === 0) return `out of subnets: all ${count} ${between} are leased`;
  const named = widest
    .slice(0, MOST_NAMED)
    .map(({ prefix, takes }) => `${formatPrefix(prefix)} takes ${takes}`)
    .join(', ');
  const others = widest.length - MOST_NAMED;
  const more =
    others > 0 ? `, and ${others} more ${others === 1 ? 'lease takes' : 'leases take'} several` : '';
  return `out of subnets: all ${count} ${between} are leased: of these ${named}${more}`;
}

const MOST_NAMED = 3;

/** flannel draws from the first 100 free subnets; the more there are to draw from, the fewer races are lost. */
const CANDIDATES = 100;

/**
 * A random one of the first free subnets, those that were in use lately last; `undefined` when none is free. One
 * pass over the leases and one over the subnets up to the last candidate.
 */
export function pickSubnet<P extends Prefix, A extends Ip>(
  range: SubnetRange<P, A>,
  taken: readonly Prefix[],
  { avoid, random }: Pick<AcquireFacts, 'avoid' | 'random'>,
): P | undefined {
  const busy = numbersOf(range, taken);
  const avoided = numbersOf(range, avoid);
  const fresh: number[] = [];
  const used: number[] = [];
  const count = subnetCount(range);
  for (let number = 0; number < count && fresh.length < CANDIDATES; number++) {
    if (busy.has(number)) continue;
    if (!avoided.has(number)) fresh.push(number);
    else if (used.length < CANDIDATES) used.push(number);
  }
  const candidates = fresh.length > 0 ? fresh : used;
  const number = candidates[Math.floor(random() * candidates.length)];
  return number === undefined ? undefined : subnetAt(range, number);
}

/**
 * The numbers, counted from SubnetMin, of the subnets that the prefixes touch; a lease may be wider than a subnet. In IPv6
 * one that is wider than any host can hold is left out: such a network has more subnets than can be counted one by one.
 */
function numbersOf(range: SubnetRange, prefixes: readonly Prefix[]): NumberSet {
  const count = Math.min(subnetCount(range), Number.MAX_SAFE_INTEGER);
  const numbers = new NumberSet(count);
  // A network has 50,000 leases, nearly all of one subnet each.
  const [start, size] = [Number(range.subnetMin), 2 ** (32 - range.subnetLength)];
  for (const prefix of prefixes) {
    if (prefix.family !== range.network.family) continue;
    if (prefix.family === 4 && prefix.length === range.subnetLength) {
      const number = (prefix.address - start) / size;
      if (Number.isInteger(number)) {
        if (number >= 0 && number < count) numbers.add(number);
        continue;
      }
    }
    if (prefix.family === 6 && faultOfSize(prefix, range) !== undefined) continue;
    const first = Math.max(0, numberOf(range, prefix.address));
    const last = Math.min(count - 1, numberOf(range, lastAddress(prefix)));
    for (let number = first; number <= last; number++) numbers.add(number);
  }
  return numbers;
}
