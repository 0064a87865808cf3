import type { Host } from '#src/lab/host.ts';

/**
 * What a host sends to an address is dropped until `undo` is called, so no connection gets on. By a route and not by rules,
 * which tests of firewalls flush. The result is `undo`.
 */
export async function keepApart(host: Host, address: string): Promise<() => Promise<void>> {
  await host.batch([`route add blackhole ${address}/32 metric 1`]);
  return () => host.batch([`route del blackhole ${address}/32 metric 1`]);
}
