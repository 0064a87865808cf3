import type { LeaseEntry } from '#src/network/lease-table.ts';
import type { DataPath } from '#src/node/data-path.ts';
import { leaseEnds } from '#src/node/lease-ends.ts';
import type { Network } from '#src/node/network.ts';
import type { ApiQuestion, Handlers } from '#src/observe/api-router.ts';
import type { EventRing } from '#src/observe/event-ring.ts';
import { EVENTS_TYPE } from '#src/observe/event-stream.ts';
import { LeaseList } from '#src/observe/leases-reply.ts';
import { countersOf, type Family } from '#src/observe/metric.ts';
import type { HostStatus, NodeStatus } from '#src/observe/node-status.ts';
import { peersOf } from '#src/observe/peers-reply.ts';
import { type Reply, refusal, valueReply } from '#src/observe/reply.ts';
import { viewOf } from '#src/observe/view-reply.ts';
import type { SlotView } from '#src/reconcile/slot-view.ts';
import type { Clock } from '#src/sys/clock.ts';

/* What the sockets of the local API answer: one for each network, and the one of Docker's driver. observe/api.ts has the shapes. */

interface Shared {
  readonly ring: EventRing;
  /** Every slot of the reconciler that is looked at. */
  readonly view: () => Iterable<SlotView>;
}

export interface NetworkSources extends Shared {
  readonly network: Network;
  readonly status: () => NodeStatus;
  /** The figures of the whole host, as `/metrics` has them. */
  readonly metrics: () => Promise<readonly Family[]>;
  readonly clock: Clock;
}

/** The answers about one network. */
export function networkHandlers(sources: NetworkSources): Handlers {
  const { network, status, metrics, ring, view } = sources;
  return {
    // From before version 1.
    '/status': () => valueReply(status()),
    '/v1/status': () => valueReply(status()),
    '/v1/peers': () => peers(sources),
    '/v1/leases': () => leases(sources),
    '/v1/view': () => ({ kind: 'list', name: 'slots', items: viewOf(view(), network.id.prefix) }),
    '/v1/events': (question) => events(ring, question),
    '/v1/counters': async () => valueReply({ counters: countersOf(await metrics()) }),
    '/v1/openapi': openapi,
    'POST /v1/fast-path/pause': (question) => pauseFastPath(network, question),
    'POST /v1/rotate': () => {
      const obstacle = network.rotate();
      return obstacle === undefined
        ? valueReply({})
        : refusal(409, `no rotation of keys can begin: ${obstacle}`);
    },
  };
}

/** So long at most: who needs it longer asks again. */
const LONGEST_PAUSE_S = 60;

async function pauseFastPath({ dataPath }: Network, { query }: ApiQuestion): Promise<Reply> {
  const seconds = Number(query.get('seconds') ?? '');
  const by = query.get('by') ?? '';
  if (by === '' || by.length > 100) return refusal(400, 'could not read "by": it names who asks');
  if (!(seconds >= 0 && seconds <= LONGEST_PAUSE_S))
    return refusal(
      400,
      `could not read "seconds": it is from 0, which ends the pause, to ${LONGEST_PAUSE_S}`,
    );
  const [program = by] = by.split(' #');
  await dataPath?.fastPath?.pause(by, `${program} sees all packets`, seconds * 1_000);
  return valueReply({});
}

export interface DriverSources extends Shared {
  readonly status: () => HostStatus;
}

/** The answers about Docker's networks. */
export function driverHandlers({ status, view, ring }: DriverSources): Handlers {
  return {
    '/status': () => valueReply(status()),
    '/v1/status': () => valueReply(status()),
    '/v1/view': () => ({ kind: 'list', name: 'slots', items: viewOf(view()) }),
    '/v1/events': (question) => events(ring, question),
    '/v1/openapi': openapi,
  };
}

async function peers({ network, clock }: NetworkSources): Promise<Reply> {
  const { dataPath } = network;
  if (dataPath === undefined) return valueReply({ peers: [] });
  const wireguardOf = await network.wireguardFigures();
  const { table, intent, unreachable, owner } = dataPath;
  const now = clock.now();
  const began = now - clock.monotonic();
  const items = peersOf({
    entries: table.entries(),
    backend: intent.backend,
    unreachable,
    stateOf: (lease) => owner.stateOf(lease),
    probeOf: (lease) => network.probeOf(lease),
    ...(wireguardOf !== undefined && { wireguardOf }),
    timeOf: (seconds) => began + seconds * 1_000,
    now,
  });
  return { kind: 'list', name: 'peers', items };
}

async function leases({ network, clock }: NetworkSources): Promise<Reply> {
  const { dataPath, joined } = network;
  if (dataPath === undefined || joined === undefined) {
    const why = network.troubles.join('; ');
    return refusal(
      503,
      `could not list the leases: the registry has not listed them yet: ${why}; ask again later`,
    );
  }
  const { table, intent } = dataPath;
  const { own } = joined.membership;
  const ends = await leaseEnds(joined.registry, [own.record, ...table.records()]);
  const list = new LeaseList({
    ranges: intent.config.ranges,
    own: own.record,
    entries: asInRegistry(table.entries(), dataPath.disputes),
    ends,
    now: clock.now(),
  });
  return { kind: 'list', name: 'leases', items: list.leases(), rest: () => list.rest() };
}

/** Entries of the table, those of the registry in the place of the good ones that they were written over. */
function* asInRegistry(entries: Iterable<LeaseEntry>, disputes: DataPath['disputes']): Generator<LeaseEntry> {
  for (const entry of entries) {
    const dispute = disputes.get(entry.raw.name);
    const { seen, since } = entry;
    yield dispute === undefined ? entry : { raw: dispute.raw, seen, since, reason: dispute.reason };
  }
}

function events(ring: EventRing, { query, accept }: ApiQuestion): Reply {
  const after = Number(query.get('after') ?? 0);
  if (!Number.isSafeInteger(after) || after < 0)
    return refusal(400, 'could not read "after": it is the id of an event, a whole number');
  return accept.includes(EVENTS_TYPE) ? { kind: 'stream', after } : valueReply(ring.read(after));
}

/** Loaded when it is asked for: a start does without it. */
async function openapi(): Promise<Reply> {
  const { openApiDocument } = await import('#src/observe/openapi.ts');
  return valueReply(openApiDocument());
}
