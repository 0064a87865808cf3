import { type Mac, macFromBytes } from '#src/lib/mac.ts';
import { sha256 } from '#src/lib/sha256.ts';

/**
 * A VTEP MAC that stays the same for a node and a device name: locally administered, unicast. Set explicitly, it is
 * also one that udev's MACAddressPolicy leaves alone (flannel issue 1155).
 */
export function deriveMac(identity: string, device: string): Mac {
  const bytes = sha256(`vtep ${device} ${identity}`).subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}
