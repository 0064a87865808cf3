import { attributes, i32, struct, u8 } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { type Message, MessageLayout } from '#src/kernel/message.ts';

/** struct netconfmsg */
const HEADER = struct({ family: u8 });
const NETCONF = new MessageLayout(HEADER, attributes({ index: [k.NETCONFA_IFINDEX, i32] }));

/** The groups whose messages {@link readNetconf} reads. */
export const NETCONF_GROUPS = [k.RTNLGRP_IPV4_NETCONF, k.RTNLGRP_IPV6_NETCONF] as const;

/**
 * The device of an RTM_NEWNETCONF whose sysctl below net.ipv4.conf or net.ipv6.conf changed, or
 * `all` or `default`. `undefined` for other messages.
 */
export function readNetconf(
  message: Message,
  names: Pick<DeviceNames, 'nameOf'>,
): (KernelEvent & { readonly type: 'netconf' }) | undefined {
  if (message.type !== k.RTM_NEWNETCONF) return undefined;
  const read = NETCONF.read(message);
  const family = read?.header.family;
  const index = read?.values.index;
  if (index === undefined || (family !== k.AF_INET && family !== k.AF_INET6)) return undefined;
  const device = deviceOf(index, names);
  return device === undefined ? undefined : { type: 'netconf', family: family === k.AF_INET ? 4 : 6, device };
}

function deviceOf(index: number, names: Pick<DeviceNames, 'nameOf'>): string | undefined {
  if (index === k.NETCONFA_IFINDEX_ALL) return 'all';
  if (index === k.NETCONFA_IFINDEX_DEFAULT) return 'default';
  return names.nameOf(index);
}
