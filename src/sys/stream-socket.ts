import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

/** A server that is spoken to over a stream of bytes. */
export interface StreamTarget {
  /** A name or an address, an IPv6 one without brackets. */
  readonly host: string;
  readonly port: number;
  readonly tls?: StreamTls;
}

export interface StreamTls {
  /** PEM: the authorities to trust; those of the system where there is none. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** What is spoken inside (ALPN). */
  readonly protocol: string;
}

export interface OpeningStream {
  /** The stream, once it is connected and encrypted. Rejects with Node's error. */
  readonly opened: Promise<Duplex>;
  /** Gives up, also in the middle of connecting: the kernel would try for two minutes. `reason`: what `opened` rejects with. */
  destroy(reason?: Error): void;
}

export type OpenStream = (target: StreamTarget) => OpeningStream;

/** Connects over TCP, and TLS if wanted, whose modules are loaded only then. */
export const openStream: OpenStream = ({ host, port, tls }) => {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  let socket: Duplex | undefined;
  let isGivenUp = false;
  const follow = (made: Duplex, word: 'connect' | 'secureConnect'): void => {
    socket = made;
    made.on('error', reject);
    // A server that is full or restarts may close before TLS stands.
    made.once('close', () => reject(new Error('connection closed')));
    made.once(word, () => resolve(made));
  };
  if (tls === undefined) follow(connect({ host, port, noDelay: true }), 'connect');
  else {
    import('#src/sys/secure-stream.ts')
      .then(({ connectSecurely }) => {
        if (!isGivenUp) follow(connectSecurely({ host, port }, tls), 'secureConnect');
      })
      // Node refuses files that are no certificates here.
      .catch(reject);
  }
  return {
    opened: promise,
    destroy(reason = new Error('given up')) {
      isGivenUp = true;
      promise.catch(() => {});
      reject(reason);
      socket?.destroy();
    },
  };
};
