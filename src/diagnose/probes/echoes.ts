import type { OwnEnds } from '#src/backend/probe-ends.ts';
import { type Flight, Flights } from '#src/diagnose/probes/flights.ts';
import type { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import type { Way } from '#src/diagnose/probes/way.ts';
import type { Clock } from '#src/sys/clock.ts';
import { type Icmp, type IcmpSocket, LEAST_ECHO } from '#src/sys/icmp-socket.ts';
import type { Random } from '#src/sys/random.ts';

export interface EchoesComponents {
  readonly icmp: Icmp;
  readonly clock: Clock;
  readonly random: Random;
  /** Called with what became of each packet, once; and once more where the answer of a lost one comes late. */
  readonly onSettled: (flight: Flight, outcome: EchoOutcome) => void;
  /** Called after answers have been read. */
  readonly onAnswers: () => void;
}

export interface EchoOutcome {
  readonly isAnswered: boolean;
  /** Monotonic milliseconds. */
  readonly at: number;
  /** The errno's name where the packet could not leave. */
  readonly refusal?: string;
}

/** How long an answer is waited for: four times what the last one took, within these bounds. */
const LEAST_WAIT_MS = 250;
const MOST_WAIT_MS = 2_000;
const FIRST_WAIT_MS = 1_000;

/** Echo requests to all peers, and their answers: two sockets, one for each of this host's ends. */
export class Echoes {
  readonly #components: EchoesComponents;
  readonly #own: OwnEnds;
  readonly #flights = new Flights();
  #sockets: Readonly<Record<Flight['way'], IcmpSocket>> | undefined;
  sent = 0;
  lost = 0;

  constructor(components: EchoesComponents, own: OwnEnds) {
    this.#components = components;
    this.#own = own;
  }

  get isOpen(): boolean {
    return this.#sockets !== undefined;
  }

  /** Throws WeftError `icmp`. */
  async open(): Promise<void> {
    const { icmp, random } = this.#components;
    const identifier = Math.floor(random() * 0xffff);
    const inside = await icmp.open({ source: this.#own.inside, identifier });
    try {
      const outside = await icmp.open({ source: this.#own.outside, identifier: identifier + 1 });
      this.#sockets = { inside, outside };
    } catch (error) {
      inside.close();
      throw error;
    }
    for (const socket of Object.values(this.#sockets)) {
      socket.watch(() => {
        this.drain();
        this.#components.onAnswers();
      });
    }
  }

  close(): void {
    this.#sockets?.inside.close();
    this.#sockets?.outside.close();
    this.#sockets = undefined;
    this.#flights.clear();
  }

  send(peer: MeasuredPeer, side: Flight['way'], kind: Flight['kind'], now: number): void {
    const bytes = kind === 'small' ? LEAST_ECHO : kind === 'full' ? this.#own.mtu[side] : peer.search?.next;
    if (this.#sockets === undefined || bytes === undefined) return;
    const way = peer[side];
    const to = peer.ends[side];
    const sequence = this.#flights.sequence();
    const flight: Flight = {
      peer,
      way: side,
      kind,
      to,
      bytes,
      sentAt: now,
      deadline: now + waitFor(way),
      isLate: false,
      number: 0,
    };
    this.sent++;
    const refusal = this.#sockets[side].send({ to, sequence, bytes });
    if (refusal === undefined) this.#flights.add(sequence, flight);
    else this.#settle(flight, { isAnswered: false, at: now, refusal });
  }

  /** Reads the answers that are there. */
  drain(): void {
    for (const side of ['inside', 'outside'] as const) {
      for (;;) {
        const reply = this.#sockets?.[side].receive();
        if (reply === undefined) break;
        const flight = this.#flights.land(reply.sequence, reply.from);
        if (flight === undefined) continue;
        if (side === 'inside') flight.peer.answersElsewhere = reply.from !== flight.to;
        this.#settle(flight, { isAnswered: true, at: this.#components.clock.monotonic() });
      }
    }
  }

  /** Counts those as lost whose time is up. */
  expire(now: number): void {
    for (const flight of this.#flights.expire(now)) this.#settle(flight, { isAnswered: false, at: now });
  }

  /** When the next one's time is up; infinite when none waits. */
  get nextDeadline(): number {
    return this.#flights.nextDeadline;
  }

  #settle(flight: Flight, outcome: EchoOutcome): void {
    if (flight.peer.isGone) return;
    if (!outcome.isAnswered) this.lost++;
    else if (flight.isLate) this.lost--;
    this.#components.onSettled(flight, outcome);
  }
}

/** After a loss twice as long: the way may have become slow. */
function waitFor({ roundTripMs, lostInRow }: Way): number {
  if (roundTripMs === undefined) return FIRST_WAIT_MS;
  const wait = Math.max(LEAST_WAIT_MS, 4 * roundTripMs) * (lostInRow > 0 ? 2 : 1);
  return Math.min(MOST_WAIT_MS, wait);
}
