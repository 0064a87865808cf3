import { formatIp, formatPrefix, type Ip, type Prefix, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Tenant, TenantSubnet } from '#src/tenant/tenant.ts';

/** What somebody asks a tenant to be. What is left out may be anything. A tenant is a wish for itself. */
export interface TenantWish {
  readonly name: string;
  readonly vni?: number;
  readonly subnets: PerFamily<SubnetWish<Prefix4>, SubnetWish<Prefix6>>;
  readonly mtu?: number;
  readonly internal?: boolean;
}

/** The range for automatic addresses is not in it: each host may have its own. */
export interface SubnetWish<P extends Prefix = Prefix> {
  readonly prefix?: P;
  readonly gateway?: P['address'];
  readonly auxiliary?: Readonly<Record<string, P['address']>>;
}

/** How the tenant that is there differs from what is wanted, one text for each difference. */
export function tenantDifferences(wanted: TenantWish, there: Tenant): readonly string[] {
  const network = `network ${there.name}`;
  const differ = (what: string, want: string | undefined, has: string): string[] =>
    want === undefined || want === has ? [] : [`${what} ${want}, but ${network} has ${has}`];
  return [
    ...differ('VNI', wanted.vni?.toString(), String(there.vni)),
    ...subnetDifferences('subnet', wanted.subnets.v4, there.subnets.v4, differ, 'no IPv4 subnet'),
    ...subnetDifferences('subnet', wanted.subnets.v6, there.subnets.v6, differ, 'no IPv6 subnet'),
    ...differ('MTU', wanted.mtu?.toString(), there.mtu?.toString() ?? 'that of the underlay'),
    ...internalDifference(wanted.internal, there.internal, network),
  ];
}

function subnetDifferences(
  what: string,
  wanted: SubnetWish | undefined,
  there: TenantSubnet | undefined,
  differ: (what: string, want: string | undefined, has: string) => string[],
  none: string,
): readonly string[] {
  if (wanted === undefined) return [];
  const want = wanted.prefix && formatPrefix(wanted.prefix);
  if (there === undefined) return differ(what, want ?? 'of its own choice', none);
  const differences = differ(what, want, formatPrefix(there.prefix));
  // In another subnet the addresses are others, too.
  if (differences.length > 0) return differences;
  return [
    ...differ('gateway', wanted.gateway && formatIp(wanted.gateway), formatIp(there.gateway)),
    ...Object.entries(wanted.auxiliary ?? {}).flatMap(([name, ip]) =>
      differ('auxiliary address', `${name}=${formatIp(ip)}`, auxiliaryText(there, name, ip)),
    ),
  ];
}

/** A tenant reserves the address, whatever the name. */
function auxiliaryText({ auxiliary }: TenantSubnet, name: string, ip: Ip): string {
  const wanted = `${name}=${formatIp(ip)}`;
  if (Object.values(auxiliary).includes(ip)) return wanted;
  const has = Object.hasOwn(auxiliary, name) ? auxiliary[name] : undefined;
  return has === undefined ? `no ${name}` : `${name}=${formatIp(has)}`;
}

function internalDifference(wanted: boolean | undefined, there: boolean, network: string): readonly string[] {
  if (wanted === undefined || wanted === there) return [];
  return there
    ? [`a way out, but ${network} is internal`]
    : [`internal, but ${network} has a way out of the network`];
}
