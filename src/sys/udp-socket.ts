import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import { SystemError } from '#src/sys/errno.ts';
import type { Libc } from '#src/sys/libc.ts';
import { addressFamily, socketAddress } from '#src/sys/socket-address.ts';

export interface UdpSocketOptions {
  /** An address of this host. */
  readonly address: Ip;
  /** 0: one that is free. */
  readonly port: number;
  /**
   * Without, the field is zero and no receiver looks at it (RFC 768; SO_NO_CHECK of socket(7)). Over IPv6 a receiver drops
   * such datagrams, unless its socket takes them, too (RFC 6935; UDP_NO_CHECK6_RX): one opened without a checksum does.
   */
  readonly checksum: boolean;
}

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_NO_CHECK = 11;
/** linux/udp.h */
const IPPROTO_UDP = 17;
const UDP_NO_CHECK6_TX = 101;
const UDP_NO_CHECK6_RX = 102;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

/** A bound UDP socket for node:dgram, which can't choose its checksum. Throws a {@link SystemError}. */
export function openUdpSocket(libc: Libc, { address, port, checksum }: UdpSocketOptions): number {
  const fd = libc.socket(addressFamily(address), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', libc.errno());
  const one = new Uint8Array(Int32Array.of(1).buffer);
  for (const [level, name] of optionsFor(address, checksum)) {
    if (libc.setsockopt(fd, level, name, one, one.length) < 0) return refuse(libc, fd, 'setsockopt');
  }
  const place = socketAddress(address, port);
  if (libc.bind(fd, place, place.length) < 0) return refuse(libc, fd, 'bind');
  return fd;
}

/** Level and name of the options that are switched on. */
function optionsFor(address: Ip, checksum: boolean): readonly (readonly [number, number])[] {
  if (isIpv4(address)) return checksum ? [] : [[SOL_SOCKET, SO_NO_CHECK]];
  const bare = [UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX].map((name) => [IPPROTO_UDP, name] as const);
  return [[IPPROTO_IPV6, IPV6_V6ONLY], ...(checksum ? [] : bare)];
}

function refuse(libc: Libc, fd: number, syscall: string): never {
  const error = new SystemError(syscall, libc.errno());
  libc.close(fd);
  throw error;
}
