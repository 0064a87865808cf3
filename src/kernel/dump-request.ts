import { addressDump, readAddress } from '#src/kernel/addresses.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import { fdbDump, readFdbEntry } from '#src/kernel/fdb.ts';
import { linkDump, readLink } from '#src/kernel/links.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import { isResolved, neighbourDump, readNeighbour } from '#src/kernel/neighbours.ts';
import { readRoute, routeDump } from '#src/kernel/routes.ts';
import { isIpv4 } from '#src/lib/ip.ts';
import type { KernelObject } from '#src/state/object.ts';

/** A question for all objects of a kind, and how to read the answers. */
export interface DumpRequest {
  readonly request: Request;
  read(message: Message, names: Pick<DeviceNames, 'nameOf'>): KernelObject | undefined;
}

/**
 * The dumps that make up a kind, of one device if its ifindex is given: the kernel filters (NETLINK_GET_STRICT_CHK, Linux
 * 4.20), but an older one may not, and one without IPv6 answers with all families.
 */
export function dumpsOf(
  kind: KernelObject['kind'],
  index?: number,
  protocol?: number,
): readonly DumpRequest[] {
  switch (kind) {
    case 'link':
      return [{ request: linkDump(), read: readLink }];
    case 'fdb':
      return [{ request: fdbDump(index), read: readFdbEntry }];
    default:
      return [dumpOf(kind, 4, index, protocol), dumpOf(kind, 6, index, protocol)];
  }
}

function dumpOf(
  kind: 'address' | 'route' | 'neighbour',
  family: 4 | 6,
  index: number | undefined,
  protocol: number | undefined,
): DumpRequest {
  switch (kind) {
    case 'address':
      return {
        request: addressDump(family, index),
        read(message, names) {
          const address = readAddress(message, names);
          return address?.prefix.family === family ? address : undefined;
        },
      };
    case 'route':
      return {
        request: routeDump(family, index, protocol),
        read(message, names) {
          const route = readRoute(message, names);
          if (route?.destination.family !== family) return undefined;
          return protocol === undefined || route.protocol === protocol ? route : undefined;
        },
      };
    case 'neighbour':
      return {
        request: neighbourDump(family, index),
        read(message, names) {
          const neighbour = readNeighbour(message, names);
          if (neighbour === undefined || !isResolved(neighbour)) return undefined;
          return isIpv4(neighbour.ip) === (family === 4) ? neighbour : undefined;
        },
      };
  }
}
