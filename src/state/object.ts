import type { Kind } from '#src/state/kind.ts';
import { ADDRESS } from '#src/state/kinds/address.ts';
import { BRIDGE_FDB } from '#src/state/kinds/bridge-fdb.ts';
import { BRIDGE_PORT } from '#src/state/kinds/bridge-port.ts';
import { BRIDGE_VLAN } from '#src/state/kinds/bridge-vlan.ts';
import { FAST_HOOK } from '#src/state/kinds/fast-hook.ts';
import { FAST_LOCAL } from '#src/state/kinds/fast-local.ts';
import { FAST_PATH } from '#src/state/kinds/fast-path.ts';
import { FAST_PEER } from '#src/state/kinds/fast-peer.ts';
import { FDB } from '#src/state/kinds/fdb.ts';
import { IKE_CONNECTION } from '#src/state/kinds/ike-connection.ts';
import { LINK } from '#src/state/kinds/link.ts';
import { NEIGHBOUR } from '#src/state/kinds/neighbour.ts';
import { ROUTE } from '#src/state/kinds/route.ts';
import { SYSCTL } from '#src/state/kinds/sysctl.ts';
import { VNI } from '#src/state/kinds/vni.ts';
import { WIREGUARD_DEVICE } from '#src/state/kinds/wireguard-device.ts';
import { WIREGUARD_PEER } from '#src/state/kinds/wireguard-peer.ts';
import { XFRM_POLICY } from '#src/state/kinds/xfrm-policy.ts';
import { Kinds } from '#src/state/kinds.ts';

export type { Address, AddressFlags } from '#src/state/kinds/address.ts';
export type { BridgeFdbEntry } from '#src/state/kinds/bridge-fdb.ts';
export type { BridgePort } from '#src/state/kinds/bridge-port.ts';
export type { BridgeVlan } from '#src/state/kinds/bridge-vlan.ts';
export type { FastHook, FastProgram } from '#src/state/kinds/fast-hook.ts';
export type { FastLocal } from '#src/state/kinds/fast-local.ts';
export type { FastPath } from '#src/state/kinds/fast-path.ts';
export type { FastPeer } from '#src/state/kinds/fast-peer.ts';
export type { FdbEntry } from '#src/state/kinds/fdb.ts';
export type { IkeConnection } from '#src/state/kinds/ike-connection.ts';
export type { Ipip } from '#src/state/kinds/ipip.ts';
export type { Bridge, Link, Vlan } from '#src/state/kinds/link.ts';
export type { Neighbour } from '#src/state/kinds/neighbour.ts';
export {
  type Route,
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RTPROT_BOOT,
  RTPROT_KERNEL,
  RTPROT_RA,
  RTPROT_WEFT,
} from '#src/state/kinds/route.ts';
export type { Sysctl } from '#src/state/kinds/sysctl.ts';
export { HOST_NAMESPACE, type Veth } from '#src/state/kinds/veth.ts';
export type { Vni } from '#src/state/kinds/vni.ts';
export type { Vxlan } from '#src/state/kinds/vxlan.ts';
export type { WireguardDevice } from '#src/state/kinds/wireguard-device.ts';
export type { WireguardPeer } from '#src/state/kinds/wireguard-peer.ts';
export type { EspTunnel, PolicyDirection, XfrmPolicy } from '#src/state/kinds/xfrm-policy.ts';

/** All kinds of kernel state. A new kind is a line here. */
const TABLE = [
  LINK,
  BRIDGE_PORT,
  WIREGUARD_DEVICE,
  BRIDGE_VLAN,
  VNI,
  ADDRESS,
  FDB,
  WIREGUARD_PEER,
  BRIDGE_FDB,
  NEIGHBOUR,
  ROUTE,
  SYSCTL,
  XFRM_POLICY,
  IKE_CONNECTION,
  FAST_PATH,
  FAST_PEER,
  FAST_LOCAL,
  FAST_HOOK,
] as const;

/** What belongs to fast paths: maps, and programs on devices. */
export const FAST_KINDS: readonly Kind<KernelObject>[] = [FAST_PATH, FAST_PEER, FAST_LOCAL, FAST_HOOK];

type ObjectOf<K> = K extends Kind<infer T> ? T : never;

/**
 * What weft puts into a network namespace, one type for each kind, by name and not by index: a device that was deleted
 * and made again keeps its name. The same types say what is wanted and what was found.
 */
export type KernelObject = ObjectOf<(typeof TABLE)[number]>;

export const KINDS = new Kinds<KernelObject>(TABLE);

/** What makes two objects the same slot in the kernel: adding one replaces the other. */
export const keyOf = (object: KernelObject): string => KINDS.of(object).key(object);

/** The object in iproute2's words, as `ip` and `bridge` would print and take it. */
export const formatObject = (object: KernelObject): string => KINDS.of(object).format(object);

/** The device that the object is on, or is. */
export const deviceOf = (object: KernelObject): string | undefined => KINDS.of(object).deviceOf(object);
