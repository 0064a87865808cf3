import type { Lease } from '#src/network/lease.ts';
import {
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

/** A record with what was made of it. Never changed: a new verdict is a new entry. */
interface Entry {
  readonly raw: RawLease;
  readonly judgement: Judgement;
  /** Why it is not used; `undefined` when it is. */
  readonly fault: string | undefined;
  /** The claim that an accepted lease holds against it; its turn comes when that claim is free. */
  readonly waitsFor?: string;
}

/** Mostly one entry a claim. */
type Index = Map<string, Entry[]>;

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

  /** All records there are: what is not among them is removed. Slice by slice, so that other work has its turn between. */
  *replaceAll(raws: readonly RawLease[]): Generator<LeaseChange[]> {
    const names = new Set(raws.map(({ name }) => name));
    const gone = Array.from(this.#entries.keys()).filter((name) => !names.has(name));
    // Of records that contradict each other the older must not come in a later slice.
    const sorted = raws.toSorted(byAge);
    yield this.#settle(gone, sorted.slice(0, SLICE));
    for (let at = SLICE; at < sorted.length; at += SLICE)
      yield this.#settle([], sorted.slice(at, at + SLICE));
  }

  /** Judges everything anew by other rules: the underlay or our own lease changed. */
  useRules(rules: LeaseRules): LeaseChange[] {
    this.#rules = rules;
    const raws = [...this.records()];
    return this.#settle([rules.ownName], raws, { anew: true });
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
    const todo: [raw: RawLease, judgement: Judgement][] = [];
    for (const raw of raws) {
      if (raw.name === this.#rules.ownName) continue;
      const entry = this.#entries.get(raw.name);
      if (entry !== undefined && entry.raw.value === raw.value && !anew) {
        this.#renew(entry, raw);
      } else {
        if (entry !== undefined) lift(entry);
        todo.push([raw, judgeAlone(raw, this.#rules)]);
      }
    }
    for (const waiter of this.#waitersFor(lifted.values())) {
      lift(waiter);
      todo.push([waiter.raw, waiter.judgement]);
    }
    this.#version += removed.length + todo.length;
    todo.sort(([a], [b]) => byStanding(a, b, lifted));
    return [
      ...removed.map(({ raw: { name } }): LeaseChange => ({ kind: 'removed', name })),
      ...todo.flatMap(([raw, judgement]) => changeOf(lifted.get(raw.name), this.#place(raw, judgement))),
    ];
  }

  /** Says the same again: only its revision and expiry are new. */
  #renew(entry: Entry, raw: RawLease): void {
    const { judgement } = entry;
    const { revision, expiry } = raw;
    this.#lift(entry);
    this.#add({
      ...entry,
      raw,
      judgement: judgement.fit
        ? { ...judgement, lease: { ...judgement.lease, revision, expiry } }
        : judgement,
    });
  }

  /** Gives the record its verdict beside those that are accepted. */
  #place(raw: RawLease, judgement: Judgement): Entry {
    const entry: Entry = { raw, judgement, ...this.#verdict(judgement) };
    this.#add(entry);
    return entry;
  }

  #verdict(judgement: Judgement): Pick<Entry, 'fault' | 'waitsFor'> {
    if (!judgement.fit) return { fault: judgement.reason };
    for (const claim of judgement.claims) {
      for (const { judgement: other } of this.#holders.get(claim) ?? []) {
        const fault = other.fit ? contradiction(claim, judgement.lease, other.lease) : undefined;
        if (fault !== undefined) return { fault, waitsFor: claim };
      }
    }
    return { fault: undefined };
  }

  #add(entry: Entry): void {
    const { raw, fault } = entry;
    this.#entries.set(raw.name, entry);
    if (fault !== undefined) this.#quarantined.set(raw.name, fault);
    for (const [index, claim] of this.#placesOf(entry)) addTo(index, claim, entry);
  }

  #lift(entry: Entry): void {
    const { name } = entry.raw;
    this.#entries.delete(name);
    this.#quarantined.delete(name);
    for (const [index, claim] of this.#placesOf(entry)) deleteFrom(index, claim, entry);
  }

  /** Where an entry is to be found by claim. */
  #placesOf({ judgement, fault, waitsFor }: Entry): [Index, string][] {
    if (waitsFor !== undefined) return [[this.#waiters, waitsFor]];
    return judgement.fit && fault === undefined
      ? judgement.claims.map((claim) => [this.#holders, claim])
      : [];
  }

  #waitersFor(lifted: Iterable<Entry>): Set<Entry> {
    const waiters = new Set<Entry>();
    for (const entry of lifted) {
      for (const [, claim] of this.#placesOf(entry)) {
        for (const waiter of this.#waiters.get(claim) ?? []) waiters.add(waiter);
      }
    }
    return waiters;
  }
}

/** Records that are settled in one go: 2 ms of work. */
const SLICE = 250;

/** What was accepted comes first, then the older key. */
function byStanding(a: RawLease, b: RawLease, before: ReadonlyMap<string, Entry>): number {
  const stood = ({ name }: RawLease): number => {
    const entry = before.get(name);
    return entry !== undefined && entry.fault === undefined ? 0 : 1;
  };
  return stood(a) - stood(b) || byAge(a, b);
}

function byAge(a: RawLease, b: RawLease): number {
  const [bornA, bornB] = [a.created ?? a.revision, b.created ?? b.revision];
  if (bornA !== bornB) return bornA < bornB ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

function changeOf(before: Entry | undefined, { raw, judgement, fault, waitsFor }: Entry): LeaseChange[] {
  const { name } = raw;
  const same = before?.raw.value === raw.value;
  if (judgement.fit && fault === undefined) {
    return same && before.fault === undefined ? [] : [{ kind: 'accepted', name, lease: judgement.lease }];
  }
  // Who waits goes on waiting, for whomever: said once.
  const waits = waitsFor !== undefined && before?.waitsFor !== undefined;
  return fault === undefined || before?.fault === fault || (same && waits)
    ? []
    : [{ kind: 'quarantined', name, reason: fault }];
}

function addTo(index: Index, claim: string, entry: Entry): void {
  const entries = index.get(claim);
  if (entries === undefined) index.set(claim, [entry]);
  else entries.push(entry);
}

function deleteFrom(index: Index, claim: string, entry: Entry): void {
  const left = (index.get(claim) ?? []).filter((other) => other !== entry);
  if (left.length === 0) index.delete(claim);
  else index.set(claim, left);
}
