import type { Machine } from '#src/lab/machine.ts';
import { Traffic, type TrafficReport } from '#src/lab/traffic.ts';

/** Runs something while one machine sends 200 packets a second to an address. */
export async function duringTraffic(
  from: Machine,
  to: string,
  act: () => Promise<unknown>,
): Promise<TrafficReport> {
  const traffic = await Traffic.start(from, to);
  try {
    await act();
  } catch (error) {
    await traffic.stop();
    throw error;
  }
  return traffic.stop();
}
