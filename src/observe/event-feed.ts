import type { ServerResponse } from 'node:http';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { EventRing } from '#src/observe/event-ring.ts';
import { formatEvent, HEARTBEAT } from '#src/observe/event-stream.ts';
import { untilDrained } from '#src/observe/until-drained.ts';
import type { Clock } from '#src/sys/clock.ts';
import { startTimer } from '#src/sys/timer.ts';

export interface EventFeedComponents {
  readonly ring: EventRing;
  readonly clock: Clock;
}

export interface EventFeedOptions {
  /** Only events with a greater id. */
  readonly after: number;
  /** A reader that takes nothing for so long, in milliseconds, is ended. */
  readonly stallMs: number;
}

/** A reader that hears nothing for three of these takes the daemon for dead. */
const HEARTBEAT_MS = 10_000;
/** Events that come in a burst are written together. */
const APART_MS = 100;

/**
 * Writes events as they come, until the reader is gone. The ring is the only buffer: a reader that is slow misses what the
 * ring has forgotten by then, and costs no more memory than one that is fast.
 */
export async function feedEvents(
  { ring, clock }: EventFeedComponents,
  response: ServerResponse,
  { after, stallMs }: EventFeedOptions,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  let news = Promise.withResolvers<void>();
  const stop = ring.follow(() => news.resolve());
  try {
    // Node sends the head with the first bytes.
    response.write(HEARTBEAT);
    for (let last = after; !response.destroyed; ) {
      news = Promise.withResolvers<void>();
      const { events } = ring.read(last);
      last = ring.lastId;
      if (events.length > 0) response.write(events.map(formatEvent).join(''));
      if (!(await untilDrained(response, { clock, stallMs }))) return;
      await clock.sleep(APART_MS, gone.signal);
      const timer = startTimer(clock, HEARTBEAT_MS, () => {
        response.write(HEARTBEAT);
        news.resolve();
      });
      await orAborted(news.promise, gone.signal).finally(() => timer.stop());
    }
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  } finally {
    stop();
  }
}
