import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';
import { type Ipv4, ipv4 } from '#src/lib/ip.ts';
import { type Mac, macAt } from '#src/lib/mac.ts';

/** RFC 826 with Ethernet and IPv4 addresses. */
export interface ArpPacket {
  readonly kind: 'arp';
  /** 1 request, 2 reply. */
  readonly operation: number;
  readonly senderMac: Mac;
  readonly sender: Ipv4;
  readonly targetMac: Mac;
  readonly target: Ipv4;
}

const ARP_BYTES = 28;
/** Hardware type 1, protocol type IPv4, addresses of 6 and 4 bytes. */
const ETHERNET_AND_IPV4 = 0x00010800;
const ADDRESS_LENGTHS = 0x0604;

export function decodeArp(bytes: Uint8Array): ArpPacket | Unreadable {
  if (bytes.length < ARP_BYTES) return unreadable('ARP packet cut short');
  const view = viewOf(bytes);
  if (view.getUint32(0) !== ETHERNET_AND_IPV4 || view.getUint16(4) !== ADDRESS_LENGTHS)
    return unreadable('ARP of other addresses than IPv4 on Ethernet');
  return {
    kind: 'arp',
    operation: view.getUint16(6),
    senderMac: macAt(view, 8),
    sender: ipv4(view.getUint32(14)),
    targetMac: macAt(view, 18),
    target: ipv4(view.getUint32(24)),
  };
}
