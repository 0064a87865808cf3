import {
  AttributeCursor,
  putIp,
  putMac,
  putU16,
  putU32,
  sizeOfIp,
  sizeOfMac,
  sizeOfU16,
  sizeOfU32,
} from '#src/kernel/attribute-cursor.ts';
import { LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import { ADD, FAMILIES, FAMILY_NUMBERS, familyNumberOf, REPLACE } from '#src/kernel/verbs.ts';
import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { NEIGHBOUR, type Neighbour } from '#src/state/kinds/neighbour.ts';
import type { Verb } from '#src/state/operation.ts';

/** struct ndmsg: u8 family, u8 and u16 of padding, s32 ifindex, u16 state, u8 flags, u8 type */
export const NDMSG_BYTES = 12;

/** What RTM_NEWNEIGH and its kin say: of a neighbour, and as family AF_BRIDGE of a forwarding entry. */
export interface NeighbourMessage {
  readonly family: number;
  readonly index: number;
  /** NUD_* */
  readonly state: number;
  /** NTF_* */
  readonly flags: number;
  readonly destination: Ip | undefined;
  readonly mac: Mac | undefined;
  /** NDA_SRC_VNI: of a forwarding entry, where one device has several VNIs. */
  readonly sourceVni?: number | undefined;
  /** ifindex of the device by which a forwarding entry's outer packets leave (NDA_IFINDEX). Only in what was read. */
  readonly via?: number | undefined;
}

/** What few of these messages say. */
export interface NeighbourExtras {
  /** RTN_* */
  readonly kind?: number;
  /** ifindex */
  readonly device?: number | undefined;
  readonly vlan?: number | undefined;
  readonly sourceVni?: number | undefined;
}

export function neighbourMessage(
  type: number,
  messageFlags: number,
  message: NeighbourMessage,
  { kind = 0, device, vlan, sourceVni }: NeighbourExtras = {},
): Request {
  const { family, index, state, flags, destination, mac } = message;
  return {
    type,
    flags: messageFlags,
    size:
      NDMSG_BYTES +
      (destination === undefined ? 0 : sizeOfIp(destination)) +
      (mac === undefined ? 0 : sizeOfMac) +
      (device === undefined ? 0 : sizeOfU32) +
      (vlan === undefined ? 0 : sizeOfU16) +
      (sourceVni === undefined ? 0 : sizeOfU32),
    write(view, offset) {
      view.setUint8(offset, family);
      view.setInt32(offset + 4, index, LITTLE_ENDIAN);
      view.setUint16(offset + 8, state, LITTLE_ENDIAN);
      view.setUint8(offset + 10, flags);
      view.setUint8(offset + 11, kind);
      let at = offset + NDMSG_BYTES;
      if (destination !== undefined) at = putIp(view, at, k.NDA_DST, destination);
      if (mac !== undefined) at = putMac(view, at, k.NDA_LLADDR, mac);
      if (device !== undefined) at = putU32(view, at, k.NDA_IFINDEX, device);
      if (vlan !== undefined) at = putU16(view, at, k.NDA_VLAN, vlan);
      if (sourceVni !== undefined) putU32(view, at, k.NDA_SRC_VNI, sourceVni);
    },
  };
}

/** Forwarding entries come in messages of the same types as neighbours. */
export const isBridgeMessage = ({ view, offset, size }: Message): boolean =>
  size >= NDMSG_BYTES && view.getUint8(offset) === k.AF_BRIDGE;

/** `undefined` when the message is too short to be one. */
export function readNeighbourMessage({ view, offset, size }: Message): NeighbourMessage | undefined {
  if (size < NDMSG_BYTES) return undefined;
  let destination: Ip | undefined;
  let mac: Mac | undefined;
  let sourceVni: number | undefined;
  let via: number | undefined;
  const attribute = new AttributeCursor(view, offset + NDMSG_BYTES, offset + size);
  while (attribute.next()) {
    if (attribute.type === k.NDA_DST) destination = attribute.ip();
    else if (attribute.type === k.NDA_LLADDR) mac = attribute.mac();
    else if (attribute.type === k.NDA_SRC_VNI) sourceVni = attribute.u32();
    else if (attribute.type === k.NDA_IFINDEX) via = attribute.u32();
  }
  return {
    family: view.getUint8(offset),
    index: view.getInt32(offset + 4, LITTLE_ENDIAN),
    state: view.getUint16(offset + 8, LITTLE_ENDIAN),
    flags: view.getUint8(offset + 10),
    destination,
    mac,
    sourceVni,
    via,
  };
}

/** The parts that say nothing: of a dump's request, and of what a request does not name. */
export const NO_PARTS = { index: 0, state: 0, flags: 0, destination: undefined, mac: undefined };
const NO_MAC = parseMac('00:00:00:00:00:00') as Mac;

/** `ip neigh show nud all`, of one device if its ifindex is given. */
const neighbourDump = (family: 4 | 6, index?: number): Request =>
  neighbourMessage(
    k.RTM_GETNEIGH,
    k.NLM_F_DUMP,
    { ...NO_PARTS, family: FAMILY_NUMBERS[family] },
    { device: index },
  );

/** `ip neigh add|replace|del IP lladdr MAC dev DEVICE nud permanent` */
function neighbourRequest(
  verb: Verb,
  { ip, mac, device }: Neighbour,
  names: DeviceNames,
): Request | 'unsupported' | undefined {
  if (verb === 'set') return 'unsupported';
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const family = familyNumberOf(ip);
  if (verb === 'remove')
    return neighbourMessage(k.RTM_DELNEIGH, 0, { ...NO_PARTS, family, index, destination: ip });
  return neighbourMessage(
    k.RTM_NEWNEIGH,
    verb === 'add' ? ADD : REPLACE,
    { family, index, state: k.NUD_PERMANENT, flags: 0, destination: ip, mac },
    { kind: k.RTN_UNICAST },
  );
}

/**
 * An RTM_NEWNEIGH or RTM_DELNEIGH of AF_INET or AF_INET6. `undefined` for the kernel's own NOARP entries. One that is
 * not resolved (any more) has a MAC of all zeros.
 */
function readNeighbour(message: Message, names: Names): Neighbour | undefined {
  if (isBridgeMessage(message)) return undefined;
  const read = readNeighbourMessage(message);
  if (read === undefined) return undefined;
  const { family, index, state, destination, mac = NO_MAC } = read;
  if (destination === undefined || family !== familyNumberOf(destination)) return undefined;
  if ((state & k.NUD_NOARP) !== 0) return undefined;
  const device = names.nameOf(index);
  if (device === undefined) return undefined;
  return {
    kind: 'neighbour',
    ip: destination,
    mac,
    device,
    permanent: (state & k.NUD_PERMANENT) !== 0,
  };
}

const isResolved = ({ mac }: Neighbour): boolean => mac !== NO_MAC;

export const NEIGHBOUR_CODEC: KindCodec<Neighbour> = {
  kind: NEIGHBOUR,
  groups: [k.RTNLGRP_NEIGH],
  changed: k.RTM_NEWNEIGH,
  removed: k.RTM_DELNEIGH,
  isEchoHeard: false,
  endsBatch: false,
  dumps: ({ index }) =>
    FAMILIES.map((family) => ({
      request: neighbourDump(family, index),
      read(message, names) {
        const neighbour = readNeighbour(message, names);
        if (neighbour === undefined || !isResolved(neighbour)) return undefined;
        return isIpv4(neighbour.ip) === (family === 4) ? neighbour : undefined;
      },
    })),
  read: readNeighbour,
  // One that lost its MAC (NUD_FAILED): older kernels leave it at that when an entry is deleted.
  isGone: (neighbour) => !isResolved(neighbour),
  encode: ({ verb, object }, names) => neighbourRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
