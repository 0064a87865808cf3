import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { ConnectionLimits, type ConnectionLimitsOptions } from '#src/store/connection-limits.ts';
import { EMPTY_SETTINGS, HTTP2_PREFACE, Http2Greeting } from '#src/store/http2-greeting.ts';

/** PEM texts. With `ca`, only clients with a certificate of this authority are let in. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

export interface ListenerHandlers {
  /** Takes a connection that speaks HTTP/2, already decrypted. */
  readonly http2: (connection: Socket) => void;
  readonly http1: RequestListener;
}

export interface ListenerOptions {
  readonly tls?: ServerTls | undefined;
  readonly limits?: ConnectionLimitsOptions;
  /** How long a new connection may take to greet, and one of HTTP/1.1 to make each request, milliseconds. */
  readonly greetingMs?: number;
}

const GREETING_MS = 30_000;
/** How long a client that has greeted may wait with its first request before it is handed on without. */
const FIRST_REQUEST_MS = 1000;
/** A peer that is gone without a word is noticed after some minutes. */
const KEEPALIVE_MS = 60_000;
/** Far above what a site has hosts, and far below what the process has memory and descriptors for. */
const MAX_CONNECTIONS = 5000;
const LIMITS = { perAddress: 1000, newcomers: 500 };

/**
 * One port for gRPC and plain HTTP/1.1, as etcd's: a connection's first bytes show which it is. With TLS the same
 * is done after the handshake.
 */
export class ConnectionListener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #limits: ConnectionLimits;

  constructor(
    { http2, http1 }: ListenerHandlers,
    { tls, limits = LIMITS, greetingMs = GREETING_MS }: ListenerOptions,
  ) {
    this.#limits = new ConnectionLimits(limits);
    const http = createHttpServer(http1);
    // Node's own time-outs for slow headers run only in a server that listens itself.
    const timers = new WeakMap<Duplex, NodeJS.Timeout>();
    http.on('request', ({ socket }) => timers.get(socket)?.refresh());
    const accept = (socket: Socket): void => {
      this.#sockets.add(socket);
      this.#limits.newcomer(socket);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.#limits.settled(socket);
      });
      // A peer that vanishes is not worth a word: its end is seen by what serves the connection.
      socket.on('error', () => {});
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEPALIVE_MS);
      sniff(socket, greetingMs, (isHttp2) => {
        if (isHttp2) {
          http2(socket);
          return;
        }
        const timer = setTimeout(() => socket.destroy(), greetingMs);
        timers.set(socket, timer);
        socket.on('close', () => clearTimeout(timer));
        http.emit('connection', socket);
      });
    };
    if (tls === undefined) {
      this.#server = createServer(accept);
    } else {
      this.#server = createTlsServer(
        {
          ...tls,
          ALPNProtocols: ['h2', 'http/1.1'],
          requestCert: tls.ca !== undefined,
          rejectUnauthorized: tls.ca !== undefined,
          handshakeTimeout: greetingMs,
        },
        accept,
      );
      this.#server.on('tlsClientError', () => {});
    }
    this.#server.maxConnections = MAX_CONNECTIONS;
    // With TLS this comes before the handshake, which is where a flood would stay.
    this.#server.prependListener('connection', (socket: Socket) => {
      const leave = this.#limits.enter(socket);
      if (leave === undefined) socket.destroy();
      else socket.on('close', leave);
    });
  }

  /** The client on this connection may make calls: it is no newcomer any more. */
  admitted(connection: Duplex): void {
    this.#limits.settled(connection);
  }

  /** Resolves with the port once it is open; port 0 takes a free one. Throws {@link WeftError} with the reason. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException): void => reject(listenError(host, port, error));
      this.#server.once('error', fail);
      this.#server.listen(port, host, () => {
        this.#server.off('error', fail);
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Closes the port and every connection. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Reads just enough to know what the client speaks, puts it back, and decides. */
function sniff(socket: Socket, greetingMs: number, decide: (isHttp2: boolean) => void): void {
  const greeting = new Http2Greeting();
  let timer = setTimeout(() => socket.destroy(), greetingMs);
  let first = Buffer.alloc(0);
  let isHttp2 = false;
  const finish = (bytes: Buffer): void => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('close', cancel);
    socket.unshift(bytes);
    decide(isHttp2);
  };
  const cancel = (): void => clearTimeout(timer);
  const look = (): void => {
    let chunk: Buffer | null = socket.read();
    if (chunk === null) return;
    if (!isHttp2) {
      first = Buffer.concat([first, chunk]);
      const known = Math.min(first.length, HTTP2_PREFACE.length);
      if (!first.subarray(0, known).equals(HTTP2_PREFACE.subarray(0, known))) {
        finish(first);
        return;
      }
      if (known < HTTP2_PREFACE.length) return;
      isHttp2 = true;
      chunk = first;
      socket.write(EMPTY_SETTINGS);
    }
    const before = greeting.acknowledged;
    const state = greeting.push(chunk);
    if (state === 'ready') finish(greeting.bytes);
    else if (state === 'bad') socket.destroy();
    else if (greeting.acknowledged && !before) {
      clearTimeout(timer);
      timer = setTimeout(() => finish(greeting.bytes), FIRST_REQUEST_MS);
    }
  };
  socket.on('readable', look);
  socket.on('close', cancel);
}

function listenError(host: string, port: number, cause: NodeJS.ErrnoException): WeftError {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (cause.code === 'EADDRINUSE') {
    return new WeftError('store-port', `cannot listen on ${address}: the port is in use`, {
      remedy: 'stop what listens there, or give another address with --listen',
      cause,
    });
  }
  return new WeftError('store-port', `cannot listen on ${address}: ${messageOf(cause)}`, { cause });
}
