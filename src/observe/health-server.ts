import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { messageOf, WeftError } from '#src/lib/errors.ts';

/** Whether the host's part of the network works. Evaluated for each request. */
export interface Readiness {
  readonly ready: boolean;
  /** Why not, one clause each. */
  readonly reasons: readonly string[];
}

export interface HealthServerComponents {
  readonly readiness: () => Readiness;
  /** The text of `/metrics`. */
  readonly metrics: () => string | Promise<string>;
}

export interface HealthServerOptions {
  /** Empty: all addresses of both families. `0.0.0.0`: all of IPv4. */
  readonly address: string;
  /** 1 … 65535; 0 lets the kernel choose. */
  readonly port: number;
}

/** The exit code of a Go program that panics, as flannel does when it can't have the port. */
const EXIT_CODE = 2;
const REQUEST_TIMEOUT_MS = 10_000;

/**
 * `/healthz` answers 200 while the process is alive, in flannel's words. `/readyz` answers 503 whenever the network does not
 * work, while flannel's stays at 200 for ever. `/metrics` has figures for Prometheus. Any method is accepted, as by Go's mux.
 */
export class HealthServer {
  readonly #components: HealthServerComponents;
  readonly #options: HealthServerOptions;
  readonly #server: Server;

  constructor(components: HealthServerComponents, options: HealthServerOptions) {
    this.#components = components;
    this.#options = options;
    this.#server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
      (request, response) => void this.#answer(request, response),
    );
  }

  /** Listens; resolves with the port. Throws a WeftError `healthz` that exits 2. */
  async start(): Promise<number> {
    const { address, port } = this.#options;
    const host = address === '' ? {} : { host: address };
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    try {
      this.#server.listen({ port, ...host }, resolve);
      await promise;
    } catch (error) {
      throw bindError(this.#options, error);
    } finally {
      this.#server.off('error', reject);
    }
    const bound = this.#server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : port;
  }

  /** Stops listening and closes every connection. No request is waited for: answers take next to no time. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path] = (request.url ?? '').split('?');
    const [status, body] = await this.#page(path ?? '').catch((error: unknown) => failed(error));
    response.writeHead(status, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-store',
    });
    response.end(body);
  }

  async #page(path: string): Promise<Page> {
    if (path === '/healthz') return [200, 'flanneld is running'];
    if (path === '/metrics') return [200, await this.#components.metrics()];
    if (path !== '/readyz') return [404, '404 page not found\n'];
    const { ready, reasons } = this.#components.readiness();
    if (ready) return [200, 'flanneld is ready'];
    return [503, ['flanneld is not ready yet', reasons.join('; ')].filter(Boolean).join(': ')];
  }
}

type Page = readonly [status: number, body: string];

const failed = (error: unknown): Page => [500, `could not answer: ${messageOf(error)}`];

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'no interface of this host has the address',
  EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE',
  ENOTFOUND: 'the address is neither an IP nor a known name',
  ERR_SOCKET_BAD_PORT: 'a port is a number from 1 to 65535',
};

function bindError({ address, port }: HealthServerOptions, cause: unknown): WeftError {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  const where = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return new WeftError('healthz', `Can't serve /healthz on ${where}: ${WHY[code] ?? message}`, {
    exitCode: EXIT_CODE,
    remedy: 'set --healthz-ip and --healthz-port, or --healthz-port=0 for none',
    cause,
  });
}
