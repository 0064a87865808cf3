import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import type { Peer } from '#src/observe/api.ts';

/** The network with the peers that its flanneld has now: what it wrote down may be half a minute old. */
export const withPresentPeers = (known: KnownNetwork, peers: readonly Peer[]): KnownNetwork => ({
  ...known,
  peers: peers.flatMap((peer) => presentPeer(known, peer) ?? []),
});

/** `undefined` for a lease that is not used. What else is remembered of the same lease stays. */
function presentPeer({ peers }: KnownNetwork, peer: Peer): KnownPeer | undefined {
  const { lease, programmed, backend: backendType, vtep, node, probe } = peer;
  const subnet = parsePrefix4(peer.subnet ?? '');
  const publicIp = parseIpv4(peer.publicIp ?? '');
  if (subnet === undefined || publicIp === undefined || programmed === 'quarantined') return undefined;
  const before = peers.find((it) => it.lease === lease)?.attributes;
  const attributes = {
    ...before,
    publicIp,
    backendType: backendType ?? before?.backendType ?? '',
    // As flannel's vxlan backend publishes it.
    ...(vtep !== undefined && { backendData: { VtepMAC: vtep.mac } }),
    ...(node !== undefined && { node }),
  };
  return { lease, subnet, publicIp, attributes, ...(probe !== undefined && { probe }) };
}
