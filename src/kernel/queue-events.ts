import { LITTLE_ENDIAN } from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Message } from '#src/kernel/message.ts';

export const QUEUE_GROUPS = [k.RTNLGRP_TC] as const;

/** Where tcm_parent is in struct tcmsg (linux/rtnetlink.h). */
const PARENT_OFFSET = 12;
/** TC_H_INGRESS, which is TC_H_CLSACT: the place of BPF programs. Nothing waits there. */
const TC_H_INGRESS = 0xffff_fff1;

/** `undefined` for messages that do not concern what packets wait in. `tc monitor` prints the same. */
export function readQueue({
  type,
  view,
  offset,
  size,
}: Message): (KernelEvent & { readonly type: 'qdisc' }) | undefined {
  if ((type !== k.RTM_NEWQDISC && type !== k.RTM_DELQDISC) || size < PARENT_OFFSET + 4) return undefined;
  return view.getUint32(offset + PARENT_OFFSET, LITTLE_ENDIAN) === TC_H_INGRESS
    ? undefined
    : { type: 'qdisc' };
}
