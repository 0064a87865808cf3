import { constants } from 'node:os';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip, isIpv4 } from '#src/lib/ip.ts';
import { errnoName, SystemError } from '#src/sys/errno.ts';
import { ICMP_FORMS, type IcmpForm } from '#src/sys/icmp-form.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';
import { ADDRESS_AT, addressFamily, socketAddress, writeIp } from '#src/sys/socket-address.ts';
import { type SocketWatch, watchSocket } from '#src/sys/watch-socket.ts';

/** What an ICMP socket is opened with. */
export interface IcmpOptions {
  /** An address of this host: the source of the echoes. */
  readonly source: Ip;
  /** 16 bits; answers to others do not come to this socket. */
  readonly identifier: number;
  /**
   * Packets leave by this device, by its index, whatever the routes say: where none leads there by it, the kernel takes the
   * destination for a neighbour. Answers come by any. Default: as routes say. Of IPv4 only: IPv6 looks for a route all the same.
   */
  readonly leaveBy?: number | undefined;
  /** The network namespace, as a path. Default: the process's own. */
  readonly namespace?: string | undefined;
}

/** One echo request. */
export interface Echo {
  /** Of the source's family. */
  readonly to: Ip;
  /** 16 bits. */
  readonly sequence: number;
  /** Bytes of the whole IP packet, {@link LEAST_ECHO} to 65,535. */
  readonly bytes: number;
}

/** One echo reply. */
export interface EchoReply {
  readonly from: Ip;
  readonly sequence: number;
}

/**
 * ICMP echo from one source address, never blocking, to any number of hosts. Packets have DF set, and what the kernel knows
 * of a path's MTU is left aside: `ping -M probe -I SOURCE`. Over IPv6 they are never fragmented.
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

/** Bytes of the smallest packet that is sent: with IPv4's header, that of ICMP and 32 bytes, as `ping` sends them elsewhere. */
export const LEAST_ECHO = 60;

const { EINTR } = constants.errno;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const ICMP_HEADER_BYTES = 8;
/** More than the header of a reply with options; the rest of a long reply is cut off. */
const RECEIVE_BYTES = 128;
const LARGEST_PACKET = 65_535;

class SystemIcmpSocket implements IcmpSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #form: IcmpForm;
  readonly #identifier: number;
  readonly #request: Uint8Array;
  readonly #target: DataView;
  readonly #buffer = new Uint8Array(RECEIVE_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  readonly #sender: DataView;
  readonly #senderLength = new Int32Array(1);
  #watch: SocketWatch | undefined;
  #closed = false;

  constructor(libc: Libc, { source, identifier, leaveBy, namespace }: IcmpOptions) {
    this.#libc = libc;
    this.#identifier = identifier;
    this.#form = ICMP_FORMS[isIpv4(source) ? 'v4' : 'v6'];
    this.#request = new Uint8Array(LARGEST_PACKET - this.#form.ipHeaderBytes);
    const address = socketAddress(source);
    this.#target = new DataView(address.slice().buffer);
    this.#sender = new DataView(new ArrayBuffer(address.length));
    this.#fd = inNetworkNamespace(libc, namespace, () =>
      libc.socket(addressFamily(source), SOCK_RAW | SOCK_CLOEXEC, this.#form.protocol),
    );
    if (this.#fd < 0) throw unavailable(source, new SystemError('socket', libc.errno()));
    try {
      for (const { level, name, value } of this.#form.options({ leaveBy })) {
        if (libc.setsockopt(this.#fd, level, name, value, value.length) < 0)
          throw unavailable(source, new SystemError('setsockopt', libc.errno()));
      }
      const { instructions, count } = this.#form.filter(identifier);
      if (libc.attachFilter(this.#fd, instructions, count) < 0)
        throw unavailable(source, new SystemError('SO_ATTACH_FILTER', libc.errno()));
      if (libc.bind(this.#fd, address, address.length) < 0)
        throw unavailable(source, new SystemError('bind', libc.errno()));
    } catch (error) {
      libc.close(this.#fd);
      throw error;
    }
  }

  send({ to, sequence, bytes }: Echo): string | undefined {
    if (this.#closed) return 'EBADF';
    if (isIpv4(to) !== (this.#form === ICMP_FORMS.v4)) return 'EAFNOSUPPORT';
    const length = Math.min(Math.max(bytes, LEAST_ECHO), LARGEST_PACKET) - this.#form.ipHeaderBytes;
    const view = new DataView(this.#request.buffer);
    view.setUint8(0, this.#form.echoRequest);
    view.setUint16(2, 0);
    view.setUint16(4, this.#identifier);
    view.setUint16(6, sequence);
    // The data are zeros and add nothing to the sum. That of IPv6 has the addresses in it, and the kernel writes it.
    if (isIpv4(to)) view.setUint16(2, checksumOf(view));
    writeIp(this.#target, ADDRESS_AT[isIpv4(to) ? 'v4' : 'v6'], to);
    for (;;) {
      const { errno, sent } = this.#sendOnce(length);
      if (sent >= 0) return undefined;
      if (errno !== EINTR) return errnoName(errno);
    }
  }

  #sendOnce(length: number): { readonly sent: number; readonly errno: number } {
    const target = new Uint8Array(this.#target.buffer);
    const sent = this.#libc.sendto(this.#fd, this.#request, length, MSG_DONTWAIT, target, target.length);
    return { sent, errno: sent < 0 ? this.#libc.errno() : 0 };
  }

  receive(): EchoReply | undefined {
    const sender = new Uint8Array(this.#sender.buffer);
    while (!this.#closed) {
      this.#senderLength[0] = sender.length;
      const size = this.#libc.recvfrom(
        this.#fd,
        this.#buffer,
        RECEIVE_BYTES,
        MSG_DONTWAIT,
        sender,
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

  #read(size: number): EchoReply | undefined {
    const form = this.#form;
    const at = form.icmpAt(this.#view);
    if (size < at + ICMP_HEADER_BYTES) return undefined;
    const isOurs =
      this.#view.getUint8(at) === form.echoReply && this.#view.getUint16(at + 4) === this.#identifier;
    if (!isOurs) return undefined;
    return { from: form.sender(this.#sender), sequence: this.#view.getUint16(at + 6) };
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

const unavailable = (source: Ip, cause: SystemError): WeftError =>
  new WeftError('icmp', `cannot open a socket for ICMP from ${formatIp(source)}: ${cause.message}`, {
    cause,
    remedy: 'run with CAP_NET_RAW, or without probes: --probes=false',
  });
