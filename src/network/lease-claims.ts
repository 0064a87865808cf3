import { BlockMap } from '#src/lib/block-map.ts';
import { Heap } from '#src/lib/heap.ts';
import { containsPrefix, lastAddress, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { FamilyName } from '#src/lib/per-family.ts';
import { RangeMap } from '#src/lib/range-map.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { Identity } from '#src/network/lease-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { Ranges } from '#src/network/subnet-range.ts';

/** What one record wants for itself alone: its subnets, which its name gives, and identities. */
export interface Claim {
  readonly name: string;
  /** The revision that created its key: the older claim comes first. */
  readonly age: number;
  readonly identity: Identity;
  /** Where it waits; `undefined` for a claim that holds what it wants. Only {@link LeaseClaims} writes it. */
  queue: Queue | undefined;
  /** Those that wait for its IPv4 subnet. Only {@link LeaseClaims} writes it. */
  followers: Queue | undefined;
  /** Those that wait for its IPv6 subnet. Only {@link LeaseClaims} writes it. */
  followers6: Queue | undefined;
}

/** Older first, then by name. */
export const compareAge = (a: Pick<Claim, 'age' | 'name'>, b: Pick<Claim, 'age' | 'name'>): number =>
  a.age - b.age || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** Claims that wait for one thing. Each contradicts the claim that holds it. */
class Queue {
  /** The identity they want; `undefined` when they want the subnet of a holder. */
  readonly identity: string | undefined;
  /** The claim whose subnet they want, in this family. */
  holder: Claim | undefined;
  readonly family: FamilyName | undefined;
  /** Removed claims stay here until they reach the top, or until they are the majority. */
  #claims = new Heap<Claim>(compareAge);
  #waiting = 0;

  constructor(
    wanted: { readonly identity: string } | { readonly holder: Claim; readonly family: FamilyName },
  ) {
    if ('identity' in wanted) {
      this.identity = wanted.identity;
    } else {
      this.holder = wanted.holder;
      this.family = wanted.family;
    }
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting;
  }

  /** The oldest. */
  peek(): Claim | undefined {
    let first = this.#claims.peek();
    for (; first !== undefined && first.queue !== this; first = this.#claims.peek()) this.#claims.pop();
    return first;
  }

  push(claim: Claim): void {
    claim.queue = this;
    this.#claims.push(claim);
    this.#waiting++;
  }

  /** Takes the oldest out. */
  pop(): Claim | undefined {
    const first = this.peek();
    if (first === undefined) return undefined;
    this.#claims.pop();
    first.queue = undefined;
    this.#waiting--;
    return first;
  }

  remove(claim: Claim): void {
    claim.queue = undefined;
    this.#waiting--;
    if (this.#claims.size > 2 * this.#waiting + SMALL)
      this.#claims = new Heap(compareAge, this.#stillWaiting());
  }

  /** Takes over all that wait elsewhere. */
  take(other: Queue): void {
    for (const claim of other.#stillWaiting()) this.push(claim);
  }

  *#stillWaiting(): Generator<Claim> {
    for (const claim of this.#claims.values()) if (claim.queue === this) yield claim;
  }
}

export type { Queue };

const SMALL = 32;

/**
 * The holders of subnets and identities, and the claims that wait for them. Held subnets do not overlap, and an identity
 * has one holder. A claim that contradicts a holder in one of its families holds nothing, and waits in that holder's queue.
 *
 * When a holder goes, its queues open, and {@link nextInLine} returns the waiting claims, the oldest first. When the first
 * of a queue takes everything that the queue waits for, the whole queue passes to it. So a departure costs the same,
 * whether one claim waits or 20,000.
 */
export class LeaseClaims {
  readonly #v4: BlockMap<Claim> | undefined;
  readonly #v6: RangeMap<bigint, Claim> | undefined;
  readonly #identities = new Map<string, Claim>();
  readonly #identityQueues = new Map<string, Queue>();
  /** Queues whose holder is gone. */
  #open: Heap<Queue> | undefined;
  readonly #opened = new Set<Queue>();

  /** A family that the network has not is not claimed. */
  constructor({ ranges: { v4, v6 } }: { readonly ranges: Ranges }) {
    this.#v4 = v4 && new BlockMap(32 - v4.subnetLength);
    this.#v6 = v6 && new RangeMap();
  }

  /** Gives the claim its subnets and identities, or queues it behind the claim that holds one of them. True when it holds all. */
  place(claim: Claim, subnets = subnetsOf(claim)): boolean {
    const { v4, v6 } = subnets;
    if (v4 !== undefined) {
      const neighbour = this.#v4?.add(v4.address, lastAddress(v4), claim);
      if (neighbour !== undefined) return this.#follow(neighbour, 'v4', claim);
    }
    if (v6 !== undefined) {
      const neighbour = this.#v6?.add(v6.address, lastAddress(v6), claim);
      if (neighbour !== undefined) {
        if (v4 !== undefined) this.#v4?.delete(v4.address);
        return this.#follow(neighbour, 'v6', claim);
      }
    }
    const { identity } = claim;
    if (identity === undefined) return true;
    // Most claims have one identity, which is no list: 50,000 lists, or functions, would take time and memory.
    const isTaken = typeof identity === 'string' && this.#identities.has(identity);
    const taken = isTaken ? identity : this.#firstTaken(identity);
    if (taken !== undefined) {
      this.#release(subnets);
      this.#queueOf(taken).push(claim);
      return false;
    }
    if (typeof identity === 'string') this.#identities.set(identity, claim);
    else for (const one of identity) this.#identities.set(one, claim);
    return true;
  }

  #firstTaken(identities: Exclude<Identity, undefined>): string | undefined {
    return typeof identities === 'string' ? undefined : identities.find((one) => this.#identities.has(one));
  }

  #follow(holder: Claim, family: FamilyName, claim: Claim): false {
    let queue = followersOf(holder, family);
    if (queue === undefined) {
      queue = new Queue({ holder, family });
      setFollowers(holder, family, queue);
    }
    queue.push(claim);
    return false;
  }

  #release({ v4, v6 }: Subnets): void {
    if (v4 !== undefined) this.#v4?.delete(v4.address);
    if (v6 !== undefined) this.#v6?.delete(v6.address);
  }

  /** Removes the claim, which must not be placed again: its record gets a new one. */
  withdraw(claim: Claim): void {
    if (claim.queue !== undefined) {
      const { queue } = claim;
      queue.remove(claim);
      if (queue.size === 0) this.#forget(queue);
      return;
    }
    this.#release(subnetsOf(claim));
    if (claim.followers !== undefined) this.#opened.add(claim.followers);
    if (claim.followers6 !== undefined) this.#opened.add(claim.followers6);
    claim.followers = undefined;
    claim.followers6 = undefined;
    const { identity } = claim;
    for (const one of typeof identity === 'string' ? [identity] : (identity ?? [])) {
      this.#identities.delete(one);
      const queue = this.#identityQueues.get(one);
      if (queue !== undefined) this.#opened.add(queue);
    }
  }

  /**
   * Takes the oldest claim out of the open queues; the caller places it again. With `before`, only a claim that is older.
   * Withdraw all claims of a change first, and then place claims in order.
   */
  nextInLine(before?: Pick<Claim, 'age' | 'name'>): Claim | undefined {
    const open = this.#openQueues();
    for (let queue = open?.peek(); open !== undefined && queue !== undefined; queue = open.peek()) {
      const claim = queue.peek();
      if (claim !== undefined && before !== undefined && compareAge(before, claim) <= 0) return undefined;
      open.pop();
      if (claim === undefined || this.#passOn(queue)) continue;
      queue.pop();
      if (queue.size > 0) open.push(queue);
      else this.#forget(queue);
      return claim;
    }
    this.#open = undefined;
    return undefined;
  }

  /** Why a claim that waits can't have what it wants. */
  contradiction({ queue }: Claim): string {
    if (queue?.holder === undefined)
      return `its identity ${queue?.identity} is also that of ${this.#identities.get(queue?.identity ?? '')?.name}`;
    return `its ${queue.family === 'v6' ? 'IPv6 subnet' : 'subnet'} overlaps that of ${queue.holder.name}`;
  }

  /** Queues that opened since, and those that still are, by their oldest claim. */
  #openQueues(): Heap<Queue> | undefined {
    if (this.#opened.size === 0) return this.#open;
    this.#open = new Heap(compareOldest, [...(this.#open?.values() ?? []), ...this.#opened]);
    this.#opened.clear();
    return this.#open;
  }

  /** True when a claim holds again what the queue waits for. The queue then waits for that claim. */
  #passOn(queue: Queue): boolean {
    if (queue.identity !== undefined) return this.#identities.has(queue.identity);
    const { holder: gone, family } = queue;
    if (gone === undefined || family === undefined) return false;
    const left = subnetsOf(gone)[family];
    const holder = left && this.#holderOf(left);
    if (left === undefined || holder === undefined) return false;
    const held = subnetsOf(holder)[family];
    // Where a part of it is held, each claim is checked by itself.
    if (held === undefined || !containsPrefix(held, left)) return false;
    unite(queue, family, holder);
    return true;
  }

  #holderOf(subnet: Prefix4 | Prefix6): Claim | undefined {
    return subnet.family === 4
      ? this.#v4?.overlapping(subnet.address, lastAddress(subnet))
      : this.#v6?.overlapping(subnet.address, lastAddress(subnet));
  }

  #queueOf(identity: string): Queue {
    let queue = this.#identityQueues.get(identity);
    if (queue === undefined) {
      queue = new Queue({ identity });
      this.#identityQueues.set(identity, queue);
    }
    return queue;
  }

  #forget(queue: Queue): void {
    if (queue.identity !== undefined) this.#identityQueues.delete(queue.identity);
    else if (queue.holder !== undefined && queue.family !== undefined) {
      if (followersOf(queue.holder, queue.family) === queue)
        setFollowers(queue.holder, queue.family, undefined);
    }
  }
}

function compareOldest(a: Queue, b: Queue): number {
  const [first, second] = [a.peek(), b.peek()];
  if (first === undefined || second === undefined) return first === second ? 0 : first === undefined ? -1 : 1;
  return compareAge(first, second);
}

/** Makes all that wait for what is gone wait for the one that holds it now. */
function unite(queue: Queue, family: FamilyName, holder: Claim): void {
  const followers = followersOf(holder, family);
  const [larger, smaller] =
    followers === undefined || queue.size > followers.size ? [queue, followers] : [followers, queue];
  if (smaller !== undefined) larger.take(smaller);
  larger.holder = holder;
  setFollowers(holder, family, larger);
}

const followersOf = ({ followers, followers6 }: Claim, family: FamilyName): Queue | undefined =>
  family === 'v4' ? followers : followers6;

function setFollowers(claim: Claim, family: FamilyName, queue: Queue | undefined): void {
  if (family === 'v4') claim.followers = queue;
  else claim.followers6 = queue;
}

/** A claim's subnets, parsed from its name on demand, which saves memory at 50,000 peers. */
function subnetsOf({ name }: Claim): Subnets {
  const subnets = parseSubnetName(name);
  if (subnets === undefined) throw new RangeError(`${name} is not the name of a subnet`);
  return subnets;
}
