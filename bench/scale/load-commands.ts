import type { Member } from './connection-pool.ts';
import type { Tally } from './played-watch.ts';

/** What the process that plays hosts is asked to do. */
export type Command =
  | {
      readonly do: 'connect';
      readonly members: readonly Member[];
      readonly shared: number;
      readonly hosts: number;
      /** Each watch asks after so long, however many hosts there are. Default: as flanneld does. */
      readonly quietMs?: number;
    }
  | {
      readonly do: 'fill';
      readonly from: number;
      readonly to: number;
      readonly ttl: number;
      readonly bytes: number;
    }
  | { readonly do: 'watch' }
  | { readonly do: 'renew'; readonly every: number }
  | { readonly do: 'counts' }
  | { readonly do: 'figures'; readonly url: string }
  | {
      readonly do: 'puts';
      readonly from: number;
      readonly to: number;
      readonly ttl: number;
      readonly pauseMs: number;
    }
  | { readonly do: 'join'; readonly from: number; readonly to: number; readonly ttl: number }
  | { readonly do: 'leave' | 'die'; readonly from: number; readonly to: number }
  | { readonly do: 'expired'; readonly events: number }
  | { readonly do: 'failover' };

/** Of a lease that was written, in milliseconds since 1970: when it was sent, answered, and heard by all played hosts. */
export interface Put {
  readonly n: number;
  readonly sent: number;
  readonly answered: number;
  readonly heard: number;
}

export interface Counts extends Tally {
  readonly renewed: number;
  readonly connections: number;
  /** Of the playing process, in seconds. */
  readonly processor: number;
}
