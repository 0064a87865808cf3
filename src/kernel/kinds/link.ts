import { attributes, i32, mac, struct, text, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import {
  bridgeData,
  ipipData,
  LINK_DATA,
  type LinkData,
  newBridgeData,
  readBridge,
  readIpip,
  readVlan,
  readVxlan,
  vethData,
  vlanData,
  vxlanData,
} from '#src/kernel/kinds/link-data.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { LINK, type Link } from '#src/state/kinds/link.ts';
import type { KernelError, Verb } from '#src/state/operation.ts';

/** struct ifinfomsg */
const HEADER = struct({ family: u8, pad: u8, type: u16, index: i32, flags: u32, change: u32 });

const MESSAGE = new MessageLayout(
  HEADER,
  attributes({
    name: [k.IFLA_IFNAME, text],
    mac: [k.IFLA_ADDRESS, mac],
    mtu: [k.IFLA_MTU, u32],
    link: [k.IFLA_LINK, u32],
    qdisc: [k.IFLA_QDISC, text],
    master: [k.IFLA_MASTER, u32],
    txqlen: [k.IFLA_TXQLEN, u32],
    info: [
      k.IFLA_LINKINFO,
      attributes({ kind: [k.IFLA_INFO_KIND, text], data: [k.IFLA_INFO_DATA, LINK_DATA] }),
    ],
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
    : linkOf(device, 0);

const linkOf = (index: number, flags: number): Request =>
  MESSAGE.request(k.RTM_GETLINK, flags, { index }, { extMask: k.RTEXT_FILTER_SKIP_STATS });

/** One device as a list: the acknowledgement is the end of it. A dump of all would take the longer the more devices there are. */
export const linkListOf = (index: number): Request => linkOf(index, k.NLM_F_ACK);

/**
 * `ip link add NAME type vxlan …`. Sends what flannel sends, zeros included (contract §5.1; netlink's `addVxlanAttrs`), so
 * that neither sees a difference in the other's device. `undefined` when there is no such underlay.
 */
function linkAdd(link: Link, names: DeviceNames): Request | KernelError | undefined {
  const { name, mac, mtu, up, vxlan, vlan } = link;
  const info = infoOf(link, names);
  if (info === undefined || 'errno' in info) return info;
  const netnsId = vxlan?.socketIn === 'host' ? names.hostId?.() : undefined;
  if (vxlan?.socketIn !== undefined && netnsId === undefined) return NO_HOST;
  return MESSAGE.request(k.RTM_NEWLINK, k.NLM_F_CREATE | k.NLM_F_EXCL, upOrDown(up), {
    name,
    mac,
    mtu,
    link: vlan && names.indexOf(vlan.parent),
    txqlen: vxlan && 0,
    info: info.kind === undefined ? undefined : info,
    netnsId,
  });
}

interface Info {
  readonly kind: string | undefined;
  readonly data?: LinkData;
}

function infoOf(
  { type, vxlan, ipip, bridge, vlan, veth }: Link,
  names: DeviceNames,
): Info | KernelError | undefined {
  if (vxlan !== undefined) {
    const { underlay, socketIn } = vxlan;
    if (underlay === undefined || socketIn !== undefined)
      return { kind: type ?? 'vxlan', data: vxlanData(vxlan) };
    const index = names.indexOf(underlay);
    return index === undefined ? undefined : { kind: type ?? 'vxlan', data: vxlanData(vxlan, index) };
  }
  if (ipip !== undefined) return { kind: type ?? 'ipip', data: ipipData(ipip) };
  if (veth !== undefined) {
    const file = names.fileOf?.(veth.peerNamespace);
    return file === undefined
      ? noNamespace(veth.peerNamespace)
      : { kind: 'veth', data: vethData(veth, file) };
  }
  if (vlan !== undefined)
    return names.indexOf(vlan.parent) === undefined ? undefined : { kind: 'vlan', data: vlanData(vlan) };
  if (bridge !== undefined || type === 'bridge') return { kind: 'bridge', data: newBridgeData(bridge ?? {}) };
  return { kind: type };
}

const NO_HOST: KernelError = {
  errno: 'ENOENT',
  message: 'the host’s network namespace has no number in this one, or is this one',
};
const noNamespace = (path: string): KernelError => ({
  errno: 'ENOENT',
  message: `there is no network namespace ${path}`,
});

/** `ip link set NAME address … mtu … master … up`. The device is found by name, in the kernel and in one step. */
function linkSet({ name, mac, mtu, up, master, bridge }: Link, names: DeviceNames): Request | undefined {
  const index = typeof master === 'string' ? names.indexOf(master) : undefined;
  if (typeof master === 'string' && index === undefined) return undefined;
  return MESSAGE.request(k.RTM_NEWLINK, 0, upOrDown(up), {
    name,
    mac,
    mtu,
    master: master === null ? 0 : index,
    info: bridge && { kind: 'bridge', data: bridgeData(bridge) },
  });
}

/** `ip link del NAME` */
const linkRemove = ({ name }: Link): Request => MESSAGE.request(k.RTM_DELLINK, 0, {}, { name });

const upOrDown = (up: boolean | undefined) =>
  up === undefined ? {} : { flags: up ? k.IFF_UP : 0, change: k.IFF_UP };

/** An RTM_NEWLINK or RTM_DELLINK; `undefined` for a bridge's message about its port (AF_BRIDGE), which is not about the device. */
export function readLink(message: Message, names: Names): Link | undefined {
  const read = MESSAGE.read(message);
  if (read === undefined || read.header.family !== k.AF_UNSPEC) return undefined;
  const { header, values } = read;
  const { name, mac, mtu, link, qdisc, master, info } = values;
  const { index = 0, flags = 0 } = header;
  if (name === undefined) return undefined;
  const masterName = master === undefined ? undefined : names.nameOf(master);
  return {
    kind: 'link',
    name,
    index,
    ...(info?.kind !== undefined && { type: info.kind }),
    ...(mac !== undefined && { mac }),
    ...(mtu !== undefined && { mtu }),
    up: (flags & k.IFF_UP) !== 0,
    running: (flags & k.IFF_LOWER_UP) !== 0,
    ...(qdisc !== undefined && { qdisc }),
    ...(master !== undefined && { masterIndex: master }),
    ...(masterName !== undefined && { master: masterName }),
    ...(info?.kind === 'veth' && link !== undefined && { peerIndex: link }),
    ...(info?.kind === 'veth' && values.netnsId !== undefined && { peerNamespaceId: values.netnsId }),
    ...(info?.data !== undefined && readData({ ...info, data: info.data }, values, names)),
  };
}

function readData(
  { kind, data }: { readonly kind?: string | undefined; readonly data: LinkData },
  { link, netnsId }: { readonly link?: number | undefined; readonly netnsId?: number | undefined },
  names: Names,
): Pick<Link, 'vxlan' | 'ipip' | 'bridge' | 'vlan'> | undefined {
  if (kind === 'bridge') return { bridge: readBridge(data) };
  if (kind === 'vlan') {
    const vlan = readVlan(data, link === undefined ? undefined : names.nameOf(link));
    return vlan && { vlan };
  }
  if (kind === 'ipip') {
    const ipip = readIpip(data);
    return ipip && { ipip };
  }
  if (kind !== 'vxlan') return undefined;
  // Across namespaces the lower device's ifindex is another namespace's.
  const vxlan = readVxlan(data, (index) => (netnsId === undefined ? names.nameOf(index) : undefined));
  if (vxlan === undefined || netnsId === undefined) return vxlan && { vxlan };
  return { vxlan: { ...vxlan, socketIn: netnsId === names.hostId?.() ? 'host' : 'elsewhere' } };
}

function encode(verb: Verb, link: Link, names: DeviceNames) {
  if (verb === 'add') return linkAdd(link, names);
  if (verb === 'set') return linkSet(link, names);
  return verb === 'remove' ? linkRemove(link) : 'unsupported';
}

export const LINK_CODEC: KindCodec<Link> = {
  kind: LINK,
  groups: [k.RTNLGRP_LINK],
  changed: k.RTM_NEWLINK,
  removed: k.RTM_DELLINK,
  isEchoHeard: true,
  endsBatch: true,
  dumps: ({ index }) => [{ request: index === undefined ? linkDump() : linkListOf(index), read: readLink }],
  read: readLink,
  encode: ({ verb, object }, names) => encode(verb, object, names),
  missingDevice: ({ vxlan, vlan, master }) => vxlan?.underlay ?? vlan?.parent ?? master ?? undefined,
};
