import { connect, type Socket } from 'node:net';

/** Connections to programs of this host by a unix socket, of bytes. */
export interface UnixStreams {
  /** Throws node's error: ENOENT or ECONNREFUSED where nobody listens. */
  connect(path: string): Promise<UnixStream>;
}

export interface UnixStream {
  /** `close` is called once, also when the other end closes it. */
  listen(data: (chunk: Uint8Array) => void, close: () => void): void;
  /** What can't be sent ends the connection. */
  write(bytes: Uint8Array): void;
  close(): void;
}

export const systemUnixStreams: UnixStreams = {
  async connect(path) {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new SocketStream(socket);
  },
};

class SocketStream implements UnixStream {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    // It is followed by "close".
    socket.on('error', () => {});
    // A connection that waits for events keeps no process.
    socket.unref();
  }

  listen(data: (chunk: Uint8Array) => void, close: () => void): void {
    this.#socket.on('data', data);
    if (this.#socket.destroyed) close();
    else this.#socket.once('close', close);
  }

  write(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  close(): void {
    this.#socket.destroy();
  }
}
