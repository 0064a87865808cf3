import type { OwnEnds, PeerEnds } from '#src/backend/probe-ends.ts';
import { Budget } from '#src/diagnose/probes/budget.ts';
import { Echoes, type EchoOutcome } from '#src/diagnose/probes/echoes.ts';
import type { Flight } from '#src/diagnose/probes/flights.ts';
import { DOWN_AFTER, isDown, isSameJudgement, type Judgement, judge } from '#src/diagnose/probes/judge.ts';
import type { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { PeerQueue } from '#src/diagnose/probes/peer-queue.ts';
import { Retries, type Retry } from '#src/diagnose/probes/retries.ts';
import { LOOKS, settle } from '#src/diagnose/probes/settle.ts';
import { TCP_PACKETS, TcpCheck, UDP_PACKETS } from '#src/diagnose/probes/tcp-check.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FamilyProbe } from '#src/observe/api.ts';
import type { ProbeCounts } from '#src/observe/probe-metrics.ts';
import { beatIn } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Dialer } from '#src/sys/dialer.ts';
import type { Icmp } from '#src/sys/icmp-socket.ts';
import type { Random } from '#src/sys/random.ts';
import { startTimer } from '#src/sys/timer.ts';

export interface ProberComponents {
  readonly icmp: Icmp;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface ProberOptions {
  /** Packets a second, at most. */
  readonly budget: number;
  /** The responders' port; 0 for no TCP. */
  readonly port: number;
  /** Called when what is known of a peer has become another thing. */
  readonly onChange?: (name: string, judgement: Judgement) => void;
}

/** A peer is not looked at more often, however few there are: in each fourth burst. */
const LOOK_EVERY_MS = 700;
/**
 * It works in bursts: waking up costs more than a packet. A beat is a multiple of it, so that each fifth burst comes when
 * others wake as well.
 */
const BURST_MS = 200;
const OPEN_AGAIN_MS = 2_000;
const LONGEST_PAUSE_MS = 60_000;
/** Packets that no peer answered before the network is in trouble: two rounds. */
const TROUBLE_AFTER = DOWN_AFTER + 1;

/**
 * Measures each peer, inside the tunnel and outside of it, in turn. A look is two small echoes; of four looks one has two of
 * full size as well, and another one a connection. That is 3.25 packets a look, so that n peers are looked at every
 * max(0.8 s, n × 3.25 / budget): 1,000 of them every 65 s with 50 packets a second. A peer whose packet gets lost is looked at
 * again at once, beside the round.
 */
export class Prober {
  readonly #components: ProberComponents;
  readonly #options: ProberOptions;
  readonly #tcp: TcpCheck;
  readonly #budget: Budget;
  readonly #queue = new PeerQueue();
  readonly #retries = new Retries();
  #own: OwnEnds | undefined;
  #echoes: Echoes | undefined;
  /** Packets of earlier sockets. */
  readonly #before = { sent: 0, lost: 0 };
  #isRefused = false;
  #wake: (() => void) | undefined;

  constructor(components: ProberComponents, options: ProberOptions) {
    this.#components = components;
    this.#options = options;
    this.#tcp = new TcpCheck(components.dialer, options.port);
    this.#budget = new Budget(options.budget, components.clock.monotonic());
  }

  /** This host's ends, or other ones; `undefined` while it has none. Forgets all peers. */
  use(own: OwnEnds | undefined): void {
    this.#queue.clear();
    this.#close();
    this.#own = own;
    this.#isRefused = false;
    this.#wake?.();
  }

  /** A peer, or another record of it. */
  put(name: string, ends: PeerEnds): void {
    if (this.#own === undefined) return;
    this.#queue.put(name, ends);
    if (this.#queue.size === 1) this.#wake?.();
  }

  remove(name: string): void {
    this.#queue.remove(name);
  }

  /** What is known of the peer with this lease; `undefined` before it was measured. */
  of(name: string): FamilyProbe | undefined {
    return this.#queue.get(name)?.view;
  }

  /** Each peer; `undefined` before its first look. */
  *states(): Generator<readonly [string, FamilyProbe['state'] | undefined]> {
    for (const name of this.#queue.names()) yield [name, this.#queue.get(name)?.reported?.state];
  }

  get counts(): ProbeCounts {
    const counts = { up: 0, degraded: 0, down: 0 };
    let worst: number | undefined;
    for (const { reported, inside } of this.#queue.measured()) {
      if (reported !== undefined) counts[reported.state]++;
      if (reported?.state !== 'down' && inside.roundTripMs !== undefined)
        worst = Math.max(worst ?? 0, inside.roundTripMs);
    }
    return {
      ...counts,
      unknown: this.#queue.size - counts.up - counts.degraded - counts.down,
      sent: this.#before.sent + (this.#echoes?.sent ?? 0),
      lost: this.#before.lost + (this.#echoes?.lost ?? 0),
      ...(worst !== undefined && { worstRoundTripSeconds: worst / 1000 }),
    };
  }

  /** Why the network does not work as it should: no peer answers, in two rounds. */
  get trouble(): string | undefined {
    const { size, first } = this.#queue;
    const isSilent = this.#queue.isEach((peer) => isDown(peer) && peer.inside.lostInRow >= TROUBLE_AFTER);
    if (first === undefined || !isSilent) return undefined;
    const why = first.reported?.findings[0] ?? '';
    return `${size === 1 ? 'the only peer does not answer' : `none of ${size} peers answers`} inside the tunnel: ${first.name}: ${why}`;
  }

  /** Measures until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const end = (): void => this.#wake?.();
    signal.addEventListener('abort', end);
    try {
      while (!signal.aborted) {
        const isOpen = await this.#open();
        if (signal.aborted) return;
        const pause = isOpen ? this.#work(clock.monotonic()) : OPEN_AGAIN_MS;
        // A combined signal for each pause would cost more than its packets.
        const woken = Promise.withResolvers<void>();
        const timer = startTimer(clock, pause, woken.resolve);
        this.#wake = woken.resolve;
        await woken.promise;
        timer.stop();
      }
    } finally {
      signal.removeEventListener('abort', end);
      this.#wake = undefined;
      this.#close();
    }
  }

  /** Without peers nothing is opened. False when the sockets can't be had now. */
  async #open(): Promise<boolean> {
    const own = this.#own;
    if (this.#echoes !== undefined || own === undefined || this.#queue.size === 0) return true;
    const echoes = new Echoes(
      {
        ...this.#components,
        onSettled: (flight, outcome) => this.#settle(flight, outcome, own),
        onAnswers: () => this.#wakeForRetries(),
      },
      own,
    );
    try {
      await echoes.open();
    } catch (error) {
      const { log } = this.#components;
      if (!this.#isRefused) log.warning(`Peers are not measured: ${messageOf(error)}`);
      this.#isRefused = true;
      return own !== this.#own;
    }
    if (own === this.#own) this.#echoes = echoes;
    else echoes.close();
    return true;
  }

  #close(): void {
    this.#before.sent += this.#echoes?.sent ?? 0;
    this.#before.lost += this.#echoes?.lost ?? 0;
    this.#echoes?.close();
    this.#echoes = undefined;
    this.#retries.clear();
  }

  /** Does what is due. Returns how long there is nothing to do, in milliseconds. */
  #work(now: number): number {
    const echoes = this.#echoes;
    if (echoes === undefined) return this.#queue.size === 0 ? LONGEST_PAUSE_MS : 0;
    // A late turn of the event loop must not make losses of answers that are here.
    echoes.drain();
    echoes.expire(now);
    for (;;) {
      const head = this.#due(now);
      const retry = this.#retries.due(now);
      if (head === undefined && retry === undefined) break;
      // In turn: silent peers, however many, take no more than every other step.
      const isRetried = retry !== undefined && this.#budget.take(retryPackets(retry), now);
      if (isRetried) this.#retry(echoes, retry, now);
      const isLooked = head !== undefined && this.#budget.take(lookPackets(head, this.#options), now);
      if (isLooked) this.#look(echoes, head, now);
      if (!isRetried && !isLooked) return untilBurst(now, now);
    }
    const lookAt = (this.#queue.first?.lookedAt ?? Number.POSITIVE_INFINITY) + LOOK_EVERY_MS;
    const nextAt = Math.min(lookAt, this.#retries.nextAt, echoes.nextDeadline);
    return Math.min(LONGEST_PAUSE_MS, untilBurst(now, nextAt));
  }

  #due(now: number): MeasuredPeer | undefined {
    const { first } = this.#queue;
    return first !== undefined && now - first.lookedAt >= LOOK_EVERY_MS ? first : undefined;
  }

  #look(echoes: Echoes, peer: MeasuredPeer, now: number): void {
    const { full, tcp } = planOf(peer, this.#options);
    this.#queue.rotate(peer);
    peer.lookedAt = now;
    peer.at = this.#components.clock.now();
    peer.looks++;
    for (const side of ['inside', 'outside'] as const) {
      echoes.send(peer, side, 'small', now);
      if (full) echoes.send(peer, side, 'full', now);
    }
    if (tcp) void this.#dial(peer);
  }

  #retry(echoes: Echoes, retry: Retry, now: number): void {
    const { peer, what } = retry;
    this.#retries.remove(retry);
    if (what === 'tcp') void this.#dial(peer);
    else if (what === 'udp') void this.#compare(peer);
    else if (what === 'mtu') echoes.send(peer, 'inside', 'mtu', now);
    else if (what === 'full-inside') echoes.send(peer, 'inside', 'full', now);
    else if (what === 'full-outside') echoes.send(peer, 'outside', 'full', now);
    else echoes.send(peer, what, 'small', now);
  }

  #settle(flight: Flight, outcome: EchoOutcome, own: OwnEnds): void {
    for (const retry of settle(flight, outcome, own.mtu.inside)) this.#retries.add(retry);
    this.#report(flight.peer, own);
  }

  async #dial(peer: MeasuredPeer): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    const more = await this.#tcp.connect(peer, own);
    if (peer.isGone) return;
    if (more !== undefined)
      this.#retries.add({ peer, what: more, dueAt: this.#components.clock.monotonic() });
    this.#report(peer, own);
    this.#wakeForRetries();
  }

  async #compare(peer: MeasuredPeer): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    await this.#tcp.compare(peer, own);
    if (!peer.isGone) this.#report(peer, own);
  }

  #wakeForRetries(): void {
    if (this.#retries.nextAt <= this.#components.clock.monotonic()) this.#wake?.();
  }

  #report(peer: MeasuredPeer, own: OwnEnds): void {
    if (peer.inside.sent === 0) return;
    const before = peer.reported;
    const judgement = judge(peer, own);
    // What is wrong is known in a moment, when the underlay has answered or not.
    const { lostInRow } = peer.outside;
    if (judgement.state === 'down' && lostInRow > 0 && lostInRow < DOWN_AFTER) return;
    peer.reported = judgement;
    // That a new peer answers is no news.
    if (before === undefined && judgement.findings.length === 0) return;
    if (!isSameJudgement(before, judgement)) this.#options.onChange?.(peer.name, judgement);
  }
}

/** Milliseconds until the next burst that is not before `at`. */
const untilBurst = (now: number, at: number): number =>
  Math.ceil(Math.max(beatIn(now, BURST_MS, BURST_MS), Math.ceil(at / BURST_MS) * BURST_MS) - now);

/** What a look at the peer tries besides two small packets. */
function planOf({ looks, inside, isDialing, answersElsewhere }: MeasuredPeer, { port }: ProberOptions) {
  const isSilent = inside.lostInRow > 0;
  return {
    full: !isSilent && looks % LOOKS === 1,
    tcp: !isSilent && port > 0 && !isDialing && !answersElsewhere && looks % LOOKS === 2,
  };
}

function lookPackets(peer: MeasuredPeer, options: ProberOptions): number {
  const { full, tcp } = planOf(peer, options);
  return 2 + (full ? 2 : 0) + (tcp ? TCP_PACKETS : 0);
}

function retryPackets({ what }: Retry): number {
  if (what === 'tcp') return TCP_PACKETS;
  return what === 'udp' ? UDP_PACKETS : 1;
}
