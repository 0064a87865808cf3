import type { Kernel } from '#src/kernel/kernel.ts';
import { containsAddress, type Ip, type Prefix } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { UnderlaySelection } from '#src/node/underlay/underlay-selection.ts';
import type { Address, Link, Route } from '#src/state/object.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/** The interfaces of a host: enough to see whether an underlay is still there. */
export interface Interfaces {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
}

/** What an underlay is chosen from. */
export interface HostFacts extends Interfaces {
  /** Of the main table. */
  readonly routes: readonly Route[];
  /** The kernel's route to the address of `--iface-can-reach`; absent without the flag, or when there is no route. */
  readonly reach?: RouteLookup;
}

type Reader = Pick<Kernel, 'links' | 'dump' | 'routeTo'>;

/** Equals `ip link show` and `ip address show`. */
export async function readInterfaces(kernel: Reader): Promise<Interfaces> {
  const links = await kernel.links();
  const objects = await kernel.dump({ kinds: ['address'] });
  return { links, addresses: objects.filter((object) => object.kind === 'address') };
}

/** Equals `ip route show table main` and, for `--iface-can-reach`, `ip route get IP`. */
export async function readRoutes(
  kernel: Reader,
  { reach: target }: Pick<UnderlaySelection, 'reach'>,
): Promise<Pick<HostFacts, 'routes' | 'reach'>> {
  const objects = await kernel.dump({ kinds: ['route'] });
  const routes = objects.filter((object) => object.kind === 'route');
  const reach = target === undefined ? undefined : await kernel.routeTo(target);
  return { routes, ...(reach !== undefined && { reach }) };
}

/** All facts in one read. Without a selection nothing is asked for `--iface-can-reach`. */
export async function readHostFacts(
  kernel: Reader,
  selection: Pick<UnderlaySelection, 'reach'> = { reach: undefined },
): Promise<HostFacts> {
  const interfaces = await readInterfaces(kernel);
  return { ...interfaces, ...(await readRoutes(kernel, selection)) };
}

/**
 * The interfaces without the addresses of this host's own subnets. They are on the container bridge and the overlay's
 * device, and a tunnel must not run through itself: `--iface-regex=^10\.` would match them while the real interface has no
 * address.
 */
export function withoutSubnets<T extends Interfaces>(interfaces: T, subnets: Subnets): T {
  const own = valuesOf(subnets);
  const addresses = interfaces.addresses.filter(
    ({ prefix }) => !own.some((subnet) => containsAddress(subnet, prefix.address)),
  );
  return { ...interfaces, addresses };
}

/** The default routes of both families, the preferred one first. */
export const defaultRoutes = (routes: readonly Route[]): Route[] =>
  routes
    .filter(({ destination, type }) => destination.length === 0 && type === 'unicast')
    .sort((a, b) => a.metric - b.metric);

/** The gateways of the default routes through a device, each once. */
export function gatewaysThrough(name: string, routes: readonly Route[]): Ip[] {
  const gateways = defaultRoutes(routes).flatMap(({ device, via }) =>
    device === name && via !== undefined ? [via] : [],
  );
  return [...new Set(gateways)];
}

/** The addresses of an interface with their prefix lengths, in the kernel's order. */
export const addressesOf = (name: string, { addresses }: Interfaces): Prefix[] =>
  addresses.filter(({ device }) => device === name).map(({ prefix }) => prefix);
