import type { PeerPath } from '#src/backend/backend.ts';
import type { GoObject } from '#src/network/go-json.ts';
import type { Lease } from '#src/network/lease.ts';
import type { FastPath, FastPeer } from '#src/state/object.ts';

export type FastPathWish = 'on' | 'off';

/** How established flows of a backend may go past bridge, packet filter and tunnel device, in the same packets on the wire. */
export interface FastWay {
  /** The tunnel's device. */
  readonly device: string;
  readonly settings: Pick<FastPath, 'underlay' | 'vtep' | 'mac' | 'vni' | 'port'>;
  /** Where packets to a peer go; why they can't go fast, where they can't. */
  peer(lease: Lease, path: PeerPath): FastEnd | string;
}

/** A peer's end. */
export type FastEnd = Omit<FastPeer, 'kind' | 'set'>;

/** `"FastPath": "on"` of a network's `Backend`; `undefined` where the node decides. Throws WeftError `config`. */
export function readFastPathWish(options: GoObject): FastPathWish | undefined {
  const wish = options.string('FastPath') ?? '';
  if (wish === '') return undefined;
  if (wish !== 'on' && wish !== 'off') throw options.error('FastPath', 'it must be "on" or "off"');
  return wish;
}
