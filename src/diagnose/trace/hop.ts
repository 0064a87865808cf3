/** One place that a packet passes, as a trace found it. JSON: the responder answers it. */
export interface Hop {
  /** Stable, in kebab-case: `host-route`. See {@link HopId}. */
  readonly id: HopId;
  /** The host's name. */
  readonly host: string;
  /** Whether the packet goes there, or is the answer that comes back. */
  readonly way: 'there' | 'back';
  /** What happens there, for readers who do not know VXLAN. */
  readonly about: string;
  /** The command that shows it; empty where none does. */
  readonly command: string;
  /** One line each. */
  readonly found: readonly string[];
  /** What it should be, in one clause; empty where nothing is expected. */
  readonly expected: string;
  readonly ok: boolean | 'unknown';
  /** What mends it: a command, or what to look at. */
  readonly remedy?: string;
}

/** In the order of the way. Those of `arrival` are on the host that the packet comes to. */
export type HopId =
  | 'container'
  | 'bridge'
  | 'forwarding'
  | 'route'
  | 'forward-filter'
  | 'device'
  | 'neighbour'
  | 'fdb'
  | 'underlay'
  | 'output-filter'
  | 'wire'
  | 'input-filter'
  | 'arrival-device'
  | 'arrival-forwarding'
  | 'arrival-route'
  | 'arrival-filter'
  | 'arrival-bridge'
  | 'arrival-container';

/** What a step says of a hop; host and way are the walk's. */
export type Finding = Omit<Hop, 'host' | 'way'>;

/** Hops up to the first that is not as it must be; all of them with `all`. */
export function upToFault(hops: readonly Hop[], all: boolean): Hop[] {
  const fault = all ? -1 : hops.findIndex(({ ok }) => ok === false);
  return hops.slice(0, fault < 0 ? hops.length : fault + 1);
}

/** Whether the packet arrives, as far as can be seen. */
export function outcomeOf(hops: readonly Hop[]): 'arrives' | 'stopped' | 'unknown' {
  if (hops.some(({ ok }) => ok === false)) return 'stopped';
  return hops.some(({ ok }) => ok === 'unknown') ? 'unknown' : 'arrives';
}
