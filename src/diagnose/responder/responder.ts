import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { readBody } from '#src/diagnose/responder/read-body.ts';
import { formatEndpoint } from '#src/lib/endpoint.ts';
import { messageOf } from '#src/lib/errors.ts';
import { formatIp, type Ip, parseIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { EchoServer, EchoServers } from '#src/sys/echo-server.ts';

/** What is answered to one request of a peer: a value that becomes JSON. */
export type ResponderHandler = (body: unknown, from: Ip, signal: AbortSignal) => Promise<unknown> | unknown;

/** By method and path: `GET /v1/hello`. */
export type ResponderHandlers = Readonly<Record<string, ResponderHandler>>;

export interface ResponderComponents {
  readonly echoServers: EchoServers;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface ResponderOptions {
  readonly port: number;
  /** Whether this is an address by which a peer asks: the end of its tunnel. */
  readonly accepts: (from: Ip) => boolean;
  readonly handlers: ResponderHandlers;
  /** Called when it can't listen, with the reason, and once more without one when it can. */
  readonly onTrouble?: (trouble: string | undefined) => void;
}

/** Peers that ask at one time. Each measures this host with one connection. */
const MOST_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;
const LISTEN_AGAIN_MS = 5_000;
const LONGEST_WAIT_MS = 2 ** 31 - 1;

/**
 * Answers the peers of one network on the address of this host's end of the tunnel: JSON over HTTP, and UDP that comes back.
 * It has nothing to say to anybody else: another sender's connection is closed at once without a byte, and its datagram has no
 * answer. A socket outlives the device that has its address, and is opened again where the address is another one.
 */
export class Responder {
  readonly #components: ResponderComponents;
  readonly #options: ResponderOptions;
  #address: Ip | undefined;
  #wake: (() => void) | undefined;
  #trouble: string | undefined;

  constructor(components: ResponderComponents, options: ResponderOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Why it does not listen; `undefined` when it does, or has no address. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Where to listen from now on; `undefined` for nowhere. */
  use(address: Ip | undefined): void {
    if (address === this.#address) return;
    this.#address = address;
    this.#wake?.();
  }

  /** Serves until the signal aborts. Another program on the port ends nothing: it is tried again. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const address = this.#address;
      const moved = new AbortController();
      this.#wake = () => moved.abort('moved');
      const ended = AbortSignal.any([signal, moved.signal]);
      const close = address === undefined ? undefined : await this.#listen(address, ended);
      const isListening = address === undefined || close !== undefined;
      const pause = isListening ? LONGEST_WAIT_MS : LISTEN_AGAIN_MS;
      // It may have moved while the sockets were opened.
      if (address === this.#address) await this.#components.clock.sleep(pause, ended).catch(() => {});
      await close?.();
    }
  }

  async #listen(address: Ip, signal: AbortSignal): Promise<(() => Promise<void>) | undefined> {
    const { port, accepts } = this.#options;
    const server = this.#makeServer(signal);
    let echo: EchoServer | undefined;
    try {
      echo = await this.#components.echoServers.listen({ address, port }, accepts);
      await listening(server, formatIp(address), port);
    } catch (error) {
      echo?.close();
      this.#note(
        `the responder can not listen on ${formatEndpoint({ ip: address, port })}: ${reasonOf(error, port)}`,
      );
      return undefined;
    }
    this.#note(undefined);
    return async () => {
      echo.close();
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      server.closeAllConnections();
      await promise;
    };
  }

  #note(trouble: string | undefined): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    const { log } = this.#components;
    if (trouble === undefined) log.info('The responder listens');
    else log.warning(`Peers get no answer: ${trouble}`);
    this.#options.onTrouble?.(trouble);
  }

  #makeServer(signal: AbortSignal): Server {
    const server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, keepAlive: false },
      (request, response) => void this.#answer(request, response, signal),
    );
    server.maxConnections = MOST_CONNECTIONS;
    server.setTimeout(REQUEST_TIMEOUT_MS);
    server.on('connection', (socket) => {
      if (!this.#isPeer(socket)) socket.resetAndDestroy();
    });
    return server;
  }

  #isPeer({ remoteAddress = '' }: Socket): boolean {
    const from = parseIp(remoteAddress);
    return from !== undefined && this.#options.accepts(from);
  }

  /** One request a connection. */
  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const from = parseIp(request.socket.remoteAddress ?? '');
    const [path = ''] = (request.url ?? '').split('?');
    const handler = this.#options.handlers[`${request.method} ${path}`];
    if (from === undefined || handler === undefined) {
      reply(response, 404, { error: `there is no ${request.method} ${path}` });
      return;
    }
    try {
      reply(response, 200, await handler(await readBody(request), from, signal));
    } catch (error) {
      reply(response, 400, { error: messageOf(error) });
    }
  }
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value) ?? 'null';
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  });
  response.end(body);
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port }, resolve);
  await promise;
  server.off('error', reject);
  // Accepting fails while descriptors are short.
  server.on('error', () => {});
}

function reasonOf(error: unknown, port: number): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE')
    return `another program has the port; "ss -lntup sport = :${port}" names it, --responder-port chooses another one for all hosts`;
  return code === 'EADDRNOTAVAIL' ? 'this host lacks the address' : messageOf(error);
}
