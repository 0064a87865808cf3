import { setTimeout as delay } from 'node:timers/promises';
import { WeftError } from '#src/lib/errors.ts';

/**
 * A service’s messages to systemd (sd_notify(3)). Never rejects: a network runs on when a message
 * is lost.
 */
export interface ServiceManager {
  /** Started: units ordered after this one may go on. Equals `systemd-notify --ready --status=…`. */
  ready(status: string): Promise<void>;
  /** One line for `systemctl status`. */
  status(text: string): Promise<void>;
  stopping(): Promise<void>;
  /**
   * How long systemd goes without {@link alive} before it ends this process, in milliseconds (`WatchdogSec=` of the unit);
   * `undefined` when it does not ask for it.
   */
  readonly watchdogMs: number | undefined;
  /** This process works. Equals `systemd-notify WATCHDOG=1`. */
  alive(): Promise<void>;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sizeof(struct sockaddr_un.sun_path), unix(7). */
const SUN_PATH_BYTES = 108;

/** Tries to send while systemd's receive buffer is full. */
const TRIES = 20;
const PAUSE_MS = 50;

/**
 * The service manager that `$NOTIFY_SOCKET` names: a path, or `@name` for an abstract socket.
 * `$WATCHDOG_USEC` says how often it wants a sign of life (sd_watchdog_enabled(3)), unless
 * `$WATCHDOG_PID` is not `pid`. Without the first variable, one that does nothing. For a message that could not be sent, `onFailure`
 * gets a WeftError `systemd`.
 */
export function serviceManager(
  environment: Readonly<Record<string, string | undefined>>,
  onFailure: (error: unknown) => void,
  pid = process.pid,
): ServiceManager {
  const socket = environment.NOTIFY_SOCKET;
  if (socket === undefined || socket === '') return NOBODY;
  return new NotifySocket(socket, watchdogOf(environment, pid), onFailure);
}

function watchdogOf(
  { WATCHDOG_USEC: text = '', WATCHDOG_PID: owner }: Readonly<Record<string, string | undefined>>,
  pid: number,
): number | undefined {
  if (!/^[1-9]\d*$/.test(text) || (owner !== undefined && owner !== String(pid))) return undefined;
  return Number(text) / 1000;
}

const NOBODY: ServiceManager = {
  async ready() {},
  async status() {},
  async stopping() {},
  watchdogMs: undefined,
  async alive() {},
};

interface Native {
  socket(domain: number, type: number, protocol: number): number;
  sendto(
    fd: number,
    bytes: Buffer,
    length: number,
    flags: number,
    address: Buffer,
    addressLength: number,
  ): number;
  close(fd: number): number;
  /** The name of the last call's errno. */
  errno(): string;
}

class NotifySocket implements ServiceManager {
  readonly #socket: string;
  readonly #onFailure: (error: unknown) => void;
  /** Loaded at the first message: a daemon that systemd did not start has no use for it. */
  #native: Native | undefined;

  readonly watchdogMs: number | undefined;

  constructor(socket: string, watchdogMs: number | undefined, onFailure: (error: unknown) => void) {
    this.#socket = socket;
    this.watchdogMs = watchdogMs;
    this.#onFailure = onFailure;
  }

  ready(status: string): Promise<void> {
    return this.#send(`READY=1\n${statusLine(status)}`).catch(this.#onFailure);
  }

  status(text: string): Promise<void> {
    return this.#send(statusLine(text)).catch(this.#onFailure);
  }

  stopping(): Promise<void> {
    return this.#send('STOPPING=1').catch(this.#onFailure);
  }

  alive(): Promise<void> {
    return this.#send('WATCHDOG=1').catch(this.#onFailure);
  }

  /** One datagram. Node has no unix datagram sockets (ERR_SOCKET_BAD_TYPE), hence the system calls. */
  async #send(message: string): Promise<void> {
    const address = socketAddress(this.#socket);
    this.#native ??= await loadNative();
    const native = this.#native;
    const failed = (call: string, errno: string): WeftError =>
      new WeftError(
        'systemd',
        `Can't send systemd ${JSON.stringify(message)} at ${this.#socket}: ${call}: ${errno}`,
      );
    const fd = native.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) throw failed('socket', native.errno());
    try {
      const bytes = Buffer.from(message);
      for (let tries = 1; ; tries++) {
        const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        if (native.sendto(fd, bytes, bytes.length, flags, address, address.length) >= 0) return;
        const errno = native.errno();
        if (errno !== 'EAGAIN' || tries === TRIES) throw failed('sendto', errno);
        await delay(PAUSE_MS);
      }
    } finally {
      native.close(fd);
    }
  }
}

const statusLine = (text: string): string => `STATUS=${text.replaceAll('\n', ' ')}`;

/** struct sockaddr_un: the family, then the path, or a zero byte and the abstract name, which has no end mark. */
function socketAddress(socket: string): Buffer {
  const path = Buffer.from(socket.replace(/^@/, '\0'));
  if ((path[0] !== 0x2f && path[0] !== 0) || path.length >= SUN_PATH_BYTES) {
    throw new WeftError(
      'systemd',
      `NOTIFY_SOCKET=${socket} is neither the path nor the @name of a unix socket`,
    );
  }
  return Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), path]);
}

async function loadNative(): Promise<Native> {
  const koffi = await import('koffi');
  const libc = koffi.load(null);
  return {
    socket: libc.func('int socket(int, int, int)'),
    sendto: libc.func('long sendto(int, const void *, size_t, int, const void *, uint32_t)'),
    close: libc.func('int close(int)'),
    // The first of several names: EAGAIN, not EWOULDBLOCK.
    errno: () =>
      Object.entries(koffi.os.errno).find(([, number]) => number === koffi.errno())?.[0] ?? 'unknown',
  };
}
