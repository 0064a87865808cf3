import { askDaemon, type NetworkPlace, readKnownNetwork } from '#src/diagnose/known-network.ts';
import { openEye } from '#src/diagnose/trace/eye.ts';
import { tenantWith } from '#src/diagnose/trace/find-ends.ts';
import type { LiveTrace, Loss } from '#src/diagnose/trace/live/locate.ts';
import { traceLive } from '#src/diagnose/trace/live/trace-live.ts';
import { watchHost } from '#src/diagnose/trace/live/watch-host.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { withPresentPeers } from '#src/diagnose/trace/present-peers.ts';
import { localSite } from '#src/diagnose/trace/site.ts';
import { traceWay } from '#src/diagnose/trace/trace-way.ts';
import { type Container, containersOf } from '#src/lab/container.ts';
import { type Hop, layersIn, lessonsOf } from '#src/lab/hop.ts';
import type { Host } from '#src/lab/host.ts';
import { WeftError } from '#src/lib/errors.ts';
import { parseIpv4 } from '#src/lib/ip.ts';
import { askApi } from '#src/observe/api-client.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';

/** The way of one packet that was really sent. */
export interface Walk {
  readonly hops: readonly Hop[];
  /** It goes inside another packet from host to host, and not as it is. */
  readonly isWrapped: boolean;
  /** Where the packet was lost, although no hop says why. */
  readonly lost?: Loss;
}

/**
 * Sends a packet from a container to one on another host and shows the hops of `weft trace` on the way there, the frame on the
 * wire included. Ends with the first hop that is not as it must be. `place`: where a network's traces are on each host.
 * Throws WeftError `lab-walk` for a container of a Docker network that is in no bridge of one.
 */
export async function walkBetween(from: Container, to: Container, place: NetworkPlace): Promise<Walk> {
  const [one, two] = await Promise.all([from, to].map(({ host }) => lookAt(host, place)));
  if (one === undefined || two === undefined) throw new RangeError('two hosts');
  try {
    const tenant = from.network === undefined ? undefined : await tenantOf(one, from);
    const common = { all: false, ...(tenant !== undefined && { tenant }) };
    const [start, end] = [from.address, to.address];
    const trace = await traceWay({
      ...common,
      from: { address: start, site: localSite(one) },
      to: { address: end, site: localSite(two) },
    });
    const live = await traceLive({
      ...common,
      from: {
        ...{ address: start, host: one.name },
        watch: (request, enough) => watchHost(one, from.components.clock, request, { enough }),
      },
      to: {
        ...{ address: end, host: two.name },
        watch: (request, enough) => watchHost(two, to.components.clock, request, { enough }),
      },
    });
    const there = trace.hops.filter(({ way }) => way === 'there');
    const wire = wireOf(live, tenant === undefined ? "the tunnel's ends" : 'the containers');
    const hops = lessonsOf(there, { container: from.name, wire: wire.lines });
    const answered = answerOf(live, end);
    const last = hops.at(-1);
    const isWhole = trace.outcome !== 'stopped' && last !== undefined && answered !== undefined;
    return {
      hops: isWhole ? [...hops.slice(0, -1), { ...last, seen: [...last.seen, answered] }] : hops,
      isWrapped: wire.isWrapped,
      ...(trace.outcome !== 'stopped' && live.lost !== undefined && { lost: live.lost }),
    };
  } finally {
    for (const { eye } of [one, two]) eye.close();
  }
}

/** A host of the lab, seen from this machine: its containers' namespaces are known, whatever made them. */
async function lookAt(host: Host, place: NetworkPlace): Promise<LocalHost> {
  const eye = openEye({ netlink: systemNetlink }, { namespace: `/run/netns/${host.namespace}` });
  const paths = {
    socket: host.path(place.socket),
    stateFile: host.path(place.stateFile),
    subnetFile: host.path(place.subnetFile),
  };
  const { files } = host.components;
  const answer = await askDaemon(paths);
  const [known, present, flanneld, containers] = await Promise.all([
    readKnownNetwork({ files, kernel: eye.kernel }, paths, answer),
    answer.state === 'running' ? askApi(paths.socket, '/v1/peers').catch(() => undefined) : undefined,
    host.daemon('flanneld'),
    containersOf(host),
  ]);
  // The host's own mounts, as one of its processes sees them.
  const tenants = flanneld?.isAlive() ? `/proc/${flanneld.pid}/root/run/netns/weft` : undefined;
  const hasTenants = tenants !== undefined && containers.some(({ network }) => network !== undefined);
  return {
    name: host.name,
    eye,
    known: known === undefined || present === undefined ? known : withPresentPeers(known, present.peers),
    ...(hasTenants && { tenants: eye.at(tenants) }),
    namespaces: async () => containers.map(({ namespacePath }) => namespacePath),
  };
}

async function tenantOf(host: LocalHost, from: Container): Promise<number> {
  const address = parseIpv4(from.address);
  const tenant = address === undefined ? undefined : await tenantWith(host, address);
  if (tenant !== undefined) return tenant;
  throw new WeftError('lab-walk', `${from.name} is in no bridge of a Docker network of weft`, {
    remedy: 'the containers that "weft lab up --network" made can be walked between',
  });
}

/** The packet between the hosts, taken apart. */
function wireOf(
  { sights }: LiveTrace,
  inner: string,
): { readonly lines: readonly string[]; readonly isWrapped: boolean } {
  const caught = sights.find(({ way, frame, wrapped }) => way === 'there' && wrapped && frame !== undefined);
  const lines = caught?.frame === undefined ? [] : layersIn(Buffer.from(caught.frame, 'hex'), inner);
  return { lines, isWrapped: sights.some(({ wrapped }) => wrapped) };
}

/** `ping 10.0.32.2: answered in 0.1 ms`, by the clock of the first host; `undefined` without an answer. */
function answerOf({ sights, lost }: LiveTrace, to: string): string | undefined {
  const [first, last] = [sights[0]?.at, sights.at(-1)?.at];
  if (lost !== undefined || first === undefined || last === undefined) return undefined;
  const microseconds = Number((BigInt(last) - BigInt(first)) / 1_000n);
  return `ping ${to}: answered in ${(microseconds / 1_000).toFixed(3)} ms`;
}
