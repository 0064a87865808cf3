import { type CpuInfo, cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

export interface QueueOptions {
  /** So many run at once, whatever the processors do. */
  readonly least: number;
  readonly most: number;
  /** Whether one more has room; asked again and again while one waits. */
  readonly hasRoom: () => boolean;
  /** Ends when it is worth asking again. */
  readonly pause?: () => Promise<unknown>;
}

/** Runs something for each entry, in their order: `least` at once, and more, up to `most`, while there is room. */
export async function runQueue(
  entries: readonly string[],
  { least, most, hasRoom, pause = () => delay(PAUSE_MS) }: QueueOptions,
  run: (entry: string) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  for (const entry of entries) {
    while (running.size >= least && !(running.size < most && hasRoom()))
      await Promise.race(running.size < most ? [...running, pause()] : running);
    const one: Promise<void> = run(entry).finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
}

const PAUSE_MS = 250;
/** A shorter time says little: the kernel counts in ticks of 10 ms. */
const WINDOW_MS = 1_000;
/**
 * With more work than that, tests run into their own deadlines. With less, processors have nothing to do, since most of a test
 * is to wait: for a grace to end, for a program to give up.
 */
const IDLE_SHARE = 0.25;

type Times = Pick<CpuInfo, 'times'>;

/** Whether the processors were idle for a good part of the time since this was last asked, or since the last window ended. */
export function processorRoom(read: () => readonly Times[] = cpus): () => boolean {
  let last = sumOf(read());
  return () => {
    const now = sumOf(read());
    const all = now.all - last.all;
    if (all < WINDOW_MS * now.processors) return false;
    const share = (now.idle - last.idle) / all;
    last = now;
    return share >= IDLE_SHARE;
  };
}

function sumOf(list: readonly Times[]): {
  readonly idle: number;
  readonly all: number;
  readonly processors: number;
} {
  let [idle, all] = [0, 0];
  for (const { times } of list) {
    idle += times.idle;
    for (const time of Object.values(times)) all += time;
  }
  return { idle, all, processors: list.length };
}
