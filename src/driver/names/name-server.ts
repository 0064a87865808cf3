import type { Duplex } from 'node:stream';
import { QueryBudget } from '#src/driver/names/query-budget.ts';
import type { Responder } from '#src/driver/names/responder.ts';
import type { Clock } from '#src/sys/clock.ts';
import type {
  DatagramPeer,
  DatagramSocket,
  DevicePlace,
  DeviceSocket,
  DeviceSockets,
} from '#src/sys/device-sockets.ts';

/** Questions that one address of a tenant's answers: in the long run, and at once. */
const ANSWERED = { perSecond: 2_000, burst: 2_000 };
/** How long nothing is read after more than that. */
const DEAF_MS = 100;
const MOST_CONNECTIONS = 64;
const IDLE_MS = 10_000;
/** No question is longer: a name of 255 bytes and EDNS with its options. */
const LONGEST_QUERY = 4_096;

export interface NameServerComponents {
  readonly sockets: DeviceSockets;
  readonly clock: Clock;
  readonly responder: Responder;
}

export interface NameServerEvents {
  /** More is asked than is answered; called each time that nothing is read for a while. */
  onFlood(): void;
  /** A question could not be answered, by a fault of ours. */
  onFault(error: unknown): void;
}

/** The open sockets of one address, UDP and TCP. */
export class NameServer {
  readonly #clock: Clock;
  readonly #responder: Responder;
  readonly #budget: QueryBudget;
  readonly #events: NameServerEvents;
  readonly #end = new AbortController();
  #datagrams: DatagramSocket | undefined;
  #connections: DeviceSocket | undefined;
  #deaf = false;

  private constructor({ clock, responder }: NameServerComponents, events: NameServerEvents) {
    this.#clock = clock;
    this.#responder = responder;
    this.#budget = new QueryBudget({ clock }, ANSWERED);
    this.#events = events;
  }

  /** Throws what {@link DeviceSockets} throws. */
  static async open(
    components: NameServerComponents,
    place: DevicePlace,
    events: NameServerEvents,
  ): Promise<NameServer> {
    const { sockets } = components;
    const server = new NameServer(components, events);
    try {
      server.#datagrams = await sockets.datagrams(place, (bytes, from) => void server.#answer(bytes, from));
      server.#connections = await sockets.connections(place, (stream) => void server.#converse(stream), {
        most: MOST_CONNECTIONS,
        idleMs: IDLE_MS,
      });
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** Whether questions still reach it. */
  get isAttached(): boolean {
    return this.#datagrams?.isAttached() === true && this.#connections?.isAttached() === true;
  }

  /** Gives up the questions that are being answered. */
  async close(): Promise<void> {
    this.#end.abort();
    await Promise.all([this.#datagrams?.close(), this.#connections?.close()]);
  }

  async #answer(bytes: Buffer, from: DatagramPeer): Promise<void> {
    if (this.#deaf) return;
    if (!this.#budget.take()) return this.#rest();
    const answer = await this.#respond(bytes, 'udp');
    if (answer !== undefined) this.#datagrams?.send(answer, from);
  }

  /** Callers that wait for an answer ask again. */
  async #rest(): Promise<void> {
    this.#deaf = true;
    this.#datagrams?.deafen(true);
    this.#events.onFlood();
    await this.#clock.sleep(DEAF_MS, this.#end.signal).catch(() => {});
    this.#datagrams?.deafen(false);
    this.#deaf = false;
  }

  /** One question after the other, until the caller hangs up. */
  async #converse(stream: Duplex): Promise<void> {
    try {
      for await (const message of messagesIn(stream)) {
        while (!this.#budget.take()) await this.#clock.sleep(DEAF_MS, this.#end.signal);
        const answer = await this.#respond(message, 'tcp');
        if (answer === undefined) break;
        await write(stream, answer);
      }
    } catch {
      // The caller is gone, or the server is closing.
    } finally {
      stream.destroy();
    }
  }

  async #respond(bytes: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    try {
      return await this.#responder.respond(bytes, transport, this.#end.signal);
    } catch (error) {
      if (!this.#end.signal.aborted) this.#events.onFault(error);
      return undefined;
    }
  }
}

/** Each message comes after its length in 16 bits (RFC 1035 §4.2.2). Ends at one that is too long. */
export async function* messagesIn(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 2) {
      const end = 2 + rest.readUInt16BE(0);
      if (end > LONGEST_QUERY) return;
      if (rest.length < end) break;
      yield rest.subarray(2, end);
      rest = rest.subarray(end);
    }
  }
}

/** Resolves when the stream takes more: a caller that does not read gets no further answers. */
function write(stream: Duplex, message: Buffer): Promise<void> {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return new Promise((resolve, reject) => {
    stream.write(Buffer.concat([length, message]), (error) => (error ? reject(error) : resolve()));
  });
}
