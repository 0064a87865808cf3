import { createServer, type Server } from 'node:http';
import { dirname } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { sha256Hex } from '#src/lib/sha256.ts';
import { askNode } from '#src/observe/ask-status.ts';
import type { HostStatus } from '#src/observe/node-status.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import { type HostLocks, systemLocks } from '#src/sys/host-lock.ts';

export interface LocalApiComponents {
  readonly files: Files;
  readonly folders: Folders;
  readonly status: () => HostStatus;
  /** Default: the machine's. */
  readonly locks?: HostLocks;
}

/**
 * The node's own API on a unix socket: `GET /status`, JSON. The process that answers on it is the
 * one flanneld of its network on this host; two would undo each other's work.
 *
 * A lock is held with the socket. Without it, two that start at one instant both find the socket
 * free, and the one that gives up removes the other's.
 */
export class LocalApi {
  readonly #components: LocalApiComponents;
  readonly #server: Server;
  readonly #path: string;
  #unlock: (() => Promise<void>) | undefined;

  constructor(components: LocalApiComponents, path: string) {
    this.#components = components;
    this.#path = path;
    this.#server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(components.status()));
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
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#server.once('error', reject).listen(this.#path, resolve);
      await promise;
    } catch (cause) {
      throw new WeftError('local-api', `could not listen on ${this.#path}: ${messageOf(cause)}`, {
        remedy: 'choose a folder that can be written with --state-dir',
        cause,
      });
    }
  }

  #alreadyServed(): WeftError {
    const message = `another flanneld serves this network on this host already (${this.#path})`;
    const remedy =
      'stop it first; a second network needs an --etcd-prefix, a --subnet-file and a VNI of its own';
    return new WeftError('running', message, { remedy });
  }
}
