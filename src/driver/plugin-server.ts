import { MOST_BODY_BYTES, PluginHandler, type PluginHandlerComponents } from '#src/driver/plugin-handler.ts';
import { PASSED_NAME, PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';
import { SocketTaken, UnixHttpServer } from '#src/sys/unix-http-server.ts';

export interface PluginServerComponents extends PluginHandlerComponents {
  /** Default: the machine's. */
  readonly locks?: HostLocks;
}

export interface PluginServerOptions {
  /** Default: {@link PLUGIN_SOCKET}. */
  readonly path?: string;
  /** The descriptor of the listening socket, where systemd has handed it over by the name {@link PASSED_NAME}. */
  readonly passed?: number | undefined;
}

/**
 * Docker's plugin protocol on a socket of this host. A socket of systemd stays when the server stops, and calls wait in its
 * queue; without systemd the file goes: dockerd tries for 15 s to connect to one that nobody serves, also for
 * `docker volume ls` (moby/moby#22653).
 */
export class PluginServer {
  readonly #path: string;
  readonly #server: UnixHttpServer;

  constructor(
    { locks, ...components }: PluginServerComponents,
    { path = PLUGIN_SOCKET, passed }: PluginServerOptions = {},
  ) {
    this.#path = passed === undefined ? path : `the socket that systemd handed over as ${PASSED_NAME}`;
    const handler = new PluginHandler(components);
    this.#server = new UnixHttpServer(
      { answer: (request) => handler.answer(request), ...(locks && { locks }) },
      { socket: passed === undefined ? path : { fd: passed }, mostBodyBytes: MOST_BODY_BYTES },
    );
  }

  /** Throws WeftError `plugin-socket` when another process serves the socket or it can't be made. */
  async start(): Promise<void> {
    try {
      await this.#server.start();
    } catch (cause) {
      const what = `could not serve Docker's driver on ${this.#path}: ${messageOf(cause)}`;
      throw new WeftError('plugin-socket', what, { remedy: remedyFor(this.#path, cause), cause });
    }
  }

  /** No new connections, then the running calls are answered, each in its deadline. */
  stop(): Promise<void> {
    return this.#server.stop();
  }
}

function remedyFor(path: string, cause: unknown): string {
  if (!(cause instanceof SocketTaken)) return 'run as root, and see that its folder can be written';
  if (cause.why === 'not-a-socket') return 'move it away';
  return `"ss -xlp src ${path}" names it; stop it, or enable weft-docker.socket if that is systemd`;
}
