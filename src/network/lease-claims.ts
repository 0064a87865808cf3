import { BlockMap } from '#src/lib/block-map.ts';
import { Heap } from '#src/lib/heap.ts';
import { lastAddress, type Prefix4 } from '#src/lib/ip.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** What one record wants for itself alone: its subnet, which its name gives, and an identity. */
export interface Claim {
  readonly name: string;
  /** The revision that created its key: the older claim comes first. */
  readonly age: number;
  readonly identity: string | undefined;
  /** Where it waits; `undefined` for a claim that holds what it wants. Only {@link LeaseClaims} writes it. */
  queue: Queue | undefined;
  /** Those that wait for its subnet. Only {@link LeaseClaims} writes it. */
  followers: Queue | undefined;
}

/** Older first, then by name. */
export const compareAge = (a: Pick<Claim, 'age' | 'name'>, b: Pick<Claim, 'age' | 'name'>): number =>
  a.age - b.age || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

/** Claims that wait for one thing. Each contradicts the claim that holds it. */
class Queue {
  /** The identity they want; `undefined` when they want the subnet of a holder. */
  readonly identity: string | undefined;
  /** The claim whose subnet they want. */
  holder: Claim | undefined;
  /** Removed claims stay here until they reach the top, or until they are the majority. */
  #claims = new Heap<Claim>(compareAge);
  #waiting = 0;

  constructor(wanted: { readonly identity: string } | { readonly holder: Claim }) {
    if ('identity' in wanted) this.identity = wanted.identity;
    else this.holder = wanted.holder;
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
 * has one holder. A claim that contradicts a holder waits in that holder's queue.
 *
 * When a holder goes, its queues open, and {@link nextInLine} returns the waiting claims, the oldest first. When the first
 * of a queue takes everything that the queue waits for, the whole queue passes to it. So a departure costs the same,
 * whether one claim waits or 20,000.
 */
export class LeaseClaims {
  readonly #subnets: BlockMap<Claim>;
  readonly #identities = new Map<string, Claim>();
  readonly #identityQueues = new Map<string, Queue>();
  /** Queues whose holder is gone. */
  #open: Heap<Queue> | undefined;
  readonly #opened = new Set<Queue>();

  /** `subnetLength`: that of nearly all claims. */
  constructor({ subnetLength }: { readonly subnetLength: number }) {
    this.#subnets = new BlockMap(32 - subnetLength);
  }

  /** Gives the claim its subnet and identity, or queues it behind the claim that holds one of them. True when it holds both. */
  place(claim: Claim, subnet = subnetOf(claim)): boolean {
    const [first, last] = [subnet.address, lastAddress(subnet)];
    const neighbour = this.#subnets.add(first, last, claim);
    if (neighbour !== undefined) {
      neighbour.followers ??= new Queue({ holder: neighbour });
      neighbour.followers.push(claim);
      return false;
    }
    const { identity } = claim;
    if (identity === undefined) return true;
    if (this.#identities.has(identity)) {
      this.#subnets.delete(first);
      this.#queueOf(identity).push(claim);
      return false;
    }
    this.#identities.set(identity, claim);
    return true;
  }

  /** Removes the claim, which must not be placed again: its record gets a new one. */
  withdraw(claim: Claim): void {
    if (claim.queue !== undefined) {
      const { queue } = claim;
      queue.remove(claim);
      if (queue.size === 0) this.#forget(queue);
      return;
    }
    this.#subnets.delete(rangeOf(claim).first);
    if (claim.followers !== undefined) this.#opened.add(claim.followers);
    claim.followers = undefined;
    const { identity } = claim;
    if (identity === undefined) return;
    this.#identities.delete(identity);
    const queue = this.#identityQueues.get(identity);
    if (queue !== undefined) this.#opened.add(queue);
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
  contradiction({ identity, queue }: Claim): string {
    return queue?.holder === undefined
      ? `its identity ${identity} is also that of ${this.#identities.get(identity ?? '')?.name}`
      : `its subnet overlaps that of ${queue.holder.name}`;
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
    const gone = queue.holder;
    if (gone === undefined) return false;
    const { first, last } = rangeOf(gone);
    const holder = this.#subnets.overlapping(first, last);
    if (holder === undefined) return false;
    const range = rangeOf(holder);
    // A part of it is held, so each claim is checked by itself.
    if (range.first > first || range.last < last) return false;
    this.#unite(queue, holder);
    return true;
  }

  #unite(queue: Queue, holder: Claim): void {
    const { followers } = holder;
    const [larger, smaller] =
      followers === undefined || queue.size > followers.size ? [queue, followers] : [followers, queue];
    if (smaller !== undefined) larger.take(smaller);
    larger.holder = holder;
    holder.followers = larger;
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
    else if (queue.holder?.followers === queue) queue.holder.followers = undefined;
  }
}

function compareOldest(a: Queue, b: Queue): number {
  const [first, second] = [a.peek(), b.peek()];
  if (first === undefined || second === undefined) return first === second ? 0 : first === undefined ? -1 : 1;
  return compareAge(first, second);
}

/** A claim's subnet, parsed from its name on demand, which saves memory at 50,000 peers. */
function subnetOf({ name }: Claim): Prefix4 {
  const v4 = parseSubnetName(name)?.v4;
  if (v4 === undefined) throw new RangeError(`${name} is not the name of a subnet`);
  return v4;
}

function rangeOf(claim: Claim): { readonly first: number; readonly last: number } {
  const subnet = subnetOf(claim);
  return { first: subnet.address, last: lastAddress(subnet) };
}
