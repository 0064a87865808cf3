/**
 * What the page's server sends to the page. The local API of each host is polled by the server and not by the page, so that
 * many open pages cost the hosts no more than one.
 *
 *     GET /api/live     server-sent events, each a LiveMessage
 *     GET /api/series   Series of the last hour: `?source=ID&after=MILLISECONDS`
 *     GET /api/ends     words for both ends of a trace, to choose from: string[]
 *     GET /api/trace    TraceAnswer: `?from=A&to=B`
 *     GET /api/v1/ID/…  the local API of one source, as it is (observe/api.ts)
 */
export type LinkState = 'up' | 'degraded' | 'down' | 'unmeasured' | 'unused';

/** From the worst to the best. */
export const LINK_STATES: readonly LinkState[] = ['down', 'degraded', 'unused', 'unmeasured', 'up'];

/** One host's view of the way to one peer. */
export interface Link {
  /** The peer's lease: `10.0.65.0-24`. */
  readonly peer: string;
  readonly subnet?: string;
  readonly publicIp?: string;
  readonly state: LinkState;
  /** Milliseconds inside the tunnel. */
  readonly roundTripMs?: number;
  /** Of the last packets inside the tunnel. */
  readonly lossPercent?: number;
  /** Bytes. */
  readonly workingMtu?: number;
  /** What is wrong, in one clause or several. */
  readonly reason?: string;
}

/** Where the server finds a local API. */
export interface SourceName {
  /** Letters, digits, `-` and `_`; part of paths. */
  readonly id: string;
  readonly host: string;
  /** Where the host serves several networks. */
  readonly network?: string;
  /** `driver`: the API of Docker's driver, which knows no peers. */
  readonly kind: 'network' | 'driver';
}

/** What a host says of itself. */
export interface Own {
  readonly version: string;
  readonly node: string;
  readonly ready: boolean;
  readonly troubles: readonly string[];
  readonly lease?: string;
  readonly subnet?: string;
  readonly publicIp?: string;
  /** The range of the whole network. */
  readonly range?: string;
  readonly backend?: string;
  readonly mtu?: number;
  readonly registry?: string;
  readonly wanted?: number;
  readonly failing?: number;
  readonly repairs?: number;
  readonly eventLoopDelayMs?: number;
}

export interface SourceHead extends SourceName {
  /** Whether its API answers. If not, the rest is as it was when it last did. */
  readonly answers: boolean;
  /** Since when. ISO 8601. */
  readonly since: string;
  /** Why it does not answer. */
  readonly why?: string;
  readonly own?: Own;
}

export interface SourceState extends SourceHead {
  readonly links: readonly Link[];
}

export interface SourceChange extends SourceHead {
  readonly changed: readonly Link[];
  /** Peers whose links are gone. */
  readonly gone: readonly string[];
}

export type LiveMessage =
  | {
      readonly kind: 'all';
      readonly at: string;
      readonly title: string;
      readonly sources: readonly SourceState[];
    }
  | {
      readonly kind: 'change';
      readonly at: string;
      readonly sources: readonly SourceChange[];
      readonly gone: readonly string[];
    }
  /** Nothing changed, and the server lives. */
  | { readonly kind: 'beat'; readonly at: string };

/** One place on the way of a packet. */
export interface TraceHop {
  readonly id: string;
  readonly host: string;
  /** `back`: of the answer. */
  readonly way?: 'there' | 'back';
  readonly about: string;
  readonly command?: string;
  /** One line each. */
  readonly found?: string | readonly string[];
  readonly expected?: string;
  /** `unknown`: it could not be looked at. */
  readonly ok: boolean | 'unknown';
  readonly remedy?: string;
}

export interface TraceAnswer {
  readonly hops: readonly TraceHop[];
}
