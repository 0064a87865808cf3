import { Heap } from '#src/lib/heap.ts';
import { containsAddress, type Ip, lastAddress, type Prefix } from '#src/lib/ip.ts';
import { AddressSet } from '#src/tenant/address-set.ts';
import type { AddressRecord, TenantSubnet } from '#src/tenant/tenant.ts';

/** Entries of the heap that are out of date, beyond as many as there are good ones. */
const SMALL = 32;

/**
 * What is known of the addresses of one subnet: it follows the records, and finds an address without looking at all of them.
 * `R`: what the caller keeps of each address beside its record, for example what the registry says of it.
 */
export class AddressPool<R extends AddressRecord = AddressRecord> {
  readonly #records = new Map<Ip, R>();
  /** Addresses whose records can't be read, and why. */
  readonly #unreadable = new Map<Ip, string>();
  /** Network, broadcast, gateway, auxiliary addresses. */
  readonly #fixed: ReadonlySet<Ip>;
  /** Addresses that have a record, and the fixed ones. */
  readonly #used = new AddressSet();
  /** By host and container's name: the addresses that wait for it. */
  readonly #waiting = new Map<string, Set<Ip>>();
  /** Released ones, the longest first. Records that were replaced stay until they reach the top, or are the majority. */
  #released = new Heap<R>(compareSince);
  #releasedCount = 0;

  constructor({ prefix, gateway, auxiliary }: TenantSubnet) {
    const ends = prefix.family === 4 ? [prefix.address, lastAddress(prefix)] : [prefix.address];
    this.#fixed = new Set<Ip>([...ends, gateway, ...Object.values(auxiliary)]);
    for (const ip of this.#fixed) this.#used.add(ip);
  }

  /** How many addresses have a record. */
  get size(): number {
    return this.#records.size + this.#unreadable.size;
  }

  /** An address got a record, or another one. Addresses outside the subnet are of no consequence. */
  set(record: R): void {
    this.#forget(record.ip);
    this.#records.set(record.ip, record);
    this.#used.add(record.ip);
    if (record.state === 'released') {
      this.#released.push(record);
      this.#releasedCount++;
    }
    const key = waitingKey(record);
    if (key === undefined) return;
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) this.#waiting.set(key, new Set([record.ip]));
    else waiting.add(record.ip);
  }

  /** An address has a record that can't be read: nobody gets it. */
  setUnreadable(ip: Ip, reason: string): void {
    this.#forget(ip);
    this.#unreadable.set(ip, reason);
    this.#used.add(ip);
  }

  /** The address has no record any more. */
  delete(ip: Ip): void {
    this.#forget(ip);
    if (!this.#fixed.has(ip)) this.#used.delete(ip);
  }

  get(ip: Ip): R | undefined {
    return this.#records.get(ip);
  }

  values(): Iterable<R> {
    return this.#records.values();
  }

  /** Why the address's record can't be read; `undefined` where it can, or where there is none. */
  faultOf(ip: Ip): string | undefined {
    return this.#unreadable.get(ip);
  }

  /** Whether nobody has the address or had it lately, and a container may have it. */
  isFresh(ip: Ip): boolean {
    return !this.#used.has(ip);
  }

  /** The first fresh address of the range from `start` on, and then from the range's beginning. */
  firstFresh(range: Prefix, start: Ip, except: ReadonlySet<Ip>): Ip | undefined {
    const end = lastAddressOf(range);
    return this.#firstFresh(start, end, except) ?? this.#firstFresh(range.address, start, except);
  }

  /** The address of the range that was released first. */
  longestReleased(range: Prefix, except: ReadonlySet<Ip>): R | undefined {
    const passed: R[] = [];
    let found: R | undefined;
    for (let first = this.#released.peek(); first !== undefined; first = this.#released.peek()) {
      const isCurrent = this.#records.get(first.ip) === first && !this.#fixed.has(first.ip);
      if (isCurrent && containsAddress(range, first.ip) && !except.has(first.ip)) {
        found = first;
        break;
      }
      this.#released.pop();
      if (isCurrent) passed.push(first);
    }
    for (const record of passed) this.#released.push(record);
    return found;
  }

  /** Released and kept addresses that a container of this host and name had, the last first. */
  ofContainer(host: string, name: string): readonly R[] {
    const waiting = this.#waiting.get(`${host} ${name}`) ?? [];
    return [...waiting].flatMap((ip) => this.#records.get(ip) ?? []).sort((a, b) => b.since - a.since);
  }

  #firstFresh(from: Ip, last: Ip, except: ReadonlySet<Ip>): Ip | undefined {
    const passed: Ip[] = [];
    let found = this.#used.firstOutside(from, last);
    while (found !== undefined && except.has(found)) {
      this.#used.add(found);
      passed.push(found);
      found = this.#used.firstOutside(found, last);
    }
    for (const ip of passed) this.#used.delete(ip);
    return found;
  }

  #forget(ip: Ip): void {
    this.#unreadable.delete(ip);
    const record = this.#records.get(ip);
    if (record === undefined) return;
    this.#records.delete(ip);
    const key = waitingKey(record);
    const waiting = key === undefined ? undefined : this.#waiting.get(key);
    if (key !== undefined && waiting?.delete(ip) && waiting.size === 0) this.#waiting.delete(key);
    if (record.state !== 'released') return;
    this.#releasedCount--;
    if (this.#released.size <= 2 * this.#releasedCount + SMALL) return;
    const current = this.#released.values();
    this.#released = new Heap(
      compareSince,
      Iterator.from(current).filter((other) => this.#records.get(other.ip) === other),
    );
  }
}

/** For addresses that a container may get back. */
function waitingKey({ state, host, names: [name] }: AddressRecord): string | undefined {
  const waits = state === 'released' || state === 'kept';
  return waits && name !== undefined ? `${host} ${name}` : undefined;
}

const compareSince = (a: AddressRecord, b: AddressRecord): number =>
  a.since - b.since || (a.ip < b.ip ? -1 : a.ip > b.ip ? 1 : 0);

const lastAddressOf = (prefix: Prefix): Ip =>
  prefix.family === 4 ? lastAddress(prefix) : lastAddress(prefix);
