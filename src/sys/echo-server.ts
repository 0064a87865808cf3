import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type Ip, isIpv4, parseIp } from '#src/lib/ip.ts';
import { loadLibc } from '#src/sys/libc.ts';
import { openUdpSocket } from '#src/sys/udp-socket.ts';

export interface EchoServer {
  close(): void;
}

/** Where servers of UDP echo come from. */
export interface EchoServers {
  /**
   * Sends each datagram back to an accepted sender, without a checksum: what was wrong with one is the sender's. Throws an
   * error with a `code`: EADDRINUSE, EADDRNOTAVAIL.
   */
  listen(
    place: { readonly address: Ip; readonly port: number },
    accepts: (from: Ip) => boolean,
  ): Promise<EchoServer>;
}

/** Longer ones are no probes of ours. */
const LONGEST_DATAGRAM = 64;

export const systemEchoServers: EchoServers = {
  async listen({ address, port }, accepts) {
    const libc = await loadLibc();
    const fd = openUdpSocket(libc, { address, port, checksum: false });
    const socket = createSocket(isIpv4(address) ? 'udp4' : 'udp6');
    socket.on('message', (bytes, from) => {
      const sender = parseIp(from.address);
      if (sender === undefined || bytes.length > LONGEST_DATAGRAM || !accepts(sender)) return;
      socket.send(bytes, from.port, from.address, () => {});
    });
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
    // Reading fails when memory is short.
    socket.on('error', () => {});
    let isClosed = false;
    return {
      close() {
        if (!isClosed) socket.close();
        isClosed = true;
      },
    };
  },
};
