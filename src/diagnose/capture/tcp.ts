import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';

/** RFC 9293 §3.1. */
export interface TcpSegment {
  readonly kind: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  /** `SYN`, `SYN ACK`, in the order of RFC 9293 from the lowest bit. */
  readonly flags: readonly TcpFlag[];
  /** As it is written, not scaled. */
  readonly window: number;
  /** Bytes of payload that the sender of a SYN takes in one segment. */
  readonly maximumSegment?: number;
  /** Bytes of payload, as the IP header says. */
  readonly length: number;
}

const FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'] as const;
export type TcpFlag = (typeof FLAGS)[number];

const HEADER_BYTES = 20;
const OPTION_END = 0;
const OPTION_NONE = 1;
const OPTION_MSS = 2;

/** `length`: bytes of the segment as the IP header says. */
export function decodeTcp(bytes: Uint8Array, length: number): TcpSegment | Unreadable {
  if (bytes.length < HEADER_BYTES) return unreadable('TCP header cut short');
  const view = viewOf(bytes);
  const headerLength = (view.getUint8(12) >> 4) * 4;
  if (headerLength < HEADER_BYTES || headerLength > length)
    return unreadable(`TCP header of ${headerLength} bytes`);
  const bits = view.getUint8(13);
  const maximumSegment = maximumSegmentIn(bytes.subarray(HEADER_BYTES, headerLength));
  return {
    kind: 'tcp',
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
    sequence: view.getUint32(4),
    acknowledgment: view.getUint32(8),
    flags: FLAGS.filter((_, bit) => (bits & (1 << bit)) !== 0),
    window: view.getUint16(14),
    ...(maximumSegment !== undefined && { maximumSegment }),
    length: length - headerLength,
  };
}

function maximumSegmentIn(options: Uint8Array): number | undefined {
  for (let at = 0; at < options.length; ) {
    const kind = options[at];
    if (kind === OPTION_END) return undefined;
    if (kind === OPTION_NONE) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2) return undefined;
    if (kind === OPTION_MSS && length === 4 && at + 4 <= options.length)
      return ((options[at + 2] ?? 0) << 8) | (options[at + 3] ?? 0);
    at += length;
  }
  return undefined;
}
