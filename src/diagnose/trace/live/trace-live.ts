import { type LiveTrace, locate, type WatchedEnd } from '#src/diagnose/trace/live/locate.ts';
import { TOKEN_BYTES } from '#src/diagnose/trace/live/marked-packet.ts';
import type { WatchRequest } from '#src/diagnose/trace/live/watch-part.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import { secretBytes } from '#src/sys/random.ts';

/** One end of a live trace. */
export interface LiveEnd {
  /** Dotted. */
  readonly address: string;
  /** What the host is called until it answers. */
  readonly host: string;
  /** Watches there. Rejects where it can't be asked. */
  readonly watch: (request: WatchRequest) => Promise<WatchAnswer>;
}

export interface LiveRequest {
  readonly from: LiveEnd;
  readonly to: LiveEnd;
  /** The number of a Docker network of weft. */
  readonly tenant?: number | undefined;
  /** How long a packet may take. Default 1,500. */
  readonly timeoutMs?: number;
}

/** Sends a marked packet and watches for it on both hosts. Where a host can't be watched, the way there is not known. */
export async function traceLive({ from, to, tenant, timeoutMs = 1_500 }: LiveRequest): Promise<LiveTrace> {
  const token = secretBytes(TOKEN_BYTES).toString('hex');
  const common = { token, timeoutMs, ...(tenant !== undefined && { tenant }) };
  // One host sees both ends of a way that does not leave it.
  const [there, here] = await Promise.all([
    watchOrNot(to, { ...common, own: to.address, other: from.address, send: false }),
    watchOrNot(from, { ...common, own: from.address, other: to.address, send: true }),
  ]);
  return locate(here, there);
}

async function watchOrNot({ host, watch }: LiveEnd, request: WatchRequest): Promise<WatchedEnd> {
  try {
    return await watch(request);
  } catch {
    return { host };
  }
}
