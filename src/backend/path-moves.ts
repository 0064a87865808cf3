import type { ChangeStep, PeerSight } from '#src/backend/changing.ts';
import { MOST_WAITS } from '#src/network/change-member.ts';
import type { ChangePhase } from '#src/network/change-plan.ts';

/** A peer in a change. */
interface Peer {
  sight: PeerSight;
  /** Flannel is none, and does nothing for a change. */
  isWeft: boolean;
  /** Packets came through to what it said of the new path then. */
  provenKey: string | undefined;
  /** When the new path may be tried again, and how often in a row it failed. */
  tryAt: number;
  failures: number;
  why: string | undefined;
}

/** The steps that peers have no say in. */
export type OwnPart = Pick<ChangeStep, 'isAnnounced' | 'reversePath' | 'reversePathBefore' | 'trouble'>;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 10_000;

/**
 * Which peers' packets go by the new path of a change. Pure: it hears the plan's phase, what peers announce and what came of
 * trying their new path, and says what to try next and what the step is now. Times are monotonic milliseconds.
 *
 * A peer moves in phase `moving`, once its new path was tried. It goes back when it announces another path or none, and when the
 * change is aborted: the old path is there on both ends until the plan is gone. Each end moves its own packets alone.
 */
export class PathMoves {
  #phase: ChangePhase;
  readonly #peers = new Map<string, Peer>();

  constructor(phase: ChangePhase) {
    this.#phase = phase;
  }

  get phase(): ChangePhase {
    return this.#phase;
  }

  use(phase: ChangePhase): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    for (const peer of this.#peers.values()) {
      peer.tryAt = Number.NEGATIVE_INFINITY;
      peer.why = undefined;
      // After an abort nothing is known of the new path, should it be tried again.
      if (phase === 'aborted') peer.provenKey = undefined;
    }
  }

  /** A peer that came, or what another record of it says. */
  see(name: string, sight: PeerSight, isWeft: boolean): void {
    const known = this.#peers.get(name);
    if (known === undefined || known.sight.toKey !== sight.toKey) {
      const fresh = { provenKey: undefined, tryAt: Number.NEGATIVE_INFINITY, failures: 0, why: undefined };
      this.#peers.set(name, { sight, isWeft, ...fresh });
    } else {
      known.sight = sight;
      known.isWeft = isWeft;
    }
  }

  forget(name: string): void {
    this.#peers.delete(name);
  }

  get names(): Iterable<string> {
    return this.#peers.keys();
  }

  /** Peers whose new path is to be tried now, each with the key to note the outcome by. */
  due(now: number, most: number): Map<string, string> {
    const due = new Map<string, string>();
    if (this.#phase !== 'moving') return due;
    for (const [name, { sight, provenKey, tryAt }] of this.#peers) {
      if (due.size === most) break;
      if (sight.toKey === undefined || sight.toKey === provenKey || tryAt > now) continue;
      due.set(name, sight.toKey);
    }
    return due;
  }

  /** When {@link due} may have more; infinite when only another message can bring it. */
  get nextTry(): number {
    if (this.#phase !== 'moving') return Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const { sight, provenKey, tryAt } of this.#peers.values()) {
      const isDue = sight.toKey !== undefined && sight.toKey !== provenKey;
      if (isDue && tryAt < next) next = tryAt;
    }
    return next;
  }

  /** What came of trying a peer's new path; `why` it does not work, or `undefined` when it does. */
  note(name: string, key: string, why: string | undefined, now: number): void {
    const peer = this.#peers.get(name);
    // It was tried as it was then.
    if (peer === undefined || peer.sight.toKey !== key || this.#phase !== 'moving') return;
    peer.why = why;
    if (why === undefined) {
      peer.provenKey = key;
      peer.failures = 0;
      return;
    }
    peer.tryAt = now + Math.min(FIRST_PAUSE_MS * 2 ** peer.failures++, LONGEST_PAUSE_MS);
  }

  /** The step that is to be in force, given what peers have no say in. */
  step(own: OwnPart, tried: ReadonlySet<string> = NOBODY): ChangeStep {
    const moved = new Set<string>();
    const waits: Record<string, string> = {};
    let done = 0;
    for (const [name, peer] of this.#peers) {
      if (this.#hasMoved(peer)) moved.add(name);
      const why = this.#heldUpBy(peer);
      if (why === undefined) done++;
      else if (Object.keys(waits).length < MOST_WAITS) waits[name] = why;
    }
    return {
      ...own,
      moved: this.#phase === 'settling' ? 'all' : moved,
      tried,
      done,
      of: this.#peers.size,
      waits,
    };
  }

  #hasMoved({ sight, provenKey }: Peer): boolean {
    return this.#phase === 'moving' && provenKey !== undefined && provenKey === sight.toKey;
  }

  /** Why this node is not done with the peer in this phase; `undefined` when it is. */
  #heldUpBy(peer: Peer): string | undefined {
    const { sight, isWeft, why } = peer;
    switch (this.#phase) {
      case 'aborted':
        return sight.speaks === 'from' ? undefined : 'its lease still names the new path';
      case 'settling':
        return sight.speaks === 'to' ? undefined : 'its lease still names the old path';
      default: {
        if (!isWeft) return 'it runs flannel, which takes no part';
        if (sight.toKey === undefined) return 'it has not announced the new path';
        if (this.#phase === 'prepare' || this.#hasMoved(peer)) return undefined;
        return why ?? 'the new path to it is being tried';
      }
    }
  }
}

const NOBODY: ReadonlySet<string> = new Set();
