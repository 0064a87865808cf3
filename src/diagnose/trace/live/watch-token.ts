import { markedFilter, markedFrame } from '#src/diagnose/trace/live/marked-packet.ts';
import type { Station, StationPlan } from '#src/diagnose/trace/live/stations.ts';
import type { Clock } from '#src/sys/clock.ts';
import { nextTurn, TURNS_TO_READ } from '#src/sys/next-turn.ts';
import { openPacketSocket, type PacketSocket } from '#src/sys/packet-socket.ts';
import { deadlineIn } from '#src/sys/timer.ts';

/** A frame with the token at a station. JSON. */
export interface Sighting {
  /** Index among the stations. */
  readonly station: number;
  readonly kind: 'request' | 'answer';
  readonly direction: 'in' | 'out';
  /** Nanoseconds since the epoch, by this host's clock, as text. */
  readonly at: string;
  /** On the wire: the frame from its Ethernet header on, in hex. */
  readonly frame?: string;
}

/** What one host saw of a marked packet. JSON: the answer to `POST /v1/watch`. */
export interface WatchAnswer {
  /** The host's name. */
  readonly host: string;
  readonly stations: readonly Station[];
  readonly sightings: readonly Sighting[];
}

export interface WatchOptions {
  readonly token: Uint8Array;
  /** Ends it at the latest. */
  readonly timeoutMs: number;
  /** What has been seen when nothing more is to come. */
  readonly last: {
    readonly kind: Sighting['kind'];
    readonly direction: Sighting['direction'];
    readonly station: number;
  };
  readonly signal?: AbortSignal;
}

/** Packets that follow one another are seen a little later. */
const AFTERWARDS_MS = 50;

/** Watches on one host. */
export class TokenWatch {
  readonly #plan: StationPlan;
  readonly #options: WatchOptions;
  readonly #sockets: PacketSocket[] = [];
  readonly #sightings = new Map<string, Sighting>();
  readonly #done = Promise.withResolvers<void>();

  constructor(plan: StationPlan, options: WatchOptions) {
    this.#plan = plan;
    this.#options = options;
  }

  /** What it saw, earliest first. */
  get sightings(): Sighting[] {
    return [...this.#sightings.values()].sort((a, b) => Number(BigInt(a.at) - BigInt(b.at)));
  }

  /** Opens the sockets: what comes from now on is seen. Throws WeftError `packet-socket` or `netns`. */
  async start(): Promise<void> {
    const { stations, namespaces } = this.#plan;
    try {
      for (const place of new Set(stations.map((station) => station.in))) {
        const filter = markedFilter(this.#options.token);
        const socket = await openPacketSocket({ namespace: namespaces[place], filter });
        this.#sockets.push(socket);
        socket.watch(({ bytes, deviceIndex, direction, at }) =>
          this.#see(place, socket.nameOf(deviceIndex), direction, bytes, at),
        );
      }
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** Resolves when the last was seen, or at the deadline. What came before it and waits to be read is seen. */
  async run(clock: Clock): Promise<void> {
    const { timeoutMs, signal } = this.#options;
    const deadline = deadlineIn(timeoutMs, signal);
    const ended = new Promise<void>((resolve) => {
      deadline.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([this.#done.promise, ended]);
    signal?.throwIfAborted();
    if (!deadline.aborted) await clock.sleep(AFTERWARDS_MS, signal);
    else for (let turn = 0; turn < TURNS_TO_READ; turn++) await nextTurn();
  }

  stop(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  #see(
    place: Station['in'],
    device: string | undefined,
    direction: 'in' | 'out',
    bytes: Uint8Array,
    at: bigint,
  ): void {
    const { token, last } = this.#options;
    const frame = markedFrame(bytes, token);
    if (frame === undefined) return;
    const station = this.#plan.stations.findIndex(
      (it) => it.in === place && it.device === device && it.wrapped === frame.wrapped,
    );
    if (station < 0) return;
    const key = `${station} ${frame.kind} ${direction}`;
    if (!this.#sightings.has(key)) {
      const isOnWire = station === this.#plan.stations.length - 1;
      this.#sightings.set(key, {
        ...{ station, kind: frame.kind, direction, at: String(at) },
        ...(isOnWire && { frame: Buffer.from(bytes).toString('hex') }),
      });
    }
    if (frame.kind === last.kind && direction === last.direction && station === last.station)
      this.#done.resolve();
  }
}
