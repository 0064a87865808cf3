import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import {
  isBridgeMessage,
  NO_PARTS,
  neighbourMessage,
  readNeighbourMessage,
} from '#src/kernel/kinds/neighbour.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import { ADD, REPLACE } from '#src/kernel/verbs.ts';
import { FDB, type FdbEntry } from '#src/state/kinds/fdb.ts';
import type { KernelError, Verb } from '#src/state/operation.ts';

/** `bridge fdb show`, of one device if its ifindex is given. */
export const fdbDump = (index = 0): Request =>
  neighbourMessage(k.RTM_GETNEIGH, k.NLM_F_DUMP, { ...NO_PARTS, family: k.AF_BRIDGE, index });

/** `bridge fdb add|replace|del MAC dev DEVICE dst IP [src_vni VNI] [via DEVICE] self permanent` */
function fdbRequest(
  verb: Verb,
  { mac, destination, device, via, vni }: FdbEntry,
  names: DeviceNames,
): Request | KernelError | 'unsupported' | undefined {
  if (verb === 'set') return 'unsupported';
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const message = {
    family: k.AF_BRIDGE,
    index,
    state: k.NUD_PERMANENT,
    flags: k.NTF_SELF,
    destination,
    mac,
  };
  const outer = via === undefined ? undefined : (goneIndex(via) ?? names.indexOf(via));
  const extras = { device: outer, sourceVni: vni };
  if (verb === 'remove') return neighbourMessage(k.RTM_DELNEIGH, 0, message, extras);
  if (via !== undefined && outer === undefined)
    return { errno: 'ENODEV', message: `there is no device ${via}` };
  return neighbourMessage(k.RTM_NEWNEIGH, verb === 'add' ? ADD : REPLACE, message, extras);
}

/** An RTM_NEWNEIGH or RTM_DELNEIGH of AF_BRIDGE; `undefined` for those that name no VTEP, which are a bridge's. */
function readFdbEntry(message: Message, names: Names): FdbEntry | undefined {
  const read = isBridgeMessage(message) ? readNeighbourMessage(message) : undefined;
  if (read === undefined) return undefined;
  const { index, state, destination, mac, sourceVni, via } = read;
  const device = names.nameOf(index);
  if (destination === undefined || mac === undefined || device === undefined) return undefined;
  const permanent = (state & k.NUD_PERMANENT) !== 0;
  if (via === undefined && sourceVni === undefined)
    return { kind: 'fdb', mac, destination, device, permanent };
  return {
    ...{ kind: 'fdb', mac, destination, device, permanent },
    ...(sourceVni !== undefined && { vni: sourceVni }),
    // The entry stays when the device goes, and then carries nothing.
    ...(via !== undefined && { via: names.nameOf(via) ?? `#${via}` }),
  };
}

/** The ifindex of a device that is gone: it still names the entry. */
const goneIndex = (via: string): number | undefined => (via[0] === '#' ? Number(via.slice(1)) : undefined);

export const FDB_CODEC: KindCodec<FdbEntry> = {
  kind: FDB,
  groups: [k.RTNLGRP_NEIGH],
  changed: k.RTM_NEWNEIGH,
  removed: k.RTM_DELNEIGH,
  isEchoHeard: false,
  endsBatch: false,
  dumps: ({ index }) => [{ request: fdbDump(index), read: readFdbEntry }],
  read: readFdbEntry,
  encode: ({ verb, object }, names) => fdbRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
