import type { Ipv4 } from '#src/lib/ip.ts';
import { SystemError } from '#src/sys/errno.ts';
import type { Libc } from '#src/sys/libc.ts';
import { AF_INET, SOCKADDR_IN_BYTES, socketAddress } from '#src/sys/socket-address.ts';

export interface UdpSocketOptions {
  /** An address of this host. */
  readonly address: Ipv4;
  /** 0: one that is free. */
  readonly port: number;
  /** Without, the field is zero and no receiver looks at it (RFC 768; SO_NO_CHECK of socket(7)). */
  readonly checksum: boolean;
}

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_NO_CHECK = 11;

/** A bound UDP socket for node:dgram, which can't choose its checksum. Throws a {@link SystemError}. */
export function openUdpSocket(libc: Libc, { address, port, checksum }: UdpSocketOptions): number {
  const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', libc.errno());
  const one = new Uint8Array(Int32Array.of(1).buffer);
  if (!checksum && libc.setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, one, one.length) < 0) {
    return refuse(libc, fd, 'setsockopt');
  }
  if (libc.bind(fd, socketAddress(address, port), SOCKADDR_IN_BYTES) < 0) return refuse(libc, fd, 'bind');
  return fd;
}

function refuse(libc: Libc, fd: number, syscall: string): never {
  const error = new SystemError(syscall, libc.errno());
  libc.close(fd);
  throw error;
}
