import { constants, openSync } from 'node:fs';
import { SystemError } from '#src/sys/errno.ts';
import type { Libc } from '#src/sys/libc.ts';

const TUNSETIFF = 0x400454ca;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFNAMSIZ = 16;
/** struct ifreq of linux/if.h, on 64 bits. */
const IFREQ_BYTES = 40;

/**
 * Makes a TUN device (linux/if_tun.h) without packet information: what is read from the descriptor is a packet that the kernel
 * sends by the device, what is written is one that it receives. The device goes with the descriptor. `ip tuntap add NAME mode tun`
 * makes one that stays. Throws a {@link SystemError}: ENOENT without /dev/net/tun, EBUSY when another program has the device, EINVAL
 * when there is another device of that name.
 */
export function openTun(libc: Pick<Libc, 'ioctl' | 'close' | 'errno'>, name: string): number {
  const fd = open();
  const request = new DataView(new ArrayBuffer(IFREQ_BYTES));
  new Uint8Array(request.buffer).set(new TextEncoder().encode(name).subarray(0, IFNAMSIZ - 1));
  request.setInt16(IFNAMSIZ, IFF_TUN | IFF_NO_PI, true);
  if (libc.ioctl(fd, TUNSETIFF, new Uint8Array(request.buffer)) < 0) {
    const error = new SystemError('ioctl TUNSETIFF', libc.errno());
    libc.close(fd);
    throw error;
  }
  return fd;
}

function open(): number {
  try {
    return openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    throw new SystemError('open /dev/net/tun', -((error as NodeJS.ErrnoException).errno ?? 0));
  }
}
