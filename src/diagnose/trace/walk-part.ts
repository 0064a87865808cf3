import { enterHost } from '#src/diagnose/trace/enter-host.ts';
import type { Hop } from '#src/diagnose/trace/hop.ts';
import { leaveHost } from '#src/diagnose/trace/leave-host.ts';
import type { LocalHost, Steps } from '#src/diagnose/trace/local-host.ts';
import type { PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { enterTenant, leaveTenant } from '#src/diagnose/trace/tenant-host.ts';
import { WeftError } from '#src/lib/errors.ts';
import { type Ipv4, parseIpv4 } from '#src/lib/ip.ts';

/** Looks at one part of a packet's way on a host. A pure function of what the eye sees. */
export async function walkPart(host: LocalHost, request: PartRequest): Promise<PartAnswer> {
  const [from, to] = [addressOf(request.from), addressOf(request.to)];
  return collect(host.name, stepsOf(host, request, from, to), request);
}

function stepsOf(host: LocalHost, request: PartRequest, from: Ipv4, to: Ipv4): Steps {
  const { part, tenant, carriage } = request;
  if (tenant !== undefined)
    return part === 'leave' ? leaveTenant(host, tenant, from, to) : enterTenant(host, tenant, to, carriage);
  const { known } = host;
  if (known === undefined)
    throw new WeftError('trace-no-network', `nothing is known of a network on ${host.name}`, {
      remedy: 'start flanneld there; --etcd-prefix and --state-dir must be those of the daemon',
    });
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

function addressOf(text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address !== undefined) return address;
  throw new WeftError('trace-address', `"${text}" is no IPv4 address`, {
    remedy: 'name a container, or write an address such as 10.0.65.2',
  });
}
