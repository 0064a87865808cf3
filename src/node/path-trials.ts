import { messageOf } from '#src/lib/errors.ts';
import { containsAddress, type Ip, type Prefix6 } from '#src/lib/ip.ts';
import type { Clock } from '#src/sys/clock.ts';
import { type Icmp, type IcmpSocket, LEAST_ECHO } from '#src/sys/icmp-socket.ts';
import type { Random } from '#src/sys/random.ts';

export interface PathTrialsComponents {
  readonly icmp: Icmp;
  readonly clock: Clock;
  readonly random: Random;
}

/** A peer whose new path is to be tried. */
export interface Trial {
  /** Its lease's name. */
  readonly name: string;
  /** Where it answers inside. */
  readonly to: Ip;
  /** Another address of it, which is tried as well: an answer from either suffices. */
  readonly or?: Ip | undefined;
  /** Of IPv6, whose answers count as well: `answers` of PeerEnds (probe-ends.ts). */
  readonly answers?: Prefix6 | undefined;
}

export interface TrialWay {
  /** Our own address inside. */
  readonly source: Ip;
  /** The index of the device by which packets leave; absent where routes lead by the new path. */
  readonly leaveBy?: number | undefined;
  /** Of the largest packet that has to pass. */
  readonly bytes: number;
}

const ROUNDS = 4;
const ROUND_MS = 300;
const LOOK_MS = 5;

/** Sends a small packet and one of full size to each peer, and waits for the answers of both. */
export class PathTrials {
  readonly #components: PathTrialsComponents;

  constructor(components: PathTrialsComponents) {
    this.#components = components;
  }

  /** Why the path does not work, by the peer's name; `undefined` where it does. */
  async run(
    trials: readonly Trial[],
    way: TrialWay,
    signal: AbortSignal,
  ): Promise<Map<string, string | undefined>> {
    const { icmp, random } = this.#components;
    const { source, leaveBy } = way;
    const identifier = Math.floor(random() * 0x1_0000);
    let socket: IcmpSocket;
    try {
      socket = await icmp.open({ source, identifier, ...(leaveBy !== undefined && { leaveBy }) });
    } catch (error) {
      signal.throwIfAborted();
      return new Map(trials.map(({ name }) => [name, messageOf(error)]));
    }
    try {
      return await this.#tryAll(socket, trials, way, signal);
    } finally {
      socket.close();
    }
  }

  async #tryAll(
    socket: IcmpSocket,
    trials: readonly Trial[],
    { bytes }: TrialWay,
    signal: AbortSignal,
  ): Promise<Map<string, string | undefined>> {
    const { clock } = this.#components;
    const open = trials.flatMap((trial, at) =>
      [trial.to, ...(trial.or === undefined ? [] : [trial.or])].map((to) => {
        return { trial, at, to, small: false, full: false, refusal: '' };
      }),
    );
    const isDone = ({ at }: { readonly at: number }): boolean =>
      open.some((one) => one.at === at && one.small && one.full);
    for (let round = 0; round < ROUNDS; round++) {
      const waiting = open.filter((one) => !isDone(one));
      if (waiting.length === 0) break;
      for (const one of waiting) {
        const { to } = one;
        const sequence = open.indexOf(one) * 2;
        // The sequence number says which peer and which size: even ones are small.
        if (!one.small) one.refusal = socket.send({ to, sequence, bytes: LEAST_ECHO }) ?? '';
        if (!one.full) {
          const refusal = socket.send({ to, sequence: sequence + 1, bytes });
          if (one.small && refusal !== undefined) one.refusal = refusal;
        }
      }
      for (const end = clock.monotonic() + ROUND_MS; clock.monotonic() < end; ) {
        await clock.sleep(LOOK_MS, signal);
        for (let reply = socket.receive(); reply !== undefined; reply = socket.receive()) {
          const one = open[Math.floor(reply.sequence / 2)];
          if (one === undefined || !isAnswerOf(one, reply.from)) continue;
          if (reply.sequence % 2 === 0) one.small = true;
          else one.full = true;
        }
        if (open.every(isDone)) break;
      }
    }
    return new Map(
      trials.map(({ name }, at) => {
        const all = open.filter((one) => one.at === at);
        const best = all.find(({ small, full }) => small && full) ?? all.find(({ small }) => small) ?? all[0];
        return [name, best && outcomeOf(best, bytes)];
      }),
    );
  }
}

const isAnswerOf = (
  { to, trial: { answers } }: { readonly to: Ip; readonly trial: Trial },
  from: Ip,
): boolean => from === to || (answers !== undefined && containsAddress(answers, from));

function outcomeOf(
  { small, full, refusal }: { readonly small: boolean; readonly full: boolean; readonly refusal: string },
  bytes: number,
): string | undefined {
  if (small && full) return undefined;
  if (refusal !== '') return `this host can't send by the new path (${refusal})`;
  return small
    ? `packets of ${bytes} bytes do not pass by the new path, small ones do`
    : 'nothing passes by the new path';
}
