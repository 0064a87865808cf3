import { hasAddress } from '#src/diagnose/known-families.ts';
import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { askResponder } from '#src/diagnose/trace/ask-responder.ts';
import {
  type FindComponents,
  type FoundEnd,
  type FoundPair,
  findPair,
  tenantWith,
} from '#src/diagnose/trace/find-ends.ts';
import type { LiveTrace } from '#src/diagnose/trace/live/locate.ts';
import { type LiveEnd, traceLive } from '#src/diagnose/trace/live/trace-live.ts';
import { watchHost } from '#src/diagnose/trace/live/watch-host.ts';
import type { WatchRequest } from '#src/diagnose/trace/live/watch-part.ts';
import type { WatchAnswer } from '#src/diagnose/trace/live/watch-token.ts';
import { liveEvidence } from '#src/diagnose/trace/live-evidence.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import type { Carriage, PartAnswer, PartRequest } from '#src/diagnose/trace/part.ts';
import { probeEvidence } from '#src/diagnose/trace/probe-evidence.ts';
import { localSite, RemoteSite, type Site } from '#src/diagnose/trace/site.ts';
import { type Trace, traceWay, type WireEvidence } from '#src/diagnose/trace/trace-way.ts';
import { ownDevice } from '#src/diagnose/trace/wanted-way.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Ip, parseIp } from '#src/lib/ip.ts';
import { FAMILY_NAMES, type FamilyName, familiesOf } from '#src/lib/per-family.ts';
import type { Lease } from '#src/network/lease.ts';
import type { FamilyProbe } from '#src/observe/api.ts';
import type { Clock } from '#src/sys/clock.ts';
import { findSegments } from '#src/tenant/found-segments.ts';
import { ownWiring } from '#src/tenant/segment-wiring.ts';

export interface RunTraceComponents extends Pick<FindComponents, 'containers'> {
  readonly host: LocalHost;
  readonly clock: Clock;
}

export interface RunTraceOptions {
  /** Containers by name or ID, or addresses. */
  readonly words: readonly [string, string];
  /** Of two containers that have addresses in both families: the ways of IPv6. */
  readonly ipv6: boolean;
  /** Of the peers' responders; 0 when none is to be asked. */
  readonly port: number;
  readonly live: boolean;
  readonly all: boolean;
  readonly signal?: AbortSignal;
}

/** What `weft trace` found. JSON. */
export interface FullTrace extends Trace {
  /** The number of the Docker network of weft; absent in flannel's. */
  readonly tenant?: number;
  /** What became of a packet that was sent; absent without `--live`. */
  readonly live?: LiveTrace;
}

const LEASE = { expiry: { kind: 'reservation' }, revision: 0n } as const;
const ASK_MS = 3_000;
/** Beyond the time that the watch itself takes. */
const GRACE_MS = 1_000;
/** More hosts than that are not asked for a container. */
const MOST_ASKED = 64;

/** Traces the way between two containers from this host. @throws {WeftError} see {@link findPair}; `netns`, `packet-socket` with live. */
export async function runTrace(components: RunTraceComponents, options: RunTraceOptions): Promise<FullTrace> {
  const peers = new Peers(components.host, options);
  const askPeers = (name: string) => peers.find(name);
  const pair = await findPair({ ...components, askPeers }, options.words, { ipv6: options.ipv6 });
  const [from, to] = await Promise.all([
    placeOf(components.host, pair, pair.from),
    placeOf(components.host, pair, pair.to),
  ]);
  const site = (place: Place): Site => (place === 'here' ? localSite(components.host) : peers.siteOf(place));
  const tenant = pair.tenant === undefined ? {} : { tenant: pair.tenant };
  const sites = { from: site(from), to: site(to) };
  const liveEnd = ({ address }: FoundEnd, place: Place, host: string): LiveEnd => ({
    address,
    host,
    watch: (request, enough) =>
      place === 'here'
        ? watchHost(components.host, components.clock, request, { signal: options.signal, enough })
        : peers.watch(place, request),
  });
  const live = options.live
    ? await traceLive({
        from: liveEnd(pair.from, from, sites.from.name),
        to: liveEnd(pair.to, to, sites.to.name),
        ...tenant,
      })
    : undefined;
  const trace = await traceWay({
    from: { ...named(pair.from), site: sites.from },
    to: { ...named(pair.to), site: sites.to },
    all: options.all,
    // A packet that was sent just now counts more than a probe of the host's own ends.
    evidence: (carriage) =>
      (live && liveEvidence(live)) ?? evidenceOf(components, [from, to], { carriage, pair }),
    ...tenant,
  });
  return { ...trace, ...tenant, ...(live !== undefined && { live }) };
}

/** Where an end is: on this host, on a peer, or nobody knows. */
type Place = 'here' | KnownPeer | { readonly nowhere: string };

/** This host's probes say something of a way that begins or ends here. */
function evidenceOf(
  { host, clock }: Pick<RunTraceComponents, 'host' | 'clock'>,
  places: readonly Place[],
  { carriage, pair }: { readonly carriage: Carriage | undefined; readonly pair: FoundPair },
): WireEvidence | undefined {
  const other = places.find((place) => place !== 'here');
  if (!places.includes('here') || other === undefined || 'nowhere' in other) return undefined;
  const port = host.known && ownDevice(host.known)?.vxlan?.port;
  // Packets of Docker's networks go by the hosts' IPv4.
  const family = pair.tenant === undefined && pair.from.address.includes(':') ? 'v6' : 'v4';
  const probe = probeIn(family, other);
  return probeEvidence({ probe, port, now: clock.now() }, carriage);
}

/** Of a peer that is measured in one family there is that one alone. */
function probeIn(family: FamilyName, { probe, subnets }: KnownPeer): FamilyProbe | undefined {
  const isOnly = familiesOf(subnets)[0] === family;
  return (family === 'v4' ? probe?.ipv4 : probe?.ipv6) ?? (isOnly ? probe : undefined);
}

const named = ({ address, name }: FoundEnd) => ({ address, ...(name !== undefined && { name }) });

async function placeOf(host: LocalHost, { tenant }: FoundPair, end: FoundEnd): Promise<Place> {
  const address = parseIp(end.address);
  const peers = host.known?.peers ?? [];
  if (address === undefined) return { nowhere: end.address };
  if (tenant === undefined) {
    if (host.known !== undefined && hasAddress(host.known.subnets, address)) return 'here';
    const peer = peers.find(({ subnets }) => hasAddress(subnets, address));
    return peer ?? { nowhere: `no lease of the network has a subnet with ${end.address}` };
  }
  if (end.host !== undefined) return peerAt(peers, end.host);
  if ((await tenantWith(host, address)) === tenant) return 'here';
  const destination = await tenantDestination(host, tenant, address);
  return destination === undefined
    ? { nowhere: `no host has published ${end.address}` }
    : peerAt(peers, formatIp(destination));
}

const peerAt = (peers: readonly KnownPeer[], publicIp: string): Place =>
  peers.find((peer) => peer.publicIp !== undefined && formatIp(peer.publicIp) === publicIp) ?? {
    nowhere: `${publicIp} is no host of flannel's network, and has no responder`,
  };

/** The host that has a container of a Docker network, by this host's forwarding entries. */
async function tenantDestination(host: LocalHost, vni: number, address: Ip) {
  if (host.tenants === undefined) return undefined;
  const { kernel } = host.tenants;
  const { tunnel, inner, vlan } = (await findSegments(kernel)).wiringOf(vni) ?? ownWiring(vni);
  const objects = await kernel.dump({ kinds: ['neighbour', 'fdb'] });
  const neighbour = objects.find((it) => it.kind === 'neighbour' && it.ip === address && it.device === inner);
  const mac = neighbour?.kind === 'neighbour' ? neighbour.mac : undefined;
  const entry = objects.find(
    (it) =>
      it.kind === 'fdb' && it.mac === mac && it.device === tunnel && (vlan === undefined || it.vni === vni),
  );
  return entry?.kind === 'fdb' ? entry.destination : undefined;
}

/** The other hosts, as far as they have a responder. One that was silent is not waited for again. */
class Peers {
  readonly #silent = new Map<KnownPeer, WeftError>();
  readonly #host: LocalHost;
  readonly #options: RunTraceOptions;

  constructor(host: LocalHost, options: RunTraceOptions) {
    this.#host = host;
    this.#options = options;
  }

  siteOf(place: Exclude<Place, 'here'>): Site {
    if ('nowhere' in place) return new RemoteSite('nowhere', () => Promise.reject(new Error(place.nowhere)));
    const ask = async (request: PartRequest) =>
      (await this.#ask(place, '/v1/trace', request).catch(sayWhose(place))) as PartAnswer;
    return new RemoteSite(nameOf(place), ask);
  }

  async watch(place: Exclude<Place, 'here'>, request: WatchRequest): Promise<WatchAnswer> {
    if ('nowhere' in place) throw new Error(place.nowhere);
    const asked = this.#ask(place, '/v1/watch', request, request.timeoutMs + GRACE_MS).catch(sayWhose(place));
    return (await (request.send ? asked.catch(saySendElsewhere(place, request)) : asked)) as WatchAnswer;
  }

  /** Asks all peers at once; those that do not answer know no such container. */
  async find(name: string): Promise<FoundEnd[]> {
    const peers = (this.#host.known?.peers ?? []).slice(0, MOST_ASKED);
    const answers = peers.map(async (peer) => {
      const answer = await this.#ask(peer, '/v1/find', { name }).catch((error: unknown) => {
        if (isAbort(error)) throw error;
        return [];
      });
      return (Array.isArray(answer) ? (answer as FoundEnd[]) : []).map((end) => ({
        ...end,
        host: nameOf(peer),
      }));
    });
    return (await Promise.all(answers)).flat();
  }

  async #ask(peer: KnownPeer, path: string, body: unknown, timeoutMs = ASK_MS): Promise<unknown> {
    const silence = this.#silent.get(peer);
    if (silence !== undefined) throw silence;
    const { known } = this.#host;
    const { port, signal } = this.#options;
    if (known === undefined || port === 0)
      throw new WeftError('responder', 'no responder is asked with --responder-port=0');
    const lease = { ...LEASE, subnets: peer.subnets, attributes: peer.attributes, name: peer.lease };
    const ways = respondersOf(known, lease);
    const [first = { address: peer.subnet.address, from: known.subnet.address }, second] = ways;
    const ask = (way: ResponderWay) => askResponder({ ...way, port }, path, body, { timeoutMs, signal });
    try {
      return await ask(first).catch((error: unknown) => {
        // What is traced may be what is broken, and is so in one family often.
        if (second === undefined || !isOfResponder(error)) throw error;
        return ask(second);
      });
    } catch (error) {
      if (error instanceof WeftError && isTimeout(error.cause)) this.#silent.set(peer, error);
      throw error;
    }
  }
}

interface ResponderWay {
  readonly address: Ip;
  readonly from: Ip;
}

/** A peer's responder in each family that both hosts have. */
const respondersOf = ({ backend, subnets }: KnownNetwork, lease: Lease): ResponderWay[] =>
  FAMILY_NAMES.flatMap((family) => {
    const from = backend?.probing?.ownEnds(family, subnets)?.responder;
    const address = backend?.probing?.peerEnds(family, lease)?.responder;
    return from === undefined || address === undefined ? [] : [{ address, from }];
  });

/** A lease that weft wrote has the node's identity; flannel's has none. */
const sayWhose =
  ({ attributes }: KnownPeer) =>
  (error: unknown): never => {
    if (attributes.node !== undefined || !isOfResponder(error)) throw error;
    throw new WeftError('responder', `flannel runs there, which shows nothing (${error.message})`, {
      cause: error,
    });
  };

const saySendElsewhere =
  (place: KnownPeer, { own, other }: WatchRequest) =>
  (error: unknown): never => {
    if (!isOfResponder(error)) throw error;
    throw new WeftError('responder', `no packet can be sent from ${nameOf(place)}: ${messageOf(error)}`, {
      cause: error,
      remedy: `"weft trace --live ${other} ${own}" on the host of ${other} sends one the other way, and shows its answer's way, too`,
    });
  };

const isOfResponder = (error: unknown): error is WeftError =>
  error instanceof WeftError && error.code === 'responder';

const isTimeout = (cause: unknown): boolean => cause instanceof DOMException && cause.name === 'TimeoutError';

const nameOf = ({ publicIp, subnet }: KnownPeer): string =>
  publicIp === undefined ? formatPrefix(subnet) : formatIp(publicIp);
