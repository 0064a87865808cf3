import type { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { containsAddress, type Ip } from '#src/lib/ip.ts';

/** An echo request that is under way. */
export interface Flight {
  readonly peer: MeasuredPeer;
  readonly way: 'inside' | 'outside';
  readonly kind: 'small' | 'full' | 'mtu';
  readonly to: Ip;
  /** Of the whole IP packet. */
  readonly bytes: number;
  /** Monotonic milliseconds. */
  readonly sentAt: number;
  /** When its time is up; of one that was counted as lost, until when an answer still counts. */
  deadline: number;
  /** It was counted as lost, and an answer may still come. */
  isLate: boolean;
  /** Of a lost one: how many small packets of its way were answered or lost before it. */
  number: number;
}

/** An answer counts for so long after its packet was counted as lost: a way may have become slow, and is not broken. */
const LATE_MS = 4_000;
const SEQUENCES = 65_536;

/** Of the address that was asked, or of the peer's bridge: see {@link PeerEnds}. */
function isAnswer({ peer, way, to }: Flight, from: Ip): boolean {
  if (to === from) return true;
  const { answers } = peer.ends;
  return way === 'inside' && answers !== undefined && containsAddress(answers, from);
}

/** The echo requests that wait for their answers, by sequence number. */
export class Flights {
  readonly #flights = new Map<number, Flight>();
  #last = 0;
  /** Before that there is nothing to take note of, nor to forget. */
  #nextLook = Number.POSITIVE_INFINITY;

  /** The sequence number for the next request. */
  sequence(): number {
    this.#last = (this.#last + 1) % SEQUENCES;
    return this.#last;
  }

  add(sequence: number, flight: Flight): void {
    this.#flights.set(sequence, flight);
    if (flight.deadline < this.#nextLook) this.#nextLook = flight.deadline;
  }

  /** The request that was answered. An answer of somebody else is none. */
  land(sequence: number, from: Ip): Flight | undefined {
    const flight = this.#flights.get(sequence);
    if (flight === undefined || !isAnswer(flight, from)) return undefined;
    this.#flights.delete(sequence);
    return flight;
  }

  /** Takes note of those whose time is up, each once. */
  expire(now: number): Flight[] {
    const expired: Flight[] = [];
    if (now < this.#nextLook) return expired;
    // An iterator would make two objects of each, and so does each sum, and a number that is kept from one to the next: most of
    // what a daemon at rest has to collect.
    this.#nextLook = Number.POSITIVE_INFINITY;
    this.#flights.forEach((flight, sequence) => {
      const isUp = now >= flight.deadline;
      if (isUp && !flight.isLate) {
        expired.push(flight);
        flight.isLate = true;
        flight.deadline += LATE_MS;
      }
      if (isUp && (flight.peer.isGone || now > flight.deadline)) {
        this.#flights.delete(sequence);
        return;
      }
      if (flight.deadline < this.#nextLook) this.#nextLook = flight.deadline;
    });
    return expired;
  }

  /** When the next one's time is up; infinite when none waits. */
  get nextDeadline(): number {
    let next = Number.POSITIVE_INFINITY;
    this.#flights.forEach(({ isLate, deadline }) => {
      if (!isLate && deadline < next) next = deadline;
    });
    return next;
  }

  clear(): void {
    this.#flights.clear();
    this.#nextLook = Number.POSITIVE_INFINITY;
  }
}
