import { constants } from 'node:os';
import { WeftError } from '#src/lib/errors.ts';
import { formatIpv4, type Ipv4, ipv4 } from '#src/lib/ip.ts';
import { BPF_LD_H_IND, BPF_LDX_B_MSH, type BpfInstructions, BpfProgram } from '#src/sys/bpf-program.ts';
import { errnoName, SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';
import { AF_INET, SOCKADDR_IN_BYTES, socketAddress } from '#src/sys/socket-address.ts';
import { type SocketWatch, watchSocket } from '#src/sys/watch-socket.ts';

/** What an ICMP socket is opened with. */
export interface IcmpOptions {
  /** An address of this host: the source of the echoes. */
  readonly source: Ipv4;
  /** 16 bits; answers to others do not come to this socket. */
  readonly identifier: number;
  /**
   * Packets leave by this device, by its index, whatever the routes say: where none leads there by it, the kernel takes the
   * destination for a neighbour. Answers come by any. Default: as routes say.
   */
  readonly leaveBy?: number | undefined;
  /** The network namespace, as a path. Default: the process's own. */
  readonly namespace?: string | undefined;
}

/** One echo request. */
export interface Echo {
  readonly to: Ipv4;
  /** 16 bits. */
  readonly sequence: number;
  /** Bytes of the whole IP packet, {@link LEAST_ECHO} to 65,535. */
  readonly bytes: number;
}

/** One echo reply. */
export interface EchoReply {
  readonly from: Ipv4;
  readonly sequence: number;
}

/**
 * ICMP echo from one source address, never blocking, to any number of hosts. Packets have DF set, and what the kernel knows
 * of a path's MTU is left aside: `ping -M probe -I SOURCE`.
 */
export interface IcmpSocket {
  /**
   * Sends one echo request. Returns the errno's name when the packet could not leave: `EMSGSIZE` where it is larger than the
   * device takes, `EHOSTUNREACH` and `ENETUNREACH` without a route, `EPERM` where the packet filter of this host drops it.
   */
  send(echo: Echo): string | undefined;
  /** The next reply; `undefined` when there is none. */
  receive(): EchoReply | undefined;
  /** Calls `listener` in a turn of its own whenever there is something to receive. Keeps the process alive. */
  watch(listener: () => void): void;
  /** Safe to call twice, and from inside the listener. */
  close(): void;
}

/** Where ICMP sockets come from. */
export interface Icmp {
  /** Throws a WeftError `icmp`: without CAP_NET_RAW, or when the host lacks the source address. */
  open(options: IcmpOptions): Promise<IcmpSocket>;
}

export const systemIcmp: Icmp = {
  async open(options) {
    return new SystemIcmpSocket(await loadLibc(), options);
  },
};

/** Bytes of the smallest packet that is sent: IP header, ICMP header, and 32 bytes as `ping` sends them on other systems. */
export const LEAST_ECHO = 60;

const { EINTR } = constants.errno;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
/** linux/in.h */
const IPPROTO_IP = 0;
const IPPROTO_ICMP = 1;
const IP_MTU_DISCOVER = 10;
const IP_PMTUDISC_PROBE = 3;
const IP_UNICAST_IF = 50;
/** linux/icmp.h */
const ICMP_ECHOREPLY = 0;
const ICMP_ECHO = 8;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const ICMP_HEADER_BYTES = 8;
const IP_HEADER_BYTES = 20;
/** More than the header of a reply with options; the rest of a long reply is cut off. */
const RECEIVE_BYTES = 128;
const LARGEST_PACKET = 65_535;

class SystemIcmpSocket implements IcmpSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #identifier: number;
  readonly #request: Uint8Array;
  readonly #target = socketAddress(ipv4(0));
  readonly #buffer = new Uint8Array(RECEIVE_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #sender = new Uint8Array(SOCKADDR_IN_BYTES);
  readonly #senderLength = new Int32Array(1);
  #watch: SocketWatch | undefined;
  #closed = false;

  constructor(libc: Libc, { source, identifier, leaveBy, namespace }: IcmpOptions) {
    this.#libc = libc;
    this.#identifier = identifier;
    this.#request = new Uint8Array(LARGEST_PACKET - IP_HEADER_BYTES);
    this.#fd = inNetworkNamespace(libc, namespace, () =>
      libc.socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP),
    );
    if (this.#fd < 0) throw unavailable(source, new SystemError('socket', libc.errno()));
    try {
      this.#set(source, IPPROTO_IP, IP_MTU_DISCOVER, nativeInt(IP_PMTUDISC_PROBE));
      if (leaveBy !== undefined) this.#set(source, IPPROTO_IP, IP_UNICAST_IF, networkInt(leaveBy));
      this.#set(source, SOL_RAW, ICMP_FILTER, nativeInt(~(1 << ICMP_ECHOREPLY)));
      const { instructions, count } = echoFilter(identifier);
      if (libc.attachFilter(this.#fd, instructions, count) < 0)
        throw unavailable(source, new SystemError('SO_ATTACH_FILTER', libc.errno()));
      if (libc.bind(this.#fd, socketAddress(source), SOCKADDR_IN_BYTES) < 0)
        throw unavailable(source, new SystemError('bind', libc.errno()));
    } catch (error) {
      libc.close(this.#fd);
      throw error;
    }
  }

  #set(source: Ipv4, level: number, name: number, value: Uint8Array): void {
    if (this.#libc.setsockopt(this.#fd, level, name, value, value.length) < 0)
      throw unavailable(source, new SystemError('setsockopt', this.#libc.errno()));
  }

  send({ to, sequence, bytes }: Echo): string | undefined {
    if (this.#closed) return 'EBADF';
    const length = Math.min(Math.max(bytes, LEAST_ECHO), LARGEST_PACKET) - IP_HEADER_BYTES;
    const view = new DataView(this.#request.buffer);
    view.setUint8(0, ICMP_ECHO);
    view.setUint16(2, 0);
    view.setUint16(4, this.#identifier);
    view.setUint16(6, sequence);
    // The data are zeros and add nothing to the sum.
    view.setUint16(2, checksumOf(view));
    new DataView(this.#target.buffer).setUint32(4, to);
    for (;;) {
      const { errno, sent } = this.#sendOnce(length);
      if (sent >= 0) return undefined;
      if (errno !== EINTR) return errnoName(errno);
    }
  }

  #sendOnce(length: number): { readonly sent: number; readonly errno: number } {
    const { length: targetLength } = this.#target;
    const sent = this.#libc.sendto(this.#fd, this.#request, length, MSG_DONTWAIT, this.#target, targetLength);
    return { sent, errno: sent < 0 ? this.#libc.errno() : 0 };
  }

  receive(): EchoReply | undefined {
    while (!this.#closed) {
      this.#senderLength[0] = SOCKADDR_IN_BYTES;
      const size = this.#libc.recvfrom(
        this.#fd,
        this.#buffer,
        RECEIVE_BYTES,
        MSG_DONTWAIT,
        this.#sender,
        this.#senderLength,
      );
      if (size < 0) {
        if (this.#libc.errno() === EINTR) continue;
        // ICMP errors about earlier packets are no replies.
        return undefined;
      }
      const reply = this.#read(size);
      if (reply !== undefined) return reply;
    }
    return undefined;
  }

  /** A raw socket reads the IP header as well. */
  #read(size: number): EchoReply | undefined {
    const header = (this.#view.getUint8(0) & 0xf) * 4;
    if (size < header + ICMP_HEADER_BYTES) return undefined;
    const isOurs =
      this.#view.getUint8(header) === ICMP_ECHOREPLY && this.#view.getUint16(header + 4) === this.#identifier;
    if (!isOurs) return undefined;
    return { from: ipv4(this.#view.getUint32(12)), sequence: this.#view.getUint16(header + 6) };
  }

  watch(listener: () => void): void {
    this.#watch = watchSocket(this.#libc, this.#fd, listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch?.close();
    this.#watch = undefined;
    this.#libc.close(this.#fd);
  }
}

/** RFC 1071, of an ICMP header whose data are zeros. */
function checksumOf(header: DataView): number {
  let sum = 0;
  for (let at = 0; at < ICMP_HEADER_BYTES; at += 2) sum += header.getUint16(at);
  sum = (sum >>> 16) + (sum & 0xffff);
  return ~(sum + (sum >>> 16)) & 0xffff;
}

/** Lets packets with this identifier through: replies to other programs' echoes would wake us. */
function echoFilter(identifier: number): BpfInstructions {
  const program = new BpfProgram<'ours'>();
  program.load(BPF_LDX_B_MSH, 0);
  program.load(BPF_LD_H_IND, 4);
  program.jumpIf(identifier, 'ours');
  program.return(0);
  program.label('ours');
  program.return(0xffff_ffff);
  return program.assemble();
}

const networkInt = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
};

const nativeInt = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);

const unavailable = (source: Ipv4, cause: SystemError): WeftError =>
  new WeftError('icmp', `cannot open a socket for ICMP from ${formatIpv4(source)}: ${cause.message}`, {
    cause,
    remedy: 'run with CAP_NET_RAW, or without probes: --probes=false',
  });
