import { AttributeCursor } from '#src/kernel/attribute-cursor.ts';
import { attributes, i32, LITTLE_ENDIAN, struct, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { BRIDGE_VLAN, type BridgeVlan } from '#src/state/kinds/bridge-vlan.ts';
import type { Verb } from '#src/state/operation.ts';

/** struct ifinfomsg */
const LINK_HEADER = struct({ family: u8, pad: u8, type: u16, index: i32, flags: u32, change: u32 });
/** VLANs are given to a device as a part of its link (linux/if_bridge.h, IFLA_BRIDGE_*). */
const CHANGE = new MessageLayout(
  LINK_HEADER,
  attributes({
    spec: [
      k.IFLA_AF_SPEC,
      attributes({
        flags: [k.IFLA_BRIDGE_FLAGS, u16],
        // struct bridge_vlan_info
        info: [k.IFLA_BRIDGE_VLAN_INFO, struct({ flags: u16, vid: u16 })],
        tunnel: [
          k.IFLA_BRIDGE_VLAN_TUNNEL_INFO,
          attributes({ id: [k.IFLA_BRIDGE_VLAN_TUNNEL_ID, u32], vid: [k.IFLA_BRIDGE_VLAN_TUNNEL_VID, u16] }),
        ],
      }),
    ],
  }),
);

/** struct br_vlan_msg: they are listed by messages of their own (Linux 5.6; with VNIs 5.7). */
const LIST_HEADER = struct({ family: u8, pad: u8, pad2: u16, index: i32 });
const LIST = new MessageLayout(LIST_HEADER, attributes({}));

/** `bridge vlan show`, of all devices: of one that is no bridge or port the kernel answers EINVAL. */
const vlanDump = (): Request =>
  LIST.request(k.RTM_GETVLAN, k.NLM_F_DUMP, { family: k.AF_BRIDGE, index: 0 }, {});

/** `bridge vlan add|del dev DEVICE vid VLAN [pvid untagged] [tunnel_info id VNI] [self]` */
function vlanRequest(
  verb: Verb,
  { device, vlan, untagged, vni }: BridgeVlan,
  names: DeviceNames,
): Request | 'unsupported' | undefined {
  if (verb !== 'add' && verb !== 'remove') return 'unsupported';
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const flags = untagged ? k.BRIDGE_VLAN_INFO_PVID | k.BRIDGE_VLAN_INFO_UNTAGGED : 0;
  const spec = {
    flags: names.isBridge?.(device) ? k.BRIDGE_FLAGS_SELF : undefined,
    info: { flags: verb === 'add' ? flags : 0, vid: vlan },
    // A VLAN that goes takes its VNI along.
    tunnel: vni === undefined || verb === 'remove' ? undefined : { id: vni, vid: vlan },
  };
  return CHANGE.request(
    verb === 'add' ? k.RTM_SETLINK : k.RTM_DELLINK,
    0,
    { family: k.AF_BRIDGE, index },
    { spec },
  );
}

/** struct br_vlan_msg: u8 family, u8 and u16 of padding, s32 ifindex */
const HEADER_BYTES = 8;

/** An RTM_NEWVLAN or RTM_DELVLAN. VLANs in a row are one entry, with a range; their VNIs are in a row then, too. */
function readVlans({ view, offset, size }: Message, names: Names): BridgeVlan[] | undefined {
  if (size < HEADER_BYTES || view.getUint8(offset) !== k.AF_BRIDGE) return undefined;
  const device = names.nameOf(view.getInt32(offset + 4, LITTLE_ENDIAN));
  if (device === undefined) return undefined;
  const vlans: BridgeVlan[] = [];
  const entry = new AttributeCursor(view, offset + HEADER_BYTES, offset + size);
  while (entry.next()) {
    if (entry.type !== k.BRIDGE_VLANDB_ENTRY) continue;
    const { flags, vid, last, vni } = readEntry(entry.nested());
    const untagged = (flags & k.BRIDGE_VLAN_INFO_UNTAGGED) !== 0 && (flags & k.BRIDGE_VLAN_INFO_PVID) !== 0;
    for (let vlan = vid; vlan <= Math.min(last ?? vid, LAST_VLAN); vlan++) {
      const common: BridgeVlan = { kind: 'bridge-vlan', device, vlan, untagged };
      vlans.push(vni === undefined ? common : { ...common, vni: vni + vlan - vid });
    }
  }
  return vlans;
}

const LAST_VLAN = 4_094;

interface Entry {
  flags: number;
  vid: number;
  last?: number | undefined;
  vni?: number | undefined;
}

function readEntry(part: AttributeCursor): Entry {
  // Without one it is no VLAN, and the loop over its range has nothing to do.
  const entry: Entry = { flags: 0, vid: LAST_VLAN + 1 };
  while (part.next()) {
    if (part.type === k.BRIDGE_VLANDB_ENTRY_INFO) {
      // struct bridge_vlan_info: u16 flags, u16 vid
      const both = part.u32() ?? 0;
      entry.flags = LITTLE_ENDIAN ? both & 0xffff : both >>> 16;
      entry.vid = LITTLE_ENDIAN ? both >>> 16 : both & 0xffff;
    } else if (part.type === k.BRIDGE_VLANDB_ENTRY_RANGE) {
      entry.last = part.u16();
    } else if (part.type === k.BRIDGE_VLANDB_ENTRY_TUNNEL_INFO) {
      const tunnel = part.nested();
      while (tunnel.next()) if (tunnel.type === k.BRIDGE_VLANDB_TINFO_ID) entry.vni = tunnel.u32();
    }
  }
  return entry;
}

export const BRIDGE_VLAN_CODEC: KindCodec<BridgeVlan> = {
  kind: BRIDGE_VLAN,
  groups: [k.RTNLGRP_BRVLAN],
  changed: k.RTM_NEWVLAN,
  removed: k.RTM_DELVLAN,
  isEchoHeard: false,
  endsBatch: false,
  dumps: () => [{ request: vlanDump(), read: readVlans }],
  read: readVlans,
  encode: ({ verb, object }, names) => vlanRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
