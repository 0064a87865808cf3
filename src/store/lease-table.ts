import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { prepare } from '#src/store/database.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import type { Clock } from '#src/sys/clock.ts';
import { secretBytes } from '#src/sys/random.ts';

/** etcd's bounds in seconds: the lower follows from its default election time-out, the upper is fixed. */
const MIN_TTL = 2n;
const MAX_TTL = 9_000_000_000n;
/** The table is used twice a second. Where it was not for so long, this process did not run, or its disk held it up. */
const STALL_MS = 2_000;

interface LeaseEntry {
  readonly id: bigint;
  /** Seconds. */
  readonly ttl: bigint;
  /** On the monotonic clock, milliseconds. */
  deadline: number;
}

/**
 * The leases, and when each ends. On disk is only that a lease exists and its TTL: a keep-alive writes nothing, and
 * after a restart every lease has its full TTL again, which is what etcd does when a leader starts. So nobody
 * loses a lease because the store was away. For the same reason a stall of the store counts for no lease: renewals that
 * came meanwhile are read after it.
 */
export class LeaseTable {
  readonly #clock: Clock;
  readonly #insert: StatementSync;
  readonly #delete: StatementSync;
  readonly #leases = new Map<bigint, LeaseEntry>();
  /** When the table was last used, on the monotonic clock. */
  #usedAt: number;
  /** What undoes the changes of the transaction under way, the oldest first. */
  #undo: (() => void)[] = [];

  constructor(db: DatabaseSync, clock: Clock) {
    this.#clock = clock;
    this.#usedAt = clock.monotonic();
    this.#insert = prepare(db, 'INSERT INTO lease VALUES (?, ?)');
    this.#delete = prepare(db, 'DELETE FROM lease WHERE id = ?');
    const all = prepare(db, 'SELECT id, ttl FROM lease').all() as unknown as { id: bigint; ttl: bigint }[];
    for (const row of all) this.#leases.set(row.id, { ...row, deadline: this.#deadline(row.ttl) });
  }

  /** Returns what undoes in memory all that follows in this transaction. */
  mark(): () => void {
    const begin = this.#undo.length;
    return () => this.#undoFrom(begin);
  }

  committed(): void {
    this.#undo = [];
  }

  rolledBack(): void {
    this.#undoFrom(0);
  }

  #undoFrom(begin: number): void {
    for (const undo of this.#undo.splice(begin).reverse()) undo();
  }

  /** Grants a lease; id 0 asks for one of the store's choice. Inside a transaction. */
  grant(id: bigint, ttl: bigint): { readonly id: bigint; readonly ttl: bigint } {
    if (ttl > MAX_TTL) throw etcdError('leaseTtlTooLarge');
    if (this.#leases.has(id)) throw etcdError('leaseExists');
    const lease = { id: id === 0n ? this.#freeId() : id, ttl: ttl < MIN_TTL ? MIN_TTL : ttl };
    this.#insert.run(lease.id, lease.ttl);
    this.#leases.set(lease.id, { ...lease, deadline: this.#deadline(lease.ttl) });
    this.#undo.push(() => this.#leases.delete(lease.id));
    return lease;
  }

  /** Inside a transaction; the lease's keys are the caller's. */
  remove(id: bigint): void {
    this.#delete.run(id);
    const lease = this.#leases.get(id);
    this.#leases.delete(id);
    if (lease !== undefined) this.#undo.push(() => this.#leases.set(id, lease));
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  /** Gives the lease its full TTL again and returns it; `undefined` when there is no such lease or it has ended. */
  renew(id: bigint): bigint | undefined {
    const now = this.#now();
    const lease = this.#leases.get(id);
    if (lease === undefined || lease.deadline <= now) return undefined;
    lease.deadline = this.#deadline(lease.ttl);
    return lease.ttl;
  }

  /** Whole seconds left and the TTL it was granted with. */
  timeToLive(id: bigint): { readonly remaining: bigint; readonly granted: bigint } | undefined {
    const now = this.#now();
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    const milliseconds = lease.deadline - now;
    return { remaining: BigInt(Math.trunc(milliseconds / 1000)), granted: lease.ttl };
  }

  /** All ids, the one that ends first first. */
  ids(): bigint[] {
    return [...this.#leases.values()].sort((a, b) => a.deadline - b.deadline).map(({ id }) => id);
  }

  /** To be called about twice a second. */
  expired(): bigint[] {
    const now = this.#now();
    return [...this.#leases.values()].filter(({ deadline }) => deadline <= now).map(({ id }) => id);
  }

  #deadline(ttl: bigint): number {
    return this.#now() + Number(ttl) * 1000;
  }

  /** The time, after every lease was given what a stall has taken from it. */
  #now(): number {
    const now = this.#clock.monotonic();
    const away = now - this.#usedAt;
    this.#usedAt = now;
    if (away > STALL_MS) for (const lease of this.#leases.values()) lease.deadline += away;
    return now;
  }

  #freeId(): bigint {
    for (;;) {
      const id = secretBytes(8).readBigUInt64BE() >> 1n;
      if (id !== 0n && !this.#leases.has(id)) return id;
    }
  }
}
