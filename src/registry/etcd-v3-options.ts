import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import type { WatchPatience } from '#src/registry/etcd-v3-watch.ts';

export interface EtcdV3Options extends EtcdOptions {
  /**
   * Records asked for in one message. Default 4,000: some 8 ms of decoding. Smaller pages are dearer than they look,
   * because etcd counts all keys that follow for each of them.
   */
  readonly pageSize?: number;
  /** A silent watch asks for a sign of life after so long, default 3,000 (longer in a large network), … */
  readonly watchQuietMs?: number;
  /** … or after so long where that is a call of its own, default 10,000, … */
  readonly watchQuietForCallMs?: number;
  /** … and is given up when none comes within so long. Default 2,000. */
  readonly watchAnswerMs?: number;
}

/** What the options say of a watch, with the defaults. */
export const watchPatience = ({
  watchQuietMs = 3_000,
  watchQuietForCallMs = 10_000,
  watchAnswerMs = 2_000,
}: Pick<EtcdV3Options, 'watchQuietMs' | 'watchQuietForCallMs' | 'watchAnswerMs'>): WatchPatience => ({
  quietMs: watchQuietMs,
  quietForCallMs: watchQuietForCallMs,
  answerMs: watchAnswerMs,
});

/** Two questions of all hosts together, one for each of their watches, are so far apart at least … */
const APART_MS = 1;
/** … as long as none has to wait longer than this for its own. */
const LONGEST_QUIET_MS = 30_000;

/**
 * The patience of a watch that so many hosts have as well. A question costs etcd up to a tenth of a millisecond of processor
 * (script/bench scale): with 15,000 hosts that ask each 3 s for both of their watches, one processor does nothing else.
 * Whether the server is frozen or cut off, gRPC's pings find out within 9 s meanwhile (etcd-v3-client.ts).
 */
export const patienceAmong = (patience: WatchPatience, hosts: () => number): WatchPatience => {
  const among = (quietMs: number): number =>
    Math.max(quietMs, Math.min(LONGEST_QUIET_MS, hosts() * APART_MS));
  return {
    answerMs: patience.answerMs,
    get quietMs() {
      return among(patience.quietMs);
    },
    get quietForCallMs() {
      return among(patience.quietForCallMs);
    },
  };
};
