import {
  attributes,
  bool,
  type Codec,
  flag,
  i32,
  ip,
  mac,
  text,
  u8,
  u16,
  u16be,
  u32,
} from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { isIpv4 } from '#src/lib/ip.ts';
import type { Ipip } from '#src/state/kinds/ipip.ts';
import type { Bridge, Vlan } from '#src/state/kinds/link.ts';
import type { Veth } from '#src/state/kinds/veth.ts';
import type { Vxlan } from '#src/state/kinds/vxlan.ts';

/** IFLA_INFO_DATA: attributes whose meaning depends on the device's type. */
export interface LinkData {
  readonly size: number;
  write(view: DataView, offset: number): void;
  /** What it is as another type's attributes. */
  as<T>(codec: Codec<T>): T | undefined;
}

/** Of a message from the kernel; to be read before the next one is received. */
export const LINK_DATA: Codec<LinkData> = {
  nested: true,
  size: ({ size }) => size,
  write: (view, offset, data) => data.write(view, offset),
  read: (view, offset, size) => ({
    size,
    write() {},
    as: (codec) => codec.read(view, offset, size),
  }),
};

const dataOf = <T>(codec: Codec<T>, values: T): LinkData => ({
  size: codec.size(values),
  write: (view, offset) => codec.write(view, offset, values),
  as: () => undefined,
});

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
  vniFilter: [k.IFLA_VXLAN_VNIFILTER, bool],
});

/** `link`: the underlay's ifindex. */
export function vxlanData(vxlan: Vxlan, link?: number): LinkData {
  const { vni, local, group, port, learning, gbp, l2miss = false, external, vniFilter } = vxlan;
  return dataOf(VXLAN, {
    // The kernel refuses an external device with a VNI.
    id: external ? undefined : vni,
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
    external: external || undefined,
    port,
    vniFilter: vniFilter || undefined,
  });
}

/** Without {@link Vxlan.socketIn}. The underlay is named by `nameOf`. */
export function readVxlan(data: LinkData, nameOf: (index: number) => string | undefined): Vxlan | undefined {
  const read = data.as(VXLAN);
  if (read === undefined) return undefined;
  const underlay = read.link === undefined ? undefined : nameOf(read.link);
  const local = read.local ?? read.local6;
  const group = read.group ?? read.group6;
  return {
    vni: read.id ?? 0,
    ...(underlay !== undefined && { underlay }),
    ...(local !== undefined && { local }),
    ...(group !== undefined && { group }),
    port: read.port ?? 0,
    learning: read.learning ?? false,
    gbp: read.gbp ?? false,
    l2miss: read.l2miss ?? false,
    ...(read.external && { external: true }),
    ...(read.vniFilter && { vniFilter: true }),
  };
}

const IPTUN = attributes({
  local: [k.IFLA_IPTUN_LOCAL, ip],
  remote: [k.IFLA_IPTUN_REMOTE, ip],
  pmtudisc: [k.IFLA_IPTUN_PMTUDISC, bool],
  ttl: [k.IFLA_IPTUN_TTL, u8],
  tos: [k.IFLA_IPTUN_TOS, u8],
  external: [k.IFLA_IPTUN_COLLECT_METADATA, flag],
});

/** As flannel's library writes them (netlink's `addIptunAttrs`), zeros included. */
export const ipipData = ({ local, remote, ttl, pathMtuDiscovery }: Ipip): LinkData =>
  dataOf(IPTUN, { local, remote, pmtudisc: pathMtuDiscovery, ttl, tos: 0 });

export function readIpip(data: LinkData): Ipip | undefined {
  const read = data.as(IPTUN);
  if (read === undefined) return undefined;
  const { local, remote, ttl = 0, pmtudisc = false, external } = read;
  return {
    // The kernel writes 0.0.0.0 for none.
    ...(local !== undefined && isIpv4(local) && local !== 0 && { local }),
    ...(remote !== undefined && isIpv4(remote) && remote !== 0 && { remote }),
    ttl,
    pathMtuDiscovery: pmtudisc,
    ...(external && { external }),
  };
}

const BRIDGE = attributes({
  vlanFiltering: [k.IFLA_BR_VLAN_FILTERING, bool],
  snooping: [k.IFLA_BR_MCAST_SNOOPING, bool],
  defaultPvid: [k.IFLA_BR_VLAN_DEFAULT_PVID, u16],
});

export const bridgeData = ({ multicastSnooping }: Bridge): LinkData =>
  dataOf(BRIDGE, { snooping: multicastSnooping });

/** Devices are in no VLAN: else each of a bridge's forwarding entries is kept twice, where the kernel has VLAN filtering. */
export const newBridgeData = ({ multicastSnooping, vlanFiltering }: Bridge): LinkData =>
  dataOf(BRIDGE, { snooping: multicastSnooping, defaultPvid: 0, vlanFiltering });

export function readBridge(data: LinkData): Bridge {
  const { snooping: multicastSnooping, vlanFiltering } = data.as(BRIDGE) ?? {};
  return {
    ...(multicastSnooping !== undefined && { multicastSnooping }),
    ...(vlanFiltering && { vlanFiltering }),
  };
}

const VLAN = attributes({ id: [k.IFLA_VLAN_ID, u16] });

export const vlanData = ({ id }: Vlan): LinkData => dataOf(VLAN, { id });

/** `parent`: the device below, by name. */
export function readVlan(data: LinkData, parent: string | undefined): Vlan | undefined {
  const id = data.as(VLAN)?.id;
  return id === undefined || parent === undefined ? undefined : { id, parent };
}

const PEER = attributes({
  name: [k.IFLA_IFNAME, text],
  mac: [k.IFLA_ADDRESS, mac],
  mtu: [k.IFLA_MTU, u32],
  namespace: [k.IFLA_NET_NS_FD, i32],
});
type PeerValues = Parameters<typeof PEER.size>[0];
/** struct ifinfomsg, in which nothing is said. */
const IFINFOMSG_BYTES = 16;
const VETH = attributes({
  peer: [
    k.VETH_INFO_PEER,
    {
      size: (values: PeerValues) => IFINFOMSG_BYTES + PEER.size(values),
      write: (view, offset, values) => PEER.write(view, offset + IFINFOMSG_BYTES, values),
      read: () => undefined,
    } satisfies Codec<PeerValues>,
  ],
});

/** `namespace`: an open file of the namespace that the peer is made in. */
export const vethData = ({ peer, peerMac, peerMtu }: Veth, namespace: number): LinkData =>
  dataOf(VETH, { peer: { name: peer, mac: peerMac, mtu: peerMtu, namespace } });
