import { messageOf } from '#src/lib/errors.ts';
import { askSocket } from '#src/observe/ask-socket.ts';
import type { Clock } from '#src/sys/clock.ts';
import { startInterval } from '#src/sys/timer.ts';

export interface HeldFastPath {
  /** Packets may go fast again. */
  release(): Promise<void>;
}

/** Asked for again each third of it. Should this command be killed, packets go fast again so many seconds later. */
const PAUSE_S = 9;
const AGAIN_MS = 3_000;
const PATIENCE_MS = 2_000;

/**
 * Lets the daemons of these sockets keep all packets on the slow way, where packet sockets and rules see them, until it is
 * released. Daemons that are not there, or know no fast path, have nothing to keep.
 */
export async function holdFastPath(
  sockets: readonly string[],
  {
    by,
    clock,
    complain,
  }: { readonly by: string; readonly clock: Clock; readonly complain: (line: string) => void },
): Promise<HeldFastPath> {
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
  return {
    async release() {
      timer.stop();
      await ask(0);
    },
  };
}
