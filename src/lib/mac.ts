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
  return Array.from(bytes, (octet) => octet.toString(16).padStart(2, '0')).join(':') as Mac;
}

export function macToBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(':'), (octet) => Number.parseInt(octet, 16));
}

/** Fit to be a VTEP's address: not a group address (I/G bit set) and not all zeros. */
export function isUnicastMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== '00:00:00:00:00:00';
}
