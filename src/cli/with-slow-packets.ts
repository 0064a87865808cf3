import { messageOf } from '#src/lib/errors.ts';
import { askSocket } from '#src/observe/ask-socket.ts';
import type { Clock } from '#src/sys/clock.ts';
import { startInterval } from '#src/sys/timer.ts';

/** Asked for again each third of it. Should this command be killed, packets go fast again so many seconds later. */
const PAUSE_S = 9;
const AGAIN_MS = 3_000;
const PATIENCE_MS = 2_000;

/**
 * Does the work while the daemons of these sockets keep all packets on the slow way, where packet sockets and rules see them.
 * Daemons that are not there, or know no fast path, have nothing to keep.
 */
export async function withSlowPackets<T>(
  sockets: readonly string[],
  {
    by,
    clock,
    complain,
  }: { readonly by: string; readonly clock: Clock; readonly complain: (line: string) => void },
  work: () => Promise<T>,
): Promise<T> {
  const ask = async (seconds: number): Promise<void> => {
    const path = `/v1/fast-path/pause?by=${encodeURIComponent(`${by} #${process.pid}`)}&seconds=${seconds}`;
    const asked = sockets.map((socket) =>
      askSocket(socket, path, { method: 'POST', silenceMs: PATIENCE_MS }).catch((error) => {
        complain(
          `${by}: the fast path can’t be paused, and not all packets may be seen: ${messageOf(error)}`,
        );
      }),
    );
    await Promise.all(asked);
  };
  await ask(PAUSE_S);
  const timer = startInterval(clock, AGAIN_MS, () => ask(PAUSE_S));
  try {
    return await work();
  } finally {
    timer.stop();
    await ask(0);
  }
}
