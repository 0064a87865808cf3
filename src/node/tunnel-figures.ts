import type { TunnelSeen } from '#src/backend/tunnel-signs.ts';

/** A peer of a WireGuard device, as the kernel reports it. */
export interface PeerFigures {
  readonly publicKey: string;
  /** Milliseconds since the epoch; 0 is never. */
  readonly handshakeAt: number;
  /** Bytes. */
  readonly received: number;
}

/**
 * One tunnel to a peer may be two, where each family has a device of its own. The new tunnel is as alive as the weaker of them;
 * the old one is in use as long as one of them is.
 */
export class TunnelFigures {
  readonly #known = new Map<string, { bases: number[]; rounds: number }>();

  /** `undefined` when a device has no such peer. `needsAll`: something counts as received when it came through all of them. */
  of(
    id: string,
    reports: readonly (readonly PeerFigures[])[],
    publicKey: string,
    needsAll: boolean,
  ): TunnelSeen | undefined {
    const found = reports.map((peers) => peers.find((peer) => peer.publicKey === publicKey));
    const there = found.filter((peer) => peer !== undefined);
    if (there.length === 0) return undefined;
    const shaken = there.every(({ handshakeAt }) => handshakeAt > 0);
    const received = there.map((peer) => peer.received);
    if (!needsAll || there.length === 1)
      return { shaken, received: received.reduce((sum, bytes) => sum + bytes, 0) };
    const known = this.#known.get(id) ?? { bases: received, rounds: 0 };
    if (received.every((bytes, at) => bytes > (known.bases[at] ?? bytes))) {
      known.rounds++;
      known.bases = received;
    }
    this.#known.set(id, known);
    return { shaken, received: known.rounds };
  }

  /** A peer, by the name of its lease. */
  forget(name: string): void {
    for (const id of this.#known.keys()) if (id.split(' ')[1] === name) this.#known.delete(id);
  }
}
