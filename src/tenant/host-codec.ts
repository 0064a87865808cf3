import { formatIp, type Ip, isGlobalUnicast, parseIp } from '#src/lib/ip.ts';
import type { Json } from '#src/network/lease.ts';
import {
  type JsonFields,
  keepingUnknown,
  ofInteger,
  ofPattern,
  ofText,
  type Parsed,
  parseFields,
} from '#src/tenant/json-fields.ts';
import { isTenantName } from '#src/tenant/tenant-name.ts';

/** What a host says of itself while it lives: `alive/HOSTID`, with a TTL. */
export interface AliveRecord {
  /** The identity of the host; see node/identity.ts. */
  readonly id: string;
  /** The underlay address. */
  readonly vtep: Ip;
  /** Of the kernel, another one at each boot (/proc/sys/kernel/random/boot_id). */
  readonly bootId: string;
  /** Of weft. */
  readonly version: string;
}

/** A host that has, or had, tenants: `hosts/HOSTID`, without an end. */
export interface HostRecord extends AliveRecord {
  readonly hostName: string;
  /** Docker's networks on this host, each by its 64 hex digits, and the names of their tenants. */
  readonly docker: Readonly<Record<string, string>>;
  /** Tenants whose network a user removed on this host: it is not made there by itself. */
  readonly removed: readonly string[];
  /** When the host last lived, by its own clock, in milliseconds since the epoch. Written once an hour. */
  readonly seen?: number;
}

/** An identity, which is a segment of a key. */
export const HOST_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Thousands of networks fit; etcd takes 1.5 MB. */
const LONGEST_VALUE = 1 << 20;
const KNOWN = ['hostName', 'vtep', 'bootId', 'version', 'docker', 'removed', 'seen'];
const WORD = /^[^\s\p{C}]{1,253}$/u;
const NETWORK_ID = /^[0-9a-f]{64}$/;

/** The value of `alive/HOSTID`: for people who look at the registry. That the key is there is all that hosts look at. */
export function formatAlive({ vtep, bootId, version }: AliveRecord): string {
  return JSON.stringify({ vtep: formatIp(vtep), bootId, version });
}

/**
 * The value of `hosts/HOSTID`. `former`: the value that this one takes the place of. What a later version wrote there beside
 * our members stays.
 */
export function formatHost(record: HostRecord, former?: string): string {
  const { hostName, vtep, bootId, version, docker, removed, seen } = record;
  const value: Record<string, Json> = { hostName, vtep: formatIp(vtep), bootId, version, docker };
  if (removed.length > 0) value.removed = removed;
  if (seen !== undefined) value.seen = seen;
  return keepingUnknown(value, former, KNOWN);
}

/** Reads `hosts/HOSTID`, or says why that is impossible. */
export function parseHost(id: string, text: string): Parsed<HostRecord> {
  return parseOf(id, text, (fields) => {
    const networks = fields.fields('docker');
    const docker = networks
      ?.names()
      .filter((network) => NETWORK_ID.test(network))
      .map(
        (network) => [network, networks.read(network, 'the name of a tenant', ofText(tenantName))] as const,
      );
    const seen = fields.optional('seen', 'milliseconds since 1970', ofInteger(0, Number.MAX_SAFE_INTEGER));
    return {
      ...readAlive(id, fields),
      hostName: fields.read('hostName', 'the name of a host', ofPattern(WORD)),
      docker: Object.fromEntries(docker ?? []),
      removed: fields.optional('removed', 'a list of names of tenants', tenantNames) ?? [],
      ...(seen !== undefined && { seen }),
    };
  });
}

function parseOf<T>(id: string, text: string, read: (fields: JsonFields) => T): Parsed<T> {
  if (!HOST_ID.test(id)) return { ok: false, reason: 'its key is not the identity of a host' };
  return parseFields(text, LONGEST_VALUE, read);
}

const readAlive = (id: string, fields: JsonFields): AliveRecord => ({
  id,
  vtep: fields.read('vtep', 'an address that a host can have', ofText(parseHostAddress)),
  bootId: fields.read('bootId', 'a word', ofPattern(WORD)),
  version: fields.read('version', 'a word', ofPattern(WORD)),
});

/** An underlay address. */
export function parseHostAddress(text: string): Ip | undefined {
  const ip = parseIp(text);
  return ip !== undefined && isGlobalUnicast(ip) ? ip : undefined;
}

const tenantName = (text: string): string | undefined => (isTenantName(text) ? text : undefined);

function tenantNames(value: Json): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.filter((name): name is string => typeof name === 'string' && isTenantName(name));
}
