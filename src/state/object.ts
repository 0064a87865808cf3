import { equalPrefix, formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';

/**
 * What weft puts into a network namespace, one type per kind, by name and not by index: a device that was
 * deleted and made again keeps its name. The same types say what is wanted and what was found.
 */
export type KernelObject = Link | Address | Route | Neighbour | FdbEntry;

/** A network device. Only fields that are set are wanted of it. */
export interface Link {
  readonly kind: 'link';
  readonly name: string;
  /** Only in what was found: the kernel's ifindex. */
  readonly index?: number;
  /** rtnetlink's IFLA_INFO_KIND: `vxlan`, `veth`, `bridge`; absent for a plain device. */
  readonly type?: string;
  readonly mac?: Mac;
  /** Bytes of layer-3 payload. */
  readonly mtu?: number;
  /** IFF_UP: switched on by the administrator. */
  readonly up?: boolean;
  /** Only in what was found: IFF_LOWER_UP, there is a carrier. */
  readonly running?: boolean;
  /** Only in what was found: the bridge or bond it is a port of, by ifindex. */
  readonly masterIndex?: number;
  readonly vxlan?: Vxlan;
}

/** IFLA_VXLAN_* of linux/if_link.h. */
export interface Vxlan {
  /** 24 bits (RFC 7348 §5). */
  readonly vni: number;
  /** The underlay device, by name; absent when the kernel has none (or one we can't name). */
  readonly underlay?: string;
  readonly local?: Ip;
  /** A multicast group or default remote; flannel sets none. */
  readonly group?: Ip;
  /** UDP destination port. The kernel's default is 8472, not IANA's 4789. */
  readonly port: number;
  readonly learning: boolean;
  /** Group based policy extension. */
  readonly gbp: boolean;
  readonly l2miss?: boolean;
  /** Only in what was found: the device takes its VNIs from each packet (`external`), and all packets of its port. */
  readonly external?: boolean;
}

export interface Address {
  readonly kind: 'address';
  readonly prefix: Prefix;
  readonly device: string;
}

export interface Route {
  readonly kind: 'route';
  /** Host bits are clear. */
  readonly destination: Prefix;
  readonly type: 'unicast' | 'blackhole';
  readonly via?: Ip;
  readonly device?: string;
  /** RTNH_F_ONLINK: the gateway need not be reachable through an address of the device. */
  readonly onlink: boolean;
  /** RTA_PRIORITY; 0 is what `ip route` prints without a metric. */
  readonly metric: number;
  /** RTPROT_* of linux/rtnetlink.h: who made the route. */
  readonly protocol: number;
  /** RT_SCOPE_*: 0 universe, 253 link. */
  readonly scope: number;
  /** RTA_PREFSRC */
  readonly source?: Ip;
}

/** A permanent ARP or ND entry. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly ip: Ip;
  readonly mac: Mac;
  readonly device: string;
  /** NUD_PERMANENT; other states are the kernel's own business and are only ever found, never wanted. */
  readonly permanent: boolean;
}

/** A VXLAN forwarding entry: frames for this MAC go to that VTEP. */
export interface FdbEntry {
  readonly kind: 'fdb';
  readonly mac: Mac;
  readonly destination: Ip;
  readonly device: string;
  readonly permanent: boolean;
}

/** RTPROT_BOOT: what flannel's routes carry, and `ip route` does not print. */
export const RTPROT_BOOT = 3;
/** RTPROT_KERNEL: routes the kernel made itself, for an address of a device. */
export const RTPROT_KERNEL = 2;
/**
 * Our own protocol number, for routes over devices that are not ours (DirectRouting, host-gw), so that a restart
 * knows them. Routes over flannel.N are known by their device and keep flannel's RTPROT_BOOT. The number is free
 * in iproute2's rt_protos.
 */
export const RTPROT_WEFT = 87;

export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;

export const KINDS: readonly KernelObject['kind'][] = ['link', 'address', 'fdb', 'neighbour', 'route'];

/** The device that the object is on, or is. */
export const deviceOf = (object: KernelObject): string | undefined =>
  object.kind === 'link' ? object.name : object.device;

/** Devices without which the object can't be made. */
export function devicesNeededBy(object: KernelObject): readonly string[] {
  if (object.kind !== 'link') return object.device === undefined ? [] : [object.device];
  const underlay = object.vxlan?.underlay;
  return underlay === undefined ? [object.name] : [object.name, underlay];
}

/** What makes two objects the same slot in the kernel: adding one replaces the other. */
export function keyOf(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return `link ${object.name}`;
    case 'address':
      return `address ${formatPrefix(object.prefix)} dev ${object.device}`;
    case 'route':
      return `route ${formatPrefix(object.destination)} metric ${object.metric}`;
    case 'neighbour':
      return `neighbour ${formatIp(object.ip)} dev ${object.device}`;
    case 'fdb':
      return `fdb ${object.mac} dev ${object.device}`;
  }
}

/** Whether two objects have the same {@link keyOf}, without making it: of 150,000 objects that counts. */
export function sharesSlot(a: KernelObject, b: KernelObject): boolean {
  switch (a.kind) {
    case 'link':
      return b.kind === 'link' && a.name === b.name;
    case 'address':
      return b.kind === 'address' && equalPrefix(a.prefix, b.prefix) && a.device === b.device;
    case 'route':
      return b.kind === 'route' && equalPrefix(a.destination, b.destination) && a.metric === b.metric;
    case 'neighbour':
      return b.kind === 'neighbour' && a.ip === b.ip && a.device === b.device;
    case 'fdb':
      return b.kind === 'fdb' && a.mac === b.mac && a.device === b.device;
  }
}

/** The object in iproute2's words, as `ip` and `bridge` would print and take it. */
export function formatObject(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return formatLink(object);
    case 'address':
      return `${formatPrefix(object.prefix)} dev ${object.device}`;
    case 'route':
      return formatRoute(object);
    case 'neighbour':
      return `${formatIp(object.ip)} lladdr ${object.mac} dev ${object.device}${object.permanent ? ' nud permanent' : ''}`;
    case 'fdb':
      return `${object.mac} dev ${object.device} dst ${formatIp(object.destination)} self${object.permanent ? ' permanent' : ''}`;
  }
}

function formatLink(link: Link): string {
  const words = [link.name];
  if (link.mac !== undefined) words.push('address', link.mac);
  if (link.mtu !== undefined) words.push('mtu', String(link.mtu));
  if (link.type !== undefined) words.push('type', link.type);
  if (link.vxlan !== undefined) {
    const { vni, underlay, local, group, port, learning, gbp } = link.vxlan;
    words.push('id', String(vni));
    if (underlay !== undefined) words.push('dev', underlay);
    if (local !== undefined) words.push('local', formatIp(local));
    if (group !== undefined) words.push('group', formatIp(group));
    words.push('dstport', String(port), learning ? 'learning' : 'nolearning');
    if (gbp) words.push('gbp');
  }
  return words.join(' ');
}

function formatRoute(route: Route): string {
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
