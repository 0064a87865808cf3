import { type KnownNetwork, type KnownPeer, knownPeer } from '#src/diagnose/known-network.ts';
import { isIpv4, parseIp } from '#src/lib/ip.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { Peer } from '#src/observe/api.ts';

/** The network with the peers that its flanneld has now: what it wrote down may be half a minute old. */
export const withPresentPeers = (known: KnownNetwork, peers: readonly Peer[]): KnownNetwork => ({
  ...known,
  peers: peers.flatMap((peer) => presentPeer(known, peer) ?? []),
});

/** `undefined` for a lease that is not used. What else is remembered of the same lease stays. */
function presentPeer({ peers }: KnownNetwork, peer: Peer): KnownPeer | undefined {
  const { lease, programmed, backend: backendType, vtep, node, probe } = peer;
  const publicIp = parseIp(peer.publicIp ?? '');
  if (publicIp === undefined || programmed === 'quarantined') return undefined;
  const before = peers.find((it) => it.lease === lease)?.attributes;
  // As flannel's vxlan backend publishes it.
  const data = vtep && { VtepMAC: vtep.mac };
  const isV4 = parseSubnetName(lease)?.v4 !== undefined;
  const present = knownPeer(lease, {
    ...before,
    ...(isIpv4(publicIp) ? { publicIp } : { publicIpv6: publicIp }),
    backendType: backendType ?? before?.backendType ?? '',
    ...(data !== undefined && (isV4 ? { backendData: data } : { backendV6Data: data })),
    ...(node !== undefined && { node }),
  });
  return present && { ...present, ...(probe !== undefined && { probe }) };
}
