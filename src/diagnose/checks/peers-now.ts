import { known } from '#src/diagnose/facts/fact.ts';
import { storeInUse } from '#src/diagnose/facts/registry.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { type KnownPeer, peerOf } from '#src/diagnose/known-network.ts';

/** All leases of the network but this host's: as the registry has them now, or as they were last written down. */
export function peersNow(facts: HostFacts): readonly KnownPeer[] {
  const { own, peers } = known(facts.network);
  const store = facts.registry.kind === 'known' ? storeInUse(facts.registry.value) : undefined;
  if (store === undefined) return peers;
  return store.records
    .filter(({ name }) => name !== own?.lease)
    .flatMap(({ name, value }) => peerOf(name, value) ?? []);
}

/**
 * The peers that this host must have in its kernel: those that its flanneld uses, of which the registry still says the
 * same. A lease that just came or went is the daemon's to handle.
 */
export function settledPeers(facts: HostFacts): readonly KnownPeer[] {
  const { peers, backend } = known(facts.network);
  const essence = ({ publicIp, attributes }: KnownPeer): string =>
    `${Number(publicIp)} ${backend?.identityOf?.(attributes)}`;
  const now = new Map(peersNow(facts).map((peer) => [peer.lease, essence(peer)]));
  const usable = peers.filter(({ attributes }) => backend?.judge(attributes) === undefined);
  return usable.filter((peer) => now.get(peer.lease) === essence(peer));
}
