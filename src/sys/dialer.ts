import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { formatIp, type Ip, isIpv4 } from '#src/lib/ip.ts';
import { loadLibc } from '#src/sys/libc.ts';
import { openUdpSocket } from '#src/sys/udp-socket.ts';

/** A port of another host, and the address of this host to ask from. */
export interface DialTarget {
  readonly from: Ip;
  readonly to: Ip;
  readonly port: number;
  readonly timeoutMs: number;
}

/**
 * `refused`: the host answered that nothing listens there. `silent`: nothing came in time. `failed`: nothing could be sent
 * from here, with this source or at all.
 */
export type DialOutcome = 'answered' | 'refused' | 'silent' | 'failed';

export interface Dialed {
  readonly outcome: DialOutcome;
  /** What came back of a request, as far as it came; absent without one. */
  readonly answer?: string;
}

/** Asks a port of another host whether it answers. Nothing stays open. */
export interface Dialer {
  /** One TCP connection, reset at its end, so that neither side keeps it. With `request`, its answer is read. */
  connect(target: DialTarget, request?: string): Promise<Dialed>;
  /** One UDP datagram, with or without a checksum (SO_NO_CHECK). An echo and an ICMP "port unreachable" are answers. */
  datagram(target: DialTarget, options: { readonly checksum: boolean }): Promise<DialOutcome>;
}

/** Of an answer, in characters. */
const LONGEST_ANSWER = 4_096;
/** These say that another host answered, and not that this one could not ask. */
const REFUSED = ['ECONNREFUSED', 'ECONNRESET'];
const SILENT = ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EPERM'];

export const systemDialer: Dialer = {
  connect({ from, to, port, timeoutMs }, request) {
    const { promise, resolve } = Promise.withResolvers<Dialed>();
    const socket = connect({
      host: formatIp(to),
      port,
      localAddress: formatIp(from),
      family: isIpv4(to) ? 4 : 6,
    });
    let answer = '';
    let isConnected = false;
    const end = (outcome: DialOutcome): void => {
      // A socket that still connects would be reset only once it has connected.
      if (isConnected) socket.resetAndDestroy();
      else socket.destroy();
      clearTimeout(timer);
      resolve(request === undefined || !isConnected ? { outcome } : { outcome, answer });
    };
    const timer = setTimeout(() => end(isConnected ? 'answered' : 'silent'), timeoutMs);
    socket.on('connect', () => {
      isConnected = true;
      if (request === undefined) end('answered');
      else socket.write(request);
    });
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.length > LONGEST_ANSWER) end('answered');
    });
    socket.on('end', () => end('answered'));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      end(isConnected ? 'answered' : outcomeOf(error));
    });
    return promise;
  },

  async datagram({ from, to, port, timeoutMs }, { checksum }) {
    const libc = await loadLibc();
    let fd: number;
    try {
      fd = openUdpSocket(libc, { address: from, port: 0, checksum });
    } catch {
      return 'failed';
    }
    const socket = createSocket(isIpv4(from) ? 'udp4' : 'udp6');
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
    const { promise, resolve } = Promise.withResolvers<DialOutcome>();
    // A connected socket reports the ICMP errors about it.
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(outcomeOf(error)));
    socket.on('message', () => resolve('answered'));
    socket.connect(port, formatIp(to), () => {
      socket.send(DATAGRAM, (error: NodeJS.ErrnoException | null) => {
        if (error !== null) resolve(outcomeOf(error));
      });
    });
    const timer = setTimeout(() => resolve('silent'), timeoutMs);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      socket.close();
    }
  },
};

const DATAGRAM = 'weft';

function outcomeOf({ code = '' }: NodeJS.ErrnoException): DialOutcome {
  if (REFUSED.includes(code)) return 'refused';
  return SILENT.includes(code) ? 'silent' : 'failed';
}
