/** A hardware address as flannel writes it: six lower-case hex octets, colon separated. */

declare const brand: unique symbol;
export type Mac = string & { readonly [brand]: 'Mac' };

/** Reads `82:4b:b6:2f:54:4e`, in either case; `undefined` when the text is anything else. */
export function parseMac(text: string): Mac | undefined {
  return /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text) ? (text.toLowerCase() as Mac) : undefined;
}

/** The six octets as text. Throws a RangeError when there are not six. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`a MAC has 6 octets, not ${bytes.length}`);
  return macAt(new DataView(bytes.buffer, bytes.byteOffset, 6), 0);
}

/** The six octets at an offset, as text. */
export function macAt(view: DataView, at: number): Mac {
  for (let octet = 0; octet < 6; octet++) {
    const value = view.getUint8(at + octet);
    CODES[3 * octet] = hexCode(value >> 4);
    CODES[3 * octet + 1] = hexCode(value & 15);
  }
  return CODES.toString('latin1') as Mac;
}

export function macToBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  writeMac(new DataView(bytes.buffer), 0, mac);
  return bytes;
}

/** Writes the six octets at an offset. */
export function writeMac(view: DataView, at: number, mac: Mac): void {
  for (let octet = 0; octet < 6; octet++)
    view.setUint8(at + octet, (hexDigit(mac, 3 * octet) << 4) | hexDigit(mac, 3 * octet + 1));
}

/** Fit to be a VTEP's address: not a group address (I/G bit set) and not all zeros. */
export function isUnicastMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}

/** The value of a lower-case hexadecimal digit: '0' is 0x30, 'a' is 0x61. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 0x61 ? code - 0x30 : code - 0x57;
}

const hexCode = (digit: number): number => (digit < 10 ? 0x30 + digit : 0x57 + digit);

/** Where a MAC's text is put together: one string of its own, and not a chain of pieces. */
const CODES = Buffer.from('00:00:00:00:00:00');
