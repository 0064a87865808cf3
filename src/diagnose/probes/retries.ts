import type { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';

/** One more measurement of a peer, beside the round of all of them. */
export interface Retry {
  readonly peer: MeasuredPeer;
  readonly what: 'inside' | 'outside' | 'full-inside' | 'full-outside' | 'mtu' | 'tcp' | 'udp';
  /** Monotonic milliseconds. */
  readonly dueAt: number;
}

/** Of thousands that fall silent at once, the others are found by the round. */
const MOST_WAITING = 1_000;

/** Measurements of suspicious peers: those whose last packet got lost, or whose MTU is looked for. The earliest comes first. */
export class Retries {
  readonly #waiting: Retry[] = [];

  add(retry: Retry): void {
    if (this.#waiting.length >= MOST_WAITING) return;
    const before = this.#waiting.findLastIndex(({ dueAt }) => dueAt <= retry.dueAt);
    this.#waiting.splice(before + 1, 0, retry);
  }

  /** The first, if it is due. Those of peers that have gone are left out. */
  due(now: number): Retry | undefined {
    while (this.#waiting[0]?.peer.isGone) this.#waiting.shift();
    const [first] = this.#waiting;
    return first !== undefined && first.dueAt <= now ? first : undefined;
  }

  remove(retry: Retry): void {
    const at = this.#waiting.indexOf(retry);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** Monotonic milliseconds; infinite when there is none. */
  get nextAt(): number {
    return this.#waiting[0]?.dueAt ?? Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.#waiting.length = 0;
  }
}
