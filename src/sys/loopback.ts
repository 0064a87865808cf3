import { endianness } from 'node:os';
import { SystemError } from '#src/sys/errno.ts';
import type { Libc } from '#src/sys/libc.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** linux/sockios.h */
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
/** struct ifreq of linux/if.h: 16 bytes of name, then a union, of which s16 flags. */
const IFREQ_BYTES = 40;
const IFR_FLAGS = 16;
const LITTLE_ENDIAN = endianness() === 'LE';

/** `ip link set lo up`, in the network namespace in which this thread is (netdevice(7)). Throws a {@link SystemError}. */
export function bringUpLoopback(libc: Libc): void {
  const request = new Uint8Array(IFREQ_BYTES);
  request.set(Buffer.from('lo'));
  const view = new DataView(request.buffer);
  const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', libc.errno());
  try {
    if (libc.ioctl(fd, SIOCGIFFLAGS, request) < 0) throw new SystemError('SIOCGIFFLAGS', libc.errno());
    view.setInt16(IFR_FLAGS, view.getInt16(IFR_FLAGS, LITTLE_ENDIAN) | IFF_UP, LITTLE_ENDIAN);
    if (libc.ioctl(fd, SIOCSIFFLAGS, request) < 0) throw new SystemError('SIOCSIFFLAGS', libc.errno());
  } finally {
    libc.close(fd);
  }
}
