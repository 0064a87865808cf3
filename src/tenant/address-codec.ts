import { formatIp, type Ip, isGlobalUnicast, parseIp } from '#src/lib/ip.ts';
import { isUnicastMac, type Mac, parseMac } from '#src/lib/mac.ts';
import type { Json } from '#src/network/lease.ts';
import { HOST_ID, parseHostAddress } from '#src/tenant/host-codec.ts';
import {
  keepingUnknown,
  ofBoolean,
  ofInteger,
  ofPattern,
  ofText,
  type Parsed,
  parseFields,
} from '#src/tenant/json-fields.ts';
import type { AddressRecord, AddressState } from '#src/tenant/tenant.ts';

const LONGEST_VALUE = 32_768;
const KNOWN = ['state', 'host', 'vtep', 'mac', 'endpoint', 'container', 'names', 'to', 'keep', 'since'];
/** Names that others may give a container. */
const MOST_NAMES = 64;
/** What can be asked for, on one line. A name is no longer (RFC 1035 §2.3.4). */
const NAME = /^[^\s\p{C}]{1,253}$/u;
/** Docker's identifiers. */
const ID = /^[0-9a-f]{64}$/;
const STATES: readonly string[] = [
  'reserved',
  'published',
  'released',
  'kept',
] satisfies readonly AddressState[];

/** The name of an address's key below `addresses/NAME/`: dotted decimal, or RFC 5952. */
export const addressName = (ip: Ip): string => formatIp(ip);

/** The address of such a name, in its one spelling; `undefined` for anything else. */
export function parseAddressName(name: string): Ip | undefined {
  const ip = parseIp(name);
  return ip !== undefined && isGlobalUnicast(ip) && formatIp(ip) === name ? ip : undefined;
}

/**
 * The value of `addresses/NAME/IP`: `{"state":"published","host":"…","vtep":"192.168.0.1","mac":"02:42:0a:05:00:07",
 * "endpoint":"…","container":"…","names":["web"],"since":1764201600000}`; what there is not is left out. `former`: the value
 * that this one takes the place of, where it is about the same use of the address. What a later version wrote there beside
 * our members stays.
 */
export function formatAddress(record: AddressRecord, former?: string): string {
  const { state, host, vtep, mac, endpoint, container, names, to, keep, since } = record;
  const value: Record<string, Json> = { state, host, vtep: formatIp(vtep) };
  if (mac !== undefined) value.mac = mac;
  if (endpoint !== undefined) value.endpoint = endpoint;
  if (container !== undefined) value.container = container;
  const usable = usableNames(names);
  if (usable.length > 0) value.names = usable;
  if (to !== undefined) value.to = to;
  if (keep) value.keep = true;
  value.since = since;
  return keepingUnknown(value, former, KNOWN);
}

/** Reads `addresses/NAME/IP`, or says why that is impossible. `name`: the key's last part. */
export function parseAddress(name: string, text: string): Parsed<AddressRecord> {
  const ip = parseAddressName(name);
  if (ip === undefined) return { ok: false, reason: 'its key is not an address in its usual spelling' };
  return parseFields(text, LONGEST_VALUE, (fields) => {
    const mac = fields.optional('mac', 'a unicast MAC', ofText(parseUnicastMac));
    const endpoint = fields.optional('endpoint', '64 hex digits', ofPattern(ID));
    const container = fields.optional('container', '64 hex digits', ofPattern(ID));
    const to = fields.optional('to', 'the identity of a host', ofPattern(HOST_ID));
    return {
      ip,
      state: fields.read('state', `one of ${STATES.join(', ')}`, ofText(parseState)),
      host: fields.read('host', 'the identity of a host', ofPattern(HOST_ID)),
      vtep: fields.read('vtep', 'an address that a host can have', ofText(parseHostAddress)),
      ...(mac !== undefined && { mac }),
      ...(endpoint !== undefined && { endpoint }),
      ...(container !== undefined && { container }),
      names: fields.optional('names', 'a list of names', parseNames) ?? [],
      ...(to !== undefined && { to }),
      keep: fields.optional('keep', 'true or false', ofBoolean) ?? false,
      since: fields.read('since', 'milliseconds since 1970', ofInteger(0, Number.MAX_SAFE_INTEGER)),
    };
  });
}

const parseState = (text: string): AddressState | undefined =>
  STATES.includes(text) ? (text as AddressState) : undefined;

function parseUnicastMac(text: string): Mac | undefined {
  const mac = parseMac(text);
  return mac !== undefined && isUnicastMac(mac) ? mac : undefined;
}

/** Names that nobody can ask for are no reason to cut a container off: they are left out. */
const parseNames = (value: Json): readonly string[] | undefined =>
  Array.isArray(value) ? usableNames(value) : undefined;

const usableNames = (names: readonly Json[]): readonly string[] =>
  names.filter((name): name is string => typeof name === 'string' && NAME.test(name)).slice(0, MOST_NAMES);
