import type { KeyNumbers, KeyPairs, KeyRole } from '#src/backend/key-pairs.ts';
import { TunnelSigns } from '#src/backend/tunnel-signs.ts';

/** What a peer's lease says of its keys. */
export interface PeerKeys {
  /** Public keys. Another key in the same place is another tunnel. */
  readonly current: string;
  readonly next?: string;
  readonly numbers: KeyNumbers;
  /** False for flannel, and for a weft that does not rotate. */
  readonly takesPart: boolean;
}

/** What the kernel shall have for one peer. */
export interface PeerPlan {
  /** Its tunnels, by the key of ours: which of the peer's keys is at the other end. */
  readonly tunnels: KeyPairs;
  /** Tunnels with a keepalive each second, by the key of ours. */
  readonly awake: readonly KeyRole[];
  /** Through which of them packets to the peer go. */
  readonly route: KeyRole;
}

export type Phase = 'idle' | 'moving' | 'ending';

const ROLES = ['current', 'next'] as const;

/** A peer that has moved has sent nothing through the old tunnel for so long, while the new one was alive. */
const QUIET_MS = 10_000;

/** One peer in a {@link Rotation}: its tunnels, and which of them carries its packets. */
export class RotationPeer {
  keys: PeerKeys;
  signs: Readonly<Record<KeyRole, TunnelSigns>> = { current: new TunnelSigns(), next: new TunnelSigns() };
  /** Since when both ends can have the tunnels that there are, and keep them awake. */
  #since: number;
  #pairs: KeyPairs = {};
  #isMoved: boolean;
  #awake: readonly KeyRole[] = [];

  constructor(keys: PeerKeys, now: number, isMoved: boolean) {
    this.keys = keys;
    this.#since = now;
    this.#isMoved = isMoved;
  }

  get isMoved(): boolean {
    return this.#isMoved;
  }

  get plan(): PeerPlan {
    return { tunnels: this.#pairs, awake: this.#awake, route: this.#isMoved ? 'next' : 'current' };
  }

  /** From now on silence means something. */
  watch(now: number): void {
    this.#since = now;
  }

  take(keys: PeerKeys, pairs: KeyPairs, now: number): void {
    for (const own of ROLES) {
      const [before, after] = [this.#pairs[own], pairs[own]];
      if ((before && this.keys[before]) === (after && keys[after])) continue;
      this.signs = { ...this.signs, [own]: new TunnelSigns() };
      this.#since = now;
      // A new key at the other end has not shaken hands yet.
      if (own === 'next' && before !== undefined) this.#isMoved = false;
    }
    this.keys = keys;
    this.#pairs = pairs;
  }

  /** True when the plan is another one now. */
  decide(phase: Phase, now: number): boolean {
    const before = this.plan;
    this.#isMoved = this.#shallMove(phase, now);
    this.#awake = this.#tunnelsAwake(phase, now);
    const { route, awake } = this.plan;
    return route !== before.route || awake.join() !== before.awake.join();
  }

  /** Why the first device is still needed for it; `undefined` when it is not. */
  unfinished(now: number, patienceMs: number): string | undefined {
    const { current, next } = this.signs;
    const lastSign = Math.max(this.#since, current.receivedAt ?? 0, next.receivedAt ?? 0);
    // Nothing can be lost on the way to it or from it.
    if (now - lastSign >= patienceMs) return undefined;
    if (!this.keys.takesPart) return 'it takes no part in rotations';
    if (this.#pairs.next === undefined) return 'it has not announced its next key';
    if (!this.#isMoved)
      return next.shaken ? 'nothing comes through its new tunnel' : 'no handshake with its next key';
    if (this.#pairs.current === undefined) return undefined;
    const quietSince = Math.max(this.#since, current.receivedAt ?? 0);
    const isQuiet = next.isAlive(now) && (next.receivedAt ?? 0) - quietSince >= QUIET_MS;
    return isQuiet ? undefined : 'it still uses the old tunnel';
  }

  /** The first device went, and the second is the only one now. */
  swap(): void {
    this.signs = { current: this.signs.next, next: new TunnelSigns() };
    this.#pairs = this.#pairs.next === undefined ? {} : { current: this.#pairs.next };
    this.#isMoved = false;
  }

  #shallMove(phase: Phase, now: number): boolean {
    const { current, next } = this.#pairs;
    if (next === undefined) return false;
    if (current === undefined || phase === 'ending') return true;
    const signs = this.signs;
    if (!this.#isMoved || !signs.next.shaken) return signs.next.isAlive(now);
    // Back, where the new tunnel died and the old one did not.
    return signs.next.isAlive(now) || !signs.current.isAlive(now);
  }

  #tunnelsAwake(phase: Phase, now: number): KeyRole[] {
    const there = ROLES.filter((own) => this.#pairs[own] !== undefined);
    // A peer that rotates has to see who is there.
    if (phase === 'idle') return this.keys.numbers.next === undefined ? [] : there;
    const isThrough = phase === 'ending' || (this.#isMoved && this.signs.next.isAlive(now));
    return there.length === 2 && isThrough ? ['next'] : there;
  }
}
