import { type Endpoint, equalEndpoints } from '#src/lib/endpoint.ts';

/** What a look at a peer shows of the way to it. */
export interface EndpointSight {
  /** Where the kernel sends now. */
  readonly endpoint?: Endpoint;
  /** Milliseconds since the epoch; 0 is never. */
  readonly handshakeAt: number;
  /** Bytes. */
  readonly received: number;
  readonly sent: number;
}

interface Known {
  /** What we gave last. */
  given: Endpoint | undefined;
  /** What the kernel had at the last look. */
  seen: Endpoint | undefined;
  received: number;
  /** Whether the kernel has `seen` from a packet of the peer's own. */
  learnt: boolean;
  /** Since when we have sent without an answer, and how much had been sent then. */
  trying: { readonly at: number; readonly sent: number } | undefined;
}

/** REJECT_AFTER_TIME (drivers/net/wireguard/messages.h): then a session's keys are dead, and so is what they proved. */
const SESSION_MS = 180_000;
/** Three attempts at a handshake (REKEY_TIMEOUT is 5 s). */
const TRYING_MS = 15_000;

/**
 * Which endpoint of a peer counts. WireGuard follows a peer that sends from another address: one behind a NAT has an address
 * there that no lease names. Such an endpoint is right as long as the peer is heard there, and what was given counts as
 * found. An endpoint that another program has set does not come with bytes from the peer, and is drift.
 *
 * When a lease names another endpoint, that is given to the kernel at once, and the peer may be followed again from there.
 */
export class EndpointMemory {
  readonly #known = new Map<string, Known>();

  /** Whether any peer is followed: what proves it has to be looked at from time to time. */
  get hasLearnt(): boolean {
    for (const { learnt } of this.#known.values()) if (learnt) return true;
    return false;
  }

  /**
   * Notes a look at a peer. Returns the endpoint that counts as found. `before`: bytes received at the look before; where there
   * was none, a live session speaks for the endpoint. `now`: milliseconds since the epoch.
   */
  see(publicKey: string, sight: EndpointSight, now: number, before?: number): Endpoint | undefined {
    const known = this.#of(publicKey);
    const { endpoint, received } = sight;
    const last = before ?? (known.seen === undefined ? undefined : known.received);
    if (endpoint === undefined || equalEndpoints(endpoint, known.given)) known.learnt = false;
    else if (!equalEndpoints(endpoint, known.seen))
      known.learnt = last === undefined ? isAlive(sight, now) : received > last;
    known.seen = endpoint;
    known.received = received;
    if (known.learnt && this.#isDead(known, sight, now)) known.learnt = false;
    return known.learnt ? (known.given ?? endpoint) : endpoint;
  }

  /**
   * The endpoint to set for a peer that shall have this one; `undefined` where the peer is followed from there. After a start
   * nothing is known of what was given before: a peer that is heard is followed.
   */
  give(publicKey: string, endpoint: Endpoint): Endpoint | undefined {
    const known = this.#of(publicKey);
    const stays = known.learnt && (known.given === undefined || equalEndpoints(known.given, endpoint));
    known.given = endpoint;
    if (stays) return undefined;
    known.seen = endpoint;
    known.learnt = false;
    known.trying = undefined;
    return endpoint;
  }

  forget(publicKey: string): void {
    this.#known.delete(publicKey);
  }

  /** Forgets all peers but these. */
  keep(publicKeys: ReadonlySet<string>): void {
    for (const publicKey of this.#known.keys()) if (!publicKeys.has(publicKey)) this.#known.delete(publicKey);
  }

  /** Whether we have tried in vain: a session that nobody uses is no reason to look for the peer elsewhere. */
  #isDead(known: Known, sight: EndpointSight, now: number): boolean {
    if (isAlive(sight, now)) {
      known.trying = undefined;
      return false;
    }
    if (known.trying === undefined || sight.sent === known.trying.sent)
      known.trying = { at: now, sent: sight.sent };
    return now - known.trying.at >= TRYING_MS;
  }

  #of(publicKey: string): Known {
    let known = this.#known.get(publicKey);
    if (known === undefined) {
      known = { given: undefined, seen: undefined, received: 0, learnt: false, trying: undefined };
      this.#known.set(publicKey, known);
    }
    return known;
  }
}

const isAlive = ({ handshakeAt }: EndpointSight, now: number): boolean => now - handshakeAt < SESSION_MS;
