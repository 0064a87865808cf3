import type { FastEnd, FastWay } from '#src/backend/fast-way.ts';
import { bareEcho, wireOf } from '#src/fast-path/bare-echo.ts';
import type { Ipv4 } from '#src/lib/ip.ts';
import type { Clock } from '#src/sys/clock.ts';
import { type IcmpSocket, LEAST_ECHO } from '#src/sys/icmp-socket.ts';
import type { IpSender } from '#src/sys/ip-sender.ts';
import type { Random } from '#src/sys/random.ts';
import type { WireSockets } from '#src/sys/wire-sockets.ts';

export interface WireTrialsComponents {
  readonly clock: Clock;
  readonly random: Random;
}

/** This host's end. */
export interface TrialSource {
  readonly way: FastWay;
  /** Of the VXLAN device, inside. */
  readonly address: Ipv4;
}

const ROUNDS = 5;
/** A peer that answers in fewer rounds than this says nothing about what does not arrive. */
const ENOUGH = 3;
const ROUND_MS = 300;
const LOOK_MS = 5;

interface Tried {
  readonly name: string;
  readonly to: Ipv4;
  readonly end: FastEnd;
  /** Answers to what the kernel put into VXLAN. */
  plain: number;
  /** An answer to a packet of the fast path's form. */
  isBareAnswered: boolean;
}

/**
 * Whether what the fast path puts onto the wire arrives: its outer datagrams have no UDP checksum, which RFC 7348 prefers, and the
 * kernel's have one. Some network card or firewall drops the ones and not the others, and then a fast flow stands still.
 */
export class WireTrials {
  readonly #components: WireTrialsComponents;
  readonly #sockets: WireSockets;

  constructor(components: WireTrialsComponents, sockets: WireSockets) {
    this.#components = components;
    this.#sockets = sockets;
  }

  /**
   * Sends two echoes to each peer's VXLAN device, in both forms. Resolves with the peers, by name, of which only the kernel's form
   * was answered. A peer that answers none of them is no such peer. At most 32,768 at once.
   */
  async run(
    ends: ReadonlyMap<string, FastEnd>,
    source: TrialSource,
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    const identifier = Math.floor(this.#components.random() * 0x1_0000);
    const socket = await this.#sockets.icmp.open({ source: source.address, identifier });
    try {
      const sender = await this.#sockets.openSender();
      try {
        const tried = Array.from(ends, ([name, end]): Tried => {
          const to = end.subnet.address;
          return { name, to, end, plain: 0, isBareAnswered: false };
        });
        for (let round = 0; round < ROUNDS; round++) {
          const open = tried.filter(({ isBareAnswered }) => !isBareAnswered);
          if (open.length === 0) break;
          for (const one of open) {
            const sequence = tried.indexOf(one) * 2;
            socket.send({ to: one.to, sequence, bytes: LEAST_ECHO });
            sendBare(sender, one, source, { identifier, sequence: sequence + 1 });
          }
          await this.#listen(socket, tried, open, signal);
        }
        const isDropped = ({ plain, isBareAnswered }: Tried) => !isBareAnswered && plain >= ENOUGH;
        return new Set(tried.filter(isDropped).map(({ name }) => name));
      } finally {
        sender.close();
      }
    } finally {
      socket.close();
    }
  }

  /** Until all have answered to both, or the round is over. */
  async #listen(
    socket: IcmpSocket,
    tried: readonly Tried[],
    open: readonly Tried[],
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#components;
    const answered = new Set<Tried>();
    for (const end = clock.monotonic() + ROUND_MS; clock.monotonic() < end; ) {
      await clock.sleep(LOOK_MS, signal);
      for (let reply = socket.receive(); reply !== undefined; reply = socket.receive()) {
        const one = tried[Math.floor(reply.sequence / 2)];
        if (one === undefined || one.to !== reply.from) continue;
        if (reply.sequence % 2 === 1) one.isBareAnswered = true;
        else if (!answered.has(one)) {
          answered.add(one);
          one.plain++;
        }
      }
      if (open.every(({ isBareAnswered }) => isBareAnswered)) return;
    }
  }
}

function sendBare(
  sender: IpSender,
  { to, end }: Tried,
  { way, address }: TrialSource,
  echo: { readonly identifier: number; readonly sequence: number },
): void {
  const packet = bareEcho(way.settings, end, { source: address, destination: to, ...echo });
  try {
    sender.send(packet, wireOf(end));
  } catch {
    // A packet that can't leave is one that does not arrive; the kernel's own can't leave either.
  }
}
