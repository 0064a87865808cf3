import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { WeftError } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { ProgramFiles } from '#src/sys/program-files.ts';
import type { UnixHttpClient } from '#src/sys/unix-http.ts';
import { Access } from '#src/ui/server/access.ts';
import { LiveFeed } from '#src/ui/server/live-feed.ts';
import { PageFiles } from '#src/ui/server/page-files.ts';
import { PROXIED, passOn } from '#src/ui/server/socket-proxy.ts';
import { TraceRunner } from '#src/ui/server/trace-runner.ts';
import type { UiPlace } from '#src/ui/server/ui-source.ts';

export interface UiServerComponents {
  readonly clock: Clock;
  readonly http: UnixHttpClient;
  readonly commands: CommandRunner;
  readonly files: ProgramFiles;
  readonly place: UiPlace;
}

export interface UiServerOptions {
  readonly address: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** Who has it may look; absent: everybody who reaches the address, which has to be a loopback one then. */
  readonly token?: string | undefined;
}

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
};
const REQUEST_MS = 10_000;
/** Browsers keep six connections to a server; a page uses two for as long as it is open. */
const MOST_CONNECTIONS = 100;
/** Bytes that a page which does not read may leave here before it is cut off. It then comes again. */
const MOST_UNREAD = 16 << 20;
const PROXY_PATH = new RegExp(`^/api/v1/([A-Za-z0-9_-]+)/(${PROXIED.join('|')})$`);

/**
 * The page's server. It reads only: there is no request that changes anything, and every method but GET and HEAD is
 * refused.
 */
export class UiServer {
  readonly #options: UiServerOptions;
  readonly #server: Server;
  readonly #files: PageFiles;
  readonly #feed: LiveFeed;
  readonly #traces: TraceRunner;
  readonly #place: UiPlace;
  readonly #end = new AbortController();
  #access: Access;
  #running: Promise<void> | undefined;

  constructor(components: UiServerComponents, options: UiServerOptions) {
    this.#options = options;
    this.#place = components.place;
    this.#files = new PageFiles(components.files);
    this.#feed = new LiveFeed(components);
    this.#traces = new TraceRunner(components.place, components.commands);
    this.#access = new Access(options.token, options.port);
    this.#server = createServer(
      { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS },
      (request, response) => void this.#answer(request, response).catch(() => response.destroy()),
    );
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  /** Listens; the port. Throws WeftError `ui`. */
  async start(): Promise<number> {
    const { address, port, token } = this.#options;
    if (token === undefined && !isLoopback(address)) {
      throw new WeftError('ui', `the page can't be served on ${address} without a token`, {
        remedy: 'leave --listen at a loopback address, or add --token',
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    try {
      this.#server.listen({ host: address, port }, resolve);
      await promise;
    } catch (cause) {
      const { code = '', message } = cause as NodeJS.ErrnoException;
      const why = code === 'EADDRINUSE' ? 'another program listens there' : message;
      throw new WeftError('ui', `the page can't be served on ${address} port ${port}: ${why}`, {
        remedy: 'choose another --listen',
        cause,
      });
    } finally {
      this.#server.off('error', reject);
    }
    const bound = this.#server.address();
    const actual = typeof bound === 'object' && bound !== null ? bound.port : port;
    this.#access = new Access(token, actual);
    this.#running = this.#feed.run(this.#end.signal);
    return actual;
  }

  async stop(): Promise<void> {
    this.#end.abort();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
    await this.#running;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {});
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return sendText(response, 405, 'this page is for reading: GET only');
    }
    const url = URL.parse(request.url ?? '', 'http://localhost');
    if (url === null) return sendText(response, 400, 'the path can not be read');
    const { headers } = request;
    const verdict = this.#access.judge({
      host: headers.host,
      cookie: headers.cookie,
      fetchSite: String(headers['sec-fetch-site'] ?? ''),
      token: url.searchParams.get('token') ?? undefined,
    });
    if (verdict.kind === 'refused') return sendText(response, verdict.status, verdict.why);
    if (verdict.kind === 'token-given') {
      // The token is not to stay in the address line, the history and what is copied from there.
      response.writeHead(303, { 'set-cookie': verdict.cookie, location: '/' });
      response.end();
      return;
    }
    await this.#route(url, request, response);
  }

  async #route(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = url;
    if (pathname === '/api/live') return this.#sendLive(response);
    if (pathname === '/api/series') {
      const series = this.#feed.series(
        searchParams.get('source') ?? '',
        Number(searchParams.get('after')) || 0,
      );
      return series === undefined
        ? sendJson(response, 404, { error: 'no such source' })
        : sendJson(response, 200, series);
    }
    if (pathname === '/api/ends') return sendJson(response, 200, await this.#place.ends().catch(() => []));
    if (pathname === '/api/trace') {
      const gone = new AbortController();
      response.once('close', () => gone.abort());
      const signal = AbortSignal.any([gone.signal, this.#end.signal]);
      const { status, body } = await this.#traces.run(
        searchParams.get('from') ?? '',
        searchParams.get('to') ?? '',
        signal,
      );
      return sendJson(response, status, body);
    }
    const [, id, what] = PROXY_PATH.exec(pathname) ?? [];
    if (id !== undefined && what !== undefined) return this.#passOn(id, what, url, request, response);
    const file = await this.#files.read(pathname);
    if (file === undefined) return sendText(response, 404, 'there is no such page');
    response.writeHead(200, { 'content-type': file.type });
    response.end(request.method === 'HEAD' ? undefined : file.text);
  }

  #passOn(id: string, what: string, url: URL, request: IncomingMessage, response: ServerResponse): void {
    const source = this.#feed.source(id);
    if (source === undefined) {
      sendJson(response, 404, { error: `no source ${id}` });
      return;
    }
    const after = Number(url.searchParams.get('after'));
    const query = Number.isSafeInteger(after) && after > 0 ? `?after=${after}` : '';
    const { accept, 'last-event-id': lastEventId } = request.headers;
    const call = { path: `/v1/${what}${query}`, accept, lastEventId: lastEventId?.toString() };
    passOn(source.socket, call, request, response);
  }

  #sendLive(response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const stop = this.#feed.follow((message) => {
      if (response.writableLength > MOST_UNREAD) response.destroy();
      else response.write(`data: ${JSON.stringify(message)}\n\n`);
    });
    response.once('close', stop);
  }
}

/** 127.0.0.0/8 and ::1. A name is none: it may lead anywhere tomorrow. */
export function isLoopback(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
