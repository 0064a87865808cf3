import { byAge } from '#src/network/by-age.ts';
import type { Lease } from '#src/network/lease.ts';
import { LeaseClaims } from '#src/network/lease-claims.ts';
import {
  type Aged,
  type Before,
  type Entry,
  inOrder,
  type LeaseChange,
  type LeaseEntry,
  report,
  verdictOn,
} from '#src/network/lease-entry.ts';
import { type Judgement, judgeAlone, type LeaseRules, type RawLease } from '#src/network/lease-rules.ts';

export type { LeaseChange, LeaseEntry };

export interface LeaseTableOptions {
  /** Records that are settled in one go. Default 250: 2 ms of work. */
  readonly slice?: number;
  /** Whole seconds that never go back, for when a lease was seen. Default: always 0. */
  readonly seconds?: () => number;
  /** Whether a record is used only when its signature was looked at: see {@link RawLease.trust}. */
  readonly isGuarded?: boolean;
}

/** A snapshot that is taken slice by slice. */
interface Reading {
  /** Names that were put or removed since it began; these changes are newer. */
  readonly overtaken: Set<string>;
}

/**
 * All leases of a network as the registry has them, each accepted or quarantined with a reason. A record is judged
 * alone first. Of records that contradict each other (overlapping subnets, one VTEP MAC twice) the accepted one stands:
 * a renewal, which makes a record the younger one, must not hand its packets to somebody else. Where none is accepted
 * yet, the one whose key was created first is taken; the others' turn comes when it goes.
 *
 * One record costs one record's work, and each call reports a name once. Other calls may come between two slices of
 * {@link replaceAll} and {@link useRules}: slices look at the records as they are by then.
 */
export class LeaseTable {
  #rules: LeaseRules;
  readonly #slice: number;
  readonly #seconds: () => number;
  readonly #isGuarded: boolean;
  readonly #entries = new Map<string, Entry>();
  readonly #quarantined = new Map<string, Entry>();
  readonly #claims: LeaseClaims;
  #reading: Reading | undefined;
  #ruling = 0;
  #version = 0;

  constructor(
    rules: LeaseRules,
    { slice = 250, seconds = () => 0, isGuarded = false }: LeaseTableOptions = {},
  ) {
    this.#rules = rules;
    this.#slice = slice;
    this.#seconds = seconds;
    this.#isGuarded = isGuarded;
    this.#claims = new LeaseClaims(rules);
  }

  /** Changes whenever a record comes, changes its value, or goes; not when it is renewed. */
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

  /** Reasons, by name. Built on each call. */
  get quarantined(): ReadonlyMap<string, string> {
    return new Map(Array.from(this.#quarantined, ([name, entry]) => [name, this.#reasonOf(entry)]));
  }

  /** Whether there is a record of that name, accepted or not. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** The record of that name, accepted or not. */
  record(name: string): RawLease | undefined {
    return this.#entries.get(name)?.raw;
  }

  /** The verdict on a record by itself, without a look at its signature. Changes nothing. */
  judge(raw: RawLease): Judgement {
    return judgeAlone(raw, this.#rules);
  }

  /** Whether a record is our own, which is no peer's. */
  isOwn({ name }: Pick<RawLease, 'name'>): boolean {
    return name === this.#rules.ownName;
  }

  /** The records of all leases but our own, as they came. */
  *records(): Generator<RawLease> {
    for (const { raw } of this.#entries.values()) yield raw;
  }

  /** All leases but our own, with their verdicts: each as it is when its turn comes, so that other calls may come in between. */
  *entries(): Generator<LeaseEntry> {
    for (const entry of this.#entries.values()) {
      const { raw, seen, since } = entry;
      const lease = this.#leaseOf(entry);
      yield lease === undefined
        ? { raw, seen, since, reason: this.#reasonOf(entry) }
        : { raw, seen, since, lease };
    }
  }

  /** A record that is new or was written again. A renewal that says the same changes nothing. */
  put(raw: RawLease): LeaseChange[] {
    this.#reading?.overtaken.add(raw.name);
    return this.#settle([], [raw]);
  }

  /** A record that is gone. */
  remove(name: string): LeaseChange[] {
    this.#reading?.overtaken.add(name);
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

  /**
   * Replaces all records: those that are missing here are removed. In slices, so that other work has its turn between them.
   * A put or a removal between two slices is newer than the snapshot and wins. Another snapshot ends this one.
   */
  replaceAll(raws: readonly RawLease[]): Generator<LeaseChange[]> {
    const reading: Reading = { overtaken: new Set() };
    this.#reading = reading;
    return this.#read(reading, this.#entries.size === 0 ? [] : this.#namesBut(raws), raws);
  }

  /** Judges everything by other rules, slice by slice: the underlay or our own lease changed. */
  useRules(rules: LeaseRules): Generator<LeaseChange[]> {
    this.#rules = rules;
    this.#ruling++;
    return this.#judgeAgain(this.#ruling, [...this.#entries.keys()]);
  }

  #namesBut(raws: readonly RawLease[]): string[] {
    const names = new Set(raws.map(({ name }) => name));
    return Array.from(this.#entries.keys()).filter((name) => !names.has(name));
  }

  *#read(reading: Reading, gone: readonly string[], raws: readonly RawLease[]): Generator<LeaseChange[]> {
    const { overtaken } = reading;
    for (const [names, slice] of this.#slicesOf(gone, raws)) {
      if (this.#reading !== reading) return;
      yield overtaken.size === 0
        ? this.#settle(names, slice)
        : this.#settle(
            names.filter((name) => !overtaken.has(name)),
            slice.filter(({ name }) => !overtaken.has(name)),
          );
    }
    if (this.#reading === reading) this.#reading = undefined;
  }

  /** Removals come first. The last of them share a slice with the first records, so that this slice reports a name once. */
  *#slicesOf(
    gone: readonly string[],
    raws: readonly RawLease[],
  ): Generator<readonly [gone: readonly string[], raws: readonly RawLease[]]> {
    let at = 0;
    for (; gone.length - at > this.#slice; at += this.#slice) yield [gone.slice(at, at + this.#slice), []];
    let rest = gone.slice(at);
    // Of records that contradict each other the older must not come in a later slice.
    for (const slice of byAge(raws, this.#slice)) {
      yield [slice.length === 0 ? [] : rest, slice];
      if (slice.length > 0) rest = [];
    }
    if (rest.length > 0) yield [rest, []];
  }

  *#judgeAgain(ruling: number, names: readonly string[]): Generator<LeaseChange[]> {
    // A lease that turns out to be our own is no peer's.
    yield this.#settle([this.#rules.ownName], []);
    for (let at = 0; at < names.length && this.#ruling === ruling; at += this.#slice) {
      const outdated = names.slice(at, at + this.#slice).flatMap((name) => {
        const entry = this.#entries.get(name);
        return entry === undefined || entry.ruling === ruling ? [] : entry;
      });
      yield this.#settle(
        [],
        outdated.map(({ raw }) => raw),
      );
    }
  }

  /** Removes these names, puts these records, and accepts waiting records whose turn it is. Returns what changed. */
  #settle(gone: readonly string[], raws: readonly RawLease[]): LeaseChange[] {
    const changes: LeaseChange[] = [];
    for (const name of gone) {
      const entry = this.#entries.get(name);
      if (entry === undefined) continue;
      this.#lift(entry);
      this.#entries.delete(name);
      changes.push({ kind: 'removed', name });
    }
    const todo = new Map<string, RawLease>();
    const before = new Map<string, Before>();
    for (const raw of raws) {
      const { name } = raw;
      if (name === this.#rules.ownName) continue;
      const entry = this.#entries.get(name);
      if (entry !== undefined && isSameRecord(entry.raw, raw) && entry.ruling === this.#ruling) {
        if (entry.raw.revision !== raw.revision) entry.seen = this.#seconds();
        entry.raw = raw;
      } else {
        if (entry !== undefined && !before.has(name)) before.set(name, this.#lift(entry));
        todo.set(name, raw);
      }
    }
    this.#version += changes.length + todo.size;
    for (const next of inOrder(todo.values(), before)) {
      // An accepted record stays accepted if it can. Among the others the older comes first.
      if (!next.stood) this.#takeTurns(changes, next);
      report(changes, this.#place(next.raw, next.age, before.get(next.name)));
    }
    this.#takeTurns(changes);
    return changes;
  }

  /** Places records that waited for something that is free now, up to the age of the given one. */
  #takeTurns(changes: LeaseChange[], until?: Aged): void {
    for (let claim = this.#claims.nextInLine(until); claim; claim = this.#claims.nextInLine(until)) {
      const entry = this.#entries.get(claim.name);
      if (entry === undefined) continue;
      if (entry.ruling !== this.#ruling) {
        report(changes, this.#place(entry.raw, entry.age, { entry, verdict: 'waits' }));
      } else if (this.#claims.place(entry)) {
        this.#quarantined.delete(entry.name);
        entry.since = this.#seconds();
        const lease = this.#leaseOf(entry);
        if (lease !== undefined) changes.push({ kind: 'accepted', name: entry.name, lease });
      }
    }
  }

  /** Judges the record beside the accepted ones. Returns what changed. */
  #place(raw: RawLease, age: number, before: Before | undefined): LeaseChange | undefined {
    const judgement = this.#judgeGuarded(raw);
    const now = this.#seconds();
    const isSame = before?.entry.raw.revision === raw.revision;
    const entry: Entry = {
      raw,
      name: raw.name,
      age,
      identity: judgement.fit ? judgement.identity : undefined,
      fault: judgement.fit ? undefined : judgement.reason,
      ruling: this.#ruling,
      seen: isSame ? before.entry.seen : now,
      since: now,
      queue: undefined,
      followers: undefined,
      followers6: undefined,
    };
    this.#entries.set(raw.name, entry);
    const accepted = judgement.fit && this.#claims.place(entry, judgement.lease.subnets);
    if (accepted) this.#quarantined.delete(raw.name);
    else this.#quarantined.set(raw.name, entry);
    const stood = before?.verdict === 'accepted';
    if (before !== undefined && stood === accepted) entry.since = before.entry.since;
    return this.#changeOf(before, entry, judgement);
  }

  /** Withdraws its claims. The entry stays in the table until {@link #place} replaces it. */
  #lift(entry: Entry): Before {
    const verdict = verdictOn(entry);
    if (verdict !== 'unfit') this.#claims.withdraw(entry);
    this.#quarantined.delete(entry.name);
    return { entry, verdict };
  }

  #changeOf(before: Before | undefined, entry: Entry, judgement: Judgement): LeaseChange | undefined {
    const { name, raw } = entry;
    const same = before?.entry.raw.value === raw.value;
    const verdict = verdictOn(entry);
    if (judgement.fit && verdict === 'accepted') {
      return same && before.verdict === 'accepted'
        ? undefined
        : { kind: 'accepted', name, lease: judgement.lease };
    }
    // A waiting record is reported once, even when it comes to wait for another record.
    if (verdict === 'waits' && before?.verdict === 'waits' && same) return undefined;
    const reason = this.#reasonOf(entry);
    return verdict === 'unfit' && before?.entry.fault === reason
      ? undefined
      : { kind: 'quarantined', name, reason };
  }

  #reasonOf(entry: Entry): string {
    return entry.fault ?? this.#claims.contradiction(entry);
  }

  #leaseOf(entry: Entry): Lease | undefined {
    const judgement = verdictOn(entry) === 'accepted' ? this.#judgeGuarded(entry.raw) : undefined;
    return judgement?.fit ? judgement.lease : undefined;
  }

  #judgeGuarded(raw: RawLease): Judgement {
    return judgeAlone(raw, this.#rules, this.#isGuarded);
  }
}

const isSameRecord = (a: RawLease, b: RawLease): boolean => a.value === b.value && a.trust === b.trust;
