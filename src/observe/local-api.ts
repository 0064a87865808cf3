import { createServer, request, type Server } from 'node:http';
import { dirname } from 'node:path';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { sha256Hex } from '#src/lib/sha256.ts';
import type { HostStatus, NodeStatus } from '#src/observe/node-status.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import { type HostLocks, systemLocks } from '#src/sys/host-lock.ts';
import { deadlineIn } from '#src/sys/timer.ts';

export interface LocalApiComponents {
  readonly files: Files;
  readonly folders: Folders;
  readonly status: () => HostStatus;
  /** Default: the machine's. */
  readonly locks?: HostLocks;
}

/** An address, because for a name node compiles a large regular expression, which takes 15 ms of a start. */
const HOST = '127.0.0.1';

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

/**
 * Asks the node that holds the socket for its status: `silent` when it holds the socket and gives
 * no whole answer in time, `undefined` when no process holds it. Throws WeftError `not-flanneld`
 * when the answer is not a flanneld's, and `local-api` when this user must not ask.
 */
export const askNode = (path: string, options?: AskOptions): Promise<NodeStatus | 'silent' | undefined> =>
  ask<NodeStatus>(path, options);

/** The same of the socket that has the host's status only; see node/network-id.ts. */
export const askHost = (path: string, options?: AskOptions): Promise<HostStatus | 'silent' | undefined> =>
  ask<HostStatus>(path, options);

function ask<S extends HostStatus>(
  path: string,
  { silenceMs = SILENCE_MS, answerMs = ANSWER_MS }: AskOptions = {},
): Promise<S | 'silent' | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<S | 'silent' | undefined>();
  let connected = false;
  const end = (outcome: () => S | 'silent' | undefined): void => {
    try {
      resolve(outcome());
    } catch (error) {
      reject(error);
    }
    call.destroy();
  };
  const signal = deadlineIn(answerMs);
  const call = request(
    { socketPath: path, path: '/status', headers: { host: HOST }, timeout: silenceMs, signal },
    (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > LONGEST_ANSWER) end(() => notFlanneld(path, `more than ${LONGEST_ANSWER} bytes`));
      });
      response.on('end', () => end(() => readStatus<S>(path, response.statusCode, Buffer.concat(chunks))));
      // It ended in the middle, or the time is up.
      response.on('error', () => end(() => 'silent'));
    },
  );
  call.on('socket', (socket) => {
    socket.once('connect', () => {
      connected = true;
    });
  });
  call.on('timeout', () => end(() => 'silent'));
  call.on('error', (error: NodeJS.ErrnoException) => end(() => outcomeOf(path, error, connected)));
  call.end();
  return promise;
}

export interface AskOptions {
  /** How long the holder of the socket may send nothing, in milliseconds. Default 2,000. */
  readonly silenceMs?: number;
  /** How long the whole answer may take, in milliseconds. Default 10,000. */
  readonly answerMs?: number;
}

const SILENCE_MS = 2_000;
const ANSWER_MS = 10_000;
/** A status that names each of 50,000 leases with a reason has 10 MB. */
const LONGEST_ANSWER = 64 * 2 ** 20;

function outcomeOf(path: string, cause: NodeJS.ErrnoException, connected: boolean): 'silent' | undefined {
  const { code = '' } = cause;
  if (code === 'EACCES' || code === 'EPERM') {
    throw new WeftError('local-api', `could not ask flanneld at ${path}: permission denied`, {
      remedy: 'ask as root',
      cause,
    });
  }
  if (code.startsWith('HPE_')) notFlanneld(path, 'it is not HTTP', cause);
  // EAGAIN: the queue of waiting connections is full.
  return connected || code === 'EAGAIN' ? 'silent' : undefined;
}

function readStatus<S extends HostStatus>(path: string, code: number | undefined, body: Buffer): S {
  if (code !== 200) return notFlanneld(path, `HTTP status ${code}`);
  const text = body.toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return notFlanneld(path, `not JSON: ${JSON.stringify(text.slice(0, EXCERPT))}`, cause);
  }
  if (!isStatus<S>(value))
    return notFlanneld(path, `not a status: ${JSON.stringify(text.slice(0, EXCERPT))}`);
  return value;
}

const EXCERPT = 60;

const isStatus = <S extends HostStatus>(value: unknown): value is S =>
  typeof value === 'object' &&
  value !== null &&
  'version' in value &&
  'ready' in value &&
  typeof value.ready === 'boolean' &&
  'troubles' in value &&
  Array.isArray(value.troubles);

function notFlanneld(path: string, what: string, cause?: unknown): never {
  throw new WeftError('not-flanneld', `another program than flanneld answers at ${path}: ${what}`, {
    remedy: `"ss -xlp src ${path}" names it; stop it, or choose another --state-dir`,
    cause,
  });
}
