import { type Message, messagesIn } from '#src/kernel/message.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Netlink, NetlinkSocket, NetlinkSocketOptions } from '#src/sys/netlink-socket.ts';

export interface SubscriptionListener {
  /** To be read inside the call. */
  message(message: Message): void;
  /** Messages were lost. The subscription goes on. */
  overrun(): void;
}

/** Milliseconds of events in a row before the event loop gets its turn. Twice what `apply` works in one: its own echo never overruns us. */
const TURN_MS = 6;

export type Subscription = Pick<NetlinkSocket, 'setMute'>;

/** Hands what the kernel multicasts to the listener until the signal aborts. Resolves when the subscription is in force. */
export async function subscribe(
  { netlink, clock }: { readonly netlink: Netlink; readonly clock: Clock },
  options: NetlinkSocketOptions,
  listener: SubscriptionListener,
  signal: AbortSignal,
): Promise<Subscription> {
  signal.throwIfAborted();
  const socket = await netlink.open(options);
  if (signal.aborted) {
    socket.close();
    throw signal.reason;
  }
  // Asked of the signal, it would be one of its sources after the other, for each message.
  let closed = false;
  const close = () => {
    closed = true;
    socket.close();
  };
  signal.addEventListener('abort', close, { once: true });
  socket.watch(() => {
    const until = clock.monotonic() + TURN_MS;
    do {
      const datagram = socket.receive();
      if (datagram === undefined) return;
      if (datagram === 'overrun') listener.overrun();
      else for (const message of messagesIn(datagram)) listener.message(message);
      // The rest is read in the next turn: the socket stays readable.
    } while (!closed && clock.monotonic() < until);
  });
  return socket;
}
