import type { Prefix } from '#src/lib/ip.ts';
import { FAMILY_NAMES } from '#src/lib/per-family.ts';
import type { DataPath } from '#src/node/data-path.ts';
import { inboundDevicesOf } from '#src/node/network-intent.ts';
import type { WantedWays } from '#src/node/wrong-ways.ts';
import type { Clock } from '#src/sys/clock.ts';
import { inTurns } from '#src/sys/in-turns.ts';

/** A question about one peer takes the kernel some microseconds. A rule or route in the way takes more than one peer, as a rule. */
const MOST_PEERS = 64;

/** The ways of an overlay's packets in each of its families, by peers from all over its range. */
export async function wantedWaysOf(
  { intent, table, leftOut }: WaysSource,
  clock: Clock,
): Promise<Omit<WantedWays, 'bridge'>[]> {
  if (intent.backend.inbound.others) return [];
  const step = Math.max(1, Math.ceil(table.size / MOST_PEERS));
  const without = new Set(Array.from(leftOut(), ([name]) => name));
  const peers: { readonly v4: Prefix[]; readonly v6: Prefix[] } = { v4: [], v6: [] };
  let number = 0;
  await inTurns(table.records(), clock, ({ name }) => {
    if (number++ % step !== 0 || without.has(name)) return;
    const { v4, v6 } = table.lease(name)?.subnets ?? {};
    if (v4 !== undefined) peers.v4.push(v4);
    if (v6 !== undefined) peers.v6.push(v6);
  });
  const devices = inboundDevicesOf(intent);
  const beside = intent.backend.devices.filter((name) => !devices.includes(name));
  return FAMILY_NAMES.flatMap((family) => {
    const subnet = intent.subnets[family];
    return subnet === undefined
      ? []
      : [{ subnet, peers: peers[family], devices, ...(beside.length > 0 && { beside }) }];
  });
}

export interface WaysSource {
  readonly intent: DataPath['intent'];
  readonly table: Pick<DataPath['table'], 'size' | 'records' | 'lease'>;
  readonly leftOut: () => ReturnType<DataPath['leftOut']>;
}
