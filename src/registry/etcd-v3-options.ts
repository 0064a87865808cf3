import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import type { WatchPatience } from '#src/registry/etcd-v3-watch.ts';

export interface EtcdV3Options extends EtcdOptions {
  /**
   * Records asked for in one message. Default 4,000: some 8 ms of decoding. Smaller pages are dearer than they look,
   * because etcd counts all keys that follow for each of them.
   */
  readonly pageSize?: number;
  /** A silent watch asks for a sign of life after so long, default 3,000, … */
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
