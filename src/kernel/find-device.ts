import type { FindDevice } from '#src/kernel/device-names.ts';
import { linkQuery, readLink } from '#src/kernel/kinds/link.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';

/** Asks the kernel for one device, by name or by ifindex. Equals `ip link show DEVICE`. */
export const findBy =
  (client: RtnetlinkClient): FindDevice =>
  (device) => {
    const answer = client.request(linkQuery(device));
    if ('error' in answer) return undefined;
    const link = readLink(answer.message, { nameOf: () => undefined });
    if (link?.index === undefined) return undefined;
    const { name, index, type } = link;
    return { name, index, ...(type !== undefined && { type }) };
  };
