import { attributes, i32, ip, mac, struct, u8, u16, u32 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import type { Neighbour } from '#src/kernel/object.ts';
import { ADD, FAMILY_NUMBERS, familyNumberOf, REPLACE } from '#src/kernel/verbs.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';

/** struct ndmsg */
const HEADER = struct({ family: u8, pad1: u8, pad2: u16, index: i32, state: u16, flags: u8, type: u8 });

/** RTM_NEWNEIGH and its kin: neighbours, and forwarding entries as family AF_BRIDGE. */
export const NEIGHBOUR = new MessageLayout(
  HEADER,
  attributes({ destination: [k.NDA_DST, ip], mac: [k.NDA_LLADDR, mac], device: [k.NDA_IFINDEX, u32] }),
);

const NO_MAC = parseMac('00:00:00:00:00:00') as Mac;

/** `ip neigh show nud all`, of one device if its ifindex is given. */
export const neighbourDump = (family: 4 | 6, index?: number): Request =>
  NEIGHBOUR.request(k.RTM_GETNEIGH, k.NLM_F_DUMP, { family: FAMILY_NUMBERS[family] }, { device: index });

/** `ip neigh add|replace|del IP lladdr MAC dev DEVICE nud permanent` */
export function neighbourRequest(
  verb: 'add' | 'replace' | 'remove',
  { ip, mac, device }: Neighbour,
  names: DeviceNames,
): Request | undefined {
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const family = familyNumberOf(ip);
  if (verb === 'remove') return NEIGHBOUR.request(k.RTM_DELNEIGH, 0, { family, index }, { destination: ip });
  return NEIGHBOUR.request(
    k.RTM_NEWNEIGH,
    verb === 'add' ? ADD : REPLACE,
    { family, index, state: k.NUD_PERMANENT, type: k.RTN_UNICAST },
    { destination: ip, mac },
  );
}

/**
 * An RTM_NEWNEIGH or RTM_DELNEIGH of AF_INET or AF_INET6. `undefined` for the kernel's own NOARP entries. One that is
 * not resolved (any more) has a MAC of all zeros.
 */
export function readNeighbour(message: Message, names: Pick<DeviceNames, 'nameOf'>): Neighbour | undefined {
  const read = NEIGHBOUR.read(message);
  if (read === undefined) return undefined;
  const { family, index = 0, state = 0 } = read.header;
  const { destination, mac = NO_MAC } = read.values;
  if (family === k.AF_BRIDGE || destination === undefined || (state & k.NUD_NOARP) !== 0) return undefined;
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

export const isResolved = ({ mac }: Neighbour): boolean => mac !== NO_MAC;
