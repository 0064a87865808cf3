import { createServer, request, type Server } from 'node:http';
import { dirname } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';

export interface LocalApiComponents {
  readonly files: Files;
  readonly folders: Folders;
  readonly status: () => NodeStatus;
}

/** An address, because node compiles a great regular expression to learn that a name is none: 15 ms of a start. */
const HOST = '127.0.0.1';
/** How long a socket's owner may take to answer. */
const ANSWER_MS = 2_000;

/**
 * The node's own API on a unix socket: `GET /status`, JSON. Whoever answers on it is the one flanneld of its network on
 * this host; two would undo each other's work.
 */
export class LocalApi {
  readonly #components: LocalApiComponents;
  readonly #server: Server;
  readonly #path: string;

  constructor(components: LocalApiComponents, path: string) {
    this.#components = components;
    this.#path = path;
    this.#server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(components.status()));
    });
  }

  /** Throws WeftError `running` when another flanneld holds the socket, `local-api` when it can't be made. */
  async start(): Promise<void> {
    const { files, folders } = this.#components;
    if ((await askNode(this.#path)) !== undefined) {
      throw new WeftError(
        'running',
        `another flanneld serves this network on this host already (${this.#path})`,
        {
          remedy:
            'stop it first; a second network needs an --etcd-prefix, a --subnet-file and a VNI of its own',
        },
      );
    }
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

  /** Stops listening; node removes the socket. */
  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }
}

/** What a node says of itself: `silent` when it holds the socket and does not answer; `undefined` when nobody holds it. */
export function askNode(path: string): Promise<NodeStatus | 'silent' | undefined> {
  return new Promise((resolve) => {
    const options = { socketPath: path, path: '/status', headers: { host: HOST }, timeout: ANSWER_MS };
    const call = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(JSON.parse(text) as NodeStatus));
    });
    call.on('timeout', () => {
      resolve('silent');
      call.destroy();
    });
    call.on('error', () => resolve(undefined));
    call.end();
  });
}
