import type { FindDevice } from '#src/kernel/device-names.ts';
import { linkQuery, readLink } from '#src/kernel/kinds/link.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';

/** Asks the kernel for one device, by name or by ifindex. Equals `ip link show DEVICE`. */
export const findBy =
  (client: Pick<RtnetlinkClient, 'request'>): FindDevice =>
  (device) => {
    const answer = client.request(linkQuery(device));
    if ('error' in answer) return undefined;
    const link = readLink(answer.message, { nameOf: () => undefined });
    if (link?.index === undefined) return undefined;
    const { name, index, type } = link;
    return { name, index, ...(type !== undefined && { type }) };
  };

/**
 * The indexes of devices by name. A device that was found before is only asked whether it still has its name: a change for one
 * peer took longer to find its device than to be made.
 */
export class DeviceIndexes {
  readonly #client: Pick<RtnetlinkClient, 'request' | 'deviceName'>;
  readonly #known = new Map<string, number>();

  constructor(client: Pick<RtnetlinkClient, 'request' | 'deviceName'>) {
    this.#client = client;
  }

  of(name: string): number | undefined {
    const known = this.#known.get(name);
    if (known !== undefined && this.#client.deviceName(known) === name) return known;
    this.#known.delete(name);
    const found = findBy(this.#client)(name);
    // An alternative name is not what the kernel says when it is asked for the name.
    if (found?.name === name) this.#known.set(name, found.index);
    return found?.index;
  }
}
