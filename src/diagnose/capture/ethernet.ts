import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';
import { type Mac, macAt } from '#src/lib/mac.ts';

/** IEEE 802.3, with the tags of IEEE 802.1Q and 802.1ad. */
export interface EthernetHeader {
  readonly kind: 'ethernet';
  readonly destination: Mac;
  readonly source: Mac;
  /** VLAN identifiers, the outer one first. */
  readonly vlans: readonly number[];
  /** EtherType; below 1,536 it is a length. */
  readonly type: number;
  readonly payload: Uint8Array;
}

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
const TAGS = [0x8100, 0x88a8, 0x9100];
const HEADER_BYTES = 14;
const TAG_BYTES = 4;
/** More are nobody's network. */
const MOST_TAGS = 4;

export function decodeEthernet(bytes: Uint8Array): EthernetHeader | Unreadable {
  if (bytes.length < HEADER_BYTES) return unreadable('Ethernet header cut short');
  const view = viewOf(bytes);
  const vlans: number[] = [];
  let at = 12;
  let type = view.getUint16(at);
  while (TAGS.includes(type) && vlans.length < MOST_TAGS) {
    if (bytes.length < at + TAG_BYTES + 2) return unreadable('VLAN tag cut short');
    vlans.push(view.getUint16(at + 2) & 0xfff);
    at += TAG_BYTES;
    type = view.getUint16(at);
  }
  const [destination, source] = [macAt(view, 0), macAt(view, 6)];
  return { kind: 'ethernet', destination, source, vlans, type, payload: bytes.subarray(at + 2) };
}
