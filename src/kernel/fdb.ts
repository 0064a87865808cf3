import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import { NO_PARTS, neighbourMessage, readNeighbourMessage } from '#src/kernel/neighbours.ts';
import { ADD, REPLACE } from '#src/kernel/verbs.ts';
import type { FdbEntry } from '#src/state/object.ts';

/** `bridge fdb show`, of one device if its ifindex is given. */
export const fdbDump = (index = 0): Request =>
  neighbourMessage(k.RTM_GETNEIGH, k.NLM_F_DUMP, { ...NO_PARTS, family: k.AF_BRIDGE, index });

/** `bridge fdb add|replace|del MAC dev DEVICE dst IP self permanent` */
export function fdbRequest(
  verb: 'add' | 'replace' | 'remove',
  { mac, destination, device }: FdbEntry,
  names: DeviceNames,
): Request | undefined {
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
  if (verb === 'remove') return neighbourMessage(k.RTM_DELNEIGH, 0, message);
  return neighbourMessage(k.RTM_NEWNEIGH, verb === 'add' ? ADD : REPLACE, message);
}

/** An RTM_NEWNEIGH or RTM_DELNEIGH of AF_BRIDGE; `undefined` for those that name no VTEP, which are a bridge's. */
export function readFdbEntry(message: Message, names: Pick<DeviceNames, 'nameOf'>): FdbEntry | undefined {
  const read = readNeighbourMessage(message);
  if (read?.family !== k.AF_BRIDGE) return undefined;
  const { index, state, destination, mac } = read;
  const device = names.nameOf(index);
  if (destination === undefined || mac === undefined || device === undefined) return undefined;
  return { kind: 'fdb', mac, destination, device, permanent: (state & k.NUD_PERMANENT) !== 0 };
}
