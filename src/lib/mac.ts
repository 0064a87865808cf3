/** A hardware address as flannel writes it: six lower-case hex octets, colon separated. */

declare const brand: unique symbol;
export type Mac = string & { readonly [brand]: 'Mac' };

const HEX = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, '0'));

/** Reads `82:4b:b6:2f:54:4e`, in either case; `undefined` when the text is anything else. */
export function parseMac(text: string): Mac | undefined {
  return /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text) ? (text.toLowerCase() as Mac) : undefined;
}

/** The six octets as text. Throws a RangeError when there are not six. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`a MAC has 6 octets, not ${bytes.length}`);
  let text = '';
  for (const octet of bytes) text += text === '' ? HEX[octet] : `:${HEX[octet]}`;
  return text as Mac;
}

export function macToBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  for (let index = 0; index < 6; index++) {
    bytes[index] = (hexDigit(mac, 3 * index) << 4) | hexDigit(mac, 3 * index + 1);
  }
  return bytes;
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
