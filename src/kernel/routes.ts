import { attributes, type Codec, ip, struct, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { RouteLookup } from '#src/kernel/kernel.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import type { Route } from '#src/kernel/object.ts';
import { ADD, FAMILY_NUMBERS, familyNumberOf, prefixOf, REPLACE } from '#src/kernel/verbs.ts';
import { type Ip, ipv4, ipv6, isIpv4 } from '#src/lib/ip.ts';

/** struct rtmsg */
const HEADER = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
});

/** struct rtvia: a gateway of the other family (RFC 5549), u16 family, then the address. */
const via: Codec<Ip> = {
  size: (value) => u16.bytes + ip.size(value),
  write(view, offset, value) {
    u16.write(view, offset, familyNumberOf(value));
    ip.write(view, offset + u16.bytes, value);
  },
  read: (view, offset, size) =>
    size < u16.bytes ? undefined : ip.read(view, offset + u16.bytes, size - u16.bytes),
};

const ROUTE = new MessageLayout(
  HEADER,
  attributes({
    destination: [k.RTA_DST, ip],
    gateway: [k.RTA_GATEWAY, ip],
    via: [k.RTA_VIA, via],
    metric: [k.RTA_PRIORITY, u32],
    device: [k.RTA_OIF, u32],
    source: [k.RTA_PREFSRC, ip],
    table: [k.RTA_TABLE, u32],
  }),
);

/** `ip route show table main`, of one device if its ifindex is given, of one protocol if that is. */
export const routeDump = (family: 4 | 6, index?: number, protocol = 0): Request =>
  ROUTE.request(
    k.RTM_GETROUTE,
    k.NLM_F_DUMP,
    { family: FAMILY_NUMBERS[family], table: k.RT_TABLE_MAIN, protocol },
    { device: index },
  );

/** `ip route get IP`; with `fibMatch`, the route in the table and not the one made of it. */
export const routeQuery = (address: Ip, fibMatch = false): Request =>
  ROUTE.request(
    k.RTM_GETROUTE,
    0,
    {
      family: familyNumberOf(address),
      destinationLength: isIpv4(address) ? 32 : 128,
      flags: fibMatch ? k.RTM_F_FIB_MATCH : 0,
    },
    { destination: address },
  );

/**
 * `ip route add|replace|del …` in the main table. A removal names everything that the route has, so that no other is
 * taken; but for metric 0, which the kernel reads as any (see {@link meansAnyMetric}).
 */
export function routeRequest(
  verb: 'add' | 'replace' | 'remove',
  route: Route,
  names: DeviceNames,
): Request | undefined {
  const { destination, type, via, device, onlink, metric, protocol, scope, source } = route;
  const index = device === undefined ? undefined : names.indexOf(device);
  if (device !== undefined && index === undefined) return undefined;
  const header = {
    family: FAMILY_NUMBERS[destination.family],
    destinationLength: destination.length,
    table: k.RT_TABLE_MAIN,
    protocol,
    scope,
    type: type === 'blackhole' ? k.RTN_BLACKHOLE : k.RTN_UNICAST,
    flags: onlink ? k.RTNH_F_ONLINK : 0,
  };
  const crossed = via !== undefined && isIpv4(via) !== (destination.family === 4);
  const values = {
    destination: destination.address,
    [crossed ? 'via' : 'gateway']: via,
    device: index,
    metric: metric || (destination.family === 6 && verb === 'remove' ? k.IP6_RT_PRIO_USER : undefined),
    source,
  };
  if (verb === 'remove') return ROUTE.request(k.RTM_DELROUTE, 0, header, values);
  return ROUTE.request(k.RTM_NEWROUTE, verb === 'add' ? ADD : REPLACE, header, values);
}

/**
 * An RTM_NEWROUTE or RTM_DELROUTE of the main table. `undefined` for what a Route cannot say: other types, a TOS, a
 * cached clone. One with several next hops has no device.
 */
export function readRoute(message: Message, names: Pick<DeviceNames, 'nameOf'>): Route | undefined {
  const read = ROUTE.read(message);
  if (read === undefined) return undefined;
  const { family, destinationLength = 0, tos, table, protocol = 0, scope = 0, type, flags = 0 } = read.header;
  const {
    destination = unspecified(family),
    gateway,
    via = gateway,
    device,
    metric = 0,
    source,
  } = read.values;
  if ((read.values.table ?? table) !== k.RT_TABLE_MAIN || tos !== 0 || (flags & k.RTM_F_CLONED) !== 0)
    return undefined;
  if (type !== k.RTN_UNICAST && type !== k.RTN_BLACKHOLE) return undefined;
  // The kernel hangs IPv6 blackholes onto `lo`; nobody asked for that.
  const index = type === k.RTN_BLACKHOLE ? undefined : device;
  const name = index === undefined ? undefined : names.nameOf(index);
  if (index !== undefined && name === undefined) return undefined;
  return {
    kind: 'route',
    destination: prefixOf(destination, destinationLength),
    type: type === k.RTN_UNICAST ? 'unicast' : 'blackhole',
    ...(via !== undefined && { via }),
    ...(name !== undefined && { device: name }),
    onlink: (flags & k.RTNH_F_ONLINK) !== 0,
    metric,
    protocol,
    scope,
    ...(source !== undefined && { source }),
  };
}

const unspecified = (family: number | undefined): Ip => (family === k.AF_INET6 ? ipv6(0n) : ipv4(0));

/** The answer to {@link routeQuery}; `undefined` when it says that there is no way. */
export function readLookup(message: Message, names: Pick<DeviceNames, 'nameOf'>): RouteLookup | undefined {
  const read = ROUTE.read(message);
  if (read === undefined || (read.header.type !== k.RTN_UNICAST && read.header.type !== k.RTN_LOCAL))
    return undefined;
  const { device, source, gateway, via = gateway } = read.values;
  const name = device === undefined ? undefined : names.nameOf(device);
  if (name === undefined) return undefined;
  return { device: name, ...(source !== undefined && { source }), ...(via !== undefined && { via }) };
}

/**
 * Whether the kernel would take more for this route than is meant: in a removal, metric 0 stands for any metric
 * (fib_nh_match in net/ipv4/fib_semantics.c), and the same destination may have another route with one.
 */
export const meansAnyMetric = (route: Route): boolean => route.metric === 0 && route.destination.family === 4;
