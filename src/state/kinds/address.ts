import { equalPrefix, formatPrefix, type Prefix } from '#src/lib/ip.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** An address of a device. */
export interface Address {
  readonly kind: 'address';
  readonly prefix: Prefix;
  readonly device: string;
}

const format = ({ prefix, device }: Address): string => `${formatPrefix(prefix)} dev ${device}`;

export const ADDRESS = kindOf<Address>({
  name: 'address',
  rank: 2,
  key: (address) => `address ${format(address)}`,
  sharesSlot: (a, b) => equalPrefix(a.prefix, b.prefix) && a.device === b.device,
  hash: ({ prefix }) => addressHash(prefix.address),
  // The slot's name is all that there is of it.
  differences: () => [],
  isAsWanted: () => true,
  // With a device's last address the kernel takes its routes and neighbours.
  takesAlong: (_, now) => now === undefined,
  opensWay: () => true,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, address) => `ip address ${verb === 'remove' ? 'del' : verb} ${format(address)}`,
});
