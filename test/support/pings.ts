import type { Machine } from '#src/lab/machine.ts';
import { until } from '#src/sys/until.ts';

/** How many of some pings were answered, each within a second. */
export async function answered(from: Machine, to: string, count = 3): Promise<number> {
  const { stdout } = await from.run(['ping', '-n', '-c', String(count), '-i', '0.2', '-W1', to]);
  return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
}

/** Waits until an address answers. */
export async function waitForAnswer(from: Machine, to: string, timeoutMs = 20_000): Promise<void> {
  await until(async () => (await answered(from, to, 1)) === 1, {
    what: `answer from ${to} to ${from.name}`,
    timeoutMs,
    signal: from.signal,
  });
}
