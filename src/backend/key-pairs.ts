/** Which of a node's keys: the one it has published as its own, or the one that takes its place in a rotation. */
export type KeyRole = 'current' | 'next';

/** A node's keys by their numbers; each rotation of the network has the next number. */
export interface KeyNumbers {
  readonly current: number;
  /** Present while the node rotates. */
  readonly next?: number;
}

/**
 * Between which keys of two nodes tunnels are: by the key of ours, the peer's key at the other end. A key that is not
 * named has no tunnel to this peer.
 */
export interface KeyPairs {
  readonly current?: KeyRole;
  readonly next?: KeyRole;
}

/**
 * Old with old and new with new. A node that has one key only is behind the rotation, or it is through with it: its number
 * says which. Both ends come to the same pairs from the same numbers, so a tunnel that one of them makes is made by the other.
 */
export function keyPairs(own: KeyNumbers, peer: KeyNumbers): KeyPairs {
  if (own.next !== undefined && peer.next !== undefined) return { current: 'current', next: 'next' };
  if (own.next !== undefined) return peer.current >= own.next ? { next: 'current' } : { current: 'current' };
  if (peer.next !== undefined) return { current: own.current >= peer.next ? 'next' : 'current' };
  return { current: 'current' };
}
