/** What the kernel says of one tunnel: of a peer of a WireGuard device. */
export interface TunnelSeen {
  /** There was a handshake since the peer was added. */
  readonly shaken: boolean;
  /** Bytes that came through it; every one of them is from the holder of the key. */
  readonly received: number;
}

/** Signs of life of one tunnel, by the monotonic clock. The kernel's times of handshakes follow a clock that jumps. */
export class TunnelSigns {
  #shaken = false;
  #received: number | undefined;
  /** When something last came through it; `undefined` before that was seen. */
  receivedAt: number | undefined;

  get shaken(): boolean {
    return this.#shaken;
  }

  /** What was received before the first look says nothing of when. */
  see({ shaken, received }: TunnelSeen, now: number): void {
    if (this.#received !== undefined && received > this.#received) this.receivedAt = now;
    this.#received = received;
    this.#shaken = shaken;
  }

  /** The peer was removed from the device, or the device was made again. */
  lose(): void {
    this.#shaken = false;
    this.#received = undefined;
  }

  /** Packets pass: there was a handshake, and something came just now. */
  isAlive(now: number): boolean {
    return this.#shaken && this.receivedAt !== undefined && now - this.receivedAt <= ALIVE_MS;
  }
}

/** Fifteen keepalives in a row are not lost by chance. */
const ALIVE_MS = 15_000;
