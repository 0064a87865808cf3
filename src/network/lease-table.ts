import {
  containsAddress,
  containsPrefix,
  formatIp,
  formatPrefix,
  type Ipv4,
  ipv4,
  isGlobalUnicast,
  lastAddress,
  overlaps,
  type Prefix,
  type Prefix4,
} from '#src/lib/ip.ts';
import type { Expiry, Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** A record as the registry holds it. */
export interface RawLease {
  readonly name: string;
  readonly value: string;
  readonly revision: bigint;
  readonly expiry: Expiry;
}

/** What may be believed is judged by this. */
export interface LeaseRules {
  readonly network: Prefix4;
  /** SubnetLen. Other lengths are accepted, because the config may have changed since a lease was taken. */
  readonly subnetLength: number;
  /** Our own lease's key: not a peer, never judged. */
  readonly ownName: string;
  readonly ownSubnet: Prefix4;
  readonly ownPublicIp: Ipv4;
  /** Prefixes of the underlay: a subnet there would cut us off from other hosts. */
  readonly underlay: readonly Prefix[];
  /** Why the backend can't use what a peer published. */
  judge(attributes: LeaseAttributes): string | undefined;
  /** What no two peers may share beside their subnet: the VTEP MAC. */
  identityOf(attributes: LeaseAttributes): string | undefined;
}

export type LeaseChange =
  | { readonly kind: 'accepted'; readonly name: string; readonly lease: Lease }
  | { readonly kind: 'removed'; readonly name: string }
  /** What was accepted before, if it was, is no longer. */
  | { readonly kind: 'quarantined'; readonly name: string; readonly reason: string };

/** A lease may be this many bits wider than SubnetLen; it claims that many blocks, at most 256. */
const WIDEST_BITS = 8;

/** A record with what was made of it. */
interface Entry {
  readonly raw: RawLease;
  /** Set when the record is fit to be used, were it alone. */
  readonly lease: Lease | undefined;
  /** Blocks of addresses and identities it claims; two entries can only contradict each other in a common claim. */
  readonly claims: readonly string[];
  /** Why it is not used; `undefined` when it is. */
  fault: string | undefined;
}

/**
 * All leases of a network as the registry tells them, each accepted or quarantined with a reason. A record is judged
 * alone first; of records that contradict each other (overlapping subnets, one VTEP MAC twice) the one that was accepted
 * stands, at the first reading the older one, and the other takes its place when it goes. One record costs one
 * record's work.
 */
export class LeaseTable {
  #rules: LeaseRules;
  readonly #entries = new Map<string, Entry>();
  readonly #claimants = new Map<string, Set<Entry>>();
  readonly #quarantined = new Map<string, string>();

  constructor(rules: LeaseRules) {
    this.#rules = rules;
  }

  /** Number of accepted leases. */
  get accepted(): number {
    return this.#entries.size - this.#quarantined.size;
  }

  /** Reasons, by name. */
  get quarantined(): ReadonlyMap<string, string> {
    return this.#quarantined;
  }

  /** The records of all leases but our own, as they came. */
  *records(): Generator<RawLease> {
    for (const { raw } of this.#entries.values()) yield raw;
  }

  /** A record that is new or was written again. A renewal that says the same changes nothing. */
  put(raw: RawLease): LeaseChange[] {
    if (raw.name === this.#rules.ownName) return [];
    const before = this.#entries.get(raw.name);
    const entry = this.#read(raw);
    const waiting = before === undefined ? [] : this.#withdraw(before);
    this.#entries.set(raw.name, entry);
    for (const claim of entry.claims) this.#claimantsOf(claim).add(entry);
    entry.fault ??= this.#contradiction(entry);
    const same = before !== undefined && before.raw.value === raw.value && before.fault === entry.fault;
    const changes = same ? [] : [this.#verdict(entry)];
    return [...changes, ...this.#reconsider(waiting, entry)];
  }

  /** A record that is gone. */
  remove(name: string): LeaseChange[] {
    const entry = this.#entries.get(name);
    if (entry === undefined) return [];
    const waiting = this.#withdraw(entry);
    this.#entries.delete(name);
    this.#quarantined.delete(name);
    return [{ kind: 'removed', name }, ...this.#reconsider(waiting)];
  }

  /** All records there are: what is not among them is removed. */
  replaceAll(raws: readonly RawLease[]): LeaseChange[] {
    const names = new Set(raws.map(({ name }) => name));
    const gone = [...this.#entries.keys()].filter((name) => !names.has(name));
    const changes = gone.flatMap((name) => this.remove(name));
    for (const raw of raws.toSorted(byAge)) changes.push(...this.put(raw));
    return changes;
  }

  /** Judges everything anew by other rules: the underlay or our own lease changed. */
  useRules(rules: LeaseRules): LeaseChange[] {
    this.#rules = rules;
    const raws = [...this.records()];
    const own = this.remove(rules.ownName);
    return [...own, ...raws.flatMap((raw) => this.put(raw))];
  }

  #read(raw: RawLease): Entry {
    const subnets = parseSubnetName(raw.name);
    if (subnets === undefined) return { raw, lease: undefined, claims: [], fault: 'its key is not a subnet' };
    const decoded = decodeAttributes(raw.value);
    if (!decoded.ok) return { raw, lease: undefined, claims: [], fault: decoded.reason };
    const { name, revision, expiry } = raw;
    const lease: Lease = { subnets, attributes: decoded.attributes, expiry, name, revision };
    const fault = this.#faultOf(lease);
    if (fault !== undefined) return { raw, lease: undefined, claims: [], fault };
    return { raw, lease, claims: this.#claimsOf(lease), fault: undefined };
  }

  #faultOf({ subnets: { v4 }, attributes }: Lease): string | undefined {
    const { network, subnetLength, ownSubnet, ownPublicIp, underlay, judge } = this.#rules;
    if (v4 === undefined) return 'it has no IPv4 subnet';
    const subnet = formatPrefix(v4);
    if (!containsPrefix(network, v4))
      return `its subnet ${subnet} is not in the network ${formatPrefix(network)}`;
    if (v4.length < subnetLength - WIDEST_BITS)
      return `its subnet ${subnet} is far wider than SubnetLen ${subnetLength}`;
    if (overlaps(v4, ownSubnet)) return `its subnet ${subnet} overlaps ours, ${formatPrefix(ownSubnet)}`;
    const clash = underlay.find((prefix) => overlaps(prefix, v4));
    if (clash !== undefined) return `its subnet ${subnet} overlaps the underlay's ${formatPrefix(clash)}`;
    const { publicIp } = attributes;
    if (publicIp === undefined) return 'it has no PublicIP';
    if (!isGlobalUnicast(publicIp)) return `its PublicIP ${formatIp(publicIp)} is not a host's address`;
    if (publicIp === ownPublicIp) return `its PublicIP ${formatIp(publicIp)} is ours`;
    if (containsAddress(network, publicIp))
      return `its PublicIP ${formatIp(publicIp)} is inside the network itself`;
    return judge(attributes);
  }

  #claimsOf({ subnets: { v4 }, attributes }: Lease): string[] {
    const claims = v4 === undefined ? [] : blocksOf(v4, this.#rules.subnetLength);
    const identity = this.#rules.identityOf(attributes);
    return identity === undefined ? claims : [...claims, `identity ${identity}`];
  }

  #claimantsOf(claim: string): Set<Entry> {
    const claimants = this.#claimants.get(claim) ?? new Set();
    this.#claimants.set(claim, claimants);
    return claimants;
  }

  /** Takes an entry's claims back; those that may have waited for one of them. */
  #withdraw(entry: Entry): Entry[] {
    const waiting = new Set<Entry>();
    for (const claim of entry.claims) {
      const claimants = this.#claimantsOf(claim);
      claimants.delete(entry);
      for (const other of claimants) if (other.fault !== undefined) waiting.add(other);
      if (claimants.size === 0) this.#claimants.delete(claim);
    }
    return [...waiting].sort((a, b) => byAge(a.raw, b.raw));
  }

  /** What an accepted lease has against this one. */
  #contradiction(entry: Entry): string | undefined {
    for (const claim of entry.claims) {
      for (const other of this.#claimantsOf(claim)) {
        if (other === entry || other.fault !== undefined) continue;
        if (claim.startsWith('identity ')) return `its ${claim} is also that of ${other.raw.name}`;
        const [mine, theirs] = [entry.lease?.subnets.v4, other.lease?.subnets.v4];
        if (mine !== undefined && theirs !== undefined && overlaps(mine, theirs)) {
          return `its subnet overlaps that of ${other.raw.name}`;
        }
      }
    }
    return undefined;
  }

  #reconsider(waiting: readonly Entry[], except?: Entry): LeaseChange[] {
    return waiting.flatMap((entry) => {
      if (entry === except) return [];
      const before = entry.fault;
      entry.fault = this.#contradiction(entry);
      return entry.fault === before ? [] : [this.#verdict(entry)];
    });
  }

  #verdict({ raw: { name }, lease, fault }: Entry): LeaseChange {
    if (lease !== undefined && fault === undefined) {
      this.#quarantined.delete(name);
      return { kind: 'accepted', name, lease };
    }
    const reason = fault ?? 'it can not be read';
    this.#quarantined.set(name, reason);
    return { kind: 'quarantined', name, reason };
  }
}

const byAge = (a: RawLease, b: RawLease): number =>
  a.revision === b.revision ? (a.name < b.name ? -1 : 1) : a.revision < b.revision ? -1 : 1;

/** The blocks of SubnetLen that a subnet lies in or covers. */
function blocksOf(subnet: Prefix4, subnetLength: number): string[] {
  const step = 2 ** (32 - subnetLength);
  const blocks: string[] = [];
  for (let base = Math.floor(subnet.address / step) * step; base <= lastAddress(subnet); base += step) {
    blocks.push(`block ${formatIp(ipv4(base))}`);
  }
  return blocks;
}
