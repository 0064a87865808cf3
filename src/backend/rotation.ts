import { type KeyNumbers, type KeyPairs, type KeyRole, keyPairs } from '#src/backend/key-pairs.ts';
import { type PeerKeys, type PeerPlan, type Phase, RotationPeer } from '#src/backend/rotation-peer.ts';
import type { TunnelSeen } from '#src/backend/tunnel-signs.ts';

/** Why a rotation does not end yet. */
export interface HeldUp {
  /** The lease's. */
  readonly name: string;
  readonly reason: string;
}

export interface RotationOptions {
  /** How long a peer that is silent on all tunnels is waited for, in milliseconds. */
  readonly patienceMs: number;
}

/**
 * One node's part in the rotation of its network's WireGuard keys. A second device with the next key stands beside the
 * first. The route to a peer moves when a handshake has passed between both next keys, and the first device goes when no
 * peer uses it any more. A peer that has moved sends no keepalive through the old tunnel. That is how it is known: without
 * a word through the registry, and so that a peer whose daemon is dead is not taken for one that has moved.
 *
 * Pure: all that it knows was said to it, and times are those of a monotonic clock.
 */
export class Rotation {
  readonly #options: RotationOptions;
  readonly #peers = new Map<string, RotationPeer>();
  #numbers: KeyNumbers;
  #isEnding: boolean;

  /** `isEnding`: our lease names the next key as its own already, and the first device is still there. */
  constructor(options: RotationOptions, numbers: KeyNumbers, isEnding = false) {
    this.#options = options;
    this.#numbers = numbers;
    this.#isEnding = isEnding && numbers.next !== undefined;
  }

  /** What our lease shall say. */
  get published(): KeyNumbers {
    const { next } = this.#numbers;
    return this.#isEnding && next !== undefined ? { current: next } : this.#numbers;
  }

  /** Those of the keys that there are. */
  get numbers(): KeyNumbers {
    return this.#numbers;
  }

  get phase(): Phase {
    if (this.#numbers.next === undefined) return 'idle';
    return this.#isEnding ? 'ending' : 'moving';
  }

  /**
   * A peer's lease. `found`: after a restart, the tunnel on which the kernel's route to it was found. It counts while
   * there is a handshake.
   */
  setPeer(name: string, keys: PeerKeys, now: number, found?: KeyRole): void {
    const peer = this.#peers.get(name) ?? new RotationPeer(keys, now, found === 'next');
    this.#peers.set(name, peer);
    peer.take(keys, this.#pairsOf(keys), now);
  }

  removePeer(name: string): void {
    this.#peers.delete(name);
  }

  /** What the kernel says of a tunnel to a peer, by the key of ours; `undefined` when it has no such tunnel. */
  see(name: string, own: KeyRole, seen: TunnelSeen | undefined, now: number): void {
    const signs = this.#peers.get(name)?.signs[own];
    if (seen === undefined) signs?.lose();
    else signs?.see(seen, now);
  }

  /** Names of the peers whose plan is another one now. */
  decide(now: number): string[] {
    return [...this.#peers].filter(([, peer]) => peer.decide(this.phase, now)).map(([name]) => name);
  }

  /** The same for one peer. */
  decideOn(name: string, now: number): void {
    this.#peers.get(name)?.decide(this.phase, now);
  }

  /** `undefined` for a peer that was not set. */
  planOf(name: string): PeerPlan | undefined {
    return this.#peers.get(name)?.plan;
  }

  /** The number for a next key that others' rotation asks of us; `undefined` when nobody does. */
  get asked(): number | undefined {
    const highest = this.#highestNext;
    const isNews =
      this.#numbers.next === undefined && highest !== undefined && highest > this.#numbers.current;
    return isNews ? highest : undefined;
  }

  /** The number of a rotation that we begin. */
  get following(): number {
    const numbers = Array.from(this.#peers.values(), ({ keys }) => keys.numbers);
    return (
      1 + Math.max(this.#numbers.current, ...numbers.map(({ current, next = 0 }) => Math.max(current, next)))
    );
  }

  /** Names of the peers that take no part: with one of them no rotation begins. */
  get strangers(): string[] {
    return [...this.#peers].filter(([, { keys }]) => !keys.takesPart).map(([name]) => name);
  }

  /** Whether somebody else rotates. */
  get areOthersBusy(): boolean {
    return this.#highestNext !== undefined;
  }

  /** The second device is there, and our lease says so from now on. */
  begin(number: number, now: number): void {
    if (this.#numbers.next !== undefined) throw new Error('a rotation is under way');
    this.#numbers = { ...this.#numbers, next: number };
    this.#pairAgain(now);
    for (const peer of this.#peers.values()) peer.watch(now);
  }

  /** Peers for which the first device is still needed, with the reason; none when it can go. */
  heldUp(now: number): HeldUp[] {
    if (this.phase !== 'moving') return [];
    return [...this.#peers].flatMap(([name, peer]) => {
      const reason = peer.unfinished(now, this.#options.patienceMs);
      return reason === undefined ? [] : [{ name, reason }];
    });
  }

  /** Nobody holds it up: our lease names the next key as its own from now on. */
  publish(now: number): void {
    const { next } = this.#numbers;
    if (next === undefined) throw new Error('no rotation is under way');
    // Not below what a peer calls the same rotation: it would take us for one that is behind.
    this.#numbers = { ...this.#numbers, next: Math.max(next, this.#highestNext ?? next) };
    this.#isEnding = true;
    this.#pairAgain(now);
  }

  /** The lease is written, and the first device may go. */
  end(now: number): void {
    const { next } = this.#numbers;
    if (!this.#isEnding || next === undefined) throw new Error('the rotation has not ended');
    this.#numbers = { current: next };
    this.#isEnding = false;
    for (const peer of this.#peers.values()) peer.swap();
    this.#pairAgain(now);
  }

  /** How many peers there are, and to how many of them packets go through the new tunnel. */
  get progress(): { readonly peers: number; readonly moved: number } {
    const all = [...this.#peers.values()];
    return { peers: all.length, moved: all.filter(({ isMoved }) => isMoved).length };
  }

  #pairsOf({ numbers }: PeerKeys): KeyPairs {
    const pairs = keyPairs(this.#numbers, numbers);
    if (!this.#isEnding) return pairs;
    // For others we have one key now. The first device keeps what it had until the lease has come to them.
    const { current: next } = keyPairs(this.published, numbers);
    return { ...pairs, ...(next !== undefined && { next }) };
  }

  #pairAgain(now: number): void {
    for (const peer of this.#peers.values()) peer.take(peer.keys, this.#pairsOf(peer.keys), now);
  }

  get #highestNext(): number | undefined {
    const numbers = Array.from(this.#peers.values(), ({ keys }) => keys.numbers.next ?? -1);
    const highest = Math.max(-1, ...numbers);
    return highest < 0 ? undefined : highest;
  }
}
