import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, isIPv6 } from 'node:net';

export interface ServerAddress {
  /** An IP address; an IPv6 one may have a zone: `fe80::1%eth0`. */
  readonly address: string;
  readonly port: number;
}

/** One message to a server and one back. Both calls throw node's error, or the signal's reason. */
export interface Exchange {
  /** UDP, from a port of its own. Answers that are not accepted are left aside. */
  datagram(
    server: ServerAddress,
    bytes: Uint8Array,
    accept: (answer: Buffer) => boolean,
    signal: AbortSignal,
  ): Promise<Buffer>;
  /** TCP, each message after its length in 16 bits (RFC 1035 §4.2.2). */
  connection(server: ServerAddress, bytes: Uint8Array, signal: AbortSignal): Promise<Buffer>;
}

export const systemExchange: Exchange = {
  async datagram({ address, port }, bytes, accept, signal) {
    signal.throwIfAborted();
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      socket.on('error', reject);
      socket.on('message', (answer) => {
        if (accept(answer)) resolve(answer);
      });
      // Connected: only the server's datagrams arrive, and ICMP reports that nobody listens there.
      socket.connect(port, address, () => socket.send(bytes));
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
      socket.close();
    }
  },

  async connection({ address, port }, bytes, signal) {
    const socket = connect({ host: address, port, noDelay: true });
    const abort = (): void => void socket.destroy(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    try {
      await once(socket, 'connect');
      const length = Buffer.alloc(2);
      length.writeUInt16BE(bytes.length);
      socket.write(Buffer.concat([length, bytes]));
      let received = Buffer.alloc(0);
      for await (const chunk of socket) {
        received = Buffer.concat([received, chunk as Buffer]);
        if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0))
          return received.subarray(2, 2 + received.readUInt16BE(0));
      }
      throw new Error(`${address} closed the connection without an answer`);
    } finally {
      signal.removeEventListener('abort', abort);
      socket.destroy();
    }
  },
};
