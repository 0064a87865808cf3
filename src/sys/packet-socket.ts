import { constants, endianness } from 'node:os';
import { WeftError } from '#src/lib/errors.ts';
import { type BpfInstructions, BpfProgram } from '#src/sys/bpf-program.ts';
import { SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';
import { PacketMessage, type ReceivedFrame } from '#src/sys/packet-message.ts';
import { type SocketWatch, watchSocket } from '#src/sys/watch-socket.ts';

export interface PacketSocketOptions {
  /** A device's name or ifindex. Default: every device of the namespace. */
  readonly device?: string | number | undefined;
  /** The network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
  /** Bytes of a frame that are kept. Default 65,535: all. */
  readonly snapLength?: number | undefined;
  /** As seen from the host: `in` are frames that come to it. Default both. */
  readonly direction?: 'in' | 'out' | 'both' | undefined;
  /** What the kernel lets through; its return value is the number of bytes, in place of `snapLength`. */
  readonly filter?: BpfInstructions | undefined;
}

/** Frames as they pass a device: before the host's packet filter on their way in, after it on their way out. */
export interface PacketSocket {
  /**
   * Calls `onFrame` with each frame from now on, some in a turn of the event loop. Keeps the process alive. `onOutage`: the
   * device went down (frames come again when it is up) or is gone for good.
   */
  watch(onFrame: (frame: ReceivedFrame) => void, onOutage?: (state: 'down' | 'gone') => void): void;
  /**
   * Sends one frame from its link-layer header on, by the device that it was opened on. Other packet sockets hear it, this one does
   * not. Throws a {@link SystemError}.
   */
  send(frame: Uint8Array): void;
  /** Frames that came when there was no room for them, since the start. */
  dropped(): number;
  /** The name that a device has now; `undefined` when there is none with that index. */
  nameOf(deviceIndex: number): string | undefined;
  /** Safe to call twice, and from inside the listener. */
  close(): void;
}

/**
 * An AF_PACKET socket (packet(7)), never blocking. Throws a WeftError: `packet-socket` without the right or the device,
 * `netns` without the namespace.
 */
export async function openPacketSocket(options: PacketSocketOptions): Promise<PacketSocket> {
  return new SystemPacketSocket(await loadLibc(), options);
}

const { EAGAIN, EBADF, EINTR, ENETDOWN } = constants.errno;
const LITTLE_ENDIAN = endianness() === 'LE';
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const ETH_P_ALL = 3;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SO_TIMESTAMPNS = 35;
/** linux/if_packet.h */
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const PACKET_IGNORE_OUTGOING = 23;
const SOCKADDR_LL_BYTES = 20;
/** linux/sockios.h, and struct ifreq of linux/if.h: a name of 16 bytes, then a union of 24. */
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;

/** A second of full-size frames at 250 Mbit/s. Nothing is taken until it is used. */
const RECEIVE_BUFFER_BYTES = 32 << 20;
const WHOLE_FRAME = 65_535;
/** Frames in one turn: other work of the event loop waits that long, well under a millisecond each way. */
const FRAMES_PER_TURN = 256;

class SystemPacketSocket implements PacketSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #index: number;
  readonly #direction: 'in' | 'out' | 'both';
  readonly #message: PacketMessage;
  #watch: SocketWatch | undefined;
  #dropped = 0;
  #closed = false;

  constructor(libc: Libc, options: PacketSocketOptions) {
    const { device, namespace, snapLength = WHOLE_FRAME, direction = 'both', filter } = options;
    this.#libc = libc;
    this.#direction = direction;
    this.#message = new PacketMessage(libc, Math.min(snapLength, WHOLE_FRAME));
    // Protocol 0 hears nothing: frames of other devices that came before the bind would stay in the queue.
    this.#fd = inNetworkNamespace(libc, namespace, () => libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (this.#fd < 0) throw unavailable(new SystemError('socket', libc.errno()));
    try {
      this.#index = typeof device === 'string' ? this.#indexOf(device) : (device ?? 0);
      this.#configure(filter ?? snapping(snapLength));
      const address = linkAddress(this.#index);
      if (libc.bind(this.#fd, address, address.length) < 0) this.#refuse('bind', device);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #configure({ instructions, count }: BpfInstructions): void {
    // CAP_NET_ADMIN may go past net.core.rmem_max; without it the limit is what we get.
    if (!this.#trySet(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES))
      this.#trySet(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
    for (const [level, option] of [
      [SOL_SOCKET, SO_TIMESTAMPNS],
      [SOL_PACKET, PACKET_AUXDATA],
    ] as const)
      if (!this.#trySet(level, option, 1)) this.#refuse('setsockopt', undefined);
    // Since Linux 4.20; where it is missing they are left out below.
    if (this.#direction === 'in') this.#trySet(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if (this.#libc.attachFilter(this.#fd, instructions, count) < 0)
      this.#refuse('SO_ATTACH_FILTER', undefined);
  }

  watch(onFrame: (frame: ReceivedFrame) => void, onOutage?: (state: 'down' | 'gone') => void): void {
    this.#assertOpen('poll');
    this.#watch = watchSocket(this.#libc, this.#fd, () => {
      for (let count = 0; count < FRAMES_PER_TURN && !this.#closed; count++) {
        const frame = this.#receive();
        if (frame === undefined) break;
        if (frame === 'down') onOutage?.(this.nameOf(this.#index) === undefined ? 'gone' : 'down');
        else if (this.#direction === 'both' || frame.direction === this.#direction) onFrame(frame);
      }
    });
  }

  #receive(): ReceivedFrame | 'down' | undefined {
    for (;;) {
      const length = this.#libc.recvmsg(this.#fd, this.#message.prepared(), MSG_DONTWAIT | MSG_TRUNC);
      if (length >= 0) return this.#message.frame(length);
      const errno = this.#libc.errno();
      if (errno === EAGAIN) return undefined;
      if (errno === EINTR) continue;
      if (errno === ENETDOWN) return 'down';
      throw new SystemError('recvmsg', errno);
    }
  }

  send(frame: Uint8Array): void {
    this.#assertOpen('sendto');
    const to = linkAddress(this.#index);
    if (this.#libc.sendto(this.#fd, frame, frame.length, MSG_DONTWAIT, to, to.length) < 0)
      throw new SystemError('sendto', this.#libc.errno());
  }

  dropped(): number {
    // struct tpacket_stats: packets, and drops. The kernel counts from 0 after each reading.
    const counts = new Uint32Array(2);
    const bytes = new Uint8Array(counts.buffer);
    if (
      !this.#closed &&
      this.#libc.getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, bytes, Int32Array.of(8)) === 0
    )
      this.#dropped += counts[1] ?? 0;
    return this.#dropped;
  }

  nameOf(deviceIndex: number): string | undefined {
    this.#assertOpen('ioctl');
    const request = Buffer.alloc(IFREQ_BYTES);
    new DataView(request.buffer, request.byteOffset).setInt32(IFNAMSIZ, deviceIndex, LITTLE_ENDIAN);
    if (this.#libc.ioctl(this.#fd, SIOCGIFNAME, request) < 0) return undefined;
    return request.toString('utf8', 0, request.indexOf(0));
  }

  close(): void {
    if (this.#closed) return;
    this.dropped();
    this.#closed = true;
    this.#watch?.close();
    this.#watch = undefined;
    this.#libc.close(this.#fd);
  }

  #indexOf(device: string): number {
    const request = Buffer.alloc(IFREQ_BYTES);
    request.write(device, 0, IFNAMSIZ - 1);
    if (Buffer.byteLength(device) >= IFNAMSIZ || this.#libc.ioctl(this.#fd, SIOCGIFINDEX, request) < 0)
      throw noDevice(device);
    return new DataView(request.buffer, request.byteOffset).getInt32(IFNAMSIZ, LITTLE_ENDIAN);
  }

  #trySet(level: number, name: number, value: number): boolean {
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    return this.#libc.setsockopt(this.#fd, level, name, bytes, bytes.length) === 0;
  }

  #refuse(syscall: string, device: string | number | undefined): never {
    const cause = new SystemError(syscall, this.#libc.errno());
    throw cause.code === 'ENODEV' ? noDevice(device) : unavailable(cause);
  }

  #assertOpen(syscall: string): void {
    // The number may already be another file's.
    if (this.#closed) throw new SystemError(syscall, EBADF);
  }
}

/** Lets the first bytes of every frame through. */
function snapping(length: number): BpfInstructions {
  const program = new BpfProgram<never>();
  program.return(length);
  return program.assemble();
}

/** struct sockaddr_ll (linux/if_packet.h) for every protocol on a device; index 0 is every device. */
function linkAddress(index: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(SOCKADDR_LL_BYTES));
  view.setUint16(0, AF_PACKET, LITTLE_ENDIAN);
  view.setUint16(2, ETH_P_ALL);
  view.setInt32(4, index, LITTLE_ENDIAN);
  return new Uint8Array(view.buffer);
}

const noDevice = (device: string | number | undefined): WeftError =>
  new WeftError('packet-socket', `cannot capture on ${device}: there is no such device`, {
    remedy: 'see `ip link` for those there are',
  });

const unavailable = (cause: SystemError): WeftError =>
  new WeftError('packet-socket', `cannot open a packet socket: ${cause.message}`, {
    cause,
    remedy: 'run as root or with CAP_NET_RAW',
  });
