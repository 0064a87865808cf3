/**
 * Attributes (struct nlattr, linux/netlink.h) written and read in place, for the messages that each
 * peer needs: with 50,000 peers, 150,000 are written at a start, and as many are read at each
 * comparison. All other messages are described with {@link attributes}, at ten times the cost.
 */
import { align4, LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import { NLA_TYPE_MASK } from '#src/kernel/constants.ts';
import { type Ip, ipv4, ipv6, isIpv4 } from '#src/lib/ip.ts';
import { type Mac, macAt, writeMac } from '#src/lib/mac.ts';

/** u16 length with these four bytes, u16 type */
const HEADER = 4;
const MAC_BYTES = 6;
/** Before the address in struct rtvia. */
const VIA_FAMILY = 2;
const bytesOf = (ip: Ip): number => (isIpv4(ip) ? 4 : 16);

export const sizeOfU16 = HEADER + align4(2);
export const sizeOfU32 = HEADER + 4;
export const sizeOfMac = HEADER + align4(MAC_BYTES);
export const sizeOfIp = (ip: Ip): number => HEADER + bytesOf(ip);
export const sizeOfVia = (ip: Ip): number => HEADER + align4(VIA_FAMILY + bytesOf(ip));

/** Each writes one attribute and returns where the next one begins. The bytes were zero. */
export function putU32(view: DataView, at: number, type: number, value: number): number {
  putHeader(view, at, type, 4);
  view.setUint32(at + HEADER, value, LITTLE_ENDIAN);
  return at + sizeOfU32;
}

export function putU16(view: DataView, at: number, type: number, value: number): number {
  putHeader(view, at, type, 2);
  view.setUint16(at + HEADER, value, LITTLE_ENDIAN);
  return at + sizeOfU16;
}

export function putIp(view: DataView, at: number, type: number, ip: Ip): number {
  putHeader(view, at, type, bytesOf(ip));
  writeIp(view, at + HEADER, ip);
  return at + sizeOfIp(ip);
}

/** struct rtvia: a gateway of the other family (RFC 5549), u16 family, then the address. */
export function putVia(view: DataView, at: number, type: number, family: number, ip: Ip): number {
  putHeader(view, at, type, VIA_FAMILY + bytesOf(ip));
  view.setUint16(at + HEADER, family, LITTLE_ENDIAN);
  writeIp(view, at + HEADER + VIA_FAMILY, ip);
  return at + sizeOfVia(ip);
}

export function putMac(view: DataView, at: number, type: number, mac: Mac): number {
  putHeader(view, at, type, MAC_BYTES);
  writeMac(view, at + HEADER, mac);
  return at + sizeOfMac;
}

function writeIp(view: DataView, at: number, ip: Ip): void {
  if (isIpv4(ip)) {
    view.setUint32(at, ip);
  } else {
    view.setBigUint64(at, ip >> 64n);
    view.setBigUint64(at + 8, BigInt.asUintN(64, ip));
  }
}

function putHeader(view: DataView, at: number, type: number, size: number): void {
  view.setUint16(at, HEADER + size, LITTLE_ENDIAN);
  view.setUint16(at + 2, type, LITTLE_ENDIAN);
}

/** Goes from attribute to attribute, up to the first that does not fit. */
export class AttributeCursor {
  readonly #view: DataView;
  readonly #end: number;
  #next: number;
  /** Of the present one, without its flags. */
  type = 0;
  #payload = 0;
  #size = 0;

  constructor(view: DataView, offset: number, end: number) {
    this.#view = view;
    this.#next = offset;
    this.#end = end;
  }

  /** Goes to the next; false when there is none. */
  next(): boolean {
    const at = this.#next;
    if (at + HEADER > this.#end) return false;
    const length = this.#view.getUint16(at, LITTLE_ENDIAN);
    if (length < HEADER || at + length > this.#end) return false;
    this.type = this.#view.getUint16(at + 2, LITTLE_ENDIAN) & NLA_TYPE_MASK;
    this.#payload = at + HEADER;
    this.#size = length - HEADER;
    this.#next = at + align4(length);
    return true;
  }

  /** Each is `undefined` when the payload is not of this shape. */
  u16(): number | undefined {
    return this.#size < 2 ? undefined : this.#view.getUint16(this.#payload, LITTLE_ENDIAN);
  }

  u32(): number | undefined {
    return this.#size < 4 ? undefined : this.#view.getUint32(this.#payload, LITTLE_ENDIAN);
  }

  /** The attributes inside. */
  nested(): AttributeCursor {
    return new AttributeCursor(this.#view, this.#payload, this.#payload + this.#size);
  }

  ip(): Ip | undefined {
    return this.#ipFrom(this.#payload, this.#size);
  }

  /** struct rtvia */
  via(): Ip | undefined {
    return this.#ipFrom(this.#payload + VIA_FAMILY, this.#size - VIA_FAMILY);
  }

  mac(): Mac | undefined {
    return this.#size === MAC_BYTES ? macAt(this.#view, this.#payload) : undefined;
  }

  #ipFrom(at: number, size: number): Ip | undefined {
    if (size === 4) return ipv4(this.#view.getUint32(at));
    if (size === 16) return ipv6((this.#view.getBigUint64(at) << 64n) | this.#view.getBigUint64(at + 8));
    return undefined;
  }
}
