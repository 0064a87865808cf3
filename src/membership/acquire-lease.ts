import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, formatIpv4, formatIpv6, type Prefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { familiesOf } from '#src/lib/per-family.ts';
import type { HeldLease } from '#src/membership/membership.ts';
import { type Claimant, isAtAddressOf, leaseInTheWay, planAcquire } from '#src/network/acquire-plan.ts';
import type { Lease, LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { faultOfAddresses } from '#src/network/lease-rules.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
import type { OverlapRules } from '#src/network/overlap-rules.ts';
import { formatSubnetName, parseSubnetName } from '#src/network/subnet-name.ts';
import { usableOf } from '#src/network/subnet-range.ts';
import type { LeaseRecord, Registry, Snapshot, WriteOutcome } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface AcquireComponents {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface AcquireRequest extends LeaseReader {
  readonly previous: Subnets;
  readonly avoid: readonly Prefix[];
  readonly ttlSeconds: number;
  /** A list of all leases that was asked for a moment ago: the first round goes by it. */
  readonly listing?: Promise<Snapshot>;
  /**
   * The lease that this node held a moment ago, as it published it, where nobody else may have it before its end: a record that
   * another wrote over it is taken back, and one elsewhere that names this node is not its own. Default: the registry says.
   */
  readonly held?: HeldBefore | undefined;
  /** What to publish, given the lease that is taken over, if one is. */
  attributesFor(taken: LeaseAttributes | undefined): LeaseAttributes;
  /** Signs what is published for a subnet; `before` is what the record says now. Default: nothing is signed. */
  sign?(name: string, attributes: LeaseAttributes, before?: LeaseAttributes): LeaseAttributes;
}

export interface HeldBefore {
  readonly name: string;
  readonly attributes: LeaseAttributes;
}

export interface Acquired extends HeldLease {
  readonly attributes: LeaseAttributes;
  /** All leases, as they were just before this one was written. */
  readonly seen: Snapshot;
}

/** Lost races in a row before giving up; flannel tries 10 times at once, this with a pause between. */
const MOST_RACES = 100;
const RACE_PAUSE_MS = 20;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 5_000;
/** How long a living node has to answer a challenge: it sees it on its watch and writes at once. */
const CHALLENGE_MS = 5_000;
const CHALLENGE_LOOK_MS = 250;

/**
 * Takes a lease: its own again, the previous one, or a free one. Lost races are run again, a registry that does not
 * answer is waited for. Throws WeftError `lease` when there is no subnet to be had.
 */
export async function acquireLease(
  components: AcquireComponents,
  request: AcquireRequest,
  signal: AbortSignal,
): Promise<Acquired> {
  const { clock, random, log } = components;
  let said: string | undefined;
  let { listing, previous } = request;
  let isReserved = false;
  let first: Snapshot | undefined;
  for (let races = 0, failures = 0; races < MOST_RACES; ) {
    try {
      const seen = await (listing ?? components.registry.list(signal));
      listing = undefined;
      first ??= seen;
      const tried = await tryToAcquire(components, { ...request, previous, isReserved }, seen, signal);
      const isHeld = tried !== undefined && 'record' in tried;
      if (isHeld) {
        // It is new also where the answer to its creation was lost, and a later round found it.
        const isNew = !first.records.some(({ name }) => name === tried.record.name);
        if (!isNew || !(await givesWay(components, request, tried, signal))) return tried;
      }
      races++;
      if (tried !== undefined && !isHeld) {
        // A config that got IPv6, or lost it, leaves a host the subnet that its containers have.
        previous = { ...previous, ...usableOf(request.config.ranges, tried.subnets) };
        isReserved ||= tried.expiry.kind === 'reservation';
        continue;
      }
      await clock.sleep(RACE_PAUSE_MS * (0.5 + random()), signal);
    } catch (error) {
      listing = undefined;
      if (isAbort(error) || (error instanceof WeftError && error.code !== 'registry')) throw error;
      const text = messageOf(error);
      if (text !== said) log.warning(`Could not acquire a lease yet: ${text}; trying again`);
      said = text;
      await clock.sleep(
        Math.min(FIRST_RETRY_MS * 2 ** failures++, LONGEST_RETRY_MS) * (0.5 + random() / 2),
        signal,
      );
    }
  }
  throw new WeftError('lease', 'failed to acquire lease: max retries reached trying to acquire a subnet', {
    remedy: 'look for a program that keeps writing below the subnets key',
  });
}

interface Round extends AcquireRequest {
  /** A lease that was discarded had no end: an operator reserved its subnet for this host. */
  readonly isReserved: boolean;
}

/** One round; `undefined` when somebody was faster, and our own lease when it was of no use and is removed. */
async function tryToAcquire(
  components: AcquireComponents,
  request: Round,
  seen: Snapshot,
  signal: AbortSignal,
): Promise<Acquired | Lease | undefined> {
  const { registry, clock, random, log } = components;
  const { records } = seen;
  const leases = withHeld(await leasesOf(records, request, clock), request);
  const recordOf = ({ name }: Lease): LeaseRecord | undefined =>
    records.find((record) => record.name === name);
  const plan = planAcquire({ ...request, leases, random });
  switch (plan.kind) {
    case 'refuse':
      throw new WeftError('lease', `failed to acquire lease: ${plan.reason}`, { remedy: plan.remedy });
    case 'discard': {
      const record = recordOf(plan.lease);
      log.info(
        `Found lease (${plan.lease.name}) for this node that is not compatible with the current config, deleting`,
      );
      const isRemoved = record !== undefined && (await registry.remove(record, signal));
      return isRemoved ? plan.lease : undefined;
    }
    case 'challenge': {
      const record = recordOf(plan.lease);
      const unanswered =
        record && (await challenge(components, request.claimant, plan.lease, record, signal));
      return (
        unanswered && takeOver(components, request, { lease: plan.lease, record: unanswered, seen }, signal)
      );
    }
    case 'reuse': {
      const record = recordOf(plan.lease);
      return record && takeOver(components, request, { lease: plan.lease, record, seen }, signal);
    }
    case 'create': {
      const name = formatSubnetName(plan.subnets);
      const attributes = signed(request, name, request.attributesFor(undefined));
      const ttl = request.isReserved ? undefined : request.ttlSeconds;
      const outcome = await registry.create(name, encodeAttributes(attributes), ttl, signal);
      return acquired(outcome, { subnets: plan.subnets, attributes, seen });
    }
  }
}

/**
 * A key names the subnets of both families, so a registry takes two keys that share one of them, and hosts that choose at the
 * same moment may write such. Each of them lists the leases once more: at least the later one sees the other, and gives way.
 */
async function givesWay(
  { registry, clock, log }: AcquireComponents,
  request: AcquireRequest,
  { record, subnets }: Acquired,
  signal: AbortSignal,
): Promise<boolean> {
  const { config } = request;
  if (familiesOf(config.ranges).length < 2) return false;
  const { records } = await registry.list(signal);
  const others = records.filter(({ name }) => name !== record.name);
  const rival = leaseInTheWay(subnets, { config, leases: await leasesOf(others, request, clock) });
  if (rival === undefined || !(await registry.remove(record, signal))) return false;
  log.info(`Gave ${record.name} back: another host took a part of it at the same moment (${rival.name})`);
  return true;
}

/**
 * Rewrites a record as ours: a reservation stays one, everything else lives for a whole TTL again. A record that says
 * already what we publish is only renewed, which a store does that refuses writes.
 */
async function takeOver(
  { registry, log }: AcquireComponents,
  request: AcquireRequest,
  { lease, record, seen }: { readonly lease: Lease; readonly record: LeaseRecord; readonly seen: Snapshot },
  signal: AbortSignal,
): Promise<Acquired | undefined> {
  const attributes = signed(request, lease.name, request.attributesFor(lease.attributes), lease.attributes);
  const ttl = record.expiry.kind === 'reservation' ? undefined : request.ttlSeconds;
  const value = encodeAttributes(attributes);
  const isRenewed =
    ttl !== undefined && record.value === value && (await registry.renew(record, ttl, signal));
  const outcome: WriteOutcome = isRenewed
    ? { outcome: 'written', record }
    : await registry.replace(record, value, ttl, signal);
  if (outcome.outcome === 'written') {
    log.info(
      `Found lease (${lease.name}) for this node${ttl === undefined ? ', a reservation' : ''}, reusing`,
    );
  }
  return acquired(outcome, { subnets: lease.subnets, attributes, seen });
}

const signed = (
  { sign }: Pick<AcquireRequest, 'sign'>,
  name: string,
  attributes: LeaseAttributes,
  before?: LeaseAttributes,
): LeaseAttributes => sign?.(name, attributes, before) ?? attributes;

/**
 * Asks the node that holds our public IP whether it lives: its record is written again with our question in it, which
 * flannels ignore and a living weft puts right at once. The record, when nobody did; `undefined` when it changed under us.
 */
async function challenge(
  { registry, clock, log }: AcquireComponents,
  claimant: Claimant,
  lease: Lease,
  record: LeaseRecord,
  signal: AbortSignal,
): Promise<LeaseRecord | undefined> {
  const ip = addressOf(claimant);
  log.warning(
    `The lease ${lease.name} names our public IP ${ip} for another node (${lease.attributes.node}): asking it`,
  );
  const question = JSON.stringify({ ...JSON.parse(record.value), AskedBy: claimant.node });
  const ttl = record.expiry.kind === 'reservation' ? undefined : Math.ceil((CHALLENGE_MS * 12) / 1000);
  const asked = await registry.replace(record, question, ttl, signal);
  if (asked.outcome === 'conflict') return undefined;
  for (const end = clock.monotonic() + CHALLENGE_MS; clock.monotonic() < end; ) {
    await clock.sleep(CHALLENGE_LOOK_MS, signal);
    const now = await registry.read(lease.name, signal);
    if (now === undefined) return undefined;
    if (now.revision === asked.record.revision) continue;
    throw new WeftError(
      'public-ip',
      `the public IP ${ip} is in use by another living node (${lease.attributes.node}, lease ${lease.name})`,
      {
        remedy: "choose this host's own address with --iface or --public-ip",
      },
    );
  }
  log.info(`Nobody answered: the node ${lease.attributes.node} is gone`);
  return asked.record;
}

/** How leases are read for an acquisition. */
export interface LeaseReader {
  readonly config: NetworkConfig;
  readonly claimant: Claimant;
  /** What subnets must not hide on this host. */
  readonly overlap: OverlapRules;
  /** Why the backend can't use what a host published. */
  readonly judge?: (attributes: LeaseAttributes) => string | undefined;
}

/**
 * The leases that records stand for; none for a key that names no subnet. A key of SubnetLen is taken, whatever is in it:
 * it can't be created again. One of another length would take several subnets, or a part of one: it counts only when hosts
 * would believe it. Values are parsed only where that or the claimant is the question: of 50,000 one or two are.
 */
export async function leasesOf(
  records: readonly LeaseRecord[],
  { config, claimant, overlap, judge }: LeaseReader,
  clock: Clock,
): Promise<Lease[]> {
  const { node, publicIp } = claimant;
  const addresses = [
    ...(publicIp.v4 === undefined ? [] : [formatIpv4(publicIp.v4)]),
    ...(publicIp.v6 === undefined ? [] : [formatIpv6(publicIp.v6)]),
  ];
  const { ranges } = config;
  const rules = { ranges, ownPublicIp: publicIp, overlap };
  const budget = new TurnBudget(clock);
  const leases: Lease[] = [];
  for (const { name, value, revision, expiry } of records) {
    if (budget.isSpent) await budget.turn();
    const subnets = parseSubnetName(name);
    if (subnets === undefined) continue;
    // JSON may write any character as an escape, though nobody does.
    const concernsUs =
      value.includes(node) || addresses.some((address) => value.includes(address)) || value.includes('\\u');
    const isOdd =
      subnets.v4?.length !== ranges.v4?.subnetLength || subnets.v6?.length !== ranges.v6?.subnetLength;
    const decoded = concernsUs || isOdd ? decodeAttributes(value) : undefined;
    const attributes = decoded?.ok ? decoded.attributes : NOBODYS;
    const isClaimants = attributes.node === node || isAtAddressOf(attributes, claimant);
    const fault = (): unknown =>
      decoded?.ok !== true || (faultOfAddresses(attributes, subnets, rules) ?? judge?.(attributes));
    if (isOdd && !isClaimants && fault() !== undefined) continue;
    leases.push({ subnets, attributes, expiry, name, revision });
  }
  return leases;
}

/** The leases, as those know them who hold a subnet of which nobody else may say that it is theirs. */
function withHeld(leases: readonly Lease[], { held, claimant }: AcquireRequest): readonly Lease[] {
  if (held === undefined) return leases;
  return leases.map((lease) => {
    if (lease.name === held.name) return { ...lease, attributes: held.attributes };
    const isOurs = lease.attributes.node === claimant.node || isAtAddressOf(lease.attributes, claimant);
    return isOurs ? { ...lease, attributes: NOBODYS } : lease;
  });
}

/** The address by which a host is known, for messages. */
const addressOf = ({ publicIp: { v4, v6 } }: Claimant): string => {
  const ip = v4 ?? v6;
  return ip === undefined ? 'none' : formatIp(ip);
};

const NOBODYS: LeaseAttributes = { backendType: '' };

const acquired = (outcome: WriteOutcome, lease: Omit<Acquired, 'record'>): Acquired | undefined =>
  outcome.outcome === 'written' ? { ...lease, record: outcome.record } : undefined;
