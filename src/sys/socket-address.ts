import { endianness } from 'node:os';
import type { Ipv4 } from '#src/lib/ip.ts';

export const AF_INET = 2;
export const SOCKADDR_IN_BYTES = 16;

/** struct sockaddr_in (linux/in.h): u16 family, be16 port, be32 address, 8 bytes of nothing. */
export function socketAddress(address: Ipv4, port = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(SOCKADDR_IN_BYTES));
  view.setUint16(0, AF_INET, endianness() === 'LE');
  view.setUint16(2, port);
  view.setUint32(4, address);
  return new Uint8Array(view.buffer);
}
