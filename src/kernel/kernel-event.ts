import { readAddress } from '#src/kernel/addresses.ts';
import * as k from '#src/kernel/constants.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import { readFdbEntry } from '#src/kernel/fdb.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { readLink } from '#src/kernel/links.ts';
import type { Message } from '#src/kernel/message.ts';
import { isResolved, readNeighbour } from '#src/kernel/neighbours.ts';
import { readNetconf } from '#src/kernel/netconf.ts';
import { readRoute } from '#src/kernel/routes.ts';
import type { KernelObject } from '#src/state/object.ts';

/** The groups whose messages {@link readEvent} reads. */
export const EVENT_GROUPS = [
  k.RTNLGRP_LINK,
  k.RTNLGRP_NEIGH,
  k.RTNLGRP_IPV4_IFADDR,
  k.RTNLGRP_IPV4_ROUTE,
  k.RTNLGRP_IPV6_IFADDR,
  k.RTNLGRP_IPV6_ROUTE,
  k.RTNLGRP_IPV4_NETCONF,
  k.RTNLGRP_IPV6_NETCONF,
] as const;

/** What {@link Kernel.apply} need not be told again: its result says it. Of links and addresses the kernel has more to tell. */
export const ECHO_TYPES = [k.RTM_NEWROUTE, k.RTM_DELROUTE, k.RTM_NEWNEIGH, k.RTM_DELNEIGH] as const;

/** What a message of these groups tells; `undefined` when that is nothing to weft. */
export function readEvent(message: Message, names: Pick<DeviceNames, 'nameOf'>): KernelEvent | undefined {
  switch (message.type) {
    case k.RTM_NEWLINK:
      return changed(readLink(message, names));
    case k.RTM_DELLINK:
      return removed(readLink(message, names));
    case k.RTM_NEWADDR:
      return changed(readAddress(message, names));
    case k.RTM_DELADDR:
      return removed(readAddress(message, names));
    case k.RTM_NEWROUTE:
      return changed(readRoute(message, names));
    case k.RTM_DELROUTE:
      return removed(readRoute(message, names));
    case k.RTM_NEWNEIGH:
      return neighbourChanged(message, names);
    case k.RTM_DELNEIGH:
      return removed(readFdbEntry(message, names) ?? readNeighbour(message, names));
    case k.RTM_NEWNETCONF: {
      const netconf = readNetconf(message, names);
      return netconf && { type: 'netconf', ...netconf };
    }
    default:
      return undefined;
  }
}

/** An entry that lost its MAC (NUD_FAILED) is as good as gone: older kernels leave it at that when one is deleted. */
function neighbourChanged(message: Message, names: Pick<DeviceNames, 'nameOf'>): KernelEvent | undefined {
  const neighbour = readNeighbour(message, names);
  if (neighbour === undefined) return changed(readFdbEntry(message, names));
  return isResolved(neighbour) ? changed(neighbour) : removed(neighbour);
}

const changed = (object: KernelObject | undefined): KernelEvent | undefined =>
  object && { type: 'changed', object };
const removed = (object: KernelObject | undefined): KernelEvent | undefined =>
  object && { type: 'removed', object };
