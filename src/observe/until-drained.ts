import type { Writable } from 'node:stream';
import type { Clock } from '#src/sys/clock.ts';
import { startTimer } from '#src/sys/timer.ts';

/**
 * Waits until the reader has taken what was written: true then. False when the stream is closed, which is also done to it
 * after `stallMs` without anything.
 */
export async function untilDrained(
  stream: Writable,
  { clock, stallMs }: { readonly clock: Clock; readonly stallMs: number },
): Promise<boolean> {
  if (stream.destroyed) return false;
  if (!stream.writableNeedDrain) return true;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const drained = (): void => resolve(true);
  const closed = (): void => resolve(false);
  stream.once('drain', drained);
  stream.once('close', closed);
  const timer = startTimer(clock, stallMs, () => stream.destroy());
  try {
    return await promise;
  } finally {
    timer.stop();
    stream.off('drain', drained);
    stream.off('close', closed);
  }
}
