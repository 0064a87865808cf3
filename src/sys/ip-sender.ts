import { WeftError } from '#src/lib/errors.ts';
import type { Ip } from '#src/lib/ip.ts';
import { SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';
import { addressFamily, socketAddress } from '#src/sys/socket-address.ts';

/** Sends packets of one family as they are, header and all, by the routes of one network namespace (raw(7), IP_HDRINCL). */
export interface IpSender {
  /**
   * Of IPv4, the kernel fills in length, checksum, and an identification of 0; of IPv6 nothing. Any source address may stand in
   * the header. Throws a {@link SystemError}: EPERM where the packet filter refused it, ENETUNREACH without a route.
   */
  send(packet: Uint8Array, to: Ip): void;
  close(): void;
}

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
/** Implies IP_HDRINCL, and receives nothing. */
const IPPROTO_RAW = 255;
const MSG_DONTWAIT = 0x40;

/** `to`: an address of the family. Throws a WeftError: `ip-sender` without the right (CAP_NET_RAW), `netns` without the namespace. */
export async function openIpSender(to: Ip, namespace?: string): Promise<IpSender> {
  const libc = await loadLibc();
  const fd = inNetworkNamespace(libc, namespace, () =>
    libc.socket(addressFamily(to), SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW),
  );
  if (fd < 0) {
    const cause = new SystemError('socket', libc.errno());
    const what = `cannot open a socket to send a packet: ${cause.message}`;
    throw new WeftError('ip-sender', what, { cause, remedy: 'run as root or with CAP_NET_RAW' });
  }
  return new SystemIpSender(libc, fd);
}

class SystemIpSender implements IpSender {
  readonly #libc: Libc;
  readonly #fd: number;
  #closed = false;

  constructor(libc: Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
  }

  send(packet: Uint8Array, to: Ip): void {
    if (this.#closed) throw new SystemError('sendto', EBADF);
    const address = socketAddress(to);
    const sent = this.#libc.sendto(this.#fd, packet, packet.length, MSG_DONTWAIT, address, address.length);
    if (sent < 0) throw new SystemError('sendto', this.#libc.errno());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.close(this.#fd);
  }
}

const EBADF = 9;
