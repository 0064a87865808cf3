import { attributes, i32, ip, struct, u8 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { ADD, FAMILY_NUMBERS, prefixOf, REPLACE } from '#src/kernel/verbs.ts';
import { type Address, RT_SCOPE_UNIVERSE } from '#src/state/object.ts';

/** struct ifaddrmsg */
const HEADER = struct({ family: u8, prefixLength: u8, flags: u8, scope: u8, index: i32 });

const ADDRESS = new MessageLayout(
  HEADER,
  attributes({ local: [k.IFA_LOCAL, ip], address: [k.IFA_ADDRESS, ip] }),
);

/** `ip address show`, of one device if its ifindex is given. */
export const addressDump = (family: 4 | 6, index = 0): Request =>
  ADDRESS.request(k.RTM_GETADDR, k.NLM_F_DUMP, { family: FAMILY_NUMBERS[family], index }, {});

/** `ip address add|replace|del PREFIX dev DEVICE`: scope global, no label, no broadcast address, as flannel makes them. */
export function addressRequest(
  verb: 'add' | 'replace' | 'remove',
  { prefix, device }: Address,
  names: DeviceNames,
): Request | undefined {
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const header = {
    family: FAMILY_NUMBERS[prefix.family],
    prefixLength: prefix.length,
    scope: RT_SCOPE_UNIVERSE,
    index,
  };
  const values = { local: prefix.address, address: prefix.address };
  if (verb === 'remove') return ADDRESS.request(k.RTM_DELADDR, 0, header, values);
  return ADDRESS.request(k.RTM_NEWADDR, verb === 'add' ? ADD : REPLACE, header, values);
}

/** An RTM_NEWADDR or RTM_DELADDR. */
export function readAddress(message: Message, names: Pick<DeviceNames, 'nameOf'>): Address | undefined {
  const read = ADDRESS.read(message);
  if (read === undefined) return undefined;
  const { prefixLength = 0, index = 0 } = read.header;
  // On a point-to-point link IFA_ADDRESS is the other end's; IPv6 has no IFA_LOCAL elsewhere.
  const address = read.values.local ?? read.values.address;
  const device = names.nameOf(index);
  if (address === undefined || device === undefined) return undefined;
  return { kind: 'address', prefix: prefixOf(address, prefixLength), device };
}
