/** A hardware address as flannel writes it: six lower-case hex octets, colon separated. */

declare const brand: unique symbol;
export type Mac = string & { readonly [brand]: 'Mac' };

/** Reads `82:4b:b6:2f:54:4e`, in either case; `undefined` when the text is anything else. */
export function parseMac(text: string): Mac | undefined {
  if (text.length !== 17) return undefined;
  // Character by character: a start with 50,000 leases reads 150,000.
  let upper = false;
  for (let at = 0; at < 17; at++) {
    const code = text.charCodeAt(at);
    if (at % 3 === 2) {
      if (code !== COLON) return undefined;
    } else if (code >= UPPER_A && code <= UPPER_F) {
      upper = true;
    } else if (!((code >= ZERO && code <= NINE) || (code >= LOWER_A && code <= LOWER_F))) {
      return undefined;
    }
  }
  return (upper ? text.toLowerCase() : text) as Mac;
}

const [ZERO, NINE, COLON] = [0x30, 0x39, 0x3a];
const [UPPER_A, UPPER_F, LOWER_A, LOWER_F] = [0x41, 0x46, 0x61, 0x66];

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

/** Whether it can be a VTEP's address: no group address (I/G bit set) and not all zeros. */
export function isUnicastMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}

/** The value of a lower-case hexadecimal digit: '0' is 0x30, 'a' is 0x61. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < LOWER_A ? code - ZERO : code - LOWER_A + 10;
}

const hexCode = (digit: number): number => (digit < 10 ? ZERO + digit : LOWER_A - 10 + digit);

/** A MAC's text is put together here, because a flat string takes less memory than a chain of pieces. */
const CODES = Buffer.from('00:00:00:00:00:00');
