import * as k from '#src/kernel/constants.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Message } from '#src/kernel/message.ts';

/** The groups of rules. Routes of all tables come with the groups of routes. */
export const POLICY_GROUPS = [k.RTNLGRP_IPV4_RULE, k.RTNLGRP_IPV6_RULE] as const;

/** Where rtm_table is in struct rtmsg (linux/rtnetlink.h). RT_TABLE_COMPAT stands there for a number above 255. */
const TABLE_OFFSET = 4;
/** The kernel's own tables: the codec of routes reads main, and local follows the addresses. */
const OWN_TABLES: readonly number[] = [k.RT_TABLE_MAIN, k.RT_TABLE_LOCAL];

/** `undefined` for messages that do not concern policy routing. `ip monitor rule route` prints the same. */
export function readPolicy({
  type,
  view,
  offset,
  size,
}: Message): (KernelEvent & { readonly type: 'policy' }) | undefined {
  if (type === k.RTM_NEWRULE || type === k.RTM_DELRULE) return { type: 'policy' };
  if ((type !== k.RTM_NEWROUTE && type !== k.RTM_DELROUTE) || size <= TABLE_OFFSET) return undefined;
  return OWN_TABLES.includes(view.getUint8(offset + TABLE_OFFSET)) ? undefined : { type: 'policy' };
}
