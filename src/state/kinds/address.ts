import { equalPrefix, formatPrefix, type Prefix } from '#src/lib/ip.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** An address of a device. */
export interface Address {
  readonly kind: 'address';
  readonly prefix: Prefix;
  readonly device: string;
  /** What the kernel says of an IPv6 address that was found, where it says something; never wanted, and never compared. */
  readonly flags?: AddressFlags;
}

/** Of `ip -6 address show`, IFA_F_ in uapi/linux/if_addr.h. */
export interface AddressFlags {
  /** It has a lifetime: SLAAC or DHCPv6 made it. */
  readonly dynamic?: true;
  /** RFC 8981: another one replaces it within a day. */
  readonly temporary?: true;
  /** Its preferred lifetime is over: nothing new begins with it. */
  readonly deprecated?: true;
  /** The host still asks whether another one has it (RFC 4862 §5.4). */
  readonly tentative?: true;
  /** Another host has it: `dadfailed`. */
  readonly duplicate?: true;
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
  takesAlong: (_, now) => (now === undefined ? ['route', 'neighbour'] : undefined),
  opensWay: () => true,
  deviceOf: ({ device }) => device,
  format,
  command: (verb, address) => `ip address ${verb === 'remove' ? 'del' : verb} ${format(address)}`,
});
