import {
  formatIp,
  formatPrefix,
  type Ipv4,
  ipv4,
  lastAddress,
  overlaps,
  type Prefix4,
  prefix4,
} from '#src/lib/ip.ts';
import type { Lease, Subnets } from '#src/network/lease.ts';
import { faultOfSize } from '#src/network/lease-rules.ts';
import { isUsable, type NetworkConfig } from '#src/network/network-config.ts';

/** Who asks for a subnet. */
export interface Claimant {
  /** The node's stable identity. */
  readonly node: string;
  readonly publicIp: Ipv4;
}

export interface AcquireFacts {
  readonly config: NetworkConfig;
  /** Those of keys that name a subnet, whatever is in them. */
  readonly leases: readonly Lease[];
  readonly claimant: Claimant;
  /** The subnet of the node's last run, from subnet.env. */
  readonly previous: Prefix4 | undefined;
  /** Subnets that were in use a short while ago: handed out only when nothing else is left. */
  readonly avoid: readonly Prefix4[];
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
 * Which subnet a node takes (flannel's order, v0.9.1 etcdv2/local_manager.go): a lease that is its own already, the
 * subnet of its last run if nobody has it, a random free one. A lease is its own by the node's identity first
 * and, as flannel does, by the public IP: a host that changed its address keeps its subnet, and a lease that a flannel
 * or an operator (a reservation) wrote for this address is taken. A lease that another node wrote for our address is
 * a host that was installed again, or a second host with the same address, which could not be reached: it is asked.
 */
export function planAcquire(facts: AcquireFacts): AcquirePlan {
  const { config, leases, claimant } = facts;
  const own =
    leases.find(({ attributes }) => attributes.node === claimant.node) ??
    leases.find(
      ({ attributes }) => attributes.publicIp === claimant.publicIp && attributes.node === undefined,
    );
  if (own !== undefined) {
    const usable =
      own.subnets.v4 !== undefined && own.subnets.v6 === undefined && isUsable(config, own.subnets.v4);
    return { kind: usable ? 'reuse' : 'discard', lease: own };
  }
  const rival = leases.find(({ attributes: { publicIp } }) => publicIp === claimant.publicIp);
  if (rival !== undefined) return { kind: 'challenge', lease: rival };
  const taken = takenSubnets(config, leases);
  const { previous } = facts;
  if (
    previous !== undefined &&
    isUsable(config, previous) &&
    !taken.some((subnet) => overlaps(subnet, previous))
  ) {
    return { kind: 'create', subnets: { v4: previous } };
  }
  const subnet = pickSubnet(config, taken, facts);
  if (subnet !== undefined) return { kind: 'create', subnets: { v4: subnet } };
  return {
    kind: 'refuse',
    reason: outOfSubnets(config, taken),
    remedy: 'release those of hosts that are gone with "weft release SUBNET", or use a larger Network',
  };
}

/**
 * The subnets that can't be handed out. A key of SubnetLen stands in the way of one with its name, whatever is in it. Of
 * the others only those count that hosts believe: a lease as wide as the network, or far wider than a subnet, is nobody's.
 */
const takenSubnets = (config: NetworkConfig, leases: readonly Lease[]): Prefix4[] =>
  leases.flatMap(({ subnets: { v4 } }) =>
    v4 === undefined || faultOfSize(v4, config) !== undefined ? [] : [v4],
  );

/** Names the leases that take more than one subnet: of those there should be none. */
function outOfSubnets(config: NetworkConfig, taken: readonly Prefix4[]): string {
  const count = subnetCount(config);
  const range = `between ${formatIp(config.subnetMin)} and ${formatIp(config.subnetMax)}`;
  const wide = taken.map((prefix) => ({ prefix, takes: numbersOf(config, [prefix]).size }));
  const widest = wide.filter(({ takes }) => takes > 1).sort((a, b) => b.takes - a.takes);
  if (widest.length === 0) return `out of subnets: all ${count} ${range} are leased`;
  const named = widest
    .slice(0, MOST_NAMED)
    .map(({ prefix, takes }) => `${formatPrefix(prefix)} takes ${takes}`)
    .join(', ');
  const others = widest.length - MOST_NAMED;
  const more =
    others > 0 ? `, and ${others} more ${others === 1 ? 'lease takes' : 'leases take'} several` : '';
  return `out of subnets: all ${count} ${range} are leased: of these ${named}${more}`;
}

const MOST_NAMED = 3;

/** How many subnets the config has to hand out. */
export const subnetCount = ({ subnetMin, subnetMax, subnetLength }: NetworkConfig): number =>
  Math.floor((subnetMax - subnetMin) / 2 ** (32 - subnetLength)) + 1;

/** flannel draws from the first 100 free subnets; the more there are to draw from, the fewer races are lost. */
const CANDIDATES = 100;

/**
 * A random one of the first free subnets, those that were in use lately last; `undefined` when none is free. One
 * pass over the leases and one over the subnets up to the last candidate.
 */
export function pickSubnet(
  config: NetworkConfig,
  taken: readonly Prefix4[],
  { avoid, random }: Pick<AcquireFacts, 'avoid' | 'random'>,
): Prefix4 | undefined {
  const busy = numbersOf(config, taken);
  const avoided = numbersOf(config, avoid);
  const fresh: number[] = [];
  const used: number[] = [];
  const count = subnetCount(config);
  for (let number = 0; number < count && fresh.length < CANDIDATES; number++) {
    if (busy.has(number)) continue;
    if (!avoided.has(number)) fresh.push(number);
    else if (used.length < CANDIDATES) used.push(number);
  }
  const candidates = fresh.length > 0 ? fresh : used;
  const number = candidates[Math.floor(random() * candidates.length)];
  if (number === undefined) return undefined;
  return prefix4(ipv4(config.subnetMin + number * 2 ** (32 - config.subnetLength)), config.subnetLength);
}

/** The numbers, counted from SubnetMin, of the subnets that the prefixes touch; a lease may be wider than a subnet. */
function numbersOf(config: NetworkConfig, prefixes: readonly Prefix4[]): Set<number> {
  const step = 2 ** (32 - config.subnetLength);
  const numbers = new Set<number>();
  const count = subnetCount(config);
  for (const prefix of prefixes) {
    const first = Math.max(0, Math.floor((prefix.address - config.subnetMin) / step));
    const last = Math.min(count - 1, Math.floor((lastAddress(prefix) - config.subnetMin) / step));
    for (let number = first; number <= last; number++) numbers.add(number);
  }
  return numbers;
}
