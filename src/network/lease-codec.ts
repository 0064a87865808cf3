import { messageOf } from '#src/lib/errors.ts';
import { formatIpv4, formatIpv6, ipv4, parseIpv4, parseIpv6 } from '#src/lib/ip.ts';
import { GoObject, isJsonObject } from '#src/network/go-json.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';
import { plainAttributes } from '#src/network/plain-attributes.ts';

/** The flannel that has to read the value. Both versions read both shapes; the shapes differ in what they leave out. */
export type Dialect = 'v0.9.1' | 'head';

export type Decoded =
  | { readonly ok: true; readonly attributes: LeaseAttributes }
  | { readonly ok: false; readonly reason: string };

/** No lease of any backend comes near this many characters; a longer value is not parsed. */
const LONGEST_VALUE = 4_096;

/**
 * A lease's value, byte for byte as flannel marshals its LeaseAttrs: no blanks, fields in struct order, `<`, `>` and `&`
 * escaped as Go does. A flannel ignores fields that it does not know (PublicIPv6 for v0.9.1, our Node and Weft for both), so
 * we write `head` with our fields.
 */
export function encodeAttributes(attributes: LeaseAttributes, dialect: Dialect = 'head'): string {
  const { publicIp, publicIpv6, backendType, backendData, backendV6Data, node, weft } = attributes;
  const value: Record<string, Json> = {
    // Go writes the zero address for none.
    PublicIP: formatIpv4(publicIp ?? ipv4(0)),
  };
  if (dialect === 'head') value.PublicIPv6 = publicIpv6 === undefined ? null : formatIpv6(publicIpv6);
  if (backendType !== '') value.BackendType = backendType;
  if (backendData !== undefined) value.BackendData = backendData;
  if (dialect === 'head' && backendV6Data !== undefined) value.BackendV6Data = backendV6Data;
  if (node !== undefined) value.Node = node;
  if (weft !== undefined) value.Weft = weft;
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, escapeLikeGo);
}

/** Reads what any flannel or weft wrote, or says why that is impossible. Never throws: values come from others. */
export function decodeAttributes(text: string): Decoded {
  if (text.length > LONGEST_VALUE) return { ok: false, reason: `its value has ${text.length} characters` };
  let value: Json;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, reason: 'its value is not JSON' };
  }
  if (!isJsonObject(value)) return { ok: false, reason: 'its value is not a JSON object' };
  try {
    return { ok: true, attributes: plainAttributes(text, value) ?? readAttributes(GoObject.of(text, value)) };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}

function readAttributes(object: GoObject): LeaseAttributes {
  const attributes: Mutable<LeaseAttributes> = { backendType: object.string('BackendType') ?? '' };
  const publicIp = object.parsed('PublicIP', parseIpv4, UNREADABLE);
  const publicIpv6 = object.parsedOrNull('PublicIPv6', parseIpv6, UNREADABLE);
  const [backendData, backendV6Data] = [object.raw('BackendData'), object.raw('BackendV6Data')];
  const [node, weft] = [object.string('Node'), object.raw('Weft')];
  if (publicIp !== undefined) attributes.publicIp = publicIp;
  if (publicIpv6 !== undefined) attributes.publicIpv6 = publicIpv6;
  if (backendData !== undefined) attributes.backendData = backendData;
  if (backendV6Data !== undefined) attributes.backendV6Data = backendV6Data;
  if (node !== undefined) attributes.node = node;
  if (isJsonObject(weft)) attributes.weft = weft;
  return attributes;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const UNREADABLE = 'it has no readable address';

const escapeLikeGo = (character: string): string =>
  `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
