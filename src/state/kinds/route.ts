import { equalPrefix, formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';
import { Differences } from '#src/state/differences.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** A route of the main table. */
export interface Route {
  readonly kind: 'route';
  /** Host bits are clear. */
  readonly destination: Prefix;
  readonly type: 'unicast' | 'blackhole';
  readonly via?: Ip;
  readonly device?: string;
  /** RTNH_F_ONLINK: the gateway need not be reachable through an address of the device. */
  readonly onlink: boolean;
  /** RTA_PRIORITY; 0 is a route without a metric, for which the kernel takes 1024 in IPv6 (see {@link metricOf}). */
  readonly metric: number;
  /** RTPROT_* of linux/rtnetlink.h: who made the route. */
  readonly protocol: number;
  /** RT_SCOPE_*: 0 universe, 253 link. IPv6 has no scopes: the kernel ignores it there. */
  readonly scope: number;
  /** RTA_PREFSRC */
  readonly source?: Ip;
}

/** RTPROT_BOOT: what flannel's routes carry, and `ip route` does not print. */
export const RTPROT_BOOT = 3;
/** RTPROT_KERNEL: routes the kernel made itself, for an address of a device. */
export const RTPROT_KERNEL = 2;
/** RTPROT_RA: routes from router advertisements, the kernel's own or those of a network manager. */
export const RTPROT_RA = 9;
/**
 * Our own protocol number, for routes over devices that are not ours (DirectRouting, host-gw), so that a restart
 * knows them. Routes over flannel.N are known by their device and keep flannel's RTPROT_BOOT. The number is free
 * in iproute2's rt_protos.
 */
export const RTPROT_WEFT = 87;

export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;

/** linux/ipv6_route.h: the metric an IPv6 route gets when none is given. */
export const IP6_RT_PRIO_USER = 1024;

/** The metric that the kernel stores. */
export const metricOf = ({ metric, destination }: Route): number =>
  metric === 0 && destination.family === 6 ? IP6_RT_PRIO_USER : metric;

function format(route: Route): string {
  const words: string[] = route.type === 'unicast' ? [] : [route.type];
  words.push(formatPrefix(route.destination));
  if (route.via !== undefined) words.push('via', formatIp(route.via));
  if (route.device !== undefined) words.push('dev', route.device);
  if (route.protocol !== RTPROT_BOOT) words.push('proto', String(route.protocol));
  if (route.scope === RT_SCOPE_LINK) words.push('scope', 'link');
  if (route.source !== undefined) words.push('src', formatIp(route.source));
  if (route.metric !== 0) words.push('metric', String(route.metric));
  if (route.onlink) words.push('onlink');
  return words.join(' ');
}

/** Fields that a blackhole has not: it has no device, whatever the kernel prints for it. */
function differences(wanted: Route, found: Route): string[] {
  const isUnicast = wanted.type === 'unicast';
  const hasScope = isUnicast && wanted.destination.family === 4;
  return new Differences()
    .field('type', wanted.type, found.type)
    .field('via', wanted.via, found.via, formatIp)
    .field('dev', isUnicast ? wanted.device : undefined, found.device)
    .field('onlink', wanted.onlink, found.onlink)
    .field('proto', wanted.protocol, found.protocol)
    .field('scope', hasScope ? wanted.scope : undefined, found.scope).texts;
}

/** The {@link differences} as a question, for 50,000 routes at each comparison. */
const isAsWanted = (wanted: Route, found: Route): boolean =>
  wanted.type === found.type &&
  (wanted.via === undefined || wanted.via === found.via) &&
  wanted.onlink === found.onlink &&
  wanted.protocol === found.protocol &&
  (wanted.type !== 'unicast' ||
    ((wanted.device === undefined || wanted.device === found.device) &&
      (wanted.destination.family === 6 || wanted.scope === found.scope)));

export const ROUTE = kindOf<Route>({
  name: 'route',
  rank: 6,
  key: (route) => `route ${formatPrefix(route.destination)} metric ${metricOf(route)}`,
  sharesSlot: (a, b) =>
    equalPrefix(a.destination, b.destination) && (a.metric === b.metric || metricOf(a) === metricOf(b)),
  hash: ({ destination }) => addressHash(destination.address),
  differences,
  isAsWanted,
  isTarget: (found, named) =>
    found.via === named.via && found.device === named.device && found.type === named.type,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, route) => `ip route ${verb === 'remove' ? 'del' : verb} ${format(route)}`,
});
