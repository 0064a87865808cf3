import {
  AttributeCursor,
  putIp,
  putU32,
  putVia,
  sizeOfIp,
  sizeOfU32,
  sizeOfVia,
} from '#src/kernel/attribute-cursor.ts';
import { LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import { DeviceLookup } from '#src/kernel/device-names.ts';
import { findBy } from '#src/kernel/find-device.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { ADD, FAMILIES, FAMILY_NUMBERS, familyNumberOf, prefixOf, REPLACE } from '#src/kernel/verbs.ts';
import { equalPrefix, type Ip, ipv4, ipv6, isIpv4 } from '#src/lib/ip.ts';
import { IP6_RT_PRIO_USER, ROUTE, type Route } from '#src/state/kinds/route.ts';
import type { KernelError, Operation, Verb } from '#src/state/operation.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/** struct rtmsg: u8 family, dst_len, src_len, tos, table, protocol, scope, type, then u32 flags */
const RTMSG_BYTES = 12;

/** struct rtmsg, but for src_len */
interface RouteHeader {
  readonly family: number;
  readonly destinationLength?: number;
  readonly table?: number;
  /** RTPROT_* */
  readonly protocol?: number;
  readonly scope?: number;
  /** RTN_* */
  readonly type?: number;
  readonly flags?: number;
}

/** What is not given is not sent. */
interface RouteAttributes {
  readonly destination?: Ip | undefined;
  /** RTA_VIA where it is of the other family than the destination (RFC 5549), RTA_GATEWAY elsewhere. */
  readonly gateway?: Ip | undefined;
  readonly metric?: number | undefined;
  readonly device?: number | undefined;
  readonly source?: Ip | undefined;
}

function routeMessage(type: number, flags: number, header: RouteHeader, values: RouteAttributes): Request {
  const { destination, gateway, metric, device, source } = values;
  const crossed = gateway !== undefined && familyNumberOf(gateway) !== header.family;
  return {
    type,
    flags,
    size:
      RTMSG_BYTES +
      (destination === undefined ? 0 : sizeOfIp(destination)) +
      (gateway === undefined ? 0 : crossed ? sizeOfVia(gateway) : sizeOfIp(gateway)) +
      (metric === undefined ? 0 : sizeOfU32) +
      (device === undefined ? 0 : sizeOfU32) +
      (source === undefined ? 0 : sizeOfIp(source)),
    write(view, offset) {
      view.setUint8(offset, header.family);
      view.setUint8(offset + 1, header.destinationLength ?? 0);
      view.setUint8(offset + 4, header.table ?? 0);
      view.setUint8(offset + 5, header.protocol ?? 0);
      view.setUint8(offset + 6, header.scope ?? 0);
      view.setUint8(offset + 7, header.type ?? 0);
      view.setUint32(offset + 8, header.flags ?? 0, LITTLE_ENDIAN);
      let at = offset + RTMSG_BYTES;
      if (destination !== undefined) at = putIp(view, at, k.RTA_DST, destination);
      if (gateway !== undefined && !crossed) at = putIp(view, at, k.RTA_GATEWAY, gateway);
      else if (gateway !== undefined) at = putVia(view, at, k.RTA_VIA, familyNumberOf(gateway), gateway);
      if (metric !== undefined) at = putU32(view, at, k.RTA_PRIORITY, metric);
      if (device !== undefined) at = putU32(view, at, k.RTA_OIF, device);
      if (source !== undefined) putIp(view, at, k.RTA_PREFSRC, source);
    },
  };
}

interface RouteMessage extends Required<RouteHeader>, RouteAttributes {
  readonly tos: number;
}

/** `undefined` when the message is too short to be one. RTA_TABLE, where it is, is the table's number. */
function readRouteMessage({ view, offset, size }: Message): RouteMessage | undefined {
  if (size < RTMSG_BYTES) return undefined;
  let destination: Ip | undefined;
  let gateway: Ip | undefined;
  let source: Ip | undefined;
  let metric: number | undefined;
  let device: number | undefined;
  let table = view.getUint8(offset + 4);
  const attribute = new AttributeCursor(view, offset + RTMSG_BYTES, offset + size);
  while (attribute.next()) {
    if (attribute.type === k.RTA_DST) destination = attribute.ip();
    else if (attribute.type === k.RTA_GATEWAY) gateway = attribute.ip();
    else if (attribute.type === k.RTA_VIA) gateway = attribute.via();
    else if (attribute.type === k.RTA_OIF) device = attribute.u32();
    else if (attribute.type === k.RTA_PRIORITY) metric = attribute.u32();
    else if (attribute.type === k.RTA_PREFSRC) source = attribute.ip();
    else if (attribute.type === k.RTA_TABLE) table = attribute.u32() ?? table;
  }
  return {
    family: view.getUint8(offset),
    destinationLength: view.getUint8(offset + 1),
    tos: view.getUint8(offset + 3),
    table,
    protocol: view.getUint8(offset + 5),
    scope: view.getUint8(offset + 6),
    type: view.getUint8(offset + 7),
    flags: view.getUint32(offset + 8, LITTLE_ENDIAN),
    destination,
    gateway,
    metric,
    device,
    source,
  };
}

/** `ip route show table main`, of one device if its ifindex is given, of one protocol if that is. */
const routeDump = (family: 4 | 6, index?: number, protocol = 0): Request =>
  routeMessage(
    k.RTM_GETROUTE,
    k.NLM_F_DUMP,
    { family: FAMILY_NUMBERS[family], table: k.RT_TABLE_MAIN, protocol },
    { device: index },
  );

/** `ip route get IP`; with `fibMatch`, the route in the table and not the one made of it. */
export const routeQuery = (address: Ip, fibMatch = false): Request =>
  routeMessage(
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
function routeRequest(verb: Verb, route: Route, names: DeviceNames): Request | 'unsupported' | undefined {
  if (verb === 'set') return 'unsupported';
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
  const values = {
    destination: destination.address,
    gateway: via,
    device: index,
    metric: metric || (destination.family === 6 && verb === 'remove' ? IP6_RT_PRIO_USER : undefined),
    source,
  };
  if (verb === 'remove') return routeMessage(k.RTM_DELROUTE, 0, header, values);
  return routeMessage(k.RTM_NEWROUTE, verb === 'add' ? ADD : REPLACE, header, values);
}

/**
 * An RTM_NEWROUTE or RTM_DELROUTE of the main table. `undefined` for what a Route cannot say: other types, a TOS, a
 * cached clone. One with several next hops has no device.
 */
function readRoute(message: Message, names: Names): Route | undefined {
  const read = readRouteMessage(message);
  if (read === undefined) return undefined;
  const { family, destinationLength, protocol, scope, type, flags } = read;
  const { destination = unspecified(family), gateway: via, device, metric = 0, source } = read;
  if (read.table !== k.RT_TABLE_MAIN || read.tos !== 0 || (flags & k.RTM_F_CLONED) !== 0) return undefined;
  if (type !== k.RTN_UNICAST && type !== k.RTN_BLACKHOLE) return undefined;
  const prefix =
    familyNumberOf(destination) === family ? prefixOf(destination, destinationLength) : undefined;
  if (prefix === undefined) return undefined;
  // The kernel puts IPv6 blackholes onto `lo`, which is not what was asked for.
  const index = type === k.RTN_BLACKHOLE ? undefined : device;
  const name = index === undefined ? undefined : names.nameOf(index);
  if (index !== undefined && name === undefined) return undefined;
  const kind = type === k.RTN_UNICAST ? 'unicast' : 'blackhole';
  const onlink = (flags & k.RTNH_F_ONLINK) !== 0;
  // Those of peers, and their fields in the order in which backends write them: one shape for all of them in V8.
  if (via !== undefined && name !== undefined && source === undefined) {
    return {
      kind: 'route',
      destination: prefix,
      type: kind,
      via,
      device: name,
      onlink,
      metric,
      protocol,
      scope,
    };
  }
  return {
    kind: 'route',
    destination: prefix,
    type: kind,
    ...(via !== undefined && { via }),
    ...(name !== undefined && { device: name }),
    onlink,
    metric,
    protocol,
    scope,
    ...(source !== undefined && { source }),
  };
}

const unspecified = (family: number | undefined): Ip => (family === k.AF_INET6 ? ipv6(0n) : ipv4(0));

/** The answer to {@link routeQuery}; `undefined` when there is no way. */
export function readLookup(message: Message, names: Names): RouteLookup | undefined {
  const read = readRouteMessage(message);
  if (read === undefined || (read.type !== k.RTN_UNICAST && read.type !== k.RTN_LOCAL)) return undefined;
  const { device, source, gateway: via } = read;
  const name = device === undefined ? undefined : names.nameOf(device);
  if (name === undefined) return undefined;
  return { device: name, ...(source !== undefined && { source }), ...(via !== undefined && { via }) };
}

/**
 * Whether the kernel would take more for this route than is meant: in a removal, metric 0 stands for any metric
 * (fib_nh_match in net/ipv4/fib_semantics.c), and the same destination may have another route with one.
 */
const meansAnyMetric = (route: Route): boolean => route.metric === 0 && route.destination.family === 4;

/** Whether another route to the destination, one with a metric, is what the kernel would remove in place of this one. */
function isTaken(route: Route, questions: RtnetlinkClient): boolean {
  const answer = questions.request(routeQuery(route.destination.address, true));
  if ('error' in answer) return false;
  const found = readRoute(answer.message, new DeviceLookup(findBy(questions)));
  return found !== undefined && equalPrefix(found.destination, route.destination) && found.metric !== 0;
}

function refuse({ verb, object }: Operation<Route>, questions: RtnetlinkClient): KernelError | undefined {
  if (verb !== 'remove' || !meansAnyMetric(object) || !isTaken(object, questions)) return undefined;
  return { errno: 'ESRCH', message: 'there is no such route without a metric' };
}

export const ROUTE_CODEC: KindCodec<Route> = {
  kind: ROUTE,
  groups: [k.RTNLGRP_IPV4_ROUTE, k.RTNLGRP_IPV6_ROUTE],
  changed: k.RTM_NEWROUTE,
  removed: k.RTM_DELROUTE,
  isEchoHeard: false,
  endsBatch: false,
  dumps: ({ index, protocol }) =>
    FAMILIES.map((family) => ({
      request: routeDump(family, index, protocol),
      read(message, names) {
        const route = readRoute(message, names);
        if (route?.destination.family !== family) return undefined;
        return protocol === undefined || route.protocol === protocol ? route : undefined;
      },
    })),
  read: readRoute,
  encode: ({ verb, object }, names) => routeRequest(verb, object, names),
  missingDevice: ({ device }) => device,
  refuse,
};
