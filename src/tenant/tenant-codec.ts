import {
  formatIp,
  formatPrefix,
  type Prefix,
  parseIpv4,
  parseIpv6,
  parsePrefix4,
  parsePrefix6,
} from '#src/lib/ip.ts';
import type { Json } from '#src/network/lease.ts';
import {
  type JsonFields,
  keepingUnknown,
  ofBoolean,
  ofInteger,
  ofText,
  type Parsed,
  parseFields,
} from '#src/tenant/json-fields.ts';
import { faultOfSubnet } from '#src/tenant/subnet-rules.ts';
import type { Tenant, TenantSubnet } from '#src/tenant/tenant.ts';
import { isTenantName } from '#src/tenant/tenant-name.ts';

/** 24 bits, and 0 is no network (RFC 7348 §5). */
export const HIGHEST_VNI = 0xffffff;
/** Of IPv4 (RFC 791), IPv6 (RFC 8200 §5), and what a length field can say. */
const MTU = { lowest: 68, lowestWithIpv6: 1_280, highest: 65_535 };

const LONGEST_VALUE = 65_536;
const KNOWN = ['vni', 'subnets', 'mtu', 'internal'];

/**
 * The value of `networks/NAME`: `{"vni":70001,"subnets":{"v4":{"prefix":"10.5.0.0/24","gateway":"10.5.0.1"}}}`, and
 * `range`, `auxiliary`, `mtu` and `internal` where there are such. `former`: the value that this one takes the place of.
 * What a later version wrote there beside our members stays.
 */
export function formatTenant(tenant: Tenant, former?: string): string {
  const { vni, subnets, mtu, internal } = tenant;
  const value: Record<string, Json> = {
    vni,
    subnets: {
      ...(subnets.v4 && { v4: subnetJson(subnets.v4) }),
      ...(subnets.v6 && { v6: subnetJson(subnets.v6) }),
    },
  };
  if (mtu !== undefined) value.mtu = mtu;
  if (internal) value.internal = true;
  return keepingUnknown(value, former, KNOWN);
}

function subnetJson({ prefix, range, gateway, auxiliary }: TenantSubnet): Json {
  const names = Object.entries(auxiliary).map(([name, ip]) => [name, formatIp(ip)] as const);
  return {
    prefix: formatPrefix(prefix),
    ...(range && { range: formatPrefix(range) }),
    gateway: formatIp(gateway),
    ...(names.length > 0 && { auxiliary: Object.fromEntries(names) }),
  };
}

/** Reads `networks/NAME`, or says why that is impossible. */
export function parseTenant(name: string, text: string): Parsed<Tenant> {
  if (!isTenantName(name)) return { ok: false, reason: 'its key is not the name of a tenant' };
  return parseFields(text, LONGEST_VALUE, (fields) => {
    const tenant = readTenant(name, fields);
    const fault = faultOfTenant(tenant);
    if (fault !== undefined) throw new Error(fault);
    return tenant;
  });
}

/** Why there can't be such a tenant; `undefined` when there can. */
export function faultOfTenant({ name, vni, subnets: { v4, v6 }, mtu }: Tenant): string | undefined {
  if (!isTenantName(name)) return `${JSON.stringify(name.slice(0, 100))} can't be the name of a tenant`;
  if (vni < 1 || vni > HIGHEST_VNI || !Number.isInteger(vni))
    return `the VNI must be between 1 and ${HIGHEST_VNI}, it is ${vni}`;
  if (v4 === undefined && v6 === undefined) return 'it has no subnet';
  const lowest = v6 === undefined ? MTU.lowest : MTU.lowestWithIpv6;
  if (mtu !== undefined && (mtu < lowest || mtu > MTU.highest || !Number.isInteger(mtu)))
    return `the MTU must be between ${lowest} and ${MTU.highest}, it is ${mtu}`;
  return (v4 && faultOfSubnet(v4)) ?? (v6 && faultOfSubnet(v6));
}

function readTenant(name: string, fields: JsonFields): Tenant {
  const vni = fields.read('vni', `a whole number between 1 and ${HIGHEST_VNI}`, ofInteger(1, HIGHEST_VNI));
  const mtu = fields.optional('mtu', 'a whole number', ofInteger(MTU.lowest, MTU.highest));
  const internal = fields.optional('internal', 'true or false', ofBoolean) ?? false;
  const subnets = fields.fields('subnets');
  const [v4, v6] = [subnets?.fields('v4'), subnets?.fields('v6')];
  return {
    name,
    vni,
    subnets: {
      ...(v4 && { v4: readSubnet(v4, parsePrefix4, parseIpv4) }),
      ...(v6 && { v6: readSubnet(v6, parsePrefix6, parseIpv6) }),
    },
    ...(mtu !== undefined && { mtu }),
    internal,
  };
}

function readSubnet<P extends Prefix>(
  fields: JsonFields,
  parsePrefix: (text: string) => P | undefined,
  parseAddress: (text: string) => P['address'] | undefined,
): TenantSubnet<P> {
  const range = fields.optional('range', 'a prefix', ofText(parsePrefix));
  const names = fields.fields('auxiliary');
  const auxiliary = names
    ?.names()
    .map((name) => [name, names.read(name, 'an address', ofText(parseAddress))] as const);
  return {
    prefix: fields.read('prefix', 'a prefix', ofText(parsePrefix)),
    ...(range && { range }),
    gateway: fields.read('gateway', 'an address', ofText(parseAddress)),
    auxiliary: Object.fromEntries(auxiliary ?? []),
  };
}

/** The name of a VNI's key below `vnis/`; its value is the tenant's name. */
export const vniName = (vni: number): string => String(vni);

/** The VNI of such a name, in its one spelling; `undefined` for anything else. */
export function parseVniName(name: string): number | undefined {
  const vni = /^[1-9]\d{0,7}$/.test(name) ? Number(name) : Number.NaN;
  return vni <= HIGHEST_VNI ? vni : undefined;
}
