import type { Hop, HopId } from '#src/diagnose/trace/hop.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';

/** A place where the packet should be seen, or was. JSON. */
export interface Sight {
  readonly host: string;
  readonly way: Hop['way'];
  readonly device: string;
  readonly in: 'container' | 'host' | 'tenants';
  readonly direction: 'in' | 'out';
  readonly wrapped: boolean;
  readonly seen: boolean;
  /** Nanoseconds since the epoch, by the host's own clock; absent when it was not seen. */
  readonly at?: string;
  /** On the wire: the frame from its Ethernet header on, in hex. */
  readonly frame?: string;
}

/** Where a marked packet was lost. JSON. */
export interface Loss {
  readonly way: Hop['way'];
  readonly host: string;
  readonly hop: HopId;
  /** Where it was last seen; absent when it was seen nowhere. */
  readonly after?: Sight;
  /** Where it should have been seen next. */
  readonly before: Sight;
  /** The other host could not watch, and why: it may be lost there as well. */
  readonly orThere?: { readonly host: string; readonly why: string };
}

/** What became of a marked packet. JSON. */
export interface LiveTrace {
  readonly sights: readonly Sight[];
  /** Absent when the answer came back. */
  readonly lost?: Loss;
}

/** A place on the way, and the hop between the place before it and this one. */
interface Place {
  readonly sight: Sight;
  readonly hop: HopId;
  readonly way: Hop['way'];
}

/** One end: what it saw, or what it is called where nobody could watch there. */
export type WatchedEnd =
  | WatchAnswer
  | { readonly host: string; readonly why: string; readonly stations?: undefined };

/**
 * Follows the packet there and the answer back through the stations of both hosts. It is lost behind the last place in the
 * order of the way at which it was seen: of several packets the one that came furthest counts.
 */
export function locate(from: WatchedEnd, to: WatchedEnd): LiveTrace {
  const places = [
    ...leave(from, 'there'),
    ...enter(to, 'there'),
    ...leave(to, 'back'),
    ...enter(from, 'back'),
  ];
  const sights = places.map(({ sight }) => sight);
  const last = places.findLastIndex(({ sight }) => sight.seen);
  const [after, next] = [sights[last], places[last + 1]];
  if (next === undefined) return { sights };
  const { hop, way, sight: before } = next;
  // The wire is between two hosts, and is named by the one that sends.
  const host = hop === 'wire' ? (after?.host ?? before.host) : before.host;
  const isUnwatched = to.stations === undefined && hop === 'wire' && way === 'back';
  const orThere = isUnwatched ? { host: to.host, why: to.why } : undefined;
  const loss = { way: isUnwatched ? 'there' : way, host, hop, before } as const;
  return {
    sights,
    lost: { ...loss, ...(after !== undefined && { after }), ...(orThere !== undefined && { orThere }) },
  };
}

function leave(end: WatchedEnd, way: Hop['way']): Place[] {
  const stations = end.stations ?? [];
  // Who can't get into the container sends from the host, as if by the container: the bridge does not see that.
  const isFromHost = way === 'there' && !stations.some((station) => station.in === 'container');
  return stations.flatMap(({ leaving }, index) => {
    if (isFromHost && leaving === 'bridge') return [];
    const sight = sightOf(end, way, index, 'out');
    // Between the request that came into a container and its answer is nothing but the container itself.
    return way === 'back' && index === 0
      ? [{ sight, hop: 'arrival-container' as const, way: 'there' as const }]
      : [{ sight, hop: leaving, way }];
  });
}

const enter = (end: WatchedEnd, way: Hop['way']): Place[] =>
  (end.stations ?? [])
    .map(({ entering }, index) => ({ sight: sightOf(end, way, index, 'in'), hop: entering, way }))
    .reverse();

function sightOf(end: WatchedEnd, way: Hop['way'], index: number, course: 'out' | 'in'): Sight {
  const { host, stations = [] } = end;
  const station = stations[index];
  if (station === undefined) throw new RangeError(`no station ${index}`);
  const direction = directionAt(station, course);
  const kind = way === 'there' ? 'request' : 'answer';
  const sightings = end.stations === undefined ? [] : end.sightings;
  const sighting = sightings.find(
    (it) => it.station === index && it.kind === kind && it.direction === direction,
  );
  const { device, wrapped } = station;
  const sight = { host, way, device, in: station.in, direction, wrapped, seen: sighting !== undefined };
  if (sighting === undefined) return sight;
  const { at, frame } = sighting;
  return { ...sight, at, ...(frame !== undefined && { frame }) };
}

/**
 * The direction as the device's host sees it, of a packet that comes nearer to the wire (`out`) or to the container (`in`): what
 * leaves a container comes in by its port and by the bridge.
 */
export const directionAt = ({ leaving }: { readonly leaving: HopId }, course: 'out' | 'in'): 'in' | 'out' =>
  leaving !== 'bridge' ? course : course === 'out' ? 'in' : 'out';
