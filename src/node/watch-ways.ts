import { networksOf } from '#src/network/subnet-range.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { wantedWaysOf } from '#src/node/wanted-ways.ts';
import { WayWatch } from '#src/node/way-watch.ts';

/** Watches the ways of a network's packets, until the signal aborts. */
export function watchWays(
  { host, createLogger }: Pick<NetworkParts, 'host' | 'createLogger'>,
  dataPath: DataPath,
  signal: AbortSignal,
): WayWatch {
  const watch = new WayWatch(
    { ...host, log: createLogger('ways'), observe: (listener) => host.reconciler.observe(listener) },
    {
      networks: () => networksOf(dataPath.intent.config.ranges),
      settled: () => dataPath.owner.settled(),
      ways: () =>
        wantedWaysOf(
          { intent: dataPath.intent, table: dataPath.table, leftOut: () => dataPath.leftOut() },
          host.clock,
        ),
    },
  );
  watch.start(signal);
  return watch;
}
