import {
  decodeViciMessage,
  encodeViciMessage,
  textIn,
  type ViciSection,
} from '#src/kernel/vici/vici-message.ts';
import * as packet from '#src/kernel/vici/vici-packet.ts';
import { WeftError } from '#src/lib/errors.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { UnixStream, UnixStreams } from '#src/sys/unix-stream.ts';

export interface ViciComponents {
  readonly streams: UnixStreams;
  readonly clock: Clock;
}

/** What charon answered to a command. */
export type ViciAnswer =
  | { readonly done: true; readonly message: ViciSection }
  /** In charon's own words. */
  | { readonly done: false; readonly reason: string };

type Turn = (received: packet.ViciPacket) => boolean;

/** Milliseconds until charon is taken for one that hangs. A command that waits for a peer is never sent. */
const ANSWER_MS = 10_000;

/**
 * A connection to charon over VICI, as `swanctl` has one. Commands take turns: their answers bear no name. Everything throws
 * WeftError `vici` when the connection is lost, or when an answer does not come in ten seconds.
 */
export class ViciClient {
  readonly #stream: UnixStream;
  readonly #clock: Clock;
  readonly #packets = new packet.ViciPackets();
  readonly #closing = new AbortController();
  readonly #listeners = new Map<string, (message: ViciSection) => void>();
  /** Reads the answers of the command that is under way; true at the last one. */
  #turn: Turn | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(stream: UnixStream, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
    stream.listen(
      (chunk) => this.#take(chunk),
      () => this.#lose('charon closed the connection'),
    );
  }

  /** Throws node's error where nobody listens. */
  static async open({ streams, clock }: ViciComponents, path: string): Promise<ViciClient> {
    return new ViciClient(await streams.connect(path), clock);
  }

  /** Aborted when the connection is lost or closed: a charon that starts again knows nothing of before. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** One command and its answer. Equals `swanctl --raw`. */
  request(command: string, message: ViciSection = {}): Promise<ViciAnswer> {
    return this.#inTurn(async () => this.#command(command, message, () => {}));
  }

  /** A command that answers with a row of events, such as `list-conns`, and the events. */
  list(command: string, event: string, message: ViciSection = {}): Promise<readonly ViciSection[]> {
    return this.#inTurn(async () => {
      const listed: ViciSection[] = [];
      await this.#register(packet.REGISTER, event);
      await this.#command(command, message, (received) => {
        if (received.name === event) listed.push(read(received));
      });
      await this.#register(packet.UNREGISTER, event);
      return listed;
    });
  }

  /** Calls back for each event of the name until the connection ends. */
  listen(event: string, listener: (message: ViciSection) => void): Promise<void> {
    return this.#inTurn(async () => {
      this.#listeners.set(event, listener);
      await this.#register(packet.REGISTER, event);
    });
  }

  close(): void {
    this.#lose('the connection to charon is closed');
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }

  async #command(
    name: string,
    message: ViciSection,
    visit: (event: packet.ViciPacket) => void,
  ): Promise<ViciAnswer> {
    let answer: ViciAnswer | undefined;
    await this.#exchange({ type: packet.REQUEST, name, body: encodeViciMessage(message) }, (received) => {
      if (received.type === packet.EVENT) visit(received);
      else if (received.type === packet.RESPONSE) answer = answerIn(read(received));
      else if (received.type === packet.UNKNOWN_COMMAND)
        answer = { done: false, reason: `it has no command "${name}"` };
      return answer !== undefined;
    });
    return answer ?? { done: false, reason: 'no answer' };
  }

  async #register(type: number, name: string): Promise<void> {
    await this.#exchange(
      { type, name, body: new Uint8Array() },
      (received) => received.type === packet.CONFIRM || received.type === packet.UNKNOWN_EVENT,
    );
  }

  async #exchange(sent: packet.ViciPacket, turn: Turn): Promise<void> {
    this.closed.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#turn = (received) => {
      try {
        const isLast = turn(received);
        if (isLast) resolve();
        return isLast;
      } catch (error) {
        reject(error);
        return true;
      }
    };
    const late = new AbortController();
    const signal = AbortSignal.any([this.closed, late.signal]);
    this.#clock
      .sleep(ANSWER_MS, signal)
      .then(() => this.#lose(`charon does not answer "${sent.name}" for ${ANSWER_MS / 1000} s`))
      .catch(() => {});
    try {
      this.#stream.write(packet.encodeViciPacket(sent));
      await orAborted(promise, this.closed);
    } finally {
      this.#turn = undefined;
      late.abort();
    }
  }

  #take(chunk: Uint8Array): void {
    const packets = this.#packets.take(chunk);
    if (packets === undefined) this.#lose('what answers there does not speak VICI');
    for (const received of packets ?? []) {
      const listener = received.type === packet.EVENT ? this.#listeners.get(received.name) : undefined;
      if (listener === undefined) {
        if (this.#turn?.(received)) this.#turn = undefined;
        continue;
      }
      const message = decodeViciMessage(received.body);
      if (message !== undefined) listener(message);
    }
  }

  #lose(reason: string): void {
    if (!this.closed.aborted) this.#closing.abort(new WeftError('vici', `cannot ask charon: ${reason}`));
    this.#stream.close();
  }
}

function read({ body }: packet.ViciPacket): ViciSection {
  const message = decodeViciMessage(body);
  if (message === undefined) throw new WeftError('vici', 'cannot ask charon: its answer is no VICI message');
  return message;
}

function answerIn(message: ViciSection): ViciAnswer {
  if (textIn(message, 'success') !== 'no') return { done: true, message };
  return { done: false, reason: textIn(message, 'errmsg') || 'it gives no reason' };
}
