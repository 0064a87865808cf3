import type { EndpointBook } from '#src/driver/endpoint-book.ts';
import type { PresentTenants } from '#src/driver/present-tenants.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import type { AddressStateName, DriverNetwork } from '#src/observe/driver-status.ts';
import { containerOf } from '#src/tenant/held-address.ts';

export interface DriverView {
  readonly book: EndpointBook;
  readonly present: PresentTenants;
}

/** The networks that this host's Docker has, and those of which it still has something. */
export function describeDriver({ book, present }: DriverView): DriverNetwork[] {
  const names = new Set([
    ...Object.values(book.state.networks),
    ...Array.from(present.all(), ({ tenant }) => tenant.name),
  ]);
  return [...names].sort().flatMap((name) => describeNetwork(name, { book, present }) ?? []);
}

function describeNetwork(name: string, { book, present }: DriverView): DriverNetwork | undefined {
  const tenant = present.tenant(name);
  if (tenant === undefined) return undefined;
  const { v4, v6 } = tenant.subnets;
  const here = Object.entries(book.state.endpoints).filter(([, endpoint]) => endpoint.tenant === name);
  const used = present.get(name);
  return {
    name,
    vni: tenant.vni,
    subnets: [v4, v6].flatMap((subnet) => (subnet === undefined ? [] : [formatPrefix(subnet.prefix)])),
    containers: here.map(([id, { names, container = id }]) => containerOf({ names, container }) ?? id),
    cutOff: used?.segment?.silenced.size ?? 0,
    ...(used !== undefined && { addresses: countStates(used.addresses.all()) }),
  };
}

function countStates(addresses: Iterable<{ readonly state: AddressStateName }>) {
  const counts: Record<AddressStateName, number> = { reserved: 0, published: 0, released: 0, kept: 0 };
  for (const { state } of addresses) counts[state]++;
  return counts;
}
