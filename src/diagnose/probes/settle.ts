import type { EchoOutcome } from '#src/diagnose/probes/echoes.ts';
import type { Flight } from '#src/diagnose/probes/flights.ts';
import { DOWN_AFTER, isDown } from '#src/diagnose/probes/judge.ts';
import type { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { MtuSearch } from '#src/diagnose/probes/mtu-search.ts';
import type { Retry } from '#src/diagnose/probes/retries.ts';
import { LEAST_ECHO } from '#src/sys/icmp-socket.ts';

/** A working MTU is looked for again with every so manieth look, which is in the middle of a round of {@link LOOKS}. */
const SEARCH_AGAIN = 32;
/** Of so many looks one tries full-size packets as well, and another one TCP. */
export const LOOKS = 4;
/** Between the packets that decide whether a silent peer is down. */
const RETRY_MS = 100;

/** Writes what became of a packet into its peer's record. Returns what is to be measured next, beside the round. `mtu`: inside. */
export function settle(flight: Flight, outcome: EchoOutcome, mtu: number): Retry[] {
  const { peer, kind, way, isLate } = flight;
  if (kind === 'small') return settleSmall(flight, outcome);
  // A late packet of full size was tried again meanwhile.
  if (isLate && outcome.isAnswered) return [];
  if (kind === 'mtu') return settleSearch(flight, outcome);
  return settleFull(peer, way, outcome, mtu);
}

function settleSmall(flight: Flight, { isAnswered, at, refusal }: EchoOutcome): Retry[] {
  const { peer, way: side, sentAt, isLate } = flight;
  const way = peer[side];
  if (!isAnswered) {
    flight.number = way.count;
    way.lost(refusal);
    if (way.lostInRow !== 1) return [];
    return Array.from({ length: DOWN_AFTER - 1 }, (_, n) => ({ peer, what: side, dueAt: at + n * RETRY_MS }));
  }
  const wasDown = side === 'inside' && isDown(peer);
  if (isLate) {
    way.answeredLate(at - sentAt, way.count - 1 - flight.number);
    // A packet that waited for a neighbour arrives when the way is there again.
    if (wasDown && !isDown(peer)) peer.forget();
    return [];
  }
  if (wasDown) peer.forget();
  // The peer had yet to learn of this host.
  if (way.roundTripMs === undefined) way.forget();
  way.answered(at - sentAt);
  return [];
}

function settleFull(peer: MeasuredPeer, side: Flight['way'], outcome: EchoOutcome, mtu: number): Retry[] {
  const { isAnswered, at: dueAt } = outcome;
  const way = peer[side];
  // Small ones are lost as well: that says nothing of the size.
  if (!isAnswered && way.lostInRow > 0) return [];
  way.full(isAnswered);
  if (way.isFullInDoubt) return [{ peer, what: `full-${side}`, dueAt }];
  if (side === 'outside') return [];
  if (isAnswered) {
    peer.search = undefined;
    peer.workingMtu = mtu;
    return [];
  }
  // Its next step may have been left out.
  if (peer.search !== undefined) return [{ peer, what: 'mtu', dueAt }];
  const isKnown = peer.workingMtu !== undefined && peer.workingMtu < mtu;
  if (isKnown && peer.looks % SEARCH_AGAIN >= LOOKS) return [];
  peer.search = new MtuSearch(LEAST_ECHO, mtu);
  return [{ peer, what: 'mtu', dueAt }];
}

function settleSearch({ peer, bytes }: Flight, { isAnswered, at: dueAt }: EchoOutcome): Retry[] {
  const { search } = peer;
  // Another step may have been taken meanwhile.
  if (search === undefined || search.next !== bytes) return [];
  search.note(isAnswered);
  const isDone = search.next === undefined;
  if (!isDone && peer.inside.lostInRow < DOWN_AFTER) return [{ peer, what: 'mtu', dueAt }];
  peer.search = undefined;
  peer.workingMtu = isDone ? search.passes : undefined;
  return [];
}
