import { createHash } from 'node:crypto';
import { chmod, lstat, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { type HostLocks, systemLocks } from '#src/sys/host-lock.ts';
import { makeFolder } from '#src/sys/make-folder.ts';

/** A request, whole. */
export interface HttpRequest {
  readonly method: string;
  /** Path and query, as they came. */
  readonly path: string;
  /** `too-long`: more than the server's bound; it was read to its end and not kept. */
  readonly body: Buffer | 'too-long';
}

export interface HttpAnswer {
  readonly status: number;
  /** JSON. */
  readonly body: string;
}

export interface UnixHttpServerComponents {
  /** Must not reject. */
  readonly answer: (request: HttpRequest) => Promise<HttpAnswer>;
  /** Default: the machine's. */
  readonly locks?: HostLocks;
}

export interface UnixHttpServerOptions {
  /** The socket's path, or the descriptor of one that listens already: it is its giver's, and stays when the server stops. */
  readonly socket: string | { readonly fd: number };
  readonly mostBodyBytes: number;
  /** How long a request may take to come in whole. Default 10,000. */
  readonly requestMs?: number;
}

/** Why a path can't be listened on. */
export class SocketTaken extends Error {
  /** `served`: by a living process. `not-a-socket`: a file of another sort. */
  readonly why: 'served' | 'not-a-socket';

  constructor(why: SocketTaken['why']) {
    super(why === 'served' ? 'another process serves it' : 'a file that is no socket is there');
    this.name = 'SocketTaken';
    this.why = why;
  }
}

const REQUEST_MS = 10_000;
const CHECK_MS = 1_000;

/**
 * HTTP/1.1 on a unix socket that only root may use. Connections are kept until the caller closes them: one that the server
 * ends while it is idle could carry a request by then, and the caller could not say whether that was handled.
 */
export class UnixHttpServer {
  readonly #components: UnixHttpServerComponents;
  readonly #options: UnixHttpServerOptions;
  readonly #server: Server;
  #stopping = false;

  constructor(components: UnixHttpServerComponents, options: UnixHttpServerOptions) {
    this.#components = components;
    this.#options = options;
    const { requestMs = REQUEST_MS } = options;
    this.#server = createServer(
      {
        keepAliveTimeout: 0,
        headersTimeout: requestMs,
        requestTimeout: requestMs,
        connectionsCheckingInterval: Math.min(CHECK_MS, requestMs),
        // Debian's dockerd sends an empty one.
        requireHostHeader: false,
      },
      (request, response) => void this.#serve(request, response),
    );
  }

  /**
   * Listens. The socket of a process that has ended is replaced. Throws {@link SocketTaken}, or node's error when the
   * socket can't be made.
   */
  async start(): Promise<void> {
    const { socket } = this.#options;
    if (typeof socket !== 'string') return this.#listen(socket);
    const { locks = systemLocks } = this.#components;
    // Of two that start at one instant both would find the other's socket free.
    const name = createHash('sha256').update(socket).digest('hex').slice(0, 32);
    const unlock = await locks.claim(`weft-socket-${name}`);
    if (unlock === undefined) throw new SocketTaken('served');
    try {
      await makeFolder(dirname(socket));
      await clear(socket);
      await this.#listen({ path: socket });
      await chmod(socket, 0o600);
    } finally {
      await unlock();
    }
  }

  /**
   * First there are no new connections: node removes the socket, so that a process that starts now makes its own. Then the
   * requests that have come are answered.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeIdleConnections();
    await promise;
  }

  async #listen(where: { path: string } | { fd: number }): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    try {
      this.#server.listen(where, resolve);
      await promise;
    } finally {
      this.#server.off('error', reject);
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await wholeBody(request, this.#options.mostBodyBytes);
    // The caller is gone, or too slow; node has answered 408 then.
    if (body === undefined) return;
    const { method = '', url: path = '' } = request;
    const answer = await this.#components.answer({ method, path, body });
    response.on('error', () => {});
    // Without an end here, a connection that was busy when the server stopped would stay open.
    if (this.#stopping) response.shouldKeepAlive = false;
    response.writeHead(answer.status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(answer.body),
    });
    response.end(answer.body);
  }
}

/** `undefined` when the request ended before its body. */
function wholeBody(request: IncomingMessage, most: number): Promise<Buffer | 'too-long' | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | 'too-long' | undefined>();
  let chunks: Buffer[] = [];
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    // What is too long is read on: a caller that can't write its body to the end does not read the answer.
    if (bytes > most) chunks = [];
    else chunks.push(chunk);
  });
  request.on('end', () => resolve(bytes > most ? 'too-long' : Buffer.concat(chunks)));
  request.on('error', () => resolve(undefined));
  request.on('close', () => resolve(undefined));
  return promise;
}

/** Removes the socket that a process left which has ended; false when there is none, or a process serves it. */
export async function removeDeadSocket(path: string): Promise<boolean> {
  if (!(await isDeadSocket(path))) return false;
  await unlink(path);
  return true;
}

/** Whether there is a socket that nobody serves. */
export async function isDeadSocket(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isSocket() === true && !(await isServed(path));
}

/** Removes what a process that has ended left at the path. */
async function clear(path: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return;
  // connect(2) answers ECONNREFUSED for such a file, too.
  if (!found.isSocket()) throw new SocketTaken('not-a-socket');
  if (await isServed(path)) throw new SocketTaken('served');
  await unlink(path);
}

/** EAGAIN: somebody listens, and the queue of waiting connections is full. */
function isServed(path: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = connect(path, () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
    else if (error.code === 'EAGAIN') resolve(true);
    else reject(error);
  });
  return promise;
}
