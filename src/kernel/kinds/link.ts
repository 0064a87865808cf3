import {
  attributes,
  bool,
  flag,
  i32,
  ip,
  mac,
  struct,
  text,
  u8,
  u16,
  u16be,
  u32,
} from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { isIpv4 } from '#src/lib/ip.ts';
import { LINK, type Link, type Vxlan } from '#src/state/kinds/link.ts';
import type { Verb } from '#src/state/operation.ts';

/** struct ifinfomsg */
const HEADER = struct({ family: u8, pad: u8, type: u16, index: i32, flags: u32, change: u32 });

const VXLAN = attributes({
  id: [k.IFLA_VXLAN_ID, u32],
  link: [k.IFLA_VXLAN_LINK, u32],
  local: [k.IFLA_VXLAN_LOCAL, ip],
  local6: [k.IFLA_VXLAN_LOCAL6, ip],
  group: [k.IFLA_VXLAN_GROUP, ip],
  group6: [k.IFLA_VXLAN_GROUP6, ip],
  ttl: [k.IFLA_VXLAN_TTL, u8],
  tos: [k.IFLA_VXLAN_TOS, u8],
  learning: [k.IFLA_VXLAN_LEARNING, bool],
  proxy: [k.IFLA_VXLAN_PROXY, bool],
  rsc: [k.IFLA_VXLAN_RSC, bool],
  l2miss: [k.IFLA_VXLAN_L2MISS, bool],
  l3miss: [k.IFLA_VXLAN_L3MISS, bool],
  gbp: [k.IFLA_VXLAN_GBP, flag],
  external: [k.IFLA_VXLAN_COLLECT_METADATA, bool],
  port: [k.IFLA_VXLAN_PORT, u16be],
});

const MESSAGE = new MessageLayout(
  HEADER,
  attributes({
    name: [k.IFLA_IFNAME, text],
    mac: [k.IFLA_ADDRESS, mac],
    mtu: [k.IFLA_MTU, u32],
    master: [k.IFLA_MASTER, u32],
    txqlen: [k.IFLA_TXQLEN, u32],
    // The data's form depends on the kind; where that is not vxlan, what is read of it means nothing.
    info: [k.IFLA_LINKINFO, attributes({ kind: [k.IFLA_INFO_KIND, text], data: [k.IFLA_INFO_DATA, VXLAN] })],
    netnsId: [k.IFLA_LINK_NETNSID, i32],
    extMask: [k.IFLA_EXT_MASK, u32],
  }),
);

/** `ip link show`, without the counters. */
export const linkDump = (): Request =>
  MESSAGE.request(k.RTM_GETLINK, k.NLM_F_DUMP, {}, { extMask: k.RTEXT_FILTER_SKIP_STATS });

/** `ip link show NAME`, or that of an ifindex. */
export const linkQuery = (device: string | number): Request =>
  typeof device === 'string'
    ? MESSAGE.request(k.RTM_GETLINK, 0, {}, { name: device, extMask: k.RTEXT_FILTER_SKIP_STATS })
    : MESSAGE.request(k.RTM_GETLINK, 0, { index: device }, { extMask: k.RTEXT_FILTER_SKIP_STATS });

/**
 * `ip link add NAME type vxlan …`. Sends what flannel sends, zeros included (contract §5.1; netlink's `addVxlanAttrs`), so
 * that neither sees a difference in the other's device. `undefined` when there is no such underlay.
 */
function linkAdd(link: Link, names: DeviceNames): Request | undefined {
  const { name, mac, mtu, type, up, vxlan } = link;
  const underlay = vxlan?.underlay === undefined ? undefined : names.indexOf(vxlan.underlay);
  if (vxlan?.underlay !== undefined && underlay === undefined) return undefined;
  const kind = type ?? (vxlan && 'vxlan');
  return MESSAGE.request(k.RTM_NEWLINK, k.NLM_F_CREATE | k.NLM_F_EXCL, upOrDown(up), {
    name,
    mac,
    mtu,
    txqlen: vxlan && 0,
    info: kind === undefined ? undefined : { kind, data: vxlan && vxlanData(vxlan, underlay) },
  });
}

function vxlanData({ vni, local, group, port, learning, gbp, l2miss = false }: Vxlan, link?: number) {
  return {
    id: vni,
    link,
    [local === undefined || isIpv4(local) ? 'local' : 'local6']: local,
    [group === undefined || isIpv4(group) ? 'group' : 'group6']: group,
    ttl: 0,
    tos: 0,
    learning,
    proxy: false,
    rsc: false,
    l2miss,
    l3miss: false,
    gbp: gbp || undefined,
    port,
  } as const;
}

/** `ip link set NAME address … mtu … up`. The device is found by name, in the kernel and in one step. */
const linkSet = ({ name, mac, mtu, up }: Link): Request =>
  MESSAGE.request(k.RTM_NEWLINK, 0, upOrDown(up), { name, mac, mtu });

/** `ip link del NAME` */
const linkRemove = ({ name }: Link): Request => MESSAGE.request(k.RTM_DELLINK, 0, {}, { name });

const upOrDown = (up: boolean | undefined) =>
  up === undefined ? {} : { flags: up ? k.IFF_UP : 0, change: k.IFF_UP };

/** An RTM_NEWLINK or RTM_DELLINK; `undefined` for a bridge's message about its port (AF_BRIDGE), which is not about the device. */
export function readLink(message: Message, names: Names): Link | undefined {
  const read = MESSAGE.read(message);
  if (read === undefined || read.header.family !== k.AF_UNSPEC) return undefined;
  const { header, values } = read;
  const { name, mac, mtu, master, info } = values;
  const { index = 0, flags = 0 } = header;
  if (name === undefined) return undefined;
  // Across namespaces the lower device's ifindex is another namespace's.
  const lower = values.netnsId === undefined ? info?.data?.link : undefined;
  return {
    kind: 'link',
    name,
    index,
    ...(info?.kind !== undefined && { type: info.kind }),
    ...(mac !== undefined && { mac }),
    ...(mtu !== undefined && { mtu }),
    up: (flags & k.IFF_UP) !== 0,
    running: (flags & k.IFF_LOWER_UP) !== 0,
    ...(master !== undefined && { masterIndex: master }),
    ...(info?.kind === 'vxlan' &&
      info.data !== undefined && {
        vxlan: readVxlan(info.data, lower === undefined ? undefined : names.nameOf(lower)),
      }),
  };
}

type VxlanData = NonNullable<ReturnType<typeof VXLAN.read>>;

function readVxlan(data: VxlanData, underlay: string | undefined): Vxlan {
  const local = data.local ?? data.local6;
  const group = data.group ?? data.group6;
  return {
    vni: data.id ?? 0,
    ...(underlay !== undefined && { underlay }),
    ...(local !== undefined && { local }),
    ...(group !== undefined && { group }),
    port: data.port ?? 0,
    learning: data.learning ?? false,
    gbp: data.gbp ?? false,
    l2miss: data.l2miss ?? false,
    ...(data.external && { external: true }),
  };
}

function encode(verb: Verb, link: Link, names: DeviceNames): Request | 'unsupported' | undefined {
  if (verb === 'add') return linkAdd(link, names);
  if (verb === 'set') return linkSet(link);
  return verb === 'remove' ? linkRemove(link) : 'unsupported';
}

export const LINK_CODEC: KindCodec<Link> = {
  kind: LINK,
  groups: [k.RTNLGRP_LINK],
  changed: k.RTM_NEWLINK,
  removed: k.RTM_DELLINK,
  isEchoHeard: true,
  endsBatch: true,
  dumps: () => [{ request: linkDump(), read: readLink }],
  read: readLink,
  encode: ({ verb, object }, names) => encode(verb, object, names),
  missingDevice: ({ vxlan }) => vxlan?.underlay,
};
