import { AttributeCursor } from '#src/kernel/attribute-cursor.ts';
import { LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import { fdbDump } from '#src/kernel/kinds/fdb.ts';
import { isBridgeMessage, NDMSG_BYTES, neighbourMessage } from '#src/kernel/kinds/neighbour.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import { ADD, REPLACE } from '#src/kernel/verbs.ts';
import type { Mac } from '#src/lib/mac.ts';
import { BRIDGE_FDB, type BridgeFdbEntry } from '#src/state/kinds/bridge-fdb.ts';
import type { Verb } from '#src/state/operation.ts';

/** `bridge fdb add|replace|del MAC dev DEVICE master static [vlan VLAN]` */
function fdbRequest(
  verb: Verb,
  { mac, device, vlan }: BridgeFdbEntry,
  names: DeviceNames,
): Request | 'unsupported' | undefined {
  if (verb === 'set') return 'unsupported';
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const message = {
    family: k.AF_BRIDGE,
    index,
    state: k.NUD_NOARP,
    flags: k.NTF_MASTER,
    destination: undefined,
    mac,
  };
  if (verb === 'remove') return neighbourMessage(k.RTM_DELNEIGH, 0, message, { vlan });
  return neighbourMessage(k.RTM_NEWNEIGH, verb === 'add' ? ADD : REPLACE, message, { vlan });
}

/**
 * An RTM_NEWNEIGH or RTM_DELNEIGH of AF_BRIDGE; `undefined` for those of a device itself (`self`), which name no bridge.
 */
function readEntry(message: Message, names: Names): BridgeFdbEntry | undefined {
  if (!isBridgeMessage(message)) return undefined;
  const { view, offset, size } = message;
  let mac: Mac | undefined;
  let master: number | undefined;
  let vlan: number | undefined;
  const attribute = new AttributeCursor(view, offset + NDMSG_BYTES, offset + size);
  while (attribute.next()) {
    if (attribute.type === k.NDA_LLADDR) mac = attribute.mac();
    else if (attribute.type === k.NDA_MASTER) master = attribute.u32();
    else if (attribute.type === k.NDA_VLAN) vlan = attribute.u16();
    else if (attribute.type === k.NDA_DST) return undefined;
  }
  if (mac === undefined || master === undefined) return undefined;
  const device = names.nameOf(view.getInt32(offset + 4, LITTLE_ENDIAN));
  const bridge = names.nameOf(master);
  if (device === undefined || bridge === undefined) return undefined;
  const state = view.getUint16(offset + 8, LITTLE_ENDIAN);
  const isStatic = (state & STATIC_MASK) === k.NUD_NOARP;
  return { kind: 'bridge-fdb', mac, bridge, device, static: isStatic, ...(vlan !== undefined && { vlan }) };
}

/** The entry of a device's own MAC is NUD_PERMANENT; what it learnt is neither. */
const STATIC_MASK = k.NUD_NOARP | k.NUD_PERMANENT;

export const BRIDGE_FDB_CODEC: KindCodec<BridgeFdbEntry> = {
  kind: BRIDGE_FDB,
  groups: [k.RTNLGRP_NEIGH],
  changed: k.RTM_NEWNEIGH,
  removed: k.RTM_DELNEIGH,
  isEchoHeard: false,
  endsBatch: false,
  dumps: ({ index }) => [{ request: fdbDump(index), read: readEntry }],
  read: readEntry,
  encode: ({ verb, object }, names) => fdbRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
