import { WeftError } from '#src/lib/errors.ts';
import type { Prefix, Prefix4, Prefix6 } from '#src/lib/ip.ts';
import { chooseSubnet, chooseSubnet6 } from '#src/tenant/choose-subnet.ts';
import type { Tenant } from '#src/tenant/tenant.ts';

/** A subnet for a tenant that overlaps none of the others'. Throws WeftError `address-refused` when all are taken. */
export function chooseFreeSubnet(name: string, family: 4, tenants: Iterable<Tenant>): Prefix4;
export function chooseFreeSubnet(name: string, family: 6, tenants: Iterable<Tenant>): Prefix6;
export function chooseFreeSubnet(name: string, family: 4 | 6, tenants: Iterable<Tenant>): Prefix;
export function chooseFreeSubnet(name: string, family: 4 | 6, tenants: Iterable<Tenant>): Prefix {
  const taken = Array.from(tenants, ({ subnets }) => [
    ...(subnets.v4 ? [subnets.v4.prefix] : []),
    ...(subnets.v6 ? [subnets.v6.prefix] : []),
  ]).flat();
  if (family === 6) return chooseSubnet6(name, taken);
  const prefix = chooseSubnet(taken);
  if (prefix !== undefined) return prefix;
  throw new WeftError('address-refused', `could not choose a subnet for network ${name}: all are taken`, {
    remedy: 'give one with --subnet: it may be that of another network',
  });
}
