import { addressGroup } from '#src/store/connection-limits.ts';
import { etcdError } from '#src/store/etcd-error.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Failures that cost nothing: a person types a password wrong. */
const FREE_FAILURES = 3;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** After so long without a failure, nothing is held against an address. */
const FORGET_MS = 300_000;
/** Attempts of one address that wait; more are refused at once. */
const MAX_WAITING = 16;
const MAX_ADDRESSES = 10_000;

interface AddressRecord {
  failures: number;
  /** Attempts go one after the other; this is the end of the last one's pause. */
  turn: Promise<void>;
  waiting: number;
  last: number;
}

/**
 * Slows down those who guess passwords. After a few failures, logins from an address go one at a time, and each
 * waits for a pause that doubles with every failure. Other addresses do not notice, and tokens stay good.
 */
export class LoginPauses {
  readonly #clock: Clock;
  readonly #records = new Map<string, AddressRecord>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `login` when the address may try. What it throws counts as a failure. */
  async attempt<Result>(address: string | undefined, login: () => Result): Promise<Result> {
    const group = addressGroup(address);
    const record = this.#recordOf(group);
    if (record.waiting >= MAX_WAITING) throw etcdError('tooManyRequests');
    record.waiting++;
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = record.turn;
    record.turn = promise;
    try {
      await before;
      if (record.failures > FREE_FAILURES) await this.#clock.sleep(pauseAfter(record.failures));
      const result = login();
      record.failures = 0;
      return result;
    } catch (error) {
      record.failures++;
      record.last = this.#clock.monotonic();
      throw error;
    } finally {
      record.waiting--;
      resolve();
    }
  }

  #recordOf(group: string): AddressRecord {
    const now = this.#clock.monotonic();
    const found = this.#records.get(group);
    if (found !== undefined) {
      if (found.waiting === 0 && found.last <= now - FORGET_MS) found.failures = 0;
      this.#records.delete(group);
    }
    const record = found ?? { failures: 0, turn: Promise.resolve(), waiting: 0, last: now };
    this.#records.set(group, record);
    // The ones that were not seen for longest are first.
    for (const [oldest, { waiting }] of this.#records) {
      if (this.#records.size <= MAX_ADDRESSES) break;
      if (waiting === 0) this.#records.delete(oldest);
    }
    return record;
  }
}

function pauseAfter(failures: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (failures - FREE_FAILURES - 1), LONGEST_PAUSE_MS);
}
