import { directionAt } from '#src/diagnose/trace/live/locate.ts';
import { markedPacket, TOKEN_BYTES } from '#src/diagnose/trace/live/marked-packet.ts';
import type { StationPlan } from '#src/diagnose/trace/live/stations.ts';
import { TokenWatch, type WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type Ip, isIpv4, parseIp } from '#src/lib/ip.ts';
import type { Clock } from '#src/sys/clock.ts';
import { openIpSender } from '#src/sys/ip-sender.ts';

/** What one host is asked to watch for. JSON: the body of `POST /v1/watch`. */
export interface WatchRequest {
  /** 32 hex digits. */
  readonly token: string;
  /** The address of the container on the host that is asked, and the one at the other end. */
  readonly own: string;
  readonly other: string;
  /** Of all of it, in milliseconds; at most 5,000. */
  readonly timeoutMs: number;
  /** This host sends the packets, from {@link own} to {@link other}. */
  readonly send: boolean;
  /** The number of a Docker network of weft; absent for flannel's. */
  readonly tenant?: number;
}

/** Of all packets of one watch. */
const PACKETS = 5;
const INTERVAL_MS = 150;
export const LONGEST_WATCH_MS = 5_000;

export interface WatchPartOptions {
  readonly signal?: AbortSignal | undefined;
  /** Resolves when the other host has seen all: no more packets are needed. */
  readonly enough?: Promise<void>;
}

/** Where packets between two addresses pass on this host. */
export type PlanStations = (own: Ip, other: Ip, tenant: number | undefined) => Promise<StationPlan>;

/** Watches on this host, and sends when it is to. @throws {WeftError} `trace-watch` for a request that can't be one. */
export async function watchPart(
  { name, plan, clock }: { readonly name: string; readonly plan: PlanStations; readonly clock: Clock },
  request: WatchRequest,
  { signal, enough = new Promise(() => {}) }: WatchPartOptions = {},
): Promise<WatchAnswer> {
  const { token, own, other, timeoutMs } = checked(request);
  const planned = await plan(own, other, request.tenant);
  const { stations, namespaces } = planned;
  // The sender has seen all with the answer at the container, the other host when the answer is on the wire.
  const station = request.send ? 0 : stations.length - 1;
  const course = request.send ? 'in' : 'out';
  const direction = directionAt(stations[station] ?? { leaving: 'wire' }, course);
  const last = { kind: 'answer', station, direction } as const;
  const watch = new TokenWatch(planned, { token, timeoutMs, last, ...(signal && { signal }) });
  await watch.start();
  try {
    const ended = watch.run(clock);
    if (request.send)
      await send(namespaces.container ?? namespaces.host, { token, own, other }, clock, enough);
    await ended;
    return { host: name, stations, sightings: watch.sightings };
  } finally {
    watch.stop();
  }
}

function checked({ token, own, other, timeoutMs }: WatchRequest) {
  const addresses = [own, other].map((text) => parseIp(text));
  const [from, to] = addresses;
  const bytes = Buffer.from(token, 'hex');
  const isOneFamily = from !== undefined && to !== undefined && isIpv4(from) === isIpv4(to);
  if (!isOneFamily || bytes.length !== TOKEN_BYTES || !(timeoutMs > 0)) {
    throw new WeftError(
      'trace-watch',
      'cannot watch for a packet: the request is not of the form that it should be',
    );
  }
  return {
    token: new Uint8Array(bytes),
    own: from,
    other: to,
    timeoutMs: Math.min(timeoutMs, LONGEST_WATCH_MS),
  };
}

/** Several packets: the other host may begin to watch a little later. */
async function send(
  namespace: string | undefined,
  { token, own, other }: { readonly token: Uint8Array; readonly own: Ip; readonly other: Ip },
  clock: Clock,
  enough: Promise<void>,
): Promise<void> {
  const sender = await openIpSender(other, namespace);
  let isOver = false;
  const over = enough.then(() => {
    isOver = true;
  });
  try {
    for (let sequence = 1; sequence <= PACKETS && !isOver; sequence++) {
      try {
        sender.send(markedPacket(token, own, other, sequence), other);
      } catch {
        // The kernel itself refused it, as a packet filter or a missing route does: then it is seen nowhere.
      }
      await Promise.race([clock.sleep(INTERVAL_MS), over]);
    }
  } finally {
    sender.close();
  }
}
