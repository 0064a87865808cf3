import { AttributeCursor } from '#src/kernel/attribute-cursor.ts';
import { attributes, i32, LITTLE_ENDIAN, struct, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { VNI, type Vni } from '#src/state/kinds/vni.ts';
import type { Verb } from '#src/state/operation.ts';

/** struct tunnel_msg, and its filter's entries (linux/if_link.h, VXLAN_VNIFILTER_*). */
const MESSAGE = new MessageLayout(
  struct({ family: u8, flags: u8, pad: u16, index: i32 }),
  attributes({
    entry: [k.VXLAN_VNIFILTER_ENTRY, attributes({ start: [k.VXLAN_VNIFILTER_ENTRY_START, u32] })],
  }),
);

/** `bridge vni show`, of all devices: of one that is of another type the kernel answers EINVAL. */
const vniDump = (): Request =>
  MESSAGE.request(k.RTM_GETTUNNEL, k.NLM_F_DUMP, { family: k.AF_BRIDGE, index: 0 }, {});

/** `bridge vni add|delete dev DEVICE vni VNI` */
function vniRequest(
  verb: Verb,
  { device, vni }: Vni,
  names: DeviceNames,
): Request | 'unsupported' | undefined {
  if (verb === 'set') return 'unsupported';
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const type = verb === 'remove' ? k.RTM_DELTUNNEL : k.RTM_NEWTUNNEL;
  return MESSAGE.request(type, 0, { family: k.AF_BRIDGE, index }, { entry: { start: vni } });
}

/** struct tunnel_msg: u8 family, u8 flags, u16 of padding, s32 ifindex */
const HEADER_BYTES = 8;
/** A message may name VNIs as a range; one of strangers may name all there are. */
const LONGEST_RANGE = 65_536;

/** An RTM_NEWTUNNEL or RTM_DELTUNNEL. VNIs in a row are one entry. */
function readVnis({ view, offset, size }: Message, names: Names): Vni[] | undefined {
  if (size < HEADER_BYTES) return undefined;
  const device = names.nameOf(view.getInt32(offset + 4, LITTLE_ENDIAN));
  if (device === undefined) return undefined;
  const vnis: Vni[] = [];
  const entry = new AttributeCursor(view, offset + HEADER_BYTES, offset + size);
  while (entry.next()) {
    if (entry.type !== k.VXLAN_VNIFILTER_ENTRY) continue;
    let [start, end]: (number | undefined)[] = [];
    const part = entry.nested();
    while (part.next()) {
      if (part.type === k.VXLAN_VNIFILTER_ENTRY_START) start = part.u32();
      else if (part.type === k.VXLAN_VNIFILTER_ENTRY_END) end = part.u32();
    }
    if (start === undefined) continue;
    for (let vni = start; vni <= Math.min(end ?? start, start + LONGEST_RANGE); vni++)
      vnis.push({ kind: 'vni', device, vni });
  }
  return vnis;
}

export const VNI_CODEC: KindCodec<Vni> = {
  kind: VNI,
  groups: [k.RTNLGRP_TUNNEL],
  changed: k.RTM_NEWTUNNEL,
  removed: k.RTM_DELTUNNEL,
  isEchoHeard: false,
  endsBatch: false,
  dumps: () => [{ request: vniDump(), read: readVnis }],
  read: readVnis,
  encode: ({ verb, object }, names) => vniRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
