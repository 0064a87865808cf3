import type { Published } from '#src/backend/backend.ts';
import type { KeyNumbers, KeyPairs, KeyRole } from '#src/backend/key-pairs.ts';
import type { PeerKeys, PeerPlan } from '#src/backend/rotation-peer.ts';
import { readWireguardData } from '#src/backend/wireguard-data.ts';
import type { WireguardKey } from '#src/backend/wireguard-key.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { readWireguardMember } from '#src/network/wireguard-member.ts';

/** Which of the two sets of devices: `flannel-wg`, or `flannel-wg.b`. The current key changes sides with each rotation. */
export type KeySide = 'a' | 'b';

export const otherSide = (side: KeySide): KeySide => (side === 'a' ? 'b' : 'a');

/** A peer's plan with the side of the key that it calls our current one. */
export interface PlacedPlan extends PeerPlan {
  readonly side: KeySide;
}

/**
 * The plan in the words of a backend whose current key is on `side`. At the end of a rotation keys change sides at once, and
 * the backend a moment later: a peer that is planned in between keeps the devices that it has.
 */
export function planOn(side: KeySide, plan: PlacedPlan): PeerPlan {
  if (plan.side === side) return plan;
  const { current, next } = plan.tunnels;
  const tunnels: KeyPairs = {
    ...(next !== undefined && { current: next }),
    ...(current !== undefined && { next: current }),
  };
  return { tunnels, awake: plan.awake.map(otherRole), route: otherRole(plan.route) };
}

const otherRole = (role: KeyRole): KeyRole => (role === 'current' ? 'next' : 'current');

/** What a node that rotates its keys knows of them, beside the current one. */
export interface KeyRotation {
  /** Where the current key is. */
  readonly side: KeySide;
  /** Says so in the lease. False where the flag was taken away after the key had changed sides. */
  readonly takesPart: boolean;
  /** On the other side, while it rotates. */
  readonly nextKey?: WireguardKey;
  /** Absent as long as the node's own lease is not known: that has them. */
  readonly numbers?: KeyNumbers;
  /** The lease names the next key as the node's own. */
  readonly isEnding?: boolean;
}

/** A node that has never rotated. */
const FIRST = 1;

export interface OwnNumbers {
  readonly numbers: KeyNumbers;
  readonly isEnding: boolean;
}

/** The numbers of our own keys, by what our lease says: after a start nothing else knows them. */
export function ownNumbers(lease: Partial<Published>, next: string | undefined): OwnNumbers {
  const { generation = FIRST, next: announced } = readWireguardMember(lease);
  if (next === undefined) return { numbers: { current: generation }, isEnding: false };
  if (publishedKey(lease) === next)
    return { numbers: { current: generation - 1, next: generation }, isEnding: true };
  const number = announced?.publicKey === next ? announced.generation : generation + 1;
  return { numbers: { current: generation, next: number }, isEnding: false };
}

/** The key that a lease has in flannel's fields; empty where there is none. */
export function publishedKey({ backendData, backendV6Data }: Partial<Published>): string {
  for (const data of [backendData, backendV6Data]) {
    const read = readWireguardData(data, '');
    if (typeof read !== 'string') return read.publicKey;
  }
  return '';
}

/** A peer's keys, as its lease has them. Values come from strangers: a next key that is the current one is none. */
export function peerKeysOf(attributes: LeaseAttributes): PeerKeys {
  const { generation, next } = readWireguardMember(attributes);
  const current = publishedKey(attributes);
  const isNext = next !== undefined && next.publicKey !== current;
  return {
    current,
    ...(isNext && { next: next.publicKey }),
    numbers: { current: generation ?? 0, ...(isNext && { next: next.generation }) },
    takesPart: generation !== undefined,
  };
}

export const KEY_ROLES: readonly KeyRole[] = ['current', 'next'];
