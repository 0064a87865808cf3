import { hasAddress, knownInFamilyOf } from '#src/diagnose/known-families.ts';
import { tenantIpv6 } from '#src/diagnose/trace/find-ends.ts';
import { planStations, type StationPlan } from '#src/diagnose/trace/live/stations.ts';
import { planTenantStations } from '#src/diagnose/trace/live/tenant-stations.ts';
import { type WatchPartOptions, type WatchRequest, watchPart } from '#src/diagnose/trace/live/watch-part.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { WeftError } from '#src/lib/errors.ts';
import { containsAddress, formatIp, type Ip, isIpv4, parseIp } from '#src/lib/ip.ts';
import type { Clock } from '#src/sys/clock.ts';

/**
 * Watches for a marked packet on a host that is looked at from here, and sends it when it is to. Throws WeftError
 * `trace-watch` for addresses that are not this host's, or not the network's: a peer could have it send anything.
 */
export async function watchHost(
  host: LocalHost,
  clock: Clock,
  request: WatchRequest,
  options: WatchPartOptions = {},
): Promise<WatchAnswer> {
  if (request.tenant === undefined) refuseOthers(host, request);
  return watchPart(
    {
      name: host.name,
      clock,
      plan: (own, other, tenant) =>
        tenant === undefined ? planStations(host, own, other) : planOfTenant(host, tenant, own, other),
    },
    request,
    options,
  );
}

function refuseOthers({ known, name }: LocalHost, { own, other }: WatchRequest): void {
  const [address, end] = [parseIp(own), parseIp(other)];
  const isOurs = address !== undefined && known !== undefined && hasAddress(known.subnets, address);
  const network = isOurs ? knownInFamilyOf(known, address)?.network : undefined;
  if (network !== undefined && end !== undefined && containsAddress(network, end)) return;
  throw new WeftError('trace-watch', `${name} has no part in the way between ${own} and ${other}`);
}

function planOfTenant(host: LocalHost, tenant: number, own: Ip, other: Ip): Promise<StationPlan> {
  if (isIpv4(own) && isIpv4(other)) return planTenantStations(host, tenant, own, other);
  throw tenantIpv6(formatIp(own));
}
