import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import { type Mac, macFromBytes } from '#src/lib/mac.ts';

/**
 * The MAC of an address: `02:42` and the four bytes of an IPv4 address. So an address that is kept means a MAC that is kept.
 * Of an IPv6 address the four bytes are the XOR of the two halves of its interface identifier: fd00::7 has
 * 02:42:00:00:00:07.
 */
export function macOf(ip: Ip): Mac {
  const tail = isIpv4(ip) ? ip : Number((ip ^ (ip >> 32n)) & 0xffffffffn);
  const bytes = Uint8Array.of(0x02, 0x42, 0, 0, 0, 0);
  new DataView(bytes.buffer).setUint32(2, tail);
  return macFromBytes(bytes);
}
