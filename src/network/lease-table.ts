import { byAge } from '#src/network/by-age.ts';
import type { Lease } from '#src/network/lease.ts';
import {
  type Claim,
  contradiction,
  type Judgement,
  judgeAlone,
  type LeaseRules,
  type RawLease,
} from '#src/network/lease-rules.ts';

export type LeaseChange =
  | { readonly kind: 'accepted'; readonly name: string; readonly lease: Lease }
  | { readonly kind: 'removed'; readonly name: string }
  /** What was accepted before, if it was, is no longer. */
  | { readonly kind: 'quarantined'; readonly name: string; readonly reason: string };

/** A record and its verdict. The lease itself is made of the record when it is needed: of 50,000 it would be most of what they take. */
interface Entry {
  /** As it was last renewed. */
  raw: RawLease;
  readonly claims: readonly Claim[];
  /** Why it is not used; `undefined` when it is. */
  readonly fault: string | undefined;
  /** The claim that an accepted lease holds against it; its turn comes when that claim is free. */
  readonly waitsFor: Claim | undefined;
}

/** Mostly one entry a claim. */
type Index = Map<Claim, Entry | Entry[]>;

/**
 * All leases of a network as the registry tells them, each accepted or quarantined with a reason. A record is judged
 * alone first. Of records that contradict each other (overlapping subnets, one VTEP MAC twice) the one that is accepted
 * stands: a renewal, which makes a record the younger one, must not hand its packets to somebody else. Where none is
 * accepted yet, the one whose key was created first is taken; the others' turn comes when it goes.
 *
 * One record costs one record's work, and each call reports a name once.
 */
export class LeaseTable {
  #rules: LeaseRules;
  readonly #entries = new Map<string, Entry>();
  /** By claim: the accepted leases that hold it, and the records that wait for it. */
  readonly #holders: Index = new Map();
  readonly #waiters: Index = new Map();
  readonly #quarantined = new Map<string, string>();
  #version = 0;

  constructor(rules: LeaseRules) {
    this.#rules = rules;
  }

  /** Another number whenever a record comes, says something else, or goes; not when it is renewed. */
  get version(): number {
    return this.#version;
  }

  /** Number of records, our own not counted. */
  get size(): number {
    return this.#entries.size;
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
    return this.#settle([], [raw]);
  }

  /** A record that is gone. */
  remove(name: string): LeaseChange[] {
    return this.#settle([name], []);
  }

  /** The lease of that name, if it is accepted. */
  lease(name: string): Lease | undefined {
    const entry = this.#entries.get(name);
    return entry === undefined ? undefined : this.#leaseOf(entry);
  }

  /** All accepted leases. */
  *leases(): Generator<Lease> {
    for (const entry of this.#entries.values()) {
      const lease = this.#leaseOf(entry);
      if (lease !== undefined) yield lease;
    }
  }

  #leaseOf({ raw, fault }: Entry): Lease | undefined {
    const judgement = fault === undefined ? judgeAlone(raw, this.#rules) : undefined;
    return judgement?.fit ? judgement.lease : undefined;
  }

  /** All records there are: what is not among them is removed. Slice by slice, so that other work has its turn between. */
  *replaceAll(raws: readonly RawLease[]): Generator<LeaseChange[]> {
    const gone = this.#entries.size === 0 ? [] : this.#namesBut(raws);
    // Of records that contradict each other the older must not come in a later slice.
    yield* this.#settleInSlices(gone, byAge(raws, SLICE));
  }

  #namesBut(raws: readonly RawLease[]): string[] {
    const names = new Set(raws.map(({ name }) => name));
    return Array.from(this.#entries.keys()).filter((name) => !names.has(name));
  }

  /** Judges everything anew by other rules, slice by slice: the underlay or our own lease changed. */
  *useRules(rules: LeaseRules): Generator<LeaseChange[]> {
    this.#rules = rules;
    const raws = [...this.records()];
    const slices = Array.from({ length: Math.ceil(raws.length / SLICE) }, (_, n) =>
      raws.slice(n * SLICE, (n + 1) * SLICE),
    );
    yield* this.#settleInSlices([rules.ownName], slices, { anew: true });
  }

  /** What is gone goes with the first slice, so that a name is reported once. */
  *#settleInSlices(
    gone: readonly string[],
    slices: Iterable<readonly RawLease[]>,
    options?: { readonly anew: boolean },
  ): Generator<LeaseChange[]> {
    let left = gone;
    for (const slice of slices) {
      yield slice.length === 0 ? [] : this.#settle(left, slice, options);
      if (slice.length > 0) left = [];
    }
    if (left.length > 0) yield this.#settle(left, [], options);
  }

  #settle(
    gone: readonly string[],
    raws: readonly RawLease[],
    { anew }: { readonly anew: boolean } = { anew: false },
  ): LeaseChange[] {
    const lifted = new Map<string, Entry>();
    const lift = (entry: Entry): void => {
      this.#lift(entry);
      lifted.set(entry.raw.name, entry);
    };
    const removed = gone.flatMap((name) => this.#entries.get(name) ?? []);
    removed.forEach(lift);
    const todo: RawLease[] = [];
    for (const raw of raws) {
      if (raw.name === this.#rules.ownName) continue;
      const entry = this.#entries.get(raw.name);
      if (entry !== undefined && entry.raw.value === raw.value && !anew) {
        entry.raw = raw;
      } else {
        if (entry !== undefined) lift(entry);
        todo.push(raw);
      }
    }
    for (const waiter of this.#waitersFor(lifted.values())) {
      lift(waiter);
      todo.push(waiter.raw);
    }
    this.#version += removed.length + todo.length;
    const inOrder = lifted.size === 0 ? todo : sortByStanding(todo, lifted);
    const changes = removed.map(({ raw: { name } }): LeaseChange => ({ kind: 'removed', name }));
    for (const raw of inOrder) {
      const change = this.#place(raw, lifted.get(raw.name));
      if (change !== undefined) changes.push(change);
    }
    return changes;
  }

  /** Gives the record its verdict beside those that are accepted; what that changes. */
  #place(raw: RawLease, before: Entry | undefined): LeaseChange | undefined {
    const judgement = judgeAlone(raw, this.#rules);
    const { fault, waitsFor } = this.#verdict(raw, judgement);
    const entry: Entry = { raw, claims: judgement.fit ? judgement.claims : NO_CLAIMS, fault, waitsFor };
    this.#add(entry);
    return changeOf(before, entry, judgement);
  }

  #verdict({ name }: RawLease, judgement: Judgement): Pick<Entry, 'fault' | 'waitsFor'> {
    if (!judgement.fit) return { fault: judgement.reason, waitsFor: undefined };
    for (const claim of judgement.claims) {
      for (const other of entriesOf(this.#holders, claim)) {
        const fault = contradiction(claim, name, other.raw.name);
        if (fault !== undefined) return { fault, waitsFor: claim };
      }
    }
    return ACCEPTED;
  }

  #add(entry: Entry): void {
    const { raw, fault, waitsFor, claims } = entry;
    this.#entries.set(raw.name, entry);
    if (fault !== undefined) this.#quarantined.set(raw.name, fault);
    if (waitsFor !== undefined) addTo(this.#waiters, waitsFor, entry);
    else if (fault === undefined) for (const claim of claims) addTo(this.#holders, claim, entry);
  }

  #lift(entry: Entry): void {
    const { raw, fault, waitsFor, claims } = entry;
    this.#entries.delete(raw.name);
    this.#quarantined.delete(raw.name);
    if (waitsFor !== undefined) deleteFrom(this.#waiters, waitsFor, entry);
    else if (fault === undefined) for (const claim of claims) deleteFrom(this.#holders, claim, entry);
  }

  /** Those whose turn may have come, now that these do not hold or wait for their claims any more. */
  #waitersFor(lifted: Iterable<Entry>): Set<Entry> {
    const waiters = new Set<Entry>();
    for (const { claims, fault, waitsFor } of lifted) {
      const freed = waitsFor !== undefined ? [waitsFor] : fault === undefined ? claims : [];
      for (const claim of freed) for (const waiter of entriesOf(this.#waiters, claim)) waiters.add(waiter);
    }
    return waiters;
  }
}

const NO_CLAIMS: readonly Claim[] = [];
const ACCEPTED: Pick<Entry, 'fault' | 'waitsFor'> = { fault: undefined, waitsFor: undefined };

/** Records that are settled in one go: 2 ms of work. */
const SLICE = 250;

/** What was accepted comes first, then the older key. */
function sortByStanding(raws: readonly RawLease[], before: ReadonlyMap<string, Entry>): RawLease[] {
  const stood = ({ name }: RawLease): number => {
    const entry = before.get(name);
    return entry !== undefined && entry.fault === undefined ? 0 : 1;
  };
  return [...byAge(raws, raws.length)].flat().sort((a, b) => stood(a) - stood(b));
}

function changeOf(
  before: Entry | undefined,
  { raw, fault, waitsFor }: Entry,
  judgement: Judgement,
): LeaseChange | undefined {
  const { name } = raw;
  const same = before?.raw.value === raw.value;
  if (judgement.fit && fault === undefined) {
    return same && before.fault === undefined
      ? undefined
      : { kind: 'accepted', name, lease: judgement.lease };
  }
  // Who waits goes on waiting, for whomever: said once.
  const waits = waitsFor !== undefined && before?.waitsFor !== undefined;
  return fault === undefined || before?.fault === fault || (same && waits)
    ? undefined
    : { kind: 'quarantined', name, reason: fault };
}

function entriesOf(index: Index, claim: Claim): readonly Entry[] {
  const found = index.get(claim);
  return found === undefined ? NOBODY : Array.isArray(found) ? found : [found];
}

const NOBODY: readonly Entry[] = [];

function addTo(index: Index, claim: Claim, entry: Entry): void {
  const found = index.get(claim);
  index.set(claim, found === undefined ? entry : [...entriesOf(index, claim), entry]);
}

function deleteFrom(index: Index, claim: Claim, entry: Entry): void {
  const [first, ...others] = entriesOf(index, claim).filter((other) => other !== entry);
  if (first === undefined) index.delete(claim);
  else index.set(claim, others.length === 0 ? first : [first, ...others]);
}
