import { type LiveTrace, locate, type WatchedEnd } from '#src/diagnose/trace/live/locate.ts';
import { TOKEN_BYTES } from '#src/diagnose/trace/live/marked-packet.ts';
import type { WatchRequest } from '#src/diagnose/trace/live/watch-part.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import { secretBytes } from '#src/sys/random.ts';

/** One end of a live trace. */
export interface LiveEnd {
  /** Dotted. */
  readonly address: string;
  /** What the host is called until it answers. */
  readonly host: string;
  /** Watches there. Rejects where it can't be asked. */
  readonly watch: (request: WatchRequest, enough: Promise<void>) => Promise<WatchAnswer>;
}

export interface LiveRequest {
  readonly from: LiveEnd;
  readonly to: LiveEnd;
  /** The number of a Docker network of weft. */
  readonly tenant?: number | undefined;
  /** How long a packet may take. Default 1,500. */
  readonly timeoutMs?: number;
}

/**
 * Sends a marked packet and watches for it on both hosts. Where the other host can't watch, the way there is not known. Rejects
 * where the one that sends can't. */
export async function traceLive({ from, to, tenant, timeoutMs = 1_500 }: LiveRequest): Promise<LiveTrace> {
  const token = secretBytes(TOKEN_BYTES).toString('hex');
  const common = { token, timeoutMs, ...(tenant !== undefined && { tenant }) };
  const never = new Promise<void>(() => {});
  const there = watchOrNot(to, { ...common, own: to.address, other: from.address, send: false }, never);
  // Where the other host can't watch, one packet after the other goes until the time is over.
  const enough = there.then((end) => (end.stations === undefined ? never : undefined));
  const request = { ...common, own: from.address, other: to.address, send: true };
  const [here, answer] = await Promise.all([from.watch(request, enough), there]);
  return locate(here, answer);
}

async function watchOrNot(
  { host, watch }: LiveEnd,
  request: WatchRequest,
  enough: Promise<void>,
): Promise<WatchedEnd> {
  try {
    return await watch(request, enough);
  } catch (error) {
    if (isAbort(error)) throw error;
    return { host, why: messageOf(error) };
  }
}
