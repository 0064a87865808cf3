import { knownInFamilyOf } from '#src/diagnose/known-families.ts';
import { enterHost } from '#src/diagnose/trace/enter-host.ts';
import { tenantIpv6 } from '#src/diagnose/trace/find-ends.ts';
import type { Hop } from '#src/diagnose/trace/hop.ts';
import { leaveHost } from '#src/diagnose/trace/leave-host.ts';
import type { LocalHost, Steps } from '#src/diagnose/trace/local-host.ts';
import type { PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { enterTenant, leaveTenant } from '#src/diagnose/trace/tenant-host.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type Ip, isIpv4, parseIp } from '#src/lib/ip.ts';

/** Looks at one part of a packet's way on a host. A pure function of what the eye sees. */
export async function walkPart(host: LocalHost, request: PartRequest): Promise<PartAnswer> {
  const [from, to] = [addressOf(request.from), addressOf(request.to)];
  return collect(host.name, stepsOf(host, request, from, to), request);
}

function stepsOf(host: LocalHost, request: PartRequest, from: Ip, to: Ip): Steps {
  const { part, tenant, carriage } = request;
  if (tenant !== undefined && (!isIpv4(from) || !isIpv4(to))) throw tenantIpv6(request.to);
  if (tenant !== undefined && isIpv4(from) && isIpv4(to))
    return part === 'leave' ? leaveTenant(host, tenant, from, to) : enterTenant(host, tenant, to, carriage);
  const known = host.known && knownInFamilyOf(host.known, to);
  if (known === undefined)
    throw new WeftError(
      'trace-no-network',
      `nothing is known of a network${isIpv4(to) ? '' : ' with IPv6'} on ${host.name}`,
      {
        remedy: 'start flanneld there; --etcd-prefix and --state-dir must be those of the daemon',
      },
    );
  const overlay = { ...host, known };
  return part === 'leave' ? leaveHost(overlay, request, from, to) : enterHost(overlay, request, from, to);
}

async function collect(host: string, steps: Steps, { way, all = false }: PartRequest): Promise<PartAnswer> {
  const hops: Hop[] = [];
  for (;;) {
    const next = await steps.next();
    if (next.done === true) return { host, hops, ...(next.value !== undefined && { carriage: next.value }) };
    hops.push({ ...next.value, host, way });
    if (next.value.ok === false && !all) return { host, hops };
  }
}

function addressOf(text: string): Ip {
  const address = parseIp(text);
  if (address !== undefined) return address;
  throw new WeftError('trace-address', `"${text}" is no address`, {
    remedy: 'name a container, or write an address such as 10.0.65.2',
  });
}
