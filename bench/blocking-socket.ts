import koffi from 'koffi';
import { parseIpv4 } from '#src/lib/ip.ts';
import { SystemError } from '#src/sys/errno.ts';

/** Numbers of asm-generic/socket.h, linux/socket.h and linux/tcp.h. */
const AF_INET = 2;
const SOCK_TYPES = { tcp: 1, udp: 2 } as const;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_LINGER = 13;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const MSG_PEEK = 0x2;
const MSG_NOSIGNAL = 0x4000;
const MSG_WAITFORONE = 0x10000;
const BACKLOG = 1024;

const libc = koffi.load(null);
const c = {
  socket: libc.func('int socket(int, int, int)'),
  setsockopt: libc.func('int setsockopt(int, int, int, const void *, uint32_t)'),
  bind: libc.func('int bind(int, const void *, uint32_t)'),
  listen: libc.func('int listen(int, int)'),
  accept: libc.func('int accept(int, void *, void *)'),
  connect: libc.func('int connect(int, const void *, uint32_t)'),
  send: libc.func('intptr_t send(int, const void *, size_t, int)'),
  recv: libc.func('intptr_t recv(int, void *, size_t, int)'),
  recvfrom: libc.func('intptr_t recvfrom(int, void *, size_t, int, void *, void *)'),
  sendmmsg: libc.func('int sendmmsg(int, void *, uint32_t, int)'),
  recvmmsg: libc.func('int recvmmsg(int, void *, uint32_t, int, void *)'),
  close: libc.func('int close(int)'),
};

/** `struct sockaddr_in` */
function socketAddress(address: string, port: number): Buffer {
  const bytes = Buffer.alloc(16);
  new Uint16Array(bytes.buffer, bytes.byteOffset, 1)[0] = AF_INET;
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32BE(parseIpv4(address) ?? 0, 4);
  return bytes;
}

function checked(call: string, result: number): number {
  if (result < 0) throw new SystemError(call, koffi.errno());
  return result;
}

/**
 * A socket with blocking calls, as in a benchmark in C: with node's own sockets, the event loop
 * would be measured. The whole process stands still meanwhile. A call costs 0.4 µs more than it
 * does in C.
 */
export class BlockingSocket {
  readonly fd: number;
  readonly #kind: 'tcp' | 'udp';

  constructor(kind: 'tcp' | 'udp', fd = checked('socket', c.socket(AF_INET, SOCK_TYPES[kind], 0))) {
    this.fd = fd;
    this.#kind = kind;
    if (kind === 'tcp') this.#set(IPPROTO_TCP, TCP_NODELAY, Int32Array.of(1));
  }

  listen(port: number): void {
    this.#set(SOL_SOCKET, SO_REUSEADDR, Int32Array.of(1));
    checked('bind', c.bind(this.fd, socketAddress('0.0.0.0', port), 16));
    if (this.#kind === 'tcp') checked('listen', c.listen(this.fd, BACKLOG));
  }

  /** The next connection; with UDP this socket, from now on the sender's of the datagram that is next. */
  accept(): BlockingSocket | undefined {
    if (this.#kind === 'tcp') {
      const fd = this.#unlessIdle('accept', c.accept(this.fd, null, null));
      return fd === undefined ? undefined : new BlockingSocket('tcp', fd);
    }
    const sender = Buffer.alloc(16);
    const peeked = c.recvfrom(this.fd, Buffer.alloc(1), 1, MSG_PEEK, sender, Int32Array.of(16));
    if (this.#unlessIdle('recvfrom', peeked) === undefined) return undefined;
    checked('connect', c.connect(this.fd, sender, 16));
    return this;
  }

  connect(address: string, port: number): void {
    checked('connect', c.connect(this.fd, socketAddress(address, port), 16));
  }

  send(bytes: Uint8Array, length = bytes.length): number {
    return checked('send', c.send(this.fd, bytes, length, MSG_NOSIGNAL));
  }

  /** How many bytes came: 0 when the other end has closed, or after a wait as long as {@link patience}. */
  receive(bytes: Uint8Array): number {
    return this.#unlessIdle('recv', c.recv(this.fd, bytes, bytes.length, 0)) ?? 0;
  }

  /** How long accept and receive wait; for ever at first. */
  patience(ms: number): void {
    const time = BigInt64Array.of(BigInt(Math.floor(ms / 1_000)), BigInt((ms % 1_000) * 1_000));
    this.#set(SOL_SOCKET, SO_RCVTIMEO, time);
  }

  /** Bytes that the kernel holds for it; beyond net.core.*mem_max, as root may. */
  buffers(bytes: number): void {
    for (const name of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) this.#set(SOL_SOCKET, name, Int32Array.of(bytes));
  }

  /** Closing sends RST: no TIME_WAIT holds the port. */
  resetOnClose(): void {
    this.#set(SOL_SOCKET, SO_LINGER, Int32Array.of(1, 0));
  }

  close(): void {
    c.close(this.fd);
  }

  #set(level: number, name: number, value: Int32Array | BigInt64Array): void {
    checked('setsockopt', c.setsockopt(this.fd, level, name, value, value.byteLength));
  }

  #unlessIdle(call: string, result: number): number | undefined {
    if (result >= 0) return result;
    const error = new SystemError(call, koffi.errno());
    if (error.code === 'EAGAIN' || error.code === 'ECONNRESET') return undefined;
    throw error;
  }
}

const iovec = koffi.struct({ base: 'void *', length: 'size_t' });
const msghdr = koffi.struct({
  name: 'void *',
  nameLength: 'uint32_t',
  parts: 'void *',
  partCount: 'size_t',
  control: 'void *',
  controlLength: 'size_t',
  flags: 'int',
});
const mmsghdr = koffi.struct({ header: msghdr, length: 'uint32_t' });

/**
 * Datagrams of one size that a single call sends or receives. Their content does not matter: all
 * share the same bytes.
 */
export class DatagramBatch {
  readonly #count: number;
  /** What the messages point to stays as long as they do. */
  readonly #bytes: Buffer;
  readonly #messages: unknown;

  constructor(count: number, size: number) {
    this.#count = count;
    this.#bytes = Buffer.alloc(size);
    const parts = koffi.alloc(iovec, 1);
    koffi.encode(parts, iovec, { base: this.#bytes, length: size });
    const header = {
      name: null,
      nameLength: 0,
      parts,
      partCount: 1,
      control: null,
      controlLength: 0,
      flags: 0,
    };
    this.#messages = koffi.alloc(mmsghdr, count);
    const all = Array.from({ length: count }, () => ({ header, length: 0 }));
    koffi.encode(this.#messages, koffi.array(mmsghdr, count), all);
  }

  /** sendmmsg(2): how many went. */
  send({ fd }: BlockingSocket): number {
    return checked('sendmmsg', c.sendmmsg(fd, this.#messages, this.#count, 0));
  }

  /** recvmmsg(2): how many were there, at least one; 0 when none came within the socket's patience. */
  receive({ fd }: BlockingSocket): number {
    return Math.max(0, c.recvmmsg(fd, this.#messages, this.#count, MSG_WAITFORONE, null));
  }
}
