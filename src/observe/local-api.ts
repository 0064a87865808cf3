import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { sha256Hex } from '#src/lib/sha256.ts';
import { answerWith, type Handlers } from '#src/observe/api-router.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { feedEvents } from '#src/observe/event-feed.ts';
import type { EventRing } from '#src/observe/event-ring.ts';
import { EVENTS_TYPE, VERSION_HEADER } from '#src/observe/event-stream.ts';
import { writeList } from '#src/observe/write-list.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import { type HostLocks, systemLocks } from '#src/sys/host-lock.ts';
import { listenPrivately } from '#src/sys/listen-privately.ts';

export interface LocalApiComponents {
  readonly files: Files;
  readonly folders: Folders;
  readonly clock: Clock;
  readonly handlers: Handlers;
  /** What a stream of events shows. */
  readonly ring: EventRing;
  /** Default: the machine's. */
  readonly locks?: HostLocks;
}

export interface LocalApiOptions {
  /** How long a reader may take nothing before it is ended, in milliseconds. Default 30,000. */
  readonly stallMs?: number;
}

const STALL_MS = 30_000;

/**
 * The node's own API on a unix socket that only root may use. The process that answers on it is the
 * one flanneld of its network on this host; two would undo each other's work.
 *
 * A lock is held with the socket. Without it, two that start at one instant both find the socket
 * free, and the one that gives up removes the other's.
 */
export class LocalApi {
  readonly #components: LocalApiComponents;
  readonly #server: Server;
  readonly #path: string;
  readonly #stallMs: number;
  #unlock: (() => Promise<void>) | undefined;

  constructor(components: LocalApiComponents, path: string, { stallMs = STALL_MS }: LocalApiOptions = {}) {
    this.#components = components;
    this.#path = path;
    this.#stallMs = stallMs;
    this.#server = createServer((request, response) => {
      // The reader went away. What is left to write is dropped.
      response.on('error', () => {});
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /**
   * Throws WeftError `running` when another flanneld holds the socket, `not-flanneld` when another
   * program does, and `local-api` when it can't be made.
   */
  async start(): Promise<void> {
    const { locks = systemLocks } = this.#components;
    this.#unlock = await locks.claim(`weft-status-${sha256Hex(this.#path).slice(0, 32)}`);
    if (this.#unlock === undefined) throw this.#alreadyServed();
    try {
      // A flanneld of another network namespace may have the same folder.
      if ((await askNode(this.#path)) !== undefined) throw this.#alreadyServed();
      await this.#listen();
    } catch (error) {
      await this.#unlock();
      throw error;
    }
  }

  /** Stops listening; node removes the socket. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
    await this.#unlock?.();
  }

  async #listen(): Promise<void> {
    const { files, folders } = this.#components;
    try {
      await folders.make(dirname(this.#path));
      await files.remove(this.#path);
      await listenPrivately(this.#server, this.#path);
    } catch (cause) {
      throw new WeftError('local-api', `could not listen on ${this.#path}: ${messageOf(cause)}`, {
        remedy: 'choose a folder that can be written with --state-dir',
        cause,
      });
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const { handlers, ring, clock } = this.#components;
    const stallMs = this.#stallMs;
    const reply = await answerWith(handlers, { method, url, accept: headers.accept ?? '' });
    response.setHeader(VERSION_HEADER, '1');
    if (reply.kind === 'stream') {
      response.writeHead(200, { 'content-type': EVENTS_TYPE, 'cache-control': 'no-store' });
      return feedEvents({ ring, clock }, response, { after: reply.after, stallMs });
    }
    response.setHeader('content-type', 'application/json');
    if (reply.kind === 'list') return writeList(response, reply, { clock, stallMs });
    const body = JSON.stringify(reply.value);
    response.writeHead(reply.status ?? 200, { 'content-length': Buffer.byteLength(body) });
    response.end(body);
  }

  #alreadyServed(): WeftError {
    const message = `another flanneld serves this network on this host already (${this.#path})`;
    const remedy =
      'stop it first; a second network needs an --etcd-prefix, a --subnet-file and a VNI of its own';
    return new WeftError('running', message, { remedy });
  }
}
