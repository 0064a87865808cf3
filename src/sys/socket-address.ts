import { endianness } from 'node:os';
import { type Ip, ipv4, ipv6, isIpv4 } from '#src/lib/ip.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;

const LITTLE_ENDIAN = endianness() === 'LE';

/** AF_INET or AF_INET6. */
export const addressFamily = (address: Ip): number => (isIpv4(address) ? AF_INET : AF_INET6);

/**
 * struct sockaddr_in (linux/in.h): u16 family, be16 port, be32 address, 8 bytes of nothing. Of IPv6 struct sockaddr_in6
 * (linux/in6.h): u16 family, be16 port, u32 flow, 16 bytes of address, u32 scope.
 */
export function socketAddress(address: Ip, port = 0): Uint8Array {
  const bytes = isIpv4(address) ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  const view = new DataView(new ArrayBuffer(bytes));
  view.setUint16(0, addressFamily(address), LITTLE_ENDIAN);
  view.setUint16(2, port);
  writeIp(view, ADDRESS_AT[isIpv4(address) ? 'v4' : 'v6'], address);
  return new Uint8Array(view.buffer);
}

/** Where the address is in such a structure. */
export const ADDRESS_AT = { v4: 4, v6: 8 } as const;

/** As it is in packets: 4 or 16 bytes. */
export function writeIp(view: DataView, at: number, ip: Ip): void {
  if (isIpv4(ip)) {
    view.setUint32(at, ip);
    return;
  }
  view.setBigUint64(at, ip >> 64n);
  view.setBigUint64(at + 8, BigInt.asUintN(64, ip));
}

export const readIpv4 = (view: DataView, at: number) => ipv4(view.getUint32(at));

export const readIpv6 = (view: DataView, at: number) =>
  ipv6((view.getBigUint64(at) << 64n) | view.getBigUint64(at + 8));
