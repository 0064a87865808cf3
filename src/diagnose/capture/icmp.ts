import { type Unreadable, unreadable, viewOf } from '#src/diagnose/capture/bytes.ts';
import { type Ipv6, ipv6 } from '#src/lib/ip.ts';

/** ICMP (RFC 792) and ICMPv6 (RFC 4443), with what Neighbor Discovery (RFC 4861) asks for. */
export interface IcmpMessage {
  readonly kind: 'icmp';
  /** `echo request`, `host unreachable`, `neighbour solicitation`. */
  readonly name: string;
  readonly type: number;
  readonly code: number;
  /** Of an echo. */
  readonly echo?: { readonly id: number; readonly sequence: number };
  /** Bytes that fit on the way ahead: "fragmentation needed", "packet too big". */
  readonly mtu?: number;
  /** The address that a neighbour is asked about. */
  readonly target?: Ipv6;
  /** The packet that an error is about: its beginning, from the IP header on. */
  readonly quoted?: Uint8Array;
  /** Bytes of the message, as the IP header says. */
  readonly length: number;
}

const HEADER_BYTES = 8;
const TARGET_BYTES = 16;
const FRAGMENTATION_NEEDED = 4;

const NAMES: Readonly<Record<number, string>> = {
  0: 'echo reply',
  3: 'destination unreachable',
  5: 'redirect',
  8: 'echo request',
  11: 'time exceeded',
  12: 'parameter problem',
};
/** Of type 3, by code. */
const UNREACHABLE = [
  ...['network unreachable', 'host unreachable', 'protocol unreachable', 'port unreachable'],
  ...['fragmentation needed', 'source route failed', 'network unknown', 'host unknown', 'source isolated'],
  ...['network prohibited', 'host prohibited', 'network unreachable for TOS', 'host unreachable for TOS'],
  'administratively prohibited',
];
const NAMES_V6: Readonly<Record<number, string>> = {
  1: 'destination unreachable',
  2: 'packet too big',
  3: 'time exceeded',
  4: 'parameter problem',
  128: 'echo request',
  129: 'echo reply',
  133: 'router solicitation',
  134: 'router advertisement',
  135: 'neighbour solicitation',
  136: 'neighbour advertisement',
  137: 'redirect',
  143: 'multicast listener report',
};
const UNREACHABLE_V6 = [
  ...['no route', 'administratively prohibited', 'beyond scope', 'address unreachable', 'port unreachable'],
  ...['source address refused', 'route rejected'],
];

/** `length`: bytes of the message as the IP header says. */
export function decodeIcmp(bytes: Uint8Array, family: 4 | 6, length: number): IcmpMessage | Unreadable {
  if (bytes.length < HEADER_BYTES) return unreadable(family === 4 ? 'ICMP cut short' : 'ICMPv6 cut short');
  const view = viewOf(bytes);
  const [type, code] = [view.getUint8(0), view.getUint8(1)];
  const common = { kind: 'icmp', type, code, length } as const;
  const echo = { id: view.getUint16(4), sequence: view.getUint16(6) };
  const quoted = bytes.subarray(HEADER_BYTES);
  if (family === 4) {
    const name = (type === 3 ? UNREACHABLE[code] : NAMES[type]) ?? `type ${type}, code ${code}`;
    if (type === 0 || type === 8) return { ...common, name, echo };
    if (type !== 3 && type !== 5 && type !== 11 && type !== 12) return { ...common, name };
    const hasMtu = type === 3 && code === FRAGMENTATION_NEEDED;
    return { ...common, name, quoted, ...(hasMtu && { mtu: view.getUint16(6) }) };
  }
  const name = (type === 1 ? UNREACHABLE_V6[code] : NAMES_V6[type]) ?? `type ${type}, code ${code}`;
  if (type === 128 || type === 129) return { ...common, name, echo };
  if (type === 2) return { ...common, name, mtu: view.getUint32(4), quoted };
  if (type < 5) return { ...common, name, quoted };
  if ((type === 135 || type === 136) && bytes.length >= HEADER_BYTES + TARGET_BYTES) {
    const target = ipv6((view.getBigUint64(8) << 64n) | view.getBigUint64(16));
    return { ...common, name, target };
  }
  return { ...common, name };
}
