import type { PeerPath } from '#src/backend/backend.ts';
import { type Check, type Finding, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { settledPeers } from '#src/diagnose/checks/peers-now.ts';
import { storeOf } from '#src/diagnose/checks/registry-checks.ts';
import { known, NoFact } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { type KnownNetwork, type KnownPeer, peerOf } from '#src/diagnose/known-network.ts';
import type { Lease } from '#src/network/lease.ts';
import { formatObject, type KernelObject, KINDS, keyOf } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';
import { isOwned } from '#src/state/scope.ts';

type EntryKind = 'route' | 'neighbour' | 'fdb';

/** What one peer needs in the kernel. */
interface Wanted {
  readonly peer: KnownPeer;
  readonly objects: readonly KernelObject[];
}

const leaseOf = ({ lease, subnets, attributes }: KnownPeer): Lease => ({
  subnets,
  attributes,
  expiry: { kind: 'reservation' },
  name: lease,
  revision: 0n,
});

function wantedOf(facts: HostFacts, peers: readonly KnownPeer[]): Wanted[] {
  const { backend } = known(facts.network);
  if (backend === undefined) throw new NoFact(BACKEND_UNKNOWN);
  const routeForm = routeFormOf(facts, known(facts.network));
  return peers.flatMap((peer) => {
    const lookup = facts.waysOfFamilies.get(peer.lease);
    // A way that was not looked up says nothing.
    if (backend.needsLookup && lookup === undefined) return [];
    const path: PeerPath = { routeForm, ...(lookup !== undefined && { lookup }) };
    return [{ peer, objects: backend.peerObjects(leaseOf(peer), path) }];
  });
}

const BACKEND_UNKNOWN = {
  kind: 'unknown',
  why: 'what peers need in the kernel is not known: there is no state file',
} as const;

/** Routes with a metric each are seen by one that has it. */
function routeFormOf({ daemon, routes }: HostFacts, { backend }: KnownNetwork): PeerPath['routeForm'] {
  if (daemon.state === 'running') return daemon.status.network?.routes ?? 'flannel';
  const has = routes.some(
    ({ device, metric, destination }) =>
      destination.family === 4 && device !== undefined && backend?.devices.includes(device) && metric > 0,
  );
  return has ? 'linear' : 'flannel';
}

const foundOf = ({ routes, neighbours, fdb }: HostFacts): readonly KernelObject[] => [
  ...routes,
  ...neighbours,
  ...fdb,
];

function missing(facts: HostFacts, kind: EntryKind, noun: string): Finding | undefined {
  const found = new Map(foundOf(facts).map((object) => [keyOf(object), object]));
  const wrong = wantedOf(facts, settledPeers(facts)).flatMap(({ peer, objects }) =>
    objects
      .filter((object) => object.kind === kind)
      .flatMap((wanted) => {
        const there = found.get(keyOf(wanted));
        const differs = there && KINDS.of(wanted).differences(wanted, there).length > 0;
        return there === undefined || differs ? [{ peer, wanted, there }] : [];
      }),
  );
  const [first] = wrong;
  if (first === undefined) return undefined;
  const { peer, wanted, there } = first;
  const instead = there === undefined ? 'is missing' : `is ${formatObject(there)}`;
  const others = wrong.length > 1 ? `, and of ${wrong.length - 1} more peers` : '';
  return {
    what: `The ${noun} of the peer ${peer.lease} (${formatObject(wanted)}) ${instead}${others}.`,
    remedy: `${commandOf({ verb: 'replace', object: wanted })}, or systemctl restart flanneld, which sets all of them`,
    leases: wrong.map((it) => it.peer.lease),
  };
}

export const ENTRY_CHECKS: readonly Check[] = [
  {
    id: 'route-missing',
    title: 'each peer has its route',
    why: 'Without the route packets to that host leave by the default route, and are lost.',
    causes: [...REACH],
    look: (facts) => missing(facts, 'route', 'route'),
  },
  {
    id: 'neighbour-missing',
    title: "each peer's VTEP has its neighbour entry",
    why: 'No ARP is sent on the overlay: without the entry the kernel does not know the MAC to send to.',
    causes: [...REACH],
    look: (facts) => missing(facts, 'neighbour', 'neighbour entry'),
  },
  {
    id: 'fdb-missing',
    title: "each peer's VTEP has its forwarding entry",
    why: 'Without the entry the kernel does not know to which host a frame goes, and drops it.',
    causes: [...REACH],
    look: (facts) => missing(facts, 'fdb', 'forwarding entry'),
  },
  {
    id: 'stale-entries',
    title: 'there are no entries of hosts that are gone',
    why: 'Packets to a subnet that another host has by now go to the dead one.',
    causes: [],
    look(facts) {
      const network = known(facts.network);
      // A flanneld that runs removes them.
      if (network.source !== 'state-file' || facts.daemon.state === 'silent') return undefined;
      if (network.backend === undefined) return undefined;
      // What was written down may be half a minute older than the entries: a lease that came then is in the registry.
      const { records } = storeOf(facts);
      const late = records.flatMap(({ name, value }) => peerOf(name, value) ?? []);
      const usable = late.filter(({ attributes }) => network.backend?.judge(attributes) === undefined);
      const all = [...network.peers, ...usable];
      // Their entries would be taken for those of nobody.
      if (network.backend.needsLookup && all.some(({ lease }) => !facts.ways.has(lease)))
        throw new NoFact({ kind: 'unknown', why: 'the ways to some peers were not looked up' });
      const wanted = new Set(
        wantedOf(facts, all)
          .flatMap(({ objects }) => objects)
          .concat(network.backend.ownObjects(network.subnets))
          .map(keyOf),
      );
      const { scopes } = network.backend;
      const stale = foundOf(facts).filter((object) => !wanted.has(keyOf(object)) && isOwned(scopes, object));
      if (stale.length === 0) return undefined;
      return {
        what: `There are entries of hosts that have no lease: ${some(stale.map(formatObject))}.`,
        remedy: stale
          .slice(0, 3)
          .map((object) => commandOf({ verb: 'remove', object }))
          .join('; '),
      };
    },
  },
];
