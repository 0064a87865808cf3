import { planStations } from '#src/diagnose/trace/live/stations.ts';
import { planTenantStations } from '#src/diagnose/trace/live/tenant-stations.ts';
import { type WatchRequest, watchPart } from '#src/diagnose/trace/live/watch-part.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Watches for a marked packet on a host that is looked at from here, and sends it when it is to. */
export const watchHost = (
  host: LocalHost,
  clock: Clock,
  request: WatchRequest,
  signal?: AbortSignal,
): Promise<WatchAnswer> =>
  watchPart(
    {
      name: host.name,
      clock,
      plan: (own, other, tenant) =>
        tenant === undefined ? planStations(host, own, other) : planTenantStations(host, tenant, own, other),
    },
    request,
    signal,
  );
