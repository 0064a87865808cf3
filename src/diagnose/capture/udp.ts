import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';

/** RFC 768. */
export interface UdpDatagram {
  readonly kind: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes of payload, as its header says. */
  readonly length: number;
  readonly payload: Uint8Array;
}

export const UDP_BYTES = 8;

export function decodeUdp(bytes: Uint8Array): UdpDatagram | Unreadable {
  if (bytes.length < UDP_BYTES) return unreadable('UDP header cut short');
  const view = viewOf(bytes);
  // 0 as in IPv4: longer than can be written.
  const length = view.getUint16(4) || bytes.length;
  if (length < UDP_BYTES) return unreadable(`UDP datagram of ${length} bytes`);
  return {
    kind: 'udp',
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    length: length - UDP_BYTES,
    payload: bytes.subarray(UDP_BYTES, length),
  };
}
