import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';
import type { Operation, Verb } from '#src/state/operation.ts';

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
  /** The underlay device, by name; absent when the kernel has none (or one that we can't name). */
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

/** The fields are those that flannel compares (v0.9.1 backend/vxlan/device.go), and the underlay by its name. */
function mustRecreate(wanted: Link, found: Link): string[] {
  if (wanted.vxlan === undefined) return [];
  if (found.vxlan === undefined) return [`link type: ${wanted.type} vs ${found.type ?? 'none'}`];
  const texts: string[] = [];
  const [want, have] = [wanted.vxlan, found.vxlan];
  const compare = <V>(
    label: string,
    wanted: V | undefined,
    found: V | undefined,
    format: (value: V) => string = String,
  ) => {
    if (wanted !== undefined && wanted !== found)
      texts.push(`${label}: ${format(wanted)} vs ${found === undefined ? 'none' : format(found)}`);
  };
  compare('vni', want.vni, have.vni);
  compare('vtep (external) interface', want.underlay, have.underlay);
  compare('vtep (external) IP', want.local, have.local, formatIp);
  compare('port', want.port, have.port);
  compare('learning', want.learning, have.learning);
  compare('gbp', want.gbp, have.gbp);
  if (have.group !== undefined && want.group === undefined)
    texts.push(`group address: none vs ${formatIp(have.group)}`);
  if (have.l2miss) texts.push('l2miss: false vs true');
  return texts;
}

function differences(wanted: Link, found: Link): string[] {
  const { texts } = new Differences()
    .field('mac', wanted.mac, found.mac)
    .field('mtu', wanted.mtu, found.mtu)
    .field('up', wanted.up, found.up);
  return [...mustRecreate(wanted, found), ...texts];
}

function operations(wanted: Link, found: Link | undefined): Operation<Link>[] {
  const { up, ...made } = wanted;
  const { name } = wanted;
  const bringUp: Operation<Link>[] = up ? [{ verb: 'set', object: { kind: 'link', name, up } }] : [];
  if (found === undefined) return [{ verb: 'add', object: made }, ...bringUp];
  if (mustRecreate(wanted, found).length > 0) {
    return [{ verb: 'remove', object: { kind: 'link', name } }, { verb: 'add', object: made }, ...bringUp];
  }
  const change: Link = {
    kind: 'link',
    name,
    ...(wanted.mac !== undefined && wanted.mac !== found.mac && { mac: wanted.mac }),
    ...(wanted.mtu !== undefined && wanted.mtu !== found.mtu && { mtu: wanted.mtu }),
    ...(up !== undefined && up !== found.up && { up }),
  };
  return [{ verb: 'set', object: change }];
}

function format(link: Link): string {
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

function command(verb: Verb, link: Link): string {
  if (verb === 'remove') return `ip link del ${link.name}`;
  if (verb !== 'set') return `ip link add ${format(link)}`;
  const words = [`ip link set ${link.name}`];
  if (link.mac !== undefined) words.push(`address ${link.mac}`);
  if (link.mtu !== undefined) words.push(`mtu ${link.mtu}`);
  if (link.up !== undefined) words.push(link.up ? 'up' : 'down');
  return words.join(' ');
}

export const LINK = kindOf<Link>({
  name: 'link',
  rank: 0,
  isDevice: true,
  key: ({ name }) => `link ${name}`,
  sharesSlot: (a, b) => a.name === b.name,
  hash: ({ name }) => name,
  differences,
  mustRecreate,
  operations,
  // The kernel takes routes and neighbours away with a device that goes down.
  takesAlong: (found, now) =>
    now === undefined ||
    found === undefined ||
    found.up !== now.up ||
    found.index !== now.index ||
    found.running !== now.running,
  deviceOf: ({ name }) => name,
  devicesNeeded: ({ name, vxlan }) => (vxlan?.underlay === undefined ? [name] : [name, vxlan.underlay]),
  format,
  command,
});
