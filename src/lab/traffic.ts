import type { Daemon } from '#src/lab/daemon.ts';
import type { Machine } from '#src/lab/machine.ts';
import { WeftError } from '#src/lib/errors.ts';

export interface TrafficOptions {
  /** Packets a second, 1 … 1000. Default 200. */
  readonly perSecond?: number;
}

export interface TrafficReport {
  /** Packets that could have been answered by the end. */
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  /** The longest time between two answers in a row, in milliseconds. */
  readonly longestGapMs: number;
}

/** On a busy machine the program alone takes seconds to start. */
const FIRST_MS = 30_000;
/** A packet younger than this at the end counts as under way and not as lost. */
const UNDER_WAY_MS = 100;
/** Names are not used again, by this process or another: a log holds one run. */
let started = 0;

/** Echo requests at a steady rate from one machine to an address, each answer with its time. */
export class Traffic {
  readonly #daemon: Daemon;
  readonly #perSecond: number;

  private constructor(daemon: Daemon, perSecond: number) {
    this.#daemon = daemon;
    this.#perSecond = perSecond;
  }

  /** Starts it and waits for the first answer. */
  static async start(from: Machine, to: string, options: TrafficOptions = {}): Promise<Traffic> {
    const { perSecond = 200 } = options;
    const argv = [from.components.weft, 'lab', 'echoes', `--per-second=${perSecond}`, to] as const;
    const daemon = await from.start(`traffic-${process.pid}-${++started}`, argv);
    await daemon.waitForLog(/icmp_seq=/, FIRST_MS);
    return new Traffic(daemon, perSecond);
  }

  /** Packets answered so far. */
  async received(): Promise<number> {
    return answersIn(await this.#daemon.log()).length;
  }

  /** Packets without an answer before the last one that has one. Those that are late, as on a busy machine, do not count. */
  async missing(): Promise<number> {
    const sequences = answersIn(await this.#daemon.log()).map(({ sequence }) => sequence);
    return Math.max(0, ...sequences) - new Set(sequences).size;
  }

  async stop(): Promise<TrafficReport> {
    this.#daemon.kill('SIGINT');
    await this.#daemon.exited();
    return reportOf(await this.#daemon.log(), this.#perSecond);
  }
}

/** What {@link sendEchoes} or ping (iputils) wrote from its start to its SIGINT; throws `lab-traffic` when that isn't whole. */
export function reportOf(log: string, perSecond: number): TrafficReport {
  const transmitted = /^(\d+) packets transmitted/m.exec(log)?.[1];
  if (transmitted === undefined) {
    throw new WeftError(
      'lab-traffic',
      `the echoes did not end as they should: ${log.trim().split('\n').at(-1)}`,
    );
  }
  const answers = answersIn(log);
  const last = answers.at(-1)?.sequence ?? 0;
  const tail = Number(transmitted) - last;
  const underWay = Math.ceil((UNDER_WAY_MS / 1000) * perSecond);
  const sent = tail <= underWay ? last : Number(transmitted);
  const received = new Set(answers.map((answer) => answer.sequence)).size;
  let longestGapMs = 0;
  for (const [index, answer] of answers.entries()) {
    const before = answers[index - 1];
    if (before !== undefined) longestGapMs = Math.max(longestGapMs, (answer.at - before.at) * 1000);
  }
  return { sent, received, lost: sent - received, longestGapMs: Math.round(longestGapMs) };
}

interface Answer {
  /** 1 is the first; the packet's own number has 16 bits and begins again. */
  readonly sequence: number;
  /** Seconds since the epoch. */
  readonly at: number;
}

function answersIn(log: string): Answer[] {
  const answers: Answer[] = [];
  let rounds = 0;
  let before = 0;
  for (const [, at, text] of log.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) /gm)) {
    const sequence = Number(text);
    if (before - sequence > 32768) rounds++;
    before = sequence;
    answers.push({ sequence: rounds * 65536 + sequence, at: Number(at) });
  }
  return answers;
}

/** $1: a folder; $2: a port. A CGI script that prints the caller's address, as seen by the server's socket. */
const SERVE = `
set -e
mkdir -p "$1/cgi-bin"
printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\n\\\\n$REMOTE_ADDR\\\\n"\\n' > "$1/cgi-bin/caller"
chmod +x "$1/cgi-bin/caller"
exec busybox httpd -f -p "0.0.0.0:$2" -h "$1"`;

/** A TCP server that answers with the address from which it was called: `GET /cgi-bin/caller`. */
export async function serveCaller(on: Machine, port = 8080): Promise<Daemon> {
  const daemon = await on.start(`caller-${port}`, [
    'sh',
    '-c',
    SERVE,
    'sh',
    `${on.shared.inside}/www-${port}`,
    String(port),
  ]);
  await untilListening(on, port);
  return daemon;
}

/** Waits until a program in the machine's network takes TCP connections: it does so a moment after its start. */
export async function untilListening(on: Machine, port = 8080): Promise<void> {
  await on.must(['sh', '-c', `until ss -Hltn 'sport = :${port}' | grep -q .; do sleep 0.02; done`]);
}

/** The address as which a server sees this machine, asked over TCP. */
export async function callerSeenBy(from: Machine, to: string, port = 8080): Promise<string> {
  const url = `http://${to}:${port}/cgi-bin/caller`;
  return (await from.must(['timeout', '20', 'busybox', 'wget', '-q', '-O-', url])).trim();
}
