import type { Prefix4 } from '#src/lib/ip.ts';
import type { DataPath } from '#src/node/data-path.ts';
import { inboundDevicesOf } from '#src/node/network-intent.ts';
import type { WantedWays } from '#src/node/wrong-ways.ts';

/** A question about one peer takes the kernel some microseconds. A rule or route in the way takes more than one peer, as a rule. */
const MOST_PEERS = 64;

/** The ways of an overlay's packets, by peers from all over its range. */
export function wantedWaysOf({ intent, table, leftOut }: WaysSource): Omit<WantedWays, 'bridge'> {
  const step = Math.max(1, Math.ceil(table.size / MOST_PEERS));
  const without = new Set(Array.from(leftOut(), ([name]) => name));
  const peers: Prefix4[] = [];
  let number = 0;
  for (const { name } of table.records()) {
    if (number++ % step !== 0 || without.has(name)) continue;
    const subnet = table.lease(name)?.subnets.v4;
    if (subnet !== undefined) peers.push(subnet);
  }
  return { subnet: intent.subnet, peers, devices: inboundDevicesOf(intent) };
}

export interface WaysSource {
  readonly intent: DataPath['intent'];
  readonly table: Pick<DataPath['table'], 'size' | 'records' | 'lease'>;
  readonly leftOut: () => ReturnType<DataPath['leftOut']>;
}
