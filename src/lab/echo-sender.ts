import { WeftError } from '#src/lib/errors.ts';
import { isIpv4, parseIp, parseIpv4, parseIpv6 } from '#src/lib/ip.ts';
import type { Clock } from '#src/sys/clock.ts';
import { type Icmp, LEAST_ECHO } from '#src/sys/icmp-socket.ts';

export interface EchoSenderOptions {
  /** An address of either family, in words. */
  readonly to: string;
  /** Packets a second, 1 … 1000. */
  readonly perSecond: number;
  readonly print: (line: string) => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** By the kernel's choice. */
const ANY = { v4: parseIpv4('0.0.0.0'), v6: parseIpv6('::') };

/**
 * Sends echo requests at a steady rate until the signal aborts, and prints a line for each answer and how many were sent, in
 * the form of `ping -n -D`. iputils' ping takes a whole processor at more than 100 packets a second: it turns in a loop between
 * two of them. Throws WeftError `lab-traffic` for what is no address, `icmp` without CAP_NET_RAW.
 */
export async function sendEchoes(
  { clock, icmp, identifier }: { readonly clock: Clock; readonly icmp: Icmp; readonly identifier: number },
  { to: text, perSecond, print, signal }: EchoSenderOptions,
): Promise<void> {
  const to = parseIp(text);
  const source = to && ANY[isIpv4(to) ? 'v4' : 'v6'];
  if (to === undefined || source === undefined)
    throw new WeftError('lab-traffic', `"${text}" is no address to send echoes to`);
  const socket = await icmp.open({ source, identifier });
  let sent = 0;
  socket.watch(() => {
    for (let reply = socket.receive(); reply !== undefined; reply = socket.receive())
      print(
        `[${(clock.now() / 1_000).toFixed(3)}] ${LEAST_ECHO} bytes from ${text}: icmp_seq=${reply.sequence} `,
      );
  });
  try {
    for (let next = clock.monotonic(); !signal.aborted; ) {
      sent++;
      // One that can't leave is lost as well.
      socket.send({ to, sequence: sent & 0xffff, bytes: LEAST_ECHO });
      // A sender that was kept waiting does not send at once what it has missed.
      next = Math.max(next + 1_000 / perSecond, clock.monotonic());
      await clock.sleep(next - clock.monotonic(), signal).catch(() => {});
    }
  } finally {
    socket.close();
    print(`${sent} packets transmitted`);
  }
}
