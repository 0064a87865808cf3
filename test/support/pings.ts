import type { Machine } from '#src/lab/machine.ts';
import { until } from '#src/sys/until.ts';

/** $1: an address; $2: how many pings; $3: seconds. */
const PINGS = 'for n in $(seq "$2"); do ping -n -c1 -W"$3" "$1" & done; wait';

/** How many of some pings were answered, each within two seconds. */
export function answered(from: Machine, to: string, count = 3): Promise<number> {
  return answeredWithin(2, from, to, count);
}

/** Waits until an address answers. */
export async function waitForAnswer(from: Machine, to: string, timeoutMs = 20_000): Promise<void> {
  await until(async () => (await answeredWithin(1, from, to, 1)) === 1, {
    what: `answer from ${to} to ${from.name}`,
    timeoutMs,
    signal: from.signal,
  });
}

/**
 * Each is a program of its own. One that sends several waits for the last answer no longer than from one to the next: it
 * loses that answer on a busy machine.
 */
async function answeredWithin(seconds: number, from: Machine, to: string, count: number): Promise<number> {
  const { stdout } = await from.run(['sh', '-c', PINGS, 'sh', to, String(count), String(seconds)]);
  return stdout.match(/ 1 received/g)?.length ?? 0;
}
