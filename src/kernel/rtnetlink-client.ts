import { NLM_F_ACK, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR } from '#src/kernel/constants.ts';
import { encodeRequests, errorIn, type Message, messagesIn, type Request } from '#src/kernel/message.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { KernelError } from '#src/state/operation.ts';
import type { NetlinkSocket } from '#src/sys/netlink-socket.ts';
import type { TurnBudget } from '#src/sys/turn-budget.ts';

/** An answer to one request: a message of the family, or the kernel's refusal. */
export type Answer = { readonly message: Message } | { readonly error: KernelError };

/** Many changes as one datagram, numbered from `first`. */
export interface Batch {
  readonly bytes: Uint8Array;
  readonly first: number;
  readonly count: number;
}

/** A dump is taken again so often before it is given up. */
const DUMP_ATTEMPTS = 10;

/**
 * Questions and answers on one socket. The kernel works inside `send`, so that a request and its answer are one
 * synchronous step, and no other request comes in between.
 */
export class RtnetlinkClient {
  /** nlmsg_pid of the events that our changes cause. */
  readonly port: number;
  readonly #socket: NetlinkSocket;
  #sequence = 0;

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
    this.port = socket.port;
  }

  /** Asks for one object. The message must be read before the next call. */
  request(request: Request): Answer {
    const sequence = this.#take(1);
    this.#socket.send(encodeRequests([request], sequence));
    for (;;) {
      const datagram = this.#socket.receive();
      if (datagram === undefined || datagram === 'overrun') return { error: LOST };
      for (const message of messagesIn(datagram)) {
        if (message.sequence !== sequence) continue;
        if (message.type !== NLMSG_ERROR) return { message };
        return { error: errorIn(message) ?? LOST };
      }
    }
  }

  /** The name that a device has now; `undefined` when there is none. Much cheaper than a {@link request}. */
  deviceName(index: number): string | undefined {
    return this.#socket.deviceName(index);
  }

  /**
   * Makes many changes into one datagram. Only the last asks for an acknowledgement, which is
   * fastest. The kernel reports every refusal anyway, and continues with the next.
   */
  prepare(requests: readonly Request[]): Batch {
    const count = requests.length;
    const first = this.#take(count);
    return { bytes: encodeRequests(requests, first, NLM_F_ACK), first, count };
  }

  /**
   * Sends them. One result each, `undefined` for done. Throws a SystemError when nothing was sent,
   * for lack of memory (ENOBUFS, EAGAIN) or of room (EMSGSIZE).
   */
  send(batch: Batch): (KernelError | undefined)[] {
    this.#socket.send(batch.bytes);
    return this.#answers(batch);
  }

  /** The same on another thread. Until it is done, this client may do nothing else. */
  async sendAside(batch: Batch): Promise<(KernelError | undefined)[]> {
    await this.#socket.sendAside(batch.bytes);
    return this.#answers(batch);
  }

  #answers({ first, count }: Batch): (KernelError | undefined)[] {
    const results = new Array<KernelError | undefined>(count).fill(undefined);
    const last = count - 1;
    let complete = false;
    let lost = false;
    while (!complete) {
      const datagram = this.#socket.receive();
      if (datagram === undefined) break;
      if (datagram === 'overrun') {
        lost = true;
        continue;
      }
      for (const message of messagesIn(datagram)) {
        const index = message.sequence - first;
        if (message.type !== NLMSG_ERROR || index < 0 || index > last) continue;
        results[index] = errorIn(message);
        if (index === last) complete = true;
      }
    }
    // Without its answer a change may have been made or refused: the caller has to look again.
    return complete && !lost ? results : results.map((error) => error ?? LOST);
  }

  /** Runs a dump to its end. A dump that changed under the kernel's hands (NLM_F_DUMP_INTR) is taken again, from `begin`. */
  async dump(
    request: Request,
    budget: TurnBudget,
    begin: () => void,
    visit: (message: Message) => void,
  ): Promise<void> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      begin();
      if (await this.#dumpOnce(request, budget, visit)) return;
    }
    throw new WeftError(
      'kernel-dump',
      `cannot list what is in the kernel: it changed under each of ${DUMP_ATTEMPTS} attempts`,
    );
  }

  /** Whether the dump is consistent, by the kernel's own word. */
  async #dumpOnce(request: Request, budget: TurnBudget, visit: (message: Message) => void): Promise<boolean> {
    const sequence = this.#take(1);
    this.#socket.send(encodeRequests([request], sequence));
    let consistent = true;
    for (;;) {
      const datagram = this.#socket.receive();
      if (datagram === 'overrun') {
        consistent = false;
        continue;
      }
      // The end of it may be what was lost.
      if (datagram === undefined && !consistent) return false;
      if (datagram === undefined) throw dumpFailed(LOST);
      for (const message of messagesIn(datagram)) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) consistent = false;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          const error = errorIn(message);
          // No such table or device, or a family that this kernel does not have: there is nothing.
          if (error !== undefined && !NOTHING_THERE.includes(error.errno)) throw dumpFailed(error);
          return consistent;
        }
        visit(message);
      }
      await budget.turn();
    }
  }

  #take(count: number): number {
    // Zero is the kernel's own, for events; the numbers of one batch must not wrap.
    if (this.#sequence + count > 0xffffffff) this.#sequence = 0;
    const first = this.#sequence + 1;
    this.#sequence += count;
    return first;
  }

  close(): void {
    this.#socket.close();
  }
}

const LOST: KernelError = { errno: 'ENOBUFS', message: 'the answer was lost' };
const NOTHING_THERE: readonly string[] = ['ENOENT', 'ENODEV', 'EAFNOSUPPORT', 'EOPNOTSUPP', 'EPFNOSUPPORT'];

const dumpFailed = ({ errno, message }: KernelError): WeftError =>
  new WeftError('kernel-dump', `cannot list what is in the kernel: ${message} (${errno})`);
