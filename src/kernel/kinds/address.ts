import { attributes, i32, ip, struct, u8 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { ADD, FAMILIES, FAMILY_NUMBERS, prefixOf, REPLACE } from '#src/kernel/verbs.ts';
import { ADDRESS, type Address, type AddressFlags } from '#src/state/kinds/address.ts';
import { RT_SCOPE_UNIVERSE } from '#src/state/kinds/route.ts';
import type { Verb } from '#src/state/operation.ts';

/** struct ifaddrmsg */
const HEADER = struct({ family: u8, prefixLength: u8, flags: u8, scope: u8, index: i32 });

const MESSAGE = new MessageLayout(
  HEADER,
  attributes({ local: [k.IFA_LOCAL, ip], address: [k.IFA_ADDRESS, ip] }),
);

/** `ip address show`, of one device if its ifindex is given. */
const addressDump = (family: 4 | 6, index = 0): Request =>
  MESSAGE.request(k.RTM_GETADDR, k.NLM_F_DUMP, { family: FAMILY_NUMBERS[family], index }, {});

/** `ip address add|replace|del PREFIX dev DEVICE`: scope global, no label, no broadcast address, as flannel makes them. */
function addressRequest(
  verb: Verb,
  { prefix, device }: Address,
  names: DeviceNames,
): Request | 'unsupported' | undefined {
  if (verb === 'set') return 'unsupported';
  const index = names.indexOf(device);
  if (index === undefined) return undefined;
  const header = {
    family: FAMILY_NUMBERS[prefix.family],
    prefixLength: prefix.length,
    scope: RT_SCOPE_UNIVERSE,
    index,
  };
  const values = { local: prefix.address, address: prefix.address };
  if (verb === 'remove') return MESSAGE.request(k.RTM_DELADDR, 0, header, values);
  return MESSAGE.request(k.RTM_NEWADDR, verb === 'add' ? ADD : REPLACE, header, values);
}

/** An RTM_NEWADDR or RTM_DELADDR. */
function readAddress(message: Message, names: Names): Address | undefined {
  const read = MESSAGE.read(message);
  if (read === undefined) return undefined;
  const { prefixLength = 0, flags = 0, index = 0 } = read.header;
  // On a point-to-point link IFA_ADDRESS is the other end's; IPv6 has no IFA_LOCAL elsewhere.
  const address = read.values.local ?? read.values.address;
  const device = names.nameOf(index);
  if (address === undefined || device === undefined) return undefined;
  const prefix = prefixOf(address, prefixLength);
  if (prefix === undefined) return undefined;
  const found: Address = { kind: 'address', prefix, device };
  // In IPv4 the same bits say other things: 1 is a second address of a network.
  return prefix.family === 4 || flags === k.IFA_F_PERMANENT ? found : { ...found, ...readFlags(flags) };
}

function readFlags(bits: number): Pick<Address, 'flags'> {
  const has = (bit: number): boolean => (bits & bit) !== 0;
  const flags: AddressFlags = {
    ...(!has(k.IFA_F_PERMANENT) && { dynamic: true }),
    ...(has(k.IFA_F_TEMPORARY) && { temporary: true }),
    ...(has(k.IFA_F_DEPRECATED) && { deprecated: true }),
    ...(has(k.IFA_F_TENTATIVE) && { tentative: true }),
    ...(has(k.IFA_F_DADFAILED) && { duplicate: true }),
  };
  return Object.keys(flags).length === 0 ? {} : { flags };
}

export const ADDRESS_CODEC: KindCodec<Address> = {
  kind: ADDRESS,
  groups: [k.RTNLGRP_IPV4_IFADDR, k.RTNLGRP_IPV6_IFADDR],
  changed: k.RTM_NEWADDR,
  removed: k.RTM_DELADDR,
  isEchoHeard: true,
  endsBatch: false,
  dumps: ({ index }) =>
    FAMILIES.map((family) => ({
      request: addressDump(family, index),
      read(message, names) {
        const address = readAddress(message, names);
        return address?.prefix.family === family ? address : undefined;
      },
    })),
  read: readAddress,
  encode: ({ verb, object }, names) => addressRequest(verb, object, names),
  missingDevice: ({ device }) => device,
};
