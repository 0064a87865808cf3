import type { Mac } from '#src/lib/mac.ts';

/** In place of a namespace's path: the host's own namespace. */
export const HOST_NAMESPACE = 'host';

/**
 * The other end of a pair of devices, which is made together with this one (VETH_INFO_PEER of linux/veth.h). It matters
 * only then: the kernel does not name the other end of what was found.
 */
export interface Veth {
  readonly peer: string;
  /** Where the other end is: {@link HOST_NAMESPACE}, or the path of a network namespace. */
  readonly peerNamespace: string;
  readonly peerMac?: Mac;
  /** Bytes of layer-3 payload. */
  readonly peerMtu?: number;
}

/** What follows `type veth`. The process 1 is in the host's namespace. */
export function formatVeth({ peer, peerNamespace, peerMac, peerMtu }: Veth): string {
  const words = ['peer', 'name', peer];
  if (peerMac !== undefined) words.push('address', peerMac);
  if (peerMtu !== undefined) words.push('mtu', String(peerMtu));
  words.push('netns', peerNamespace === HOST_NAMESPACE ? '1' : peerNamespace);
  return words.join(' ');
}
