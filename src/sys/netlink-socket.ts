import { constants, endianness } from 'node:os';
import { WeftError } from '#src/lib/errors.ts';
import { SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { type Mute, muteFilter } from '#src/sys/mute-filter.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';
import { type SocketWatch, watchSocket } from '#src/sys/watch-socket.ts';

/** linux/netlink.h */
export const NETLINK_ROUTE = 0;
export const NETLINK_XFRM = 6;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

export interface NetlinkSocketOptions {
  /** NETLINK_ROUTE, NETLINK_XFRM, NETLINK_NETFILTER or NETLINK_GENERIC. */
  readonly protocol: number;
  /** Multicast groups to join (RTNLGRP_*, NFNLGRP_*). */
  readonly groups?: readonly number[];
  /** The network namespace the socket lives in, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
  /** Messages that the kernel drops for us, so that 10,000 changes of our own cost nothing to overhear. */
  readonly mute?: Mute | undefined;
  /** Bytes the kernel may hold for us. Default 8 MiB; nothing is taken until it is used. */
  readonly receiveBuffer?: number;
}

/** One AF_NETLINK socket to the kernel, never blocking. */
export interface NetlinkSocket {
  /** nlmsg_pid: the socket's address, and the sender in messages that its requests cause. */
  readonly port: number;
  /**
   * Sends one datagram of one or more messages. The kernel does the work inside this call: when it returns, the
   * answers are there to be received. Throws a {@link SystemError}.
   */
  send(bytes: Uint8Array): void;
  /**
   * The same on a thread of libuv's pool, for work that takes the kernel long: the event loop goes
   * on meanwhile. The bytes are the socket's until it is done. Two that are sent at once may be
   * done in either order.
   */
  sendAside(bytes: Uint8Array): Promise<void>;
  /**
   * The next datagram from the kernel, `undefined` when there is none. The bytes are overwritten by the next call.
   * `overrun` when something was lost, and the socket goes on: the kernel had to drop datagrams (ENOBUFS), one was longer
   * than any we know of, or a notification could not be made, which all listeners get with whatever errno the
   * kernel failed with (netlink_set_err of net/netlink/af_netlink.c). Throws a {@link SystemError} when there is no such socket (any more).
   */
  receive(): Uint8Array | 'overrun' | undefined;
  /** The name of a device of the socket's namespace; `undefined` when there is none (any more). A question of a microsecond. */
  deviceName(index: number): string | undefined;
  /** Other messages to leave out from now on, in place of those before. Throws a WeftError `netlink`. */
  setMute(mute: Mute): void;
  /** Calls `listener` in a turn of its own whenever there is something to receive, an error included. Keeps the process alive. */
  watch(listener: () => void): void;
  /** Safe to call twice, and from inside the listener. */
  close(): void;
}

/** Where netlink sockets come from. */
export interface Netlink {
  /** Throws a WeftError (NETLINK_UNAVAILABLE, NETNS_UNAVAILABLE). */
  open(options: NetlinkSocketOptions): Promise<NetlinkSocket>;
}

export const systemNetlink: Netlink = {
  async open(options) {
    return new SystemNetlinkSocket(await loadLibc(), options);
  },
};

const { EAGAIN, EBADF, EFAULT, EINTR, ENOTSOCK } = constants.errno;
/** These stay as they are, however often it is tried. */
const BROKEN: readonly number[] = [EBADF, EFAULT, ENOTSOCK];
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
/** Each kernel has so many groups of each protocol, used or not (netlink_kernel_create, net/netlink/af_netlink.c). */
const OLDEST_GROUPS = 32;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const SIOCGIFNAME = 0x8910;
/** struct ifreq: the name, then among others the index. */
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
/** struct sockaddr_nl: u16 family, u16 pad, u32 pid, u32 groups */
const SOCKADDR_NL_SIZE = 12;
const SOCKADDR_NL_PID = 4;

const LITTLE_ENDIAN = endianness() === 'LE';
/** The kernel fills a dump's datagrams up to 32 KiB; a single message may be longer. */
const DATAGRAM_BYTES = 64 << 10;
const RECEIVE_BUFFER_BYTES = 8 << 20;

class SystemNetlinkSocket implements NetlinkSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly port: number;
  readonly #kernel = netlinkAddress();
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  readonly #sender = netlinkAddress();
  readonly #senderLength = new Int32Array(1);
  readonly #ifreq = Buffer.alloc(IFREQ_BYTES);
  #watch: SocketWatch | undefined;
  #closed = false;
  /** Sends that are under way on other threads. */
  #aside = 0;

  constructor(libc: Libc, options: NetlinkSocketOptions) {
    this.#libc = libc;
    this.#fd = inNetworkNamespace(libc, options.namespace, () => openSocket(libc, options.protocol));
    try {
      this.#configure(options);
      this.port = this.#bind();
      this.#join(options.groups ?? []);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #configure({ mute, receiveBuffer = RECEIVE_BUFFER_BYTES }: NetlinkSocketOptions): void {
    // CAP_NET_ADMIN may go past net.core.rmem_max; without it the limit is what we get.
    if (!this.#trySet(SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer))
      this.#trySet(SOL_SOCKET, SO_RCVBUF, receiveBuffer);
    // Each is a nicety that an older kernel lacks (4.3, 4.12, 4.20): its absence shows in poorer error texts or longer dumps.
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
      this.#trySet(SOL_NETLINK, option, 1);
    if (mute !== undefined) this.setMute(mute);
  }

  #bind(): number {
    if (this.#libc.bind(this.#fd, netlinkAddress(), SOCKADDR_NL_SIZE) < 0)
      throw unavailable(new SystemError('bind', this.#libc.errno()));
    const own = netlinkAddress();
    if (this.#libc.getsockname(this.#fd, own, Int32Array.of(own.length)) < 0)
      throw unavailable(new SystemError('getsockname', this.#libc.errno()));
    return portOf(own);
  }

  #join(groups: readonly number[]): void {
    for (const group of groups) {
      if (this.#trySet(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)) continue;
      const error = new SystemError(`netlink group ${group}`, this.#libc.errno());
      // An older kernel has neither the group nor the kind of state whose messages come in it.
      if (group <= OLDEST_GROUPS || error.code !== 'EINVAL') throw unavailable(error);
    }
  }

  #trySet(level: number, name: number, value: number): boolean {
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    return this.#libc.setsockopt(this.#fd, level, name, bytes, bytes.length) === 0;
  }

  send(bytes: Uint8Array): void {
    this.#assertOpen('sendto');
    const sent = this.#libc.sendto(
      this.#fd,
      bytes,
      bytes.length,
      MSG_DONTWAIT,
      this.#kernel,
      SOCKADDR_NL_SIZE,
    );
    if (sent < 0) throw new SystemError('sendto', this.#libc.errno());
  }

  sendAside(bytes: Uint8Array): Promise<void> {
    this.#assertOpen('sendto');
    this.#aside++;
    return new Promise((resolve, reject) => {
      this.#libc.sendtoAside(this.#fd, bytes, MSG_DONTWAIT, this.#kernel, (sent, errno) => {
        this.#aside--;
        if (this.#closed) this.#release();
        if (sent < 0) reject(new SystemError('sendto', errno));
        else resolve();
      });
    });
  }

  receive(): Uint8Array | 'overrun' | undefined {
    this.#assertOpen('recvfrom');
    for (;;) {
      this.#senderLength[0] = SOCKADDR_NL_SIZE;
      const size = this.#libc.recvfrom(
        this.#fd,
        this.#buffer,
        DATAGRAM_BYTES,
        MSG_DONTWAIT | MSG_TRUNC,
        this.#sender,
        this.#senderLength,
      );
      if (size < 0) {
        const errno = this.#libc.errno();
        if (errno === EAGAIN) return undefined;
        if (errno === EINTR) continue;
        if (BROKEN.includes(errno)) throw new SystemError('recvfrom', errno);
        return 'overrun';
      }
      // Any process may write to our port; only the kernel is believed.
      if (portOf(this.#sender) !== 0) continue;
      // With MSG_TRUNC the size is the datagram's own, also when it did not fit.
      if (size > DATAGRAM_BYTES) return 'overrun';
      return this.#buffer.subarray(0, size);
    }
  }

  deviceName(index: number): string | undefined {
    this.#assertOpen('ioctl');
    const request = this.#ifreq;
    if (LITTLE_ENDIAN) request.writeInt32LE(index, IFNAMSIZ);
    else request.writeInt32BE(index, IFNAMSIZ);
    if (this.#libc.ioctl(this.#fd, SIOCGIFNAME, request) < 0) return undefined;
    return request.toString('utf8', 0, request.indexOf(0));
  }

  setMute(mute: Mute): void {
    this.#assertOpen('setsockopt');
    const { instructions, count } = muteFilter(mute);
    if (this.#libc.attachFilter(this.#fd, instructions, count) < 0)
      throw unavailable(new SystemError('SO_ATTACH_FILTER', this.#libc.errno()));
  }

  watch(listener: () => void): void {
    this.#assertOpen('poll');
    this.#watch = watchSocket(this.#libc, this.#fd, listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch?.close();
    this.#watch = undefined;
    this.#release();
  }

  /** Once closed, its number is another's: a thread that is about to send to it must not meet that. */
  #release(): void {
    if (this.#aside === 0) this.#libc.close(this.#fd);
  }

  #assertOpen(syscall: string): void {
    // The number may already be another file's.
    if (this.#closed) throw new SystemError(syscall, EBADF);
  }
}

function openSocket(libc: Libc, protocol: number): number {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw unavailable(new SystemError('socket', libc.errno()));
  return fd;
}

function netlinkAddress(): Uint8Array {
  const address = new DataView(new ArrayBuffer(SOCKADDR_NL_SIZE));
  address.setUint16(0, AF_NETLINK, LITTLE_ENDIAN);
  return new Uint8Array(address.buffer);
}

const portOf = (address: Uint8Array): number =>
  new DataView(address.buffer).getUint32(SOCKADDR_NL_PID, LITTLE_ENDIAN);

const unavailable = (cause: SystemError): WeftError =>
  new WeftError('netlink', `cannot open a netlink socket: ${cause.message}`, {
    cause,
    remedy: 'run as root or with CAP_NET_ADMIN',
  });
