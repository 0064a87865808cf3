import type { Mac } from '#src/lib/mac.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf, type Stage, type TakenAlong } from '#src/state/kind.ts';
import { formatIpip, type Ipip, ipipDifferences } from '#src/state/kinds/ipip.ts';
import { formatVeth, type Veth } from '#src/state/kinds/veth.ts';
import { formatVxlan, type Vxlan, vxlanDifferences } from '#src/state/kinds/vxlan.ts';
import type { Operation, Verb } from '#src/state/operation.ts';

/** A network device. Only fields that are set are wanted of it. */
export interface Link {
  readonly kind: 'link';
  readonly name: string;
  /** Only in what was found: the kernel's ifindex. */
  readonly index?: number;
  /** rtnetlink's IFLA_INFO_KIND: `vxlan`, `veth`, `bridge`, `wireguard`; absent for a plain device. */
  readonly type?: string;
  readonly mac?: Mac;
  /** Bytes of layer-3 payload. */
  readonly mtu?: number;
  /** IFF_UP: switched on by the administrator. */
  readonly up?: boolean;
  /** Only in what was found: IFF_LOWER_UP, there is a carrier. */
  readonly running?: boolean;
  /** Only in what was found: what its packets queue in when they go out, `noqueue` for nothing. As `ip link` shows it. */
  readonly qdisc?: string;
  /** Only in what was found: the bridge or bond it is a port of, by ifindex. */
  readonly masterIndex?: number;
  /** Only in what was found: the ifindex of a veth pair's other end, in that one's namespace (IFLA_LINK). */
  readonly peerIndex?: number;
  /** Only in what was found: the number (nsid) of the other end's namespace in this one; absent where both are in one. */
  readonly peerNamespaceId?: number;
  /** The bridge that it is in, by name; `null` is wanted of a device that shall be in none. */
  readonly master?: string | null;
  readonly vxlan?: Vxlan;
  readonly ipip?: Ipip;
  readonly bridge?: Bridge;
  readonly vlan?: Vlan;
  /** Only in what is wanted, and only when it is made. */
  readonly veth?: Veth;
  /** Only in what is wanted: no message to the kernel can make it, and what does is not the reconciler. It is set once it is there. */
  readonly isMadeElsewhere?: boolean;
}

/** IFLA_BR_* of linux/if_link.h. */
export interface Bridge {
  /** IGMP and MLD are listened to, and multicast goes to those that asked for it. */
  readonly multicastSnooping?: boolean;
  /** Frames stay in their VLAN, and devices get those of their own VLANs only. It is set when the bridge is made. */
  readonly vlanFiltering?: boolean;
}

/** IFLA_VLAN_* of linux/if_link.h: the device has one VLAN of another one. */
export interface Vlan {
  /** 1 to 4094 (IEEE 802.1Q). */
  readonly id: number;
  /** The device that carries the tagged frames. */
  readonly parent: string;
}

/** The type by its name, or by what else is known of the device. */
function typeOf({ type, vxlan, ipip, bridge, vlan, veth }: Link): string | undefined {
  if (type !== undefined) return type;
  if (vxlan !== undefined) return 'vxlan';
  if (ipip !== undefined) return 'ipip';
  if (bridge !== undefined) return 'bridge';
  if (vlan !== undefined) return 'vlan';
  return veth && 'veth';
}

function mustRecreate(wanted: Link, found: Link): string[] {
  const { vxlan, ipip, bridge, vlan } = wanted;
  if (vxlan !== undefined && found.vxlan !== undefined) return vxlanDifferences(vxlan, found.vxlan);
  if (ipip !== undefined && found.ipip !== undefined) return ipipDifferences(ipip, found.ipip);
  if (vlan !== undefined && found.vlan !== undefined)
    return new Differences()
      .field('vlan', vlan.id, found.vlan.id)
      .field('link', vlan.parent, found.vlan.parent).texts;
  const type = typeOf(wanted);
  const isOfType = (vxlan ?? ipip ?? vlan) === undefined && type === typeOf(found);
  if (isOfType && bridge?.vlanFiltering && !found.bridge?.vlanFiltering)
    return ['vlan_filtering: 0, wanted 1'];
  if (type === undefined || isOfType) return [];
  return [`link type: ${type} vs ${found.type ?? 'none'}`];
}

/** What is wanted of a bridge, as far as this kernel has it. */
function bridgeDifference({ bridge: wanted }: Link, { bridge: found }: Link): Bridge | undefined {
  const have = found?.multicastSnooping;
  if (wanted?.multicastSnooping === undefined || have === undefined) return undefined;
  return wanted.multicastSnooping === have ? undefined : wanted;
}

const isInMaster = (wanted: Link, found: Link): boolean =>
  wanted.master === undefined || wanted.master === (found.master ?? null);

function differences(wanted: Link, found: Link): string[] {
  const texts = new Differences()
    .field('mac', wanted.mac, found.mac)
    .field('mtu', wanted.mtu, found.mtu)
    .field('up', wanted.up, found.up)
    .field(
      'mcast_snooping',
      bridgeDifference(wanted, found)?.multicastSnooping,
      found.bridge?.multicastSnooping,
    ).texts;
  if (!isInMaster(wanted, found))
    texts.push(`master: ${found.master ?? 'none'}, wanted ${wanted.master ?? 'none'}`);
  return [...mustRecreate(wanted, found), ...texts];
}

function operations(wanted: Link, found: Link | undefined): Operation<Link>[] {
  if (found === undefined) return making(wanted);
  const { name } = wanted;
  if (mustRecreate(wanted, found).length > 0)
    return [{ verb: 'remove', object: { kind: 'link', name } }, ...making(wanted)];
  const bridge = bridgeDifference(wanted, found);
  const change: Link = {
    kind: 'link',
    name,
    ...(wanted.mac !== undefined && wanted.mac !== found.mac && { mac: wanted.mac }),
    ...(wanted.mtu !== undefined && wanted.mtu !== found.mtu && { mtu: wanted.mtu }),
    ...(bridge !== undefined && { bridge }),
    ...(wanted.up !== undefined && wanted.up !== found.up && { up: wanted.up }),
    ...(!isInMaster(wanted, found) && wanted.master !== undefined && { master: wanted.master }),
  };
  const { up, master } = change;
  return up === true && typeof master === 'string' ? inBridge(change) : [{ verb: 'set', object: change }];
}

function making(wanted: Link): Operation<Link>[] {
  if (wanted.isMadeElsewhere) return [];
  const { up, master, ...made } = wanted;
  const { kind, name, mtu } = wanted;
  const add: Operation<Link> = { verb: 'add', object: made };
  // It is made after the device below: see {@link stage}.
  if (wanted.vlan !== undefined) return [{ verb: 'add', object: wanted }];
  if (typeof master === 'string') return [add, ...inBridge({ kind, name, master, ...(up && { up }) })];
  // A bridge follows the MTU of what is put into it, unless its own was set after it was made.
  const isBridge = typeOf(wanted) === 'bridge' && mtu !== undefined;
  return up ? [add, { verb: 'set', object: { kind, name, up, ...(isBridge && { mtu }) } }] : [add];
}

/** Into its bridge first, and up at last: see {@link stage}. */
function inBridge({ up, ...joined }: Link): Operation<Link>[] {
  const { kind, name, master } = joined;
  const join: Operation<Link> = { verb: 'set', object: joined };
  if (up !== true || master === undefined) return [join];
  return [join, { verb: 'set', object: { kind, name, master, up } }];
}

/**
 * A bridge may have been made just now; and what is put into it carries no frames before it is as wanted in all. What goes
 * down does so when its frames have another way.
 */
function stage({ verb, object: { master, up, vlan } }: Operation<Link>): Stage {
  if (verb === 'add' && vlan !== undefined) return 'joined';
  if (verb === 'set' && up === false) return 'last';
  if (verb !== 'set' || typeof master !== 'string') return 'made';
  return up ? 'last' : 'joined';
}

/**
 * With a device goes all that is on it, and what others have by it: ports of a bridge, forwarding entries that name it. Others
 * have nothing by a device that shall be in a bridge. With one that goes down or loses its carrier go its routes and
 * neighbours, and with one that comes up or is new nothing: a device without an index was made by us, and not reported yet.
 */
function takesAlong(found: Link | undefined, now: Link | undefined, wanted?: Link): TakenAlong | undefined {
  const whole = typeof wanted?.master === 'string' ? 'all' : 'any';
  if (now === undefined) return whole;
  if (found?.index === undefined) return undefined;
  if (found.index !== now.index) return whole;
  const isDown = (found.up === true && !now.up) || (found.running === true && !now.running);
  return isDown ? ROUTED : undefined;
}

const ROUTED = ['route', 'neighbour'] as const;

function format(link: Link): string {
  const words = [link.name];
  if (link.mac !== undefined) words.push('address', link.mac);
  if (link.mtu !== undefined) words.push('mtu', String(link.mtu));
  if (typeof link.master === 'string') words.push('master', link.master);
  if (link.vlan !== undefined) words.push('link', link.vlan.parent);
  if (link.vxlan?.socketIn === 'host') words.push('link-netns', 'host');
  const type = typeOf(link);
  if (type !== undefined) words.push('type', type);
  if (link.vxlan !== undefined) words.push(formatVxlan(link.vxlan));
  if (link.ipip !== undefined) words.push(formatIpip(link.ipip));
  if (link.veth !== undefined) words.push(formatVeth(link.veth));
  if (link.vlan !== undefined) words.push('id', String(link.vlan.id));
  const { multicastSnooping, vlanFiltering } = link.bridge ?? {};
  if (vlanFiltering) words.push('vlan_filtering', '1');
  if (multicastSnooping !== undefined) words.push('mcast_snooping', multicastSnooping ? '1' : '0');
  return words.join(' ');
}

function command(verb: Verb, link: Link): string {
  if (verb === 'remove') return `ip link del ${link.name}`;
  if (verb !== 'set') return `ip link add ${format(link)}`;
  const words = [`ip link set ${link.name}`];
  if (link.mac !== undefined) words.push(`address ${link.mac}`);
  if (link.mtu !== undefined) words.push(`mtu ${link.mtu}`);
  if (link.master !== undefined) words.push(link.master === null ? 'nomaster' : `master ${link.master}`);
  if (link.up !== undefined) words.push(link.up ? 'up' : 'down');
  if (link.bridge !== undefined) words.push('type', 'bridge');
  const { multicastSnooping } = link.bridge ?? {};
  if (multicastSnooping !== undefined) words.push('mcast_snooping', multicastSnooping ? '1' : '0');
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
  stage,
  takesAlong,
  opensWay: (found, now) =>
    found === undefined ||
    found.index !== now.index ||
    (found.up !== true && now.up === true) ||
    (found.running !== true && now.running === true),
  deviceOf: ({ name }) => name,
  devicesNeeded: ({ name, vxlan, vlan, master }) =>
    [name, vxlan?.underlay, vlan?.parent, master ?? undefined].filter((device) => device !== undefined),
  format,
  command,
});
